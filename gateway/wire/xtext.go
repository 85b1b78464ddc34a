package wire

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Lengths of DSN parameters, encoded (RFC 3461 sections 4.2 and 4.4).
const (
	MaxORcpt = 500
	MaxEnvID = 100
)

// DecodeXtext decodes RFC 3461 section 4 xtext. The result is any octets.
func DecodeXtext(s string) (string, error) {
	if !strings.Contains(s, "+") {
		return s, checkXchars(s)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			if err := checkXchars(s[i : i+1]); err != nil {
				return "", err
			}
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) || strings.ToUpper(s[i:i+3]) != s[i:i+3] {
			return "", fmt.Errorf("%w: xtext", ErrArgument)
		}
		v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%w: xtext", ErrArgument)
		}
		b.WriteByte(byte(v))
		i += 2
	}
	return b.String(), nil
}

// checkXchars wants printable ASCII other than "=", or UTF-8 octets, which
// clients with SMTPUTF8 send bare (RFC 6533 section 3).
func checkXchars(s string) error {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == '=' || s[i] == 0x7f {
			return fmt.Errorf("%w: xtext", ErrArgument)
		}
	}
	return nil
}

// DecodeEnvID decodes an ENVID: printable ASCII (RFC 3461 section 4.4).
func DecodeEnvID(s string) (string, error) {
	d, err := DecodeXtext(s)
	if err != nil || d == "" || len(s) > MaxEnvID || !Printable(d) || !ASCII(d) {
		return "", fmt.Errorf("%w: ENVID", ErrArgument)
	}
	return d, nil
}

// DecodeORcpt decodes an ORCPT to "type;address" (RFC 3461 section 4.2, RFC
// 6533 section 3). An rfc822 address holding UTF-8 in xtext, as Postfix sends
// it, becomes type utf-8.
func DecodeORcpt(s string) (string, error) {
	bad := fmt.Errorf("%w: ORCPT", ErrArgument)
	kind, addr, ok := strings.Cut(s, ";")
	kind = strings.ToLower(kind)
	if !ok || len(s) > MaxORcpt || kind == "" || addr == "" || !keyword(strings.ToUpper(kind)) {
		return "", bad
	}
	var err error
	if kind == "utf-8" {
		addr, err = decodeUTF8(addr)
	} else if addr, err = DecodeXtext(addr); err == nil && kind == "rfc822" && !ASCII(addr) {
		kind = "utf-8"
	}
	if err != nil || addr == "" || !utf8.ValidString(addr) || !Printable(addr) {
		return "", bad
	}
	return kind + ";" + addr, nil
}

// decodeUTF8 resolves the \x{HEX} forms of RFC 6533 section 3, and those of
// xtext, which clients mix.
func decodeUTF8(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		before, after, found := strings.Cut(s, `\x{`)
		part, err := DecodeXtext(before)
		if err != nil || strings.Contains(part, `\`) {
			return "", fmt.Errorf("%w: utf-8 address", ErrArgument)
		}
		b.WriteString(part)
		if !found {
			break
		}
		hex, rest, ok := strings.Cut(after, "}")
		v, err := strconv.ParseUint(hex, 16, 21)
		if !ok || err != nil || len(hex) < 2 || len(hex) > 6 || !utf8.ValidRune(rune(v)) {
			return "", fmt.Errorf("%w: utf-8 address", ErrArgument)
		}
		b.WriteRune(rune(v))
		s = rest
	}
	return b.String(), nil
}
