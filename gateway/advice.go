package gateway

import (
	"bytes"
	"encoding/base64"
	"html"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"postern/gateway/header"
	"postern/gateway/stream"
)

// advise asks the advisor about transactional mail. What it says counts, adds
// a header or refuses, by the lesser of mode and configuration (design D1).
func (e *Engine) advise(r *rules, st stream.Stream, m *message, p *plan) {
	if e.deps.Advisor == nil || st.Kind != stream.Transactional {
		return
	}
	looks, word := e.deps.Advisor.LooksMarketing(decodeSubject(m.value(fieldSubject)), sampleText(m))
	if !looks {
		return
	}
	e.met.advisory.Inc()
	den := &Denial{Reason: LooksMarketing, Detail: closedWord(word)}
	mode := r.mode(st)
	switch {
	case st.Advisory == "refuse" && mode == stream.Enforce:
		p.advice = den
	case st.Advisory == "header" || mode == stream.Annotate || st.Advisory == "refuse":
		if mode != stream.Observe {
			p.add = append(p.add, "X-Postern-Advice: "+den.label()+"\r\n"...)
		}
	}
}

// closedWord keeps foreign text out of headers, records and replies.
func closedWord(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}

// sampleSize is how many octets of text the advisor gets to see.
const sampleSize = 8 << 10

// sampleText is the beginning of the text: the first text/plain part, else
// the first text/html part without its tags.
func sampleText(m *message) string {
	for _, want := range []string{"text/plain", "text/html"} {
		for _, p := range m.parts {
			if p.Type != want || p.Attachment {
				continue
			}
			text := decodePart(m.body[p.Start:p.End], p)
			if want == "text/html" {
				text = withoutTags(text)
			}
			return strings.ToValidUTF8(string(text), "\uFFFD")
		}
	}
	return ""
}

func decodePart(raw []byte, p header.Part) []byte {
	var r io.Reader = bytes.NewReader(raw)
	switch p.Encoding {
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	}
	text, err := io.ReadAll(io.LimitReader(r, sampleSize))
	if err != nil && len(text) == 0 {
		return raw[:min(len(raw), sampleSize)]
	}
	return text
}

// withoutTags drops markup and the content of style and script elements.
func withoutTags(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		open := bytes.IndexByte(text, '<')
		if open < 0 {
			out = append(out, text...)
			break
		}
		out = append(append(out, text[:open]...), ' ')
		text = text[open:]
		closed := bytes.IndexByte(text, '>')
		for _, skip := range []string{"style", "script"} {
			if len(text) > len(skip) && bytes.EqualFold(text[1:1+len(skip)], []byte(skip)) {
				closed = bytes.Index(bytes.ToLower(text), []byte("</"+skip)) - 1
			}
		}
		if closed < 0 {
			break
		}
		text = text[closed+1:]
	}
	return []byte(html.UnescapeString(string(out)))
}

// decodeSubject is the subject in clear for the advisor; as it stands where
// it can't be decoded.
func decodeSubject(v string) string {
	dec := mime.WordDecoder{}
	if s, err := dec.DecodeHeader(v); err == nil {
		return s
	}
	return v
}
