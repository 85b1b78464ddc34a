package mime

import (
	"bytes"
	"mime"
	"strings"
)

// Limits bound the work on one message (MIME-5).
type Limits struct {
	Depth  int // of nested parts; default 50
	Parts  int // in all; default 1000
	Header int // bytes of one header; default 256 KiB
	Text   int // bytes of text taken; default 1 MiB
}

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = 50
	}
	if l.Parts <= 0 {
		l.Parts = 1000
	}
	if l.Header <= 0 {
		l.Header = 256 << 10
	}
	if l.Text <= 0 {
		l.Text = 1 << 20
	}
	return l
}

// Message is a message read.
type Message struct {
	Part
	// Over says which limit was passed, or "": a person must read the original.
	Over string
	// Defects lists what was wrong with the form, in closed words.
	Defects []string
	limits  Limits
}

// Part is a leaf with a body, a multipart with parts, or a message within.
type Part struct {
	Header      Header
	Type        string // lower case, as "text/plain"
	Params      map[string]string
	Disposition string // lower case: "attachment", "inline" or ""
	Name        string // file name, decoded, or ""
	Encoding    string // lower-case transfer encoding
	Body        []byte // as it stands on the wire
	Parts       []*Part
	Inner       *Part // of message/rfc822 and its like
	// Start and End are where header and body stand among the bytes that Parse
	// was given; of parts of a message within they mean nothing.
	Start, End int
}

// Parse reads raw. It never fails.
func Parse(raw []byte, limits Limits) *Message {
	m := &Message{limits: limits.withDefaults()}
	r := &reader{m: m}
	m.Part = *r.part(raw, "text/plain", 0)
	m.Part.place(0, len(raw))
	return m
}

// place notes where a part stands, and its parts within it: their ends were
// left relative to the body.
func (p *Part) place(start, end int) {
	p.Start, p.End = start, end
	body := end - len(p.Body)
	for _, c := range p.Parts {
		c.place(body+c.Start, body+c.End)
	}
}

type reader struct {
	m     *Message
	parts int
}

func (r *reader) defect(word string) {
	for _, d := range r.m.Defects {
		if d == word {
			return
		}
	}
	r.m.Defects = append(r.m.Defects, word)
}

func (r *reader) over(word string) {
	if r.m.Over == "" {
		r.m.Over = word
	}
}

func (r *reader) part(raw []byte, fallback string, depth int) *Part {
	r.parts++
	h, body, broken, over := splitHeader(raw, r.m.limits.Header)
	if broken {
		r.defect("header")
	}
	if over {
		r.over("header over its limit")
	}
	p := &Part{Header: h, Body: body}
	p.Type, p.Params = contentType(h.Get("Content-Type"), fallback)
	var dparams map[string]string
	p.Disposition, dparams = contentType(h.Get("Content-Disposition"), "")
	p.Name = fileName(dparams["filename"], p.Params["name"])
	p.Encoding = strings.ToLower(strings.Trim(firstWord(h.Get("Content-Transfer-Encoding")), "\"'"))
	if depth >= r.m.limits.Depth {
		r.over("nested too deep")
		return p
	}
	switch {
	case strings.HasPrefix(p.Type, "multipart/"):
		r.multipart(p, depth)
	case p.Type == "message/rfc822" || p.Type == "message/global" || p.Type == "message/news":
		inner := p.Body
		if p.Encoding == "base64" || p.Encoding == "quoted-printable" {
			inner = p.Decode()
		}
		p.Inner = r.part(bytes.TrimLeft(inner, "\r\n"), "text/plain", depth+1)
	}
	return p
}

