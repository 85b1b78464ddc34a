package mime

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// File is a part that is not the letter itself.
type File struct {
	Name string // "" if none was given
	Type string
	Size int64 // decoded bytes
	Part *Part
}

// Text is the letter: what a person sees when opening the mail, as lines in
// valid UTF-8. Of alternatives the plain one is taken unless it is empty or a
// mere hint to look at the HTML. Messages within are not part of it.
func (m *Message) Text() string {
	var out strings.Builder
	m.limits = m.limits.withDefaults()
	m.collect(&m.Part, &out)
	return tidy(out.String())
}

// InnerText is the letter of a message within (a forwarded one).
func (m *Message) InnerText(p *Part) string {
	var out strings.Builder
	m.collect(p, &out)
	return tidy(out.String())
}

func (m *Message) collect(p *Part, out *strings.Builder) {
	if out.Len() > m.limits.Text {
		if m.Over == "" {
			m.Over = "text over its limit"
		}
		return
	}
	switch {
	case p.Type == "multipart/alternative" && len(p.Parts) > 0:
		m.collect(m.best(p.Parts), out)
	case p.Type == "multipart/related" && len(p.Parts) > 0:
		m.collect(p.Parts[0], out)
	case len(p.Parts) > 0:
		for _, c := range p.Parts {
			m.collect(c, out)
		}
	case p.letter():
		t := m.leafText(p)
		if t == "" {
			return
		}
		if out.Len() > 0 {
			out.WriteString("\n")
		}
		out.WriteString(t)
		if !strings.HasSuffix(t, "\n") {
			out.WriteString("\n")
		}
	}
}

// letter tells whether p is text to be read in place.
func (p *Part) letter() bool {
	if p.Disposition == "attachment" || p.Name != "" && p.Disposition != "inline" && p.Disposition != "" {
		return false
	}
	switch p.Type {
	case "text/plain", "text/html", "text/enriched", "text/richtext", "text/x-amp-html", "text", "text/watch-html":
		return p.Name == "" || p.Disposition == "inline"
	}
	return false
}

// leafText decodes one text part, cut to the limit.
func (m *Message) leafText(p *Part) string {
	b := p.Decode()
	if len(b) > m.limits.Text {
		b = b[:m.limits.Text]
		if m.Over == "" {
			m.Over = "text over its limit"
		}
	}
	charset := p.Params["charset"]
	if p.Type == "text/html" || p.Type == "text/x-amp-html" {
		if charset == "" {
			charset = metaCharset(b)
		}
		return HTMLText([]byte(toUTF8(b, charset)))
	}
	text := toUTF8(b, charset)
	if looksHTML(text) { // HTML sent as plain text
		return HTMLText([]byte(text))
	}
	if strings.EqualFold(p.Params["format"], "flowed") {
		text = unflow(text, strings.EqualFold(p.Params["delsp"], "yes"))
	}
	return text
}

// Decoded gives a text part as UTF-8, whatever its kind, up to limit bytes.
func (p *Part) Decoded(limit int) string {
	b := p.Decode()
	if len(b) > limit {
		b = b[:limit]
	}
	return toUTF8(b, p.Params["charset"])
}

// best chooses among alternatives.
func (m *Message) best(parts []*Part) *Part {
	var plain, rich *Part
	for _, p := range parts {
		switch {
		case p.Type == "text/plain" && plain == nil:
			plain = p
		case p.Type == "text/html" || strings.HasPrefix(p.Type, "multipart/"):
			rich = p
		}
	}
	switch {
	case plain == nil && rich == nil:
		return parts[0]
	case plain == nil:
		return rich
	case rich == nil:
		return plain
	}
	words := strings.Fields(m.leafText(plain))
	if len(words) >= 25 {
		return plain
	}
	// A short plain part may be all there is, or only a hint to the HTML.
	var b strings.Builder
	m.collect(rich, &b)
	if n := len(strings.Fields(b.String())); n > 3*len(words)+20 || len(words) == 0 && n > 0 {
		return rich
	}
	return plain
}

