package delivery

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"postern/gateway/spool"
)

// envelope is the head of a transaction: MAIL and RCPT lines, and the size of
// the message behind them.
type envelope struct {
	lines []byte
	size  int64
}

// envelope builds the lines for what the hop offers. Errors: errUnfit where
// this hop can't take the copy.
func (c *conn) envelope(m *spool.Message, cp Copy) (*envelope, error) {
	env := &envelope{size: int64(len(cp.Header) + 2 + len(cp.Body))}
	if err := c.fits(m, cp, env.size); err != nil {
		return nil, err
	}
	utf8 := cp.UTF8 && c.has("SMTPUTF8")
	b := append(make([]byte, 0, 128*(1+len(cp.Recipients))), "MAIL FROM:<"...)
	b = append(append(b, cp.ReversePath.Plain()...), '>')
	if c.has("SIZE") {
		b = strconv.AppendInt(append(b, " SIZE="...), env.size, 10)
	}
	if cp.EightBit && c.has("8BITMIME") {
		b = append(b, " BODY=8BITMIME"...)
	}
	if utf8 {
		b = append(b, " SMTPUTF8"...)
	}
	if m.RequireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	dsn := c.has("DSN")
	if dsn && m.Ret != "" {
		b = append(append(b, " RET="...), m.Ret...)
	}
	if dsn && m.EnvID != "" {
		b = appendXtext(append(b, " ENVID="...), m.EnvID)
	}
	b = append(b, "\r\n"...)
	for _, i := range cp.Recipients {
		r := &m.Recipients[i]
		b = append(append(append(b, "RCPT TO:<"...), r.Address.Plain()...), '>')
		if dsn && r.Notify != "" {
			b = append(append(b, " NOTIFY="...), r.Notify...)
		}
		if dsn && r.ORcpt != "" {
			b = appendORcpt(append(b, " ORCPT="...), r.ORcpt, utf8)
		}
		b = append(b, "\r\n"...)
	}
	env.lines = b
	return env, nil
}

// fits tells why this hop can't take the copy, if so.
func (c *conn) fits(m *spool.Message, cp Copy, size int64) error {
	unfit := func(code int, status, text string) error {
		return &errUnfit{reply{code: code, status: status, text: text}}
	}
	if limit := c.maxSize(); limit > 0 && size > limit {
		return unfit(552, "5.3.4", "message exceeds the size limit of the next hop")
	}
	if cp.UTF8 && !c.has("SMTPUTF8") { // RFC 6531 section 3.5
		if addressesNeedUTF8(m, cp) {
			return unfit(553, "5.6.7", "next hop does not support SMTPUTF8")
		}
		if !ascii(cp.Header) {
			return unfit(554, "5.6.9", "next hop takes no UTF-8 in header fields")
		}
	}
	if cp.EightBit && !c.has("8BITMIME") && !(ascii(cp.Header) && ascii(cp.Body)) {
		return unfit(554, "5.6.3", "next hop does not support 8BITMIME")
	}
	if m.RequireTLS && !(c.secure && c.has("REQUIRETLS")) {
		return unfit(550, "5.7.30", "next hop does not support REQUIRETLS")
	}
	return nil
}

// addressesNeedUTF8 tells whether a local-part of the envelope is not ASCII;
// domains are A-labels already (UTF8-1).
func addressesNeedUTF8(m *spool.Message, cp Copy) bool {
	if cp.ReversePath.NeedsUTF8() {
		return true
	}
	for _, i := range cp.Recipients {
		if m.Recipients[i].Address.NeedsUTF8() {
			return true
		}
	}
	return false
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// lineEnds tells whether each CR and LF of the copy is half of a CRLF: what
// leaves must not be read as two messages by any hop (SMTP-5).
func lineEnds(parts ...[]byte) bool {
	for _, b := range parts {
		if !bareFree(b) {
			return false
		}
	}
	return true
}

func bareFree(b []byte) bool {
	pairs := 0
	for rest := b; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		if i == 0 || rest[i-1] != '\r' {
			return false
		}
		pairs++
		rest = rest[i+1:]
	}
	return bytes.Count(b, []byte{'\r'}) == pairs
}

// appendXtext encodes as RFC 3461 section 4 says.
func appendXtext(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			b = fmt.Appendf(b, "+%02X", c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// appendORcpt encodes "type;address": xtext for rfc822, for utf-8 the forms of
// RFC 6533 section 3.
func appendORcpt(b []byte, orcpt string, utf8 bool) []byte {
	kind, addr, ok := strings.Cut(orcpt, ";")
	if !ok {
		kind, addr = "rfc822", orcpt
	}
	b = append(append(b, kind...), ';')
	if !strings.EqualFold(kind, "utf-8") {
		return appendXtext(b, addr)
	}
	for _, r := range addr {
		switch {
		case r <= ' ' || r == '+' || r == '=' || r == '\\' || r == 0x7f || r > 0x7f && !utf8:
			b = fmt.Appendf(b, "\\x{%02X}", r)
		default:
			b = append(b, string(r)...)
		}
	}
	return b
}
