package mime

import (
	"bytes"
	"io"
	"mime"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
)

// Field is one header field, unfolded.
type Field struct {
	Name  string // as written
	Value string // unfolded, trimmed, not decoded
}

// Header is the fields of a message or part, top first.
type Header []Field

// wordDecoder decodes RFC 2047 words in any charset that can be had.
var wordDecoder = mime.WordDecoder{CharsetReader: func(name string, in io.Reader) (io.Reader, error) {
	r, err := charset.Reader(name, in)
	if err != nil {
		return charmap.Windows1252.NewDecoder().Reader(in), nil
	}
	return r, nil
}}

// splitHeader cuts raw into header and body. It accepts LF alone, an mbox
// "From " line, and lines without a colon, which it skips; a header that
// never ends is all header. broken tells of such lines, over of a header
// beyond the limit.
func splitHeader(raw []byte, limit int) (h Header, body []byte, broken, over bool) {
	var fold []byte // the last field as far as it was read, once it has a second line
	// Folded lines are gathered and copied once: a header of nothing else would
	// cost the square of its length.
	defer func() { h.unfold(&fold) }()
	rest := raw
	first := true
	for len(rest) > 0 {
		line, next := cutLine(rest)
		if len(line) == 0 {
			return h, next, broken, false
		}
		if len(raw)-len(next) > limit {
			return h, rest, true, true
		}
		switch {
		case (line[0] == ' ' || line[0] == '\t') && len(h) > 0:
			// A line of white space alone is the end of a header some
			// programs write, but RFC 5322 reads it as a fold: keep reading.
			if v := bytes.TrimSpace(line); len(v) > 0 {
				if fold == nil {
					fold = []byte(h[len(h)-1].Value)
				}
				if len(fold) > 0 {
					fold = append(fold, ' ')
				}
				fold = append(fold, v...)
			}
		case first && bytes.HasPrefix(line, []byte("From ")):
		default:
			colon := bytes.IndexByte(line, ':')
			name := ""
			if colon > 0 {
				name = strings.TrimRight(string(line[:colon]), " \t")
			}
			if name == "" || strings.ContainsAny(name, " \t") || len(name) > 128 {
				// Some programs forget the empty line: where a text begins,
				// the header has ended.
				if len(h) > 0 && !looksLikeHeader(next) {
					return h, rest, true, false
				}
				broken = true
				break
			}
			h.unfold(&fold)
			h = append(h, Field{Name: name, Value: strings.TrimSpace(string(line[colon+1:]))})
		}
		first = false
		rest = next
	}
	return h, nil, broken, false
}

// unfold gives the last field the value gathered for it.
func (h Header) unfold(fold *[]byte) {
	if *fold != nil {
		h[len(h)-1].Value, *fold = string(*fold), nil
	}
}

// looksLikeHeader tells whether the next line is a field or the end of one.
func looksLikeHeader(rest []byte) bool {
	line, _ := cutLine(rest)
	if len(line) == 0 {
		return len(rest) > 0
	}
	if line[0] == ' ' || line[0] == '\t' {
		return true
	}
	colon := bytes.IndexByte(line, ':')
	return colon > 0 && bytes.IndexByte(line[:colon], ' ') < 0
}

// cutLine gives the first line without its end and what follows.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return bytes.TrimRight(b, "\r"), nil
	}
	return bytes.TrimRight(b[:i], "\r"), b[i+1:]
}

// Get is the raw value of the first field of that name, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Has tells whether a field of that name is there, be it empty.
func (h Header) Has(name string) bool {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

// All gives the raw values of every field of that name, top first.
func (h Header) All(name string) []string {
	var out []string
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			out = append(out, f.Value)
		}
	}
	return out
}

// Text is the first field of that name with RFC 2047 words decoded, in valid
// UTF-8 without control signs.
func (h Header) Text(name string) string { return DecodeWords(h.Get(name)) }

// DecodeWords decodes RFC 2047 encoded words; what can't be decoded stays as
// it is, bytes that are no UTF-8 are read as Windows-1252.
func DecodeWords(s string) string {
	if strings.Contains(s, "=?") {
		if d, err := wordDecoder.DecodeHeader(s); err == nil {
			s = d
		}
	}
	return clean(validUTF8(s))
}

// validUTF8 reads bytes that are no UTF-8 as Windows-1252.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out, err := charmap.Windows1252.NewDecoder().String(s)
	if err != nil {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return out
}

// clean removes control signs from a header value.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return ' '
		}
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

// Mailbox is a name and an address as written in a header.
type Mailbox struct {
	Name string
	Addr string
}

// Addresses reads the mailboxes of every field of that name. Where the list
// breaks the grammar, whatever looks like an address is taken.
func (h Header) Addresses(name string) []Mailbox {
	var out []Mailbox
	for _, v := range h.All(name) {
		p := mail.AddressParser{WordDecoder: &wordDecoder}
		list, err := p.ParseList(v)
		if err != nil {
			out = append(out, loose(v)...)
			continue
		}
		for _, a := range list {
			out = append(out, Mailbox{Name: clean(validUTF8(a.Name)), Addr: a.Address})
		}
	}
	return out
}

// loose picks addresses out of a list no grammar reads.
func loose(v string) []Mailbox {
	var out []Mailbox
	for _, item := range strings.Split(v, ",") {
		name, addr := "", strings.TrimSpace(item)
		if i, j := strings.LastIndexByte(addr, '<'), strings.LastIndexByte(addr, '>'); i >= 0 && j > i {
			name, addr = addr[:i], addr[i+1:j]
		} else if words := strings.Fields(addr); len(words) > 1 {
			for _, w := range words {
				if strings.Contains(w, "@") {
					addr = w
				}
			}
		}
		addr = strings.Trim(addr, " \t<>\"'()[];:")
		if strings.Count(addr, "@") == 0 || strings.ContainsAny(addr, " \t") {
			continue
		}
		out = append(out, Mailbox{Name: strings.Trim(DecodeWords(name), " \t\"'"), Addr: addr})
	}
	return out
}

// MessageIDs picks the ids in angle brackets out of a field, without brackets.
func MessageIDs(v string) []string {
	var out []string
	for {
		i := strings.IndexByte(v, '<')
		if i < 0 {
			return out
		}
		j := strings.IndexByte(v[i:], '>')
		if j < 0 {
			return out
		}
		if id := strings.TrimSpace(v[i+1 : i+j]); id != "" && !strings.ContainsAny(id, " \t<") {
			out = append(out, id)
		}
		v = v[i+j+1:]
	}
}

// Date reads a Date field, tolerant of comments and missing seconds.
func Date(v string) (time.Time, error) { return mail.ParseDate(v) }
