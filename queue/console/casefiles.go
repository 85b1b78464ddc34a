package console

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // pictures that are shown are decoded and drawn anew
	_ "image/jpeg"
	"image/png"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // bodies in other charsets than UTF-8

	"postern/queue"
)

// Bounds of what is taken out of an original.
const (
	partsMost  = 200
	partMost   = 30 << 20
	htmlMost   = 2 << 20
	pixelsMost = 40_000_000
	partsDepth = 20
)

// errNoOriginal says that the mailbox does not have the mail any more.
var errNoOriginal = errors.New("the original is not in the mailbox any more")

// part is a leaf of an original.
type part struct {
	kind, name string
	body       []byte
}

// mailOf finds the mail that the URL names.
func (v *visit) mailOf() (queue.Case, queue.Incoming, error) {
	k, _, err := v.load()
	if err != nil {
		return k, queue.Incoming{}, err
	}
	i, err := strconv.Atoi(v.r.PathValue("i"))
	if err != nil || i < 0 || i >= len(k.Mails) {
		return k, queue.Incoming{}, errNotFound
	}
	return k, k.Mails[i], nil
}

// originalOf fetches the bytes, which is a look of its own.
func (v *visit) originalOf(k *queue.Case, in queue.Incoming, what string) ([]byte, error) {
	if v.c.d.Original == nil {
		return nil, errNotFound
	}
	if err := v.saw(what, k, map[string]string{"mail": v.r.PathValue("i")}); err != nil {
		return nil, err
	}
	raw, err := v.c.d.Original(v.ctx(), in)
	if errors.Is(err, queue.ErrUnknown) {
		return nil, errNoOriginal
	}
	return raw, err
}

// original is the mail as it came, to keep: never shown by the browser.
func (c *Console) original(v *visit) error {
	k, in, err := v.mailOf()
	if err != nil {
		return err
	}
	raw, err := v.originalOf(&k, in, "original")
	if err != nil {
		return err
	}
	v.attachment(k.Number+"-"+v.r.PathValue("i")+".eml", "message/rfc822", raw)
	return nil
}

// attachment answers with bytes to be kept as a file.
func (v *visit) attachment(name, kind string, body []byte) {
	h := v.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fileName(name)}))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = v.w.Write(body) // the client is gone: nobody to tell
}

// fileName makes a stranger's file name harmless: its last element, without
// control signs, never hidden, at most 100 signs.
func fileName(s string) string {
	s = path.Base(strings.ReplaceAll(s, "\\", "/"))
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8Override || strings.ContainsRune(`"*:<>?|%`, r) {
			return '_'
		}
		return r
	}, s)
	s = strings.TrimLeft(s, ". ")
	if r := []rune(s); len(r) > 100 {
		ext := []rune(path.Ext(s))
		if len(ext) > 10 {
			ext = nil
		}
		s = string(r[:100-len(ext)]) + string(ext)
	}
	if s == "" || s == "/" {
		return "file"
	}
	return s
}

// utf8Override turns the direction of writing, so that "exe.txt" is shown for
// "txt.exe".
const utf8Override = '\u202e'

// asSent shows the HTML of a mail in a frame that may do nothing: no script, no
// form, nothing fetched from anywhere.
func (c *Console) asSent(v *visit) error {
	k, in, err := v.mailOf()
	if err != nil {
		return err
	}
	raw, err := v.originalOf(&k, in, "original")
	if err != nil {
		return err
	}
	body := []byte("<!doctype html><meta charset=utf-8><p>" + v.say("case.no_html") + "</p>")
	for _, p := range partsOf(raw) {
		if p.kind == "text/html" && p.name == "" {
			body = p.body[:min(len(p.body), htmlMost)]
			break
		}
	}
	h := v.w.Header()
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	v.write("text/html; charset=utf-8", body)
	return nil
}

// partsOf are the leaves of a mail, those that can be read.
func partsOf(raw []byte) []part {
	root, err := message.Read(bytes.NewReader(raw))
	if root == nil || err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
		return nil
	}
	var out []part
	_ = root.Walk(func(at []int, e *message.Entity, err error) error { // what can't be read is not shown
		if e == nil || err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) || len(at) > partsDepth || len(out) >= partsMost {
			return io.EOF
		}
		kind, params, _ := e.Header.ContentType()
		if strings.HasPrefix(kind, "multipart/") {
			return nil
		}
		_, disposition, _ := e.Header.ContentDisposition()
		name := disposition["filename"]
		if name == "" {
			name = params["name"]
		}
		body, err := io.ReadAll(io.LimitReader(e.Body, partMost))
		if err != nil {
			return nil
		}
		out = append(out, part{strings.ToLower(kind), name, body})
		return nil
	})
	return out
}

