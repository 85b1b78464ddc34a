package gateway

import (
	"bytes"
	"encoding/base64"
	"strings"

	"postern/gateway/header"
)

// placeholderNames are the words a client may put between {{ and }} in the
// text of marketing mail; each copy gets its own links there (design D6).
var placeholderNames = [...]string{"unsubscribe_url", "preferences_url"}

const placeholderCount = len(placeholderNames)

// links are the texts for the placeholders, in their order.
type links [placeholderCount]string

// substitution says where the placeholders of one body are. It is made once
// for all copies.
type substitution struct {
	edits []edit // in order of start
}

// edit is one stretch of the body that differs from copy to copy.
type edit struct {
	start, end int // octets of the body
	form       form
	which      int     // placeholder; not for base64
	rest       int     // quoted-printable: octets behind it up to the next edit or line end
	line       int     // octets of the original line before start
	pieces     []piece // base64: the decoded part
}

// form is how a part's octets are encoded.
type form uint8

const (
	asIs form = iota // 7bit, 8bit, binary
	asQP
	asBase64
)

// piece is a literal stretch of a decoded part and the placeholder behind it,
// -1 for none.
type piece struct {
	literal []byte
	which   int
}

// findPlaceholders looks through the text parts of a body, those inside a
// signed or encrypted container and attachments apart. nil if there is none.
func findPlaceholders(body []byte, parts []header.Part) *substitution {
	s := &substitution{}
	for _, p := range parts {
		if p.Sealed || p.Attachment || !strings.HasPrefix(p.Type, "text/") {
			continue
		}
		switch p.Encoding {
		case "", "7bit", "8bit", "binary":
			s.findPlain(body, p)
		case "quoted-printable":
			s.findQP(body, p)
		case "base64":
			s.findBase64(body, p)
		}
	}
	if len(s.edits) == 0 {
		return nil
	}
	return s
}

// Beginnings of a placeholder: a part without any of them is not searched.
var (
	plainOpenings = [][]byte{[]byte("{{"), []byte("%7B"), []byte("%7b")}
	qpOpenings    = [][]byte{[]byte("{{"), []byte("{="), []byte("%7"), []byte("%=")} // and those with the first sign escaped
)

func containsAny(text []byte, openings [][]byte) bool {
	for _, o := range openings {
		if bytes.Contains(text, o) {
			return true
		}
	}
	return false
}

// hasEscape tells whether a quoted-printable text holds an escaped { or %.
func hasEscape(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '=')
		if i < 0 || i+2 >= len(text) {
			return false
		}
		switch text = text[i+1:]; {
		case text[0] == '7' && (text[1] == 'B' || text[1] == 'b'), text[0] == '2' && text[1] == '5':
			return true
		}
	}
}

// octets gives the octet at i of an encoded text and where the next begins;
// ok is false at the end.
type octets func(i int) (c byte, next int, ok bool)

func plainOctets(b []byte) octets {
	return func(i int) (byte, int, bool) {
		if i >= len(b) {
			return 0, i, false
		}
		return b[i], i + 1, true
	}
}

// matchPlaceholder reads a placeholder at i: {{name}}, with white space
// inside allowed, or as editors write it into a link, %7B%7Bname%7D%7D.
func matchPlaceholder(at octets, i int) (which, end int, ok bool) {
	var text [40]byte
	n := 0
	for n < len(text) {
		c, next, more := at(i)
		if !more || c == '\r' || c == '\n' {
			return 0, 0, false
		}
		text[n], i = c, next
		n++
		if which, ok := placeholderText(text[:n]); ok {
			return which, i, true
		}
		if n == 6 && text[0] != '{' && !bytes.EqualFold(text[:6], []byte("%7B%7B")) {
			return 0, 0, false
		}
		if n == 2 && text[0] == '{' && text[1] != '{' {
			return 0, 0, false
		}
	}
	return 0, 0, false
}

func placeholderText(b []byte) (which int, ok bool) {
	var name []byte
	switch {
	case len(b) > 4 && b[len(b)-1] == '}' && b[len(b)-2] == '}' && b[0] == '{' && b[1] == '{':
		name = bytes.Trim(b[2:len(b)-2], " \t")
	case len(b) > 12 && b[0] == '%' && bytes.EqualFold(b[:6], []byte("%7B%7B")) && bytes.EqualFold(b[len(b)-6:], []byte("%7D%7D")):
		name = b[6 : len(b)-6]
	default:
		return 0, false
	}
	for i, want := range placeholderNames {
		if string(name) == want {
			return i, true
		}
	}
	return 0, false
}

