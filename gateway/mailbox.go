package gateway

import (
	"strings"

	"postern/gateway/address"
)

// mailboxes reads the addresses of a From field (RFC 5322 section 3.4). It is
// more tolerant than the grammar about display names, as real ones hold raw
// 8-bit text and unquoted signs, and strict about the addresses. False if an
// address can't be read, or if what mail programs would show is in doubt.
func mailboxes(v string) ([]address.Address, bool) {
	var out []address.Address
	for _, part := range splitMailboxes(v) {
		spec, ok := addrSpec(part)
		if !ok {
			return nil, false
		}
		if spec == "" {
			continue
		}
		a, err := address.Parse(spec)
		if err != nil {
			return nil, false
		}
		out = append(out, a)
	}
	return out, true
}

// splitMailboxes cuts at commas outside of quotes, comments and brackets, and
// drops comments. A group's name and its end count as separators.
func splitMailboxes(v string) []string {
	var out []string
	var cur strings.Builder
	quoted, angle, depth := false, false, 0
	next := func() {
		if s := strings.TrimSpace(cur.String()); s != "" {
			out = append(out, s)
		}
		cur.Reset()
	}
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(v):
			i++
			if depth == 0 {
				cur.WriteByte(c)
				cur.WriteByte(v[i])
			}
		case depth > 0:
			if c == '(' {
				depth++
			} else if c == ')' {
				depth--
			}
		case c == '"':
			quoted = !quoted
			cur.WriteByte(c)
		case quoted:
			cur.WriteByte(c)
		case c == '(':
			depth++
			cur.WriteByte(' ')
		case c == '<':
			angle = true
			cur.WriteByte(c)
		case c == '>':
			angle = false
			cur.WriteByte(c)
		case !angle && (c == ',' || c == ';'):
			next()
		case !angle && c == ':':
			cur.Reset()
		default:
			cur.WriteByte(c)
		}
	}
	next()
	return out
}

// addrSpec is the addr-spec of one mailbox: what stands in its only pair of
// brackets, else all of it.
func addrSpec(part string) (string, bool) {
	open := lastUnquoted(part, '<')
	if open < 0 {
		return strings.TrimSpace(part), true
	}
	end := strings.LastIndexByte(part, '>')
	if end < open || strings.TrimSpace(part[end+1:]) != "" || lastUnquoted(part[:open], '<') >= 0 {
		return "", false
	}
	spec := strings.TrimSpace(part[open+1 : end])
	if strings.HasPrefix(spec, "@") { // obsolete source route (RFC 5322 section 4.4)
		_, rest, ok := strings.Cut(spec, ":")
		if !ok {
			return "", false
		}
		spec = rest
	}
	return spec, spec != ""
}

func lastUnquoted(s string, c byte) int {
	at, quoted := -1, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == c && !quoted:
			at = i
		}
	}
	return at
}
