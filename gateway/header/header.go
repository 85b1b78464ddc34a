package header

import "bytes"

// Span is one field of a header over the original bytes, its folded lines and
// final line end included. A line that is no field (no colon, or white space
// before it) is a span without a name.
type Span struct {
	Start, End int // octets of the header
	NameEnd    int // end of the name; equal to Start for a line that is no field
	ValueStart int // first octet behind the colon
}

// IsField tells whether the span is a field rather than a stray line.
func (s Span) IsField() bool { return s.NameEnd > s.Start }

// Header is a header as spans. It never changes the bytes it was made from.
type Header struct {
	raw   []byte
	spans []Span
}

// Split cuts a message at its first empty line: the header with the line end
// of its last field, and the body behind the empty line. A message without an
// empty line is all header. Lines end with LF, with or without CR before it.
func Split(msg []byte) (hdr, body []byte) {
	for i := 0; i < len(msg); {
		nl := bytes.IndexByte(msg[i:], '\n')
		line := msg[i:]
		if nl >= 0 {
			line = msg[i : i+nl]
		}
		if nl >= 0 && isEmpty(line) {
			return msg[:i], msg[i+nl+1:]
		}
		if nl < 0 {
			break
		}
		i += nl + 1
	}
	return msg, nil
}

func isEmpty(line []byte) bool { return len(line) == 0 || (len(line) == 1 && line[0] == '\r') }

// Parse finds the spans of a header as Split gives it. It accepts any bytes:
// concatenating the spans always gives back the header.
func Parse(hdr []byte) *Header {
	h := &Header{raw: hdr, spans: make([]Span, 0, min(bytes.Count(hdr, newline)+1, 64))}
	for i := 0; i < len(hdr); {
		end := lineEnd(hdr, i)
		for end < len(hdr) && (hdr[end] == ' ' || hdr[end] == '\t') {
			end = lineEnd(hdr, end)
		}
		h.spans = append(h.spans, newSpan(hdr, i, end))
		i = end
	}
	return h
}

var newline = []byte{'\n'}

func lineEnd(b []byte, i int) int {
	nl := bytes.IndexByte(b[i:], '\n')
	if nl < 0 {
		return len(b)
	}
	return i + nl + 1
}

// newSpan reads the name. White space between name and colon is obsolete
// syntax and allowed (RFC 5322 section 4.5); inside the name it is not.
func newSpan(b []byte, start, end int) Span {
	s := Span{Start: start, End: end, NameEnd: start, ValueStart: start}
	colon := bytes.IndexByte(b[start:end], ':')
	if colon <= 0 {
		return s
	}
	name := bytes.TrimRight(b[start:start+colon], " \t")
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return s
		}
	}
	if len(name) == 0 {
		return s
	}
	s.NameEnd, s.ValueStart = start+len(name), start+colon+1
	return s
}

// Raw is the header the spans lie over.
func (h *Header) Raw() []byte { return h.raw }

// Spans lists all spans in order. The slice is not to be changed.
func (h *Header) Spans() []Span { return h.spans }

// Bytes are all octets of s.
func (h *Header) Bytes(s Span) []byte { return h.raw[s.Start:s.End] }

// Name is the field name of s as written, empty for a stray line.
func (h *Header) Name(s Span) []byte { return h.raw[s.Start:s.NameEnd] }

// Is tells whether s is a field of that name, compared without case.
func (h *Header) Is(s Span, name string) bool {
	return s.NameEnd-s.Start == len(name) && name != "" && equalFold(h.raw[s.Start:s.NameEnd], name)
}

func equalFold(b []byte, s string) bool {
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// Find gives the spans of all fields of that name, in order.
func (h *Header) Find(name string) []Span {
	var out []Span
	for _, s := range h.spans {
		if h.Is(s, name) {
			out = append(out, s)
		}
	}
	return out
}

// Count tells how many fields have that name.
func (h *Header) Count(name string) int {
	n := 0
	for _, s := range h.spans {
		if h.Is(s, name) {
			n++
		}
	}
	return n
}

// Get is the unfolded value of the first field of that name; false if there
// is none.
func (h *Header) Get(name string) (string, bool) {
	for _, s := range h.spans {
		if h.Is(s, name) {
			return h.Value(s), true
		}
	}
	return "", false
}

// Value is the value of s, unfolded (line ends removed, RFC 5322 section
// 2.2.3) and without white space around it.
func (h *Header) Value(s Span) string {
	v := bytes.Trim(h.raw[s.ValueStart:s.End], " \t\r\n")
	if bytes.IndexByte(v, '\n') < 0 {
		return string(v)
	}
	out := make([]byte, 0, len(v))
	for i, c := range v {
		if c == '\n' || (c == '\r' && i+1 < len(v) && v[i+1] == '\n') {
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

// Stray tells whether a line is no field: parsers disagree on what such a
// line means, many end the header there.
func (h *Header) Stray() bool {
	for _, s := range h.spans {
		if !s.IsField() {
			return true
		}
	}
	return false
}

// HasBlankLine tells whether a folded field holds a line of white space alone:
// obsolete (RFC 5322 section 4.2), and by many programs taken for the end of
// the header.
func (h *Header) HasBlankLine(s Span) bool {
	b := h.raw[s.Start:s.End]
	for {
		nl := bytes.IndexByte(b, '\n')
		if nl < 0 || nl+1 == len(b) {
			return false
		}
		b = b[nl+1:]
		line := b
		if end := bytes.IndexByte(b, '\n'); end >= 0 {
			line = b[:end]
		}
		if len(bytes.TrimRight(line, " \t\r")) == 0 {
			return true
		}
	}
}

// LongestLine is the length of the longest line in octets, without its line
// end (MIME-1 allows 998).
func LongestLine(b []byte) int {
	longest := 0
	for i := 0; i < len(b); {
		end := lineEnd(b, i)
		n := len(bytes.TrimRight(b[i:end], "\r\n"))
		if n > longest {
			longest = n
		}
		i = end
	}
	return longest
}