// scanPlain calls found for each placeholder in text that needs no decoding.
func scanPlain(text []byte, found func(which, start, end int)) {
	if !containsAny(text, plainOpenings) {
		return
	}
	at := plainOctets(text)
	for i := 0; i < len(text); {
		j := bytes.IndexAny(text[i:], "{%")
		if j < 0 {
			return
		}
		i += j
		which, end, ok := matchPlaceholder(at, i)
		if !ok {
			i++
			continue
		}
		found(which, i, end)
		i = end
	}
}

func (s *substitution) findPlain(body []byte, p header.Part) {
	scanPlain(body[p.Start:p.End], func(which, start, end int) {
		s.add(body, edit{start: p.Start + start, end: p.Start + end, form: asIs, which: which})
	})
}

func (s *substitution) findQP(body []byte, p header.Part) {
	text := body[p.Start:p.End]
	if !hasEscape(text) && !containsAny(text, qpOpenings) {
		return
	}
	at := qpOctets(text)
	for i := 0; i < len(text); {
		j := bytes.IndexAny(text[i:], "{%=")
		if j < 0 {
			return
		}
		i += j
		if text[i] == '=' && !isEscaped(text, i, '{') && !isEscaped(text, i, '%') {
			i++
			continue
		}
		which, end, ok := matchPlaceholder(at, i)
		if !ok {
			i++
			continue
		}
		s.add(body, edit{start: p.Start + i, end: p.Start + end, form: asQP, which: which})
		i = end
	}
}

// add keeps an edit with what it needs to know of its line.
func (s *substitution) add(body []byte, e edit) {
	e.line = e.start - (bytes.LastIndexByte(body[:e.start], '\n') + 1)
	e.rest = bytes.IndexByte(body[e.end:], '\n')
	if e.rest < 0 {
		e.rest = len(body) - e.end
	} else if e.rest > 0 && body[e.end+e.rest-1] == '\r' {
		e.rest--
	}
	if n := len(s.edits); n > 0 {
		if last := &s.edits[n-1]; last.end+last.rest > e.start {
			last.rest = e.start - last.end
		}
	}
	s.edits = append(s.edits, e)
}

func isEscaped(text []byte, i int, c byte) bool {
	v, ok := hexPair(text, i+1)
	return ok && v == c
}

// hexPair reads two hexadecimal digits.
func hexPair(b []byte, i int) (byte, bool) {
	if i+1 >= len(b) {
		return 0, false
	}
	hi, lo := hexDigit(b[i]), hexDigit(b[i+1])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// qpOctets decodes quoted-printable octet by octet; soft line breaks are no
// octets (RFC 2045 section 6.7).
func qpOctets(b []byte) octets {
	return func(i int) (byte, int, bool) {
		for i < len(b) && b[i] == '=' {
			if c, ok := hexPair(b, i+1); ok {
				return c, i + 3, true
			}
			j := i + 1
			for j < len(b) && (b[j] == ' ' || b[j] == '\t') {
				j++
			}
			if j < len(b) && b[j] == '\r' {
				j++
			}
			if j >= len(b) || b[j] != '\n' {
				return b[i], i + 1, true
			}
			i = j + 1
		}
		if i >= len(b) {
			return 0, i, false
		}
		return b[i], i + 1, true
	}
}

// findBase64 decodes a part; one that holds a placeholder is encoded anew in
// each copy, as the length of all that follows changes.
func (s *substitution) findBase64(body []byte, p header.Part) {
	text := body[p.Start:p.End]
	decoded := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(decoded, bytes.TrimRight(text, " \t\r\n"))
	if err != nil {
		return
	}
	var pieces []piece
	last := 0
	scanPlain(decoded[:n], func(which, start, end int) {
		pieces = append(pieces, piece{decoded[last:start], which})
		last = end
	})
	if pieces == nil {
		return
	}
	pieces = append(pieces, piece{decoded[last:n], -1})
	end := p.Start + len(bytes.TrimRight(text, " \t\r\n"))
	s.add(body, edit{start: p.Start, end: end, form: asBase64, pieces: pieces})
}
