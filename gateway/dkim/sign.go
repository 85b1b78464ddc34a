package dkim

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/gateway/header"
)

// ErrNoKey says that no key signs for the domain of a message's From.
var ErrNoKey = errors.New("no DKIM key for the domain")

// signed are the fields put into h= as often as they are present (AUTHN-2).
var signed = []string{
	"From", "Reply-To", "Sender", "Subject", "Date", "To", "Cc", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID", "Content-Description",
	"List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "List-Help", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
	"Feedback-ID", "Auto-Submitted", "Precedence", "CFBL-Address", "CFBL-Feedback-ID",
}

// oversigned are listed once more than present, so that nobody can add one
// (RFC 6376 section 8.15).
var oversigned = map[string]bool{
	"From": true, "To": true, "Cc": true, "Subject": true, "Date": true, "Reply-To": true,
	"List-Unsubscribe": true, "List-Unsubscribe-Post": true, "Content-Type": true, "Message-ID": true, "MIME-Version": true,
}

// Options tune a Signer.
type Options struct {
	Lifetime time.Duration    // x= behind t=; default 14 days, more than a queue keeps mail
	Now      func() time.Time // default time.Now
}

// Signer signs for the domains it holds keys of. Safe for concurrent use.
type Signer struct {
	byDomain map[string][]Key
	opts     Options
}