// Files lists all leaves that are not the letter, at most 200.
func (m *Message) Files() []File {
	var out []File
	walk(&m.Part, func(p *Part) bool {
		if len(p.Parts) == 0 && !p.letter() && len(out) < 200 {
			out = append(out, File{Name: p.Name, Type: p.Type, Size: p.size(), Part: p})
		}
		return true
	})
	return out
}

// size is the decoded length, computed without decoding.
func (p *Part) size() int64 {
	if p.Encoding == "base64" {
		n := 0
		for _, c := range p.Body {
			if c != '\r' && c != '\n' && c != ' ' && c != '=' {
				n++
			}
		}
		return int64(n * 3 / 4)
	}
	return int64(len(p.Body))
}

// Walk visits every part, outer first, into multiparts but not into messages
// within, until fn says false.
func (m *Message) Walk(fn func(*Part) bool) { walk(&m.Part, fn) }

func walk(p *Part, fn func(*Part) bool) bool {
	if !fn(p) {
		return false
	}
	for _, c := range p.Parts {
		if !walk(c, fn) {
			return false
		}
	}
	return true
}

// tidy makes lines end with \n, strips what can't be seen and white space at
// the ends of lines, and folds runs of empty lines into one.
func tidy(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s = strings.ReplaceAll(s, "\r", "\n")
	var out strings.Builder
	out.Grow(len(s))
	empty := 1
	for len(s) > 0 {
		line, rest, _ := strings.Cut(s, "\n")
		s = rest
		signature := line == "-- " // the mark of RFC 3676 section 4.3
		line = strings.TrimRightFunc(visible(line), unicode.IsSpace)
		if line == "" {
			if empty++; empty > 1 {
				continue
			}
		} else {
			empty = 0
		}
		if signature {
			line = "-- "
		}
		out.WriteString(line)
		out.WriteByte('\n')
	}
	return strings.TrimRight(out.String(), "\n")
}

// visible drops control and zero-width signs and turns odd spaces into plain
// ones.
func visible(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\u00a0', r == '\u202f', r == '\u2007', r == '\u3000':
			return ' '
		case r == utf8.RuneError:
			return r
		case r < ' ', r == 0x7f, r == '\u200b', r == '\u200e', r == '\u200f', r == '\u00ad', r == '\ufeff', r == '\u034f', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
			return -1
		}
		return r
	}, s)
}

// unflow joins the soft line ends of RFC 3676.
func unflow(s string, delsp bool) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	var out strings.Builder
	depth, open := 0, false
	for i, l := range lines {
		d := 0
		for d < len(l) && l[d] == '>' {
			d++
		}
		body := l[d:]
		if d > 0 || strings.HasPrefix(body, " ") {
			body = strings.TrimPrefix(body, " ") // stuffed
		}
		joins := open && d == depth
		depth = d
		open = strings.HasSuffix(body, " ") && body != "-- "
		if open && delsp {
			body = strings.TrimSuffix(body, " ")
		}
		if joins {
			out.WriteString(body)
		} else {
			if i > 0 {
				out.WriteByte('\n')
			}
			out.WriteString(strings.Repeat(">", d))
			if d > 0 {
				out.WriteByte(' ')
			}
			out.WriteString(body)
		}
	}
	return out.String()
}

// looksHTML tells whether a plain text is really an HTML document.
func looksHTML(s string) bool {
	head := s
	if len(head) > 512 {
		head = head[:512]
	}
	head = strings.ToLower(strings.TrimSpace(head))
	return strings.HasPrefix(head, "<!doctype html") || strings.HasPrefix(head, "<html") || strings.HasPrefix(head, "<body") || strings.HasPrefix(head, "<div") && strings.Contains(head, "</") || strings.HasPrefix(head, "<p>") && strings.Contains(head, "</p>")
}

// metaCharset reads the charset an HTML document names for itself.
func metaCharset(b []byte) string {
	if len(b) > 2048 {
		b = b[:2048]
	}
	s := strings.ToLower(string(b))
	_, after, ok := strings.Cut(s, "charset=")
	if !ok {
		return ""
	}
	after = strings.TrimLeft(after, `"' `)
	end := strings.IndexAny(after, `"'; />`)
	if end < 0 {
		return ""
	}
	return after[:end]
}
