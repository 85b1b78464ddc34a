package reply

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"

	"postern/gateway/address"
)

// Mail is one message to a person, before it is bytes.
type Mail struct {
	FromName   string
	From       address.Address
	To         address.Address
	ReplyTo    address.Address // zero: none
	Subject    string
	Text       string // lines end with \n
	Language   string // BCP 47, for Content-Language
	Date       time.Time
	MessageID  string // without brackets
	InReplyTo  string // without brackets, or ""
	References []string
	Auto       bool // an automatic reply in the sense of RFC 3834
	Generated  bool // with Auto: a notice that answers nothing (auto-generated)
}

// maxReferences bounds the References field: the first and the newest count.
const maxReferences = 20

// Compose gives header (each field with its CRLF, without the empty line) and
// body of a text/plain message. An automatic reply carries Auto-Submitted
// (RFC 3834 section 5) and asks other responders to be silent (AR-9).
func (m Mail) Compose() (header, body []byte, err error) {
	var h mail.Header
	h.SetDate(m.Date)
	h.SetAddressList("From", []*mail.Address{{Name: m.FromName, Address: m.From.Plain()}})
	h.SetAddressList("To", []*mail.Address{{Address: m.To.Plain()}})
	if !m.ReplyTo.IsZero() {
		h.SetAddressList("Reply-To", []*mail.Address{{Address: m.ReplyTo.Plain()}})
	}
	h.SetSubject(oneLine(m.Subject))
	h.SetMessageID(m.MessageID)
	if ids := cleanIDs([]string{m.InReplyTo}); len(ids) == 1 {
		h.SetMsgIDList("In-Reply-To", ids)
		h.SetMsgIDList("References", thread(cleanIDs(m.References), ids[0]))
	}
	if m.Auto {
		kind := "auto-replied"
		if m.Generated {
			kind = "auto-generated"
		}
		h.Set("Auto-Submitted", kind)
		h.Set("X-Auto-Response-Suppress", "All")
	}
	if m.Language != "" {
		h.Set("Content-Language", m.Language)
	}
	h.Set("MIME-Version", "1.0")
	h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	encoding := "7bit"
	if !plainASCII(m.Text) {
		encoding = "quoted-printable"
	}
	h.Set("Content-Transfer-Encoding", encoding)

	var out bytes.Buffer
	w, err := mail.CreateSingleInlineWriter(&out, h)
	if err != nil {
		return nil, nil, fmt.Errorf("write reply header: %w", err)
	}
	text := strings.ReplaceAll(strings.TrimRight(m.Text, "\n")+"\n", "\n", "\r\n")
	if _, err := io.WriteString(w, text); err != nil {
		return nil, nil, fmt.Errorf("write reply body: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, nil, fmt.Errorf("write reply body: %w", err)
	}
	head, rest, ok := bytes.Cut(out.Bytes(), []byte("\r\n\r\n"))
	if !ok {
		return nil, nil, fmt.Errorf("write reply: no end of header")
	}
	return append(head, '\r', '\n'), rest, nil
}

// thread is References of a reply: those of the parent and the parent itself
// (RFC 5322 section 3.6.4), shortened in the middle.
func thread(refs []string, parent string) []string {
	out := refs
	if len(out) == 0 || out[len(out)-1] != parent {
		out = append(append([]string(nil), refs...), parent)
	}
	if len(out) > maxReferences {
		out = append([]string{out[0]}, out[len(out)-maxReferences+1:]...)
	}
	return out
}

// cleanIDs drops what is no message id: strangers write these.
func cleanIDs(ids []string) []string {
	var out []string
	for _, id := range ids {
		id = strings.Trim(id, "<>")
		if id == "" || len(id) > 250 || strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) >= 0 {
			continue
		}
		out = append(out, id)
	}
	return out
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}

// plainASCII tells whether text can travel as 7bit (RFC 2045 section 2.7).
func plainASCII(text string) bool {
	n := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n':
			n = 0
			continue
		case c >= 0x7f, c < ' ' && c != '\t':
			return false
		}
		if n++; n > 900 {
			return false
		}
	}
	return true
}