// New takes the keys of all domains. Of one domain and algorithm the key whose
// From came last signs, so that a new selector can be published days before
// it takes over; several of the same From all sign. ed25519 stands beside rsa.
// Errors: a key without domain, selector or private part, an RSA
// key under 2048 bits, ed25519 without an RSA key beside it (RFC 8463 section
// 3 keeps it optional for verifiers).
func New(keys []Key, opts Options) (*Signer, error) {
	if opts.Lifetime <= 0 {
		opts.Lifetime = 14 * 24 * time.Hour
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Signer{byDomain: map[string][]Key{}, opts: opts}
	for _, k := range keys {
		if err := k.check(); err != nil {
			return nil, err
		}
		d := strings.ToLower(k.Domain)
		s.byDomain[d] = append(s.byDomain[d], k)
	}
	for d, ks := range s.byDomain {
		if !hasRSA(ks) {
			return nil, fmt.Errorf("dkim domain %s: an ed25519 key needs an RSA key beside it (RFC 8463)", d)
		}
	}
	return s, nil
}

// signing picks the keys that sign at now: of each algorithm those that began
// last. Before the first has begun, the first does.
func signing(keys []Key, now time.Time) []Key {
	out := make([]Key, 0, 2)
	for _, alg := range []Algorithm{RSA, Ed25519} {
		var best []Key
		for _, k := range keys {
			switch {
			case k.Algorithm() != alg:
			case len(best) == 0 || better(k.From, best[0].From, now):
				best = append(best[:0], k)
			case k.From.Equal(best[0].From):
				best = append(best, k)
			}
		}
		out = append(out, best...)
	}
	return out
}

// better tells whether a key from a is to be preferred to one from b.
func better(a, b, now time.Time) bool {
	if begunA, begunB := !a.After(now), !b.After(now); begunA != begunB {
		return begunA
	} else if begunA {
		return a.After(b)
	}
	return a.Before(b)
}

func hasRSA(keys []Key) bool {
	for _, k := range keys {
		if k.Algorithm() == RSA {
			return true
		}
	}
	return false
}

// keysFor finds the keys of the domain or of the nearest parent that has any:
// a parent's d= is aligned in relaxed mode (RFC 9989).
func (s *Signer) keysFor(domain string) []Key {
	for d := strings.ToLower(domain); d != ""; {
		if ks := s.byDomain[d]; len(ks) > 0 {
			return ks
		}
		_, parent, ok := strings.Cut(d, ".")
		if !ok {
			return nil
		}
		d = parent
	}
	return nil
}

// Signs tells whether there is a key for mail From that domain.
func (s *Signer) Signs(domain string) bool { return len(s.keysFor(domain)) > 0 }

// Sign gives the DKIM-Signature fields, each with its CRLF, to be put before
// hdr: the final header without the empty line. domain is that of From; body
// is the hash of the body that leaves. Errors wrap ErrNoKey or the key's own;
// then nothing may leave unsigned.
func (s *Signer) Sign(hdr []byte, body BodyHash, domain string) ([]byte, error) {
	keys := s.keysFor(domain)
	if len(keys) == 0 {
		return nil, fmt.Errorf("sign for %s: %w", domain, ErrNoKey)
	}
	canonical, names := canonicalHeader(header.Parse(hdr))
	now := s.opts.Now()
	var out []byte
	for _, k := range signing(keys, now) {
		field, err := signOne(k, canonical, names, body, now, now.Add(s.opts.Lifetime))
		if err != nil {
			return nil, fmt.Errorf("sign for %s with selector %s: %w", k.Domain, k.Selector, err)
		}
		out = append(out, field...)
	}
	return out, nil
}

// canonicalHeader gives the signed fields in relaxed form and the h= list.
// Fields of one name are taken from the bottom up (RFC 6376 section 5.4.2).
func canonicalHeader(h *header.Header) (canonical []byte, names []string) {
	canonical = make([]byte, 0, len(h.Raw())+64)
	spans := h.Spans()
	for _, name := range signed {
		for i := len(spans) - 1; i >= 0; i-- {
			if h.Is(spans[i], name) {
				canonical = AppendField(canonical, h, spans[i])
				names = append(names, name)
			}
		}
		if oversigned[name] {
			names = append(names, name)
		}
	}
	return canonical, names
}

func signOne(k Key, canonical []byte, names []string, body BodyHash, now, expires time.Time) ([]byte, error) {
	field := make([]byte, 0, 1024)
	field = append(field, "DKIM-Signature: v=1; a="...)
	field = append(field, k.Algorithm()...)
	field = append(field, "-sha256; c=relaxed/relaxed; d="...)
	field = append(field, k.Domain...)
	field = append(field, ";\r\n\ts="...)
	field = append(field, k.Selector...)
	field = append(field, "; t="...)
	field = strconv.AppendInt(field, now.Unix(), 10)
	field = append(field, "; x="...)
	field = strconv.AppendInt(field, expires.Unix(), 10)
	field = append(field, ";\r\n\tbh="...)
	field = base64.StdEncoding.AppendEncode(field, body[:])
	field = append(field, ";\r\n\th="...)
	field = appendNames(field, names)
	field = append(field, ";\r\n\tb="...)

	digest := sha256.New()
	digest.Write(canonical)
	digest.Write([]byte("dkim-signature:"))
	digest.Write(appendValue(make([]byte, 0, len(field)), field[len("DKIM-Signature:"):]))
	opts := crypto.Hash(0) // ed25519 signs the digest as its message (RFC 8463 section 3)
	if k.Algorithm() == RSA {
		opts = crypto.SHA256
	}
	sig, err := k.Private.Sign(rand.Reader, digest.Sum(nil), opts)
	if err != nil {
		return nil, err
	}
	return append(appendFolded(field, base64.StdEncoding.EncodeToString(sig)), '\r', '\n'), nil
}

const lineWidth = 72

// appendNames writes the h= list, folded behind colons.
func appendNames(field []byte, names []string) []byte {
	col := 4
	for i, n := range names {
		if i > 0 {
			field = append(field, ':')
			col++
		}
		if col+len(n) > lineWidth {
			field = append(field, "\r\n\t"...)
			col = 1
		}
		field = append(field, n...)
		col += len(n)
	}
	return field
}

// appendFolded writes base64 text in lines; white space in b= does not count.
func appendFolded(field []byte, text string) []byte {
	for first := true; text != ""; first = false {
		if !first {
			field = append(field, "\r\n\t"...)
		}
		n := min(len(text), lineWidth)
		field = append(field, text[:n]...)
		text = text[n:]
	}
	return field
}
