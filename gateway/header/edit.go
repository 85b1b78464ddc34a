package header

import (
	"bytes"
	"slices"
)

// Edit collects changes to a header. Bytes outside the changed fields stay as
// they were, in their order.
type Edit struct {
	h       *Header
	changes []change
	size    int
}

// change replaces octets [start,end) by with.
type change struct {
	start, end int
	with       []byte
}

// Edit starts a set of changes.
func (h *Header) Edit() *Edit { return &Edit{h: h} }

// Remove takes out the field at s.
func (e *Edit) Remove(s Span) *Edit { return e.add(s.Start, s.End, nil) }

// RemoveAll takes out every field of that name.
func (e *Edit) RemoveAll(name string) *Edit {
	for _, s := range e.h.Find(name) {
		e.Remove(s)
	}
	return e
}

// Replace puts field, complete with its CRLF, in the place of s.
func (e *Edit) Replace(s Span, field []byte) *Edit { return e.add(s.Start, s.End, field) }

// Prepend puts fields, each complete with its CRLF, before all others. Of
// several Prepends the first called comes first.
func (e *Edit) Prepend(fields []byte) *Edit { return e.add(0, 0, fields) }

// Insert puts fields before the octet offset at, which must be the start of a
// span or the end of the header.
func (e *Edit) Insert(at int, fields []byte) *Edit { return e.add(at, at, fields) }

func (e *Edit) add(start, end int, with []byte) *Edit {
	e.changes = append(e.changes, change{start, end, with})
	e.size += len(with)
	return e
}

// Bytes gives the header with all changes, in a new slice. Where the header
// does not end with a line end, one is added before what is put behind it.
func (e *Edit) Bytes() []byte {
	slices.SortStableFunc(e.changes, func(a, b change) int { return a.start - b.start })
	out := make([]byte, 0, len(e.h.raw)+e.size+2)
	pos := 0
	for _, c := range e.changes {
		if c.start > pos {
			out = append(out, e.h.raw[pos:c.start]...)
			pos = c.start
		}
		if len(c.with) > 0 && len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\r', '\n')
		}
		out = append(out, c.with...)
		if c.end > pos {
			pos = c.end
		}
	}
	return append(out, e.h.raw[pos:]...)
}

// traceFields stand at the top of a header, newest first; what is inserted
// below them does not part a Received from its predecessors (RFC 5322 section
// 3.6.7, RFC 8617 section 4.1).
var traceFields = []string{
	"Received", "Return-Path", "Delivered-To", "X-Original-To", "DKIM-Signature", "Authentication-Results",
	"ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results", "Received-SPF", "X-Mailbox-Line",
}

// AfterTrace is the octet offset behind the leading trace fields: the place
// for fields of our own. It is never behind a stray or blank line, as a next
// hop may take what follows one for the body.
func (h *Header) AfterTrace() int {
	for _, s := range h.spans {
		if !h.isTrace(s) || h.HasBlankLine(s) {
			return s.Start
		}
	}
	return len(h.raw)
}

func (h *Header) isTrace(s Span) bool {
	for _, name := range traceFields {
		if h.Is(s, name) {
			return true
		}
	}
	return false
}

// Fold breaks a field's lines over limit octets before white space, where
// folding changes nothing but its look (RFC 5322 section 2.2.3). False if
// there is no white space to break at, or a line would hold nothing else.
func Fold(field []byte, limit int) ([]byte, bool) {
	out := make([]byte, 0, len(field)+16)
	for i := 0; i < len(field); {
		end := lineEnd(field, i)
		line := field[i:end]
		for len(bytes.TrimRight(line, "\r\n")) > limit {
			at := foldAt(line, limit)
			if at < 0 {
				return nil, false
			}
			out = append(append(out, line[:at]...), '\r', '\n')
			line = line[at:]
		}
		out = append(out, line...)
		i = end
	}
	return out, true
}

// foldAt finds the last white space up to limit with text on both sides.
func foldAt(line []byte, limit int) int {
	last := len(bytes.TrimRight(line, " \t\r\n")) - 1
	for at := min(limit, last); at > 0; at-- {
		if line[at] != ' ' && line[at] != '\t' {
			continue
		}
		before := bytes.TrimSpace(line[:at])
		if len(before) == 0 {
			return -1
		}
		if before[len(before)-1] != ':' {
			return at
		}
	}
	return -1
}
