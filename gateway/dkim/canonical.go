package dkim

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"sync"

	"postern/gateway/header"
)

// BodyHash is the SHA-256 of a body in relaxed form, to be taken once for all
// copies that share the body.
type BodyHash [sha256.Size]byte

const hashBuffer = 8 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, hashBuffer); return &b }}

// HashBody canonicalises and hashes a body (RFC 6376 section 3.4.4): runs of
// white space become one space, white space at line ends and empty lines at
// the end go. An empty body stays empty.
func HashBody(body []byte) BodyHash {
	h := sha256.New()
	bp := buffers.Get().(*[]byte)
	out := (*bp)[:0]
	empty := 0 // lines seen but not yet written: they count only if text follows
	for i := 0; i < len(body); {
		end := len(body)
		if nl := bytes.IndexByte(body[i:], '\n'); nl >= 0 {
			end = i + nl
		}
		line := body[i:end]
		i = end + 1
		line = bytes.TrimRight(line, " \t\r")
		if len(line) == 0 {
			empty++
			continue
		}
		for ; empty > 0; empty-- {
			out = flush(h, append(out, '\r', '\n'))
		}
		out = appendRelaxed(out, line)
		out = flush(h, append(out, '\r', '\n'))
	}
	h.Write(out)
	*bp = out[:0]
	buffers.Put(bp)
	var sum BodyHash
	h.Sum(sum[:0])
	return sum
}

// flush empties the buffer into h before it would have to grow; an overlong
// line may make it grow once.
func flush(h hash.Hash, out []byte) []byte {
	if len(out) < hashBuffer-1024 {
		return out
	}
	h.Write(out)
	return out[:0]
}

// appendRelaxed copies a line, each run of white space as one space.
func appendRelaxed(out, line []byte) []byte {
	for {
		i := indexWSP(line)
		if i < 0 {
			return append(out, line...)
		}
		out = append(append(out, line[:i]...), ' ')
		for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
			i++
		}
		line = line[i:]
	}
}

// indexWSP finds the first white space that is not already a single space.
func indexWSP(line []byte) int {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\t':
			return i
		case ' ':
			if i+1 < len(line) && (line[i+1] == ' ' || line[i+1] == '\t') {
				return i
			}
		}
	}
	return -1
}

// AppendField appends one field of h in relaxed form (RFC 6376 section 3.4.2) with
// its CRLF.
func AppendField(out []byte, h *header.Header, s header.Span) []byte {
	for _, c := range h.Name(s) {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	out = append(out, ':')
	return append(appendValue(out, h.Raw()[s.ValueStart:s.End]), '\r', '\n')
}

// appendValue unfolds and squeezes a field value.
func appendValue(out, v []byte) []byte {
	space, begun := false, false
	for _, c := range v {
		switch c {
		case ' ', '\t', '\r', '\n':
			space = true
		default:
			if space && begun {
				out = append(out, ' ')
			}
			space, begun = false, true
			out = append(out, c)
		}
	}
	return out
}
