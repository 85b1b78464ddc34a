package header

import (
	"bytes"
	"errors"
	"mime"
	"strings"
)

// Errors of Walk. Inspect with errors.Is.
var (
	ErrDepth = errors.New("MIME parts are nested too deeply")
	ErrParts = errors.New("too many MIME parts")
)

// Limits of Walk; both are needed.
type Limits struct {
	Depth int // of containers within containers
	Parts int // leaves and containers
}

// Part is one leaf of the MIME structure (RFC 2046) over the octets of a body.
type Part struct {
	Start, End int    // content, without the line end that belongs to the delimiter
	Type       string // media type in lower case, "text/plain" where none is given
	Charset    string // as written, "" if none
	Encoding   string // transfer encoding in lower case, "" where none is given
	Attachment bool   // Content-Disposition: attachment
	Sealed     bool   // inside multipart/signed or multipart/encrypted: not to be changed
}

// Walk finds the leaves of a message. It goes into multiparts and attached
// messages; what it can't read as such is a leaf. Errors wrap ErrDepth or
// ErrParts.
func Walk(top *Header, body []byte, lim Limits) ([]Part, error) {
	w := &walker{body: body, lim: lim}
	if err := w.open(top, 0); err != nil {
		return nil, err
	}
	for i := 0; i < len(body); {
		end := lineEnd(body, i)
		if err := w.line(i, end); err != nil {
			return nil, err
		}
		if w.flat() {
			break // nothing can end this leaf but the end of the body
		}
		i = end
	}
	w.close(len(body))
	return w.parts, nil
}

type walkState uint8

const (
	inHeader  walkState = iota // of a part
	inContent                  // of a leaf
	between                    // preamble, epilogue
)

// walker is a scan of the body's lines in progress.
type walker struct {
	body  []byte
	lim   Limits
	parts []Part
	count int
	stack []level
	state walkState
	start int // of the part header, while in one
	leaf  Part
	depth int // containers round the present position that are no multiparts
}

// level is one open multipart.
type level struct {
	boundary string
	sealed   bool
	depth    int // of w.depth when it was opened
}

func (w *walker) flat() bool { return w.state == inContent && len(w.stack) == 0 }

// line reads body[i:end].
func (w *walker) line(i, end int) error {
	if len(w.stack) > 0 && w.body[i] == '-' && end-i > 2 && w.body[i+1] == '-' {
		if k, last := w.delimiter(w.body[i:end]); k >= 0 {
			return w.cut(i, end, k, last)
		}
	}
	if w.state == inHeader && isEmpty(bytes.TrimSuffix(w.body[i:end], []byte("\n"))) {
		return w.open(Parse(w.body[w.start:i]), end)
	}
	return nil
}

// delimiter tells which open multipart a line delimits, -1 for none, and
// whether it is the last delimiter of it.
func (w *walker) delimiter(line []byte) (k int, last bool) {
	line = bytes.TrimRight(line, " \t\r\n")[2:]
	for k := len(w.stack) - 1; k >= 0; k-- {
		b := w.stack[k].boundary
		if len(line) < len(b) || string(line[:len(b)]) != b {
			continue
		}
		switch rest := line[len(b):]; {
		case len(rest) == 0:
			return k, false
		case string(rest) == "--":
			return k, true
		}
	}
	return -1, false
}

// cut ends the open part at a delimiter line of level k.
func (w *walker) cut(i, end, k int, last bool) error {
	w.close(i)
	w.depth = w.stack[k].depth
	if last {
		w.stack, w.state = w.stack[:k], between
		return nil
	}
	w.stack, w.state, w.start = w.stack[:k+1], inHeader, end
	return w.more()
}

func (w *walker) more() error {
	if w.count++; w.count > w.lim.Parts {
		return ErrParts
	}
	return nil
}

// close ends an open leaf before the delimiter at octet at. The line end
// before a delimiter belongs to it (RFC 2046 section 5.1.1).
func (w *walker) close(at int) {
	if w.state != inContent {
		return
	}
	if len(w.stack) > 0 && at < len(w.body) {
		if at > w.leaf.Start && w.body[at-1] == '\n' {
			at--
		}
		if at > w.leaf.Start && w.body[at-1] == '\r' {
			at--
		}
	}
	w.leaf.End = at
	w.parts = append(w.parts, w.leaf)
	w.state = between
}

// open begins what the header h describes, its content at octet at.
func (w *walker) open(h *Header, at int) error {
	media, params := mediaType(h)
	enc, _ := h.Get("Content-Transfer-Encoding")
	enc = strings.ToLower(enc)
	plain := enc == "" || enc == "7bit" || enc == "8bit" || enc == "binary"
	switch {
	case plain && strings.HasPrefix(media, "multipart/") && params["boundary"] != "":
		sealed := media == "multipart/signed" || media == "multipart/encrypted" || w.sealed()
		w.stack = append(w.stack, level{strings.TrimRight(params["boundary"], " \t"), sealed, w.depth})
		w.state = between
		return w.deep()
	case plain && (media == "message/rfc822" || media == "message/global"):
		w.depth++
		w.state, w.start = inHeader, at
		if err := w.deep(); err != nil {
			return err
		}
		return w.more()
	}
	w.leaf = Part{Start: at, Type: media, Charset: params["charset"], Encoding: enc, Attachment: isAttachment(h), Sealed: w.sealed()}
	w.state = inContent
	return nil
}

func (w *walker) sealed() bool { return len(w.stack) > 0 && w.stack[len(w.stack)-1].sealed }

func (w *walker) deep() error {
	if len(w.stack)+w.depth > w.lim.Depth {
		return ErrDepth
	}
	return nil
}

// mediaType reads Content-Type; without a usable one a part is text/plain
// (RFC 2045 section 5.2). Parameters that contradict each other are left out,
// so that the part is opaque (MIME-4).
func mediaType(h *Header) (string, map[string]string) {
	v, ok := h.Get("Content-Type")
	if !ok {
		return "text/plain", nil
	}
	media, params, err := mime.ParseMediaType(v)
	if err == nil {
		return media, params
	}
	media, _, _ = strings.Cut(v, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	if !strings.Contains(media, "/") {
		media = "text/plain"
	}
	return media, nil
}

func isAttachment(h *Header) bool {
	v, _ := h.Get("Content-Disposition")
	kind, _, _ := strings.Cut(v, ";")
	return strings.EqualFold(strings.TrimSpace(kind), "attachment")
}