// fileOf finds an attachment in the original by its place among those of the
// same name: the URL names a number, never a path.
func (v *visit) fileOf() (queue.Case, queue.Attachment, []byte, error) {
	k, in, err := v.mailOf()
	if err != nil {
		return k, queue.Attachment{}, nil, err
	}
	n, err := strconv.Atoi(v.r.PathValue("n"))
	if err != nil || n < 0 || n >= len(in.Attachments) {
		return k, queue.Attachment{}, nil, errNotFound
	}
	a := in.Attachments[n]
	raw, err := v.originalOf(&k, in, "attachment")
	if err != nil {
		return k, a, nil, err
	}
	nth := 0
	if !a.Destroyed.IsZero() {
		return k, a, nil, errNotFound
	}
	for _, b := range in.Attachments[:n] {
		if b.Name == a.Name && (b.Destroyed.IsZero() || b.Left != "") {
			nth++
		}
	}
	for _, p := range partsOf(raw) {
		if p.name != a.Name || a.Name == "" && !strings.EqualFold(p.kind, a.Type) {
			continue
		}
		if nth == 0 {
			return k, a, p.body, nil
		}
		nth--
	}
	return k, a, nil, errNoOriginal
}

// file hands an attachment out, to be kept and not opened here.
func (c *Console) file(v *visit) error {
	_, a, body, err := v.fileOf()
	if err != nil {
		return err
	}
	v.attachment(a.Name, "application/octet-stream", body)
	return nil
}

// isPicture tells of the kinds that are shown.
func isPicture(kind string) bool {
	switch strings.ToLower(kind) {
	case "image/png", "image/jpeg", "image/gif":
		return true
	}
	return false
}

// filePicture shows a picture, decoded and drawn anew, so that nothing of the
// stranger's bytes reaches the browser.
func (c *Console) filePicture(v *visit) error {
	_, _, body, err := v.fileOf()
	if err != nil {
		return err
	}
	conf, _, err := image.DecodeConfig(bytes.NewReader(body))
	if err != nil || conf.Width*conf.Height > pixelsMost {
		return errForm
	}
	img, _, err := image.Decode(bytes.NewReader(body))
	if err != nil {
		return errForm
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return fmt.Errorf("draw picture: %w", err)
	}
	h := v.w.Header()
	h.Set("Content-Type", "image/png")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	_, _ = v.w.Write(out.Bytes())
	return nil
}

// fileText shows the words that were read out of an attachment.
func (c *Console) fileText(v *visit) error {
	k, in, err := v.mailOf()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(v.r.PathValue("n"))
	if err != nil || n < 0 || n >= len(in.Attachments) || in.Attachments[n].Text == "" {
		return errNotFound
	}
	if err := v.saw("attachment", &k, map[string]string{"mail": v.r.PathValue("i")}); err != nil {
		return err
	}
	a := in.Attachments[n]
	return v.page("filetext", fileName(a.Name), map[string]any{"Number": k.Number, "Name": fileName(a.Name), "Text": strings.TrimSpace(a.Text), "Lang": in.Result.Language})
}

// letterPage is a letter for printing, for who has no mail.
func (c *Console) letterPage(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	letters, _, err := c.d.Cases.Letters(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(v.r.PathValue("n"))
	if err != nil || n < 0 || n >= len(letters) {
		return errNotFound
	}
	if err := v.saw("letter", &k, nil); err != nil {
		return err
	}
	controller, _ := c.d.Streams().Controller(k.Controller)
	name := ""
	if len(k.Mails) > 0 {
		name = k.Mails[0].FromName
	}
	body, _, _ := strings.Cut(letters[n].Text, "\n-- \n")
	return v.page("letter", "letter.title", map[string]any{"Number": k.Number, "L": letters[n], "Body": body, "Controller": controller, "Name": name,
		"Date": c.d.Cases.LetterDate(letters[n].Language, v.now().In(c.d.Cases.NewPacer().Zone(k.Controller)))})
}

// noOriginal is the failure page of a mail that left the mailbox.
var noOriginal = failure{http.StatusGone, "no_original"}
