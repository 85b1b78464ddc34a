package gateway

import (
	"bytes"
	"encoding/base64"
)

// apply gives a new body with the links in place of the placeholders; all
// other octets stay.
func (s *substitution) apply(body []byte, l links) []byte {
	out := make([]byte, 0, len(body)+len(s.edits)*128)
	pos := 0
	for _, e := range s.edits {
		out = append(out, body[pos:e.start]...)
		switch e.form {
		case asIs:
			out = append(out, l[e.which]...)
		case asQP:
			out = appendQP(out, l[e.which], e.rest)
		case asBase64:
			out = appendPieces(out, e.pieces, l)
		}
		pos = e.end
	}
	return append(out, body[pos:]...)
}

// longest is the length of the longest line that a substitution by texts of n
// octets can make of lines that are not encoded.
func (s *substitution) longest(n int) int {
	longest := 0
	for i, e := range s.edits {
		if e.form != asIs {
			continue
		}
		length := e.line + n + e.rest
		for k := i - 1; k >= 0 && s.edits[k].end+s.edits[k].rest == s.edits[k+1].start && s.edits[k+1].line > 0; k-- {
			length += n
		}
		longest = max(longest, length)
	}
	return longest
}

// qpLine is the longest line of quoted-printable text (RFC 2045 section 6.7).
const qpLine = 76

// appendQP writes a link with soft line breaks where the line gets too long,
// and one behind it where the rest octets that follow would not fit.
func appendQP(out []byte, link string, rest int) []byte {
	col := len(out) - (bytes.LastIndexByte(out, '\n') + 1)
	for i := 0; i < len(link); i++ {
		c := link[i]
		width := 1
		if c == '=' || c < '!' || c > '~' {
			width = 3
		}
		if col+width >= qpLine {
			out = append(out, "=\r\n"...)
			col = 0
		}
		if width == 3 {
			out = append(out, '=', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		} else {
			out = append(out, c)
		}
		col += width
	}
	if rest > 0 && col+rest >= qpLine {
		out = append(out, "=\r\n"...)
	}
	return out
}

// appendPieces encodes a whole part in lines of 76 (RFC 2045 section 6.8).
func appendPieces(out []byte, pieces []piece, l links) []byte {
	var text []byte
	for _, p := range pieces {
		text = append(text, p.literal...)
		if p.which >= 0 {
			text = append(text, l[p.which]...)
		}
	}
	const octetsPerLine = 57
	for len(text) > 0 {
		n := min(len(text), octetsPerLine)
		out = base64.StdEncoding.AppendEncode(out, text[:n])
		if text = text[n:]; len(text) > 0 {
			out = append(out, '\r', '\n')
		}
	}
	return out
}