func (r *reader) multipart(p *Part, depth int) {
	boundary := p.Params["boundary"]
	if boundary == "" {
		boundary = guessBoundary(p.Body)
		r.defect("boundary")
	}
	fallback := "text/plain"
	if p.Type == "multipart/digest" {
		fallback = "message/rfc822"
	}
	spans, closed := splitParts(p.Body, boundary)
	if !closed {
		r.defect("boundary")
	}
	if len(spans) == 0 { // no part found: what is there is text
		p.Type = "text/plain"
		return
	}
	for _, s := range spans {
		if r.parts >= r.m.limits.Parts {
			r.over("too many parts")
			return
		}
		c := r.part(p.Body[s.from:s.to], fallback, depth+1)
		c.Start, c.End = s.from, s.to
		p.Parts = append(p.Parts, c)
	}
}

// guessBoundary takes the first line of the form "--word" as the boundary.
func guessBoundary(body []byte) string {
	for rest := body; len(rest) > 0; {
		var line []byte
		line, rest = cutLine(rest)
		if len(line) > 4 && len(line) < 74 && bytes.HasPrefix(line, []byte("--")) && bytes.IndexByte(line, ' ') < 0 {
			return string(line[2:])
		}
	}
	return ""
}

// span is a run of bytes.
type span struct{ from, to int }

// splitParts cuts body at lines that begin with the boundary (RFC 2046
// section 5.1.1). closed tells whether the end boundary was there.
func splitParts(body []byte, boundary string) (parts []span, closed bool) {
	if boundary == "" {
		return nil, false
	}
	mark := []byte("--" + boundary)
	start := -1
	for pos := 0; pos < len(body); {
		end := bytes.IndexByte(body[pos:], '\n')
		next := len(body)
		if end >= 0 {
			next = pos + end + 1
		}
		if bytes.HasPrefix(body[pos:next], mark) {
			tail := bytes.TrimRight(body[pos+len(mark):next], " \t\r\n")
			if len(tail) == 0 || bytes.Equal(tail, []byte("--")) {
				if start >= 0 {
					parts = append(parts, span{start, start + len(trimEnd(body[start:pos]))})
				}
				if len(tail) != 0 {
					return parts, true
				}
				start = next
			}
		}
		pos = next
	}
	if start >= 0 && start < len(body) {
		parts = append(parts, span{start, len(body)})
	}
	return parts, false
}

// trimEnd removes the one line end that belongs to the boundary after it.
func trimEnd(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	return bytes.TrimSuffix(b, []byte("\r"))
}

// contentType reads a field with parameters; what the grammar refuses is
// picked apart by hand.
func contentType(v, fallback string) (string, map[string]string) {
	if v == "" {
		return fallback, nil
	}
	t, params, err := mime.ParseMediaType(v)
	if err == nil && t != "" {
		return t, params
	}
	params = map[string]string{}
	pieces := splitOutsideQuotes(v)
	t = strings.ToLower(strings.TrimSpace(pieces[0]))
	for _, p := range pieces[1:] {
		k, val, ok := strings.Cut(p, "=")
		if !ok {
			continue
		}
		k = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(k)), "*")
		if _, twice := params[k]; !twice {
			params[k] = strings.Trim(strings.TrimSpace(val), `"'`)
		}
	}
	if fallback != "" && !strings.Contains(t, "/") {
		if t == "text" || t == "" {
			t = fallback
		} else {
			t = "application/octet-stream"
		}
	}
	return t, params
}

func splitOutsideQuotes(v string) []string {
	var out []string
	quoted, start := false, 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '"':
			quoted = !quoted
		case ';':
			if !quoted {
				out = append(out, v[start:i])
				start = i + 1
			}
		}
	}
	return append(out, v[start:])
}

func fileName(names ...string) string {
	for _, n := range names {
		if n = strings.TrimSpace(DecodeWords(n)); n != "" {
			return n
		}
	}
	return ""
}

func firstWord(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return strings.TrimRight(f[0], ";,")
	}
	return ""
}

// Headers reads the header alone.
func Headers(raw []byte) Header {
	h, _, _, _ := splitHeader(raw, 256<<10)
	return h
}
