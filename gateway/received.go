package gateway

import (
	"strings"
	"time"
)

// received builds the trace field (RFC 5321 section 4.4): the EHLO name and
// the address literal, never a recipient, as Bcc and aliases would leak. The
// comment behind our name is the mark by which a loop is seen.
func (e *Engine) received(env *Envelope, id string, at time.Time) []byte {
	b := make([]byte, 0, 320)
	b = append(b, "Received: from "...)
	b = append(b, heloName(env.Helo)...)
	if env.Remote.IsValid() {
		b = append(b, " (["...)
		if ip := env.Remote.Unmap(); ip.Is6() {
			b = append(b, "IPv6:"...)
		}
		b = env.Remote.Unmap().WithZone("").AppendTo(b)
		b = append(b, "])"...)
	}
	b = append(b, "\r\n\tby "...)
	b = append(b, e.opts.Hostname...)
	b = append(b, " ("...)
	b = append(b, e.opts.TraceMark...)
	b = append(b, ") with "...)
	b = append(b, protocol(env)...)
	b = append(b, "\r\n\tid "...)
	b = append(b, id...)
	if env.TLS != "" {
		b = append(b, " ("...)
		b = append(b, commentSafe(env.TLS)...)
		b = append(b, ')')
	}
	b = append(b, ";\r\n\t"...)
	b = at.AppendFormat(b, time.RFC1123Z)
	return append(b, '\r', '\n')
}

// protocol is the word of the IANA registry "Mail Transmission Types" (RFC
// 3848, RFC 6531 section 4.3).
func protocol(env *Envelope) string {
	p := "ESMTP"
	switch {
	case env.LMTP && env.UTF8:
		p = "UTF8LMTP"
	case env.LMTP:
		p = "LMTP"
	case env.UTF8:
		p = "UTF8SMTP"
	}
	if env.TLS != "" {
		p += "S"
	}
	if env.Auth != "" {
		p += "A"
	}
	return p
}

// heloName keeps a client's EHLO argument from breaking the field.
func heloName(s string) string {
	if s == "" || len(s) > 255 {
		return "unknown"
	}
	for _, c := range []byte(s) {
		ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._:[]", c) >= 0
		if !ok {
			return "unknown"
		}
	}
	return s
}

func commentSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '(' || r == ')' || r == '\\' {
			return '_'
		}
		return r
	}, s)
}
