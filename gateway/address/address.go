// Package address holds the one type for a mail address and the keyed
// pseudonym under which everything outside spool and open cases knows its owner.
package address

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Limits of RFC 5321 section 4.5.3.1, in octets.
const (
	MaxLocal  = 64
	MaxDomain = 255
	MaxPath   = 254
)

// ErrSyntax is returned, wrapped with what was wrong but never with the
// address, for anything that is not an RFC 5321 Mailbox.
var ErrSyntax = errors.New("not a mail address")

// Address is one RFC 5321 mailbox, IDNA and NFC applied. The zero value is
// the null reverse-path. String, LogValue and formatting never show it: use
// Plain where the address itself is meant.
type Address struct {
	local  string // NFC, quotes removed
	domain string // A-labels, lower case, or an address literal
}

// logSeed makes the redacted form useless outside this process.
var logSeed = maphash.MakeSeed()

// Parse reads an addr-spec without angle brackets (RFC 5321 section 4.1.2,
// RFC 6531 section 3.3). The domain becomes lower-case A-labels, the
// local-part NFC (RFC 6532 section 3.1). Errors wrap ErrSyntax.
func Parse(s string) (Address, error) {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at == len(s)-1 {
		return Address{}, fmt.Errorf("%w: local-part and domain are needed", ErrSyntax)
	}
	if len(s) > MaxPath || !utf8.ValidString(s) {
		return Address{}, fmt.Errorf("%w: too long or not UTF-8", ErrSyntax)
	}
	local, err := parseLocal(s[:at])
	if err != nil {
		return Address{}, err
	}
	domain, err := parseDomain(s[at+1:])
	if err != nil {
		return Address{}, err
	}
	a := Address{local: local, domain: domain}
	// NFC and A-labels may be longer than what was written.
	if plain := len(a.Plain()); plain > MaxPath || plain-len(domain)-1 > MaxLocal {
		return Address{}, fmt.Errorf("%w: too long in normal form", ErrSyntax)
	}
	return a, nil
}

// MustParse is Parse for constants; it panics on a bad address.
func MustParse(s string) Address {
	a, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return a
}

func parseLocal(s string) (string, error) {
	if len(s) > MaxLocal {
		return "", fmt.Errorf("%w: local-part over %d octets", ErrSyntax, MaxLocal)
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return parseQuoted(s[1 : len(s)-1])
	}
	if s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return "", fmt.Errorf("%w: misplaced dot in local-part", ErrSyntax)
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>[]:;@\,"`, r) || unicode.IsControl(r) {
			return "", fmt.Errorf("%w: sign not allowed in local-part", ErrSyntax)
		}
	}
	return norm.NFC.String(s), nil
}

func parseQuoted(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			i++
			c = s[i]
		} else if c == '"' || c == '\\' {
			return "", fmt.Errorf("%w: bad quoting in local-part", ErrSyntax)
		}
		if c < ' ' || c == 0x7f {
			return "", fmt.Errorf("%w: control sign in local-part", ErrSyntax)
		}
		b.WriteByte(c)
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%w: empty local-part", ErrSyntax)
	}
	return norm.NFC.String(b.String()), nil
}

// IsZero tells whether a is the null reverse-path <>.
func (a Address) IsZero() bool { return a.domain == "" }

// Local is the local-part without quotes, in NFC.
func (a Address) Local() string { return a.local }

// Domain is the domain in lower-case A-labels.
func (a Address) Domain() string { return a.domain }

// NeedsUTF8 tells whether the address can only travel with SMTPUTF8 (RFC 6531).
func (a Address) NeedsUTF8() bool {
	return !isASCII(a.local)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Plain is the address in clear, quoted where RFC 5321 demands it, or "" for
// the null reverse-path. For the wire and for records that must reach the
// person, never for logs.
func (a Address) Plain() string {
	if a.IsZero() {
		return ""
	}
	return quoteLocal(a.local) + "@" + a.domain
}

func quoteLocal(s string) string {
	if _, err := parseLocal(s); err == nil && s[0] != '"' {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Wide is the form under which suppression binds: case folded, plus-tag
// removed (design D8). Two addresses with the same wide form are one person
// as far as "do not send" is concerned.
func (a Address) Wide() string {
	local := a.local
	if isASCII(local) {
		local = strings.ToLower(local)
	} else {
		// Canonical caseless matching (Unicode section 3.13, D145).
		local = norm.NFC.String(strings.Map(cherokee, cases.Fold().String(norm.NFD.String(local))))
	}
	if i := strings.IndexByte(local, '+'); i > 0 {
		local = local[:i]
	}
	return local + "@" + a.domain
}

// cherokee sets capitals: Cherokee folds to these (CaseFolding.txt), and
// cases.Fold turns each of its letters into the other one.
func cherokee(r rune) rune {
	if unicode.Is(unicode.Cherokee, r) {
		return unicode.ToUpper(r)
	}
	return r
}

// Exact is the form under which consent was given: local-part as written.
func (a Address) Exact() string { return a.local + "@" + a.domain }

// String is a per-process pseudonym such as "addr:7f3a9c21".
func (a Address) String() string {
	if a.IsZero() {
		return "addr:<>"
	}
	return fmt.Sprintf("addr:%08x", uint32(maphash.String(logSeed, a.Wide())))
}

// GoString keeps %#v from showing the address.
func (a Address) GoString() string { return a.String() }

// Format keeps every other verb from showing it, %d and %t too.
func (a Address) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// LogValue keeps slog from showing the address.
func (a Address) LogValue() slog.Value { return slog.StringValue(a.String()) }
