package authentic

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"postern/gateway/dkim"
	"postern/gateway/header"
)

// Bounds on a chain: the protocol allows 50 sets (RFC 8617 section 4.2.1), but
// each costs a look-up of a key that a stranger names.
const (
	maxInstance = 50
	maxSeals    = 5
	minKeyBits  = 1024 // RFC 8301 section 3.2
)

// errChain says that a mail's ARC sets are no chain that holds.
var errChain = errors.New("ARC chain does not hold")

// arcSet is what one hop added.
type arcSet struct {
	results, message, seal header.Span
	have                   int
	tags                   map[string]string // of the seal
}

// arcSaid gives what the hop nearest to the author saw of a mail, if every hop
// from there to us is a sealer we believe and the whole chain holds (AUTHN-7,
// RFC 8617 section 5.2). Found is false where there is nothing to believe.
func arcSaid(raw []byte, sealers []string, lookup func(domain string) ([]string, error)) (Said, error) {
	var said Said
	if len(sealers) == 0 || lookup == nil {
		return said, nil
	}
	hdr, body := header.Split(crlf(raw))
	h := header.Parse(hdr)
	sets, err := arcSets(h)
	if err != nil || len(sets) == 0 {
		return said, err
	}
	lowest := len(sets)
	for lowest > 0 && believed(sets[lowest-1].tags["d"], sealers) {
		lowest--
	}
	if lowest == len(sets) { // whoever handed it to us is a stranger
		return said, nil
	}
	if err := verifyMessage(h, sets[len(sets)-1], body, lookup); err != nil {
		return said, err
	}
	for i := range sets {
		if err := verifySeal(h, sets[:i+1], lookup); err != nil {
			return said, err
		}
	}
	said.readARC(h.Value(sets[lowest].results))
	return said, nil
}

func believed(domain string, sealers []string) bool {
	for _, s := range sealers {
		if strings.EqualFold(s, domain) {
			return true
		}
	}
	return false
}

// arcSets sorts the fields by instance and checks the chain's shape.
func arcSets(h *header.Header) ([]arcSet, error) {
	var sets []arcSet
	for _, s := range h.Spans() {
		kind := 0
		for i, name := range []string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"} {
			if h.Is(s, name) {
				kind = i + 1
			}
		}
		if kind == 0 {
			continue
		}
		tags := dkim.Tags(h.Value(s))
		n, err := strconv.Atoi(tags["i"])
		if err != nil || n < 1 || n > maxInstance {
			return nil, fmt.Errorf("instance %q: %w", tags["i"], errChain)
		}
		for len(sets) < n {
			sets = append(sets, arcSet{})
		}
		set := &sets[n-1]
		if set.have&(1<<kind) != 0 {
			return nil, fmt.Errorf("instance %d stands twice: %w", n, errChain)
		}
		set.have |= 1 << kind
		switch kind {
		case 1:
			set.results = s
		case 2:
			set.message = s
		case 3:
			set.seal, set.tags = s, tags
		}
	}
	if len(sets) > maxSeals {
		return nil, fmt.Errorf("%d instances: %w", len(sets), errChain)
	}
	for i, set := range sets {
		want := "pass"
		if i == 0 {
			want = "none"
		}
		if set.have != 0b1110 || set.tags["cv"] != want {
			return nil, fmt.Errorf("instance %d is incomplete or broken: %w", i+1, errChain)
		}
	}
	return sets, nil
}

// verifyMessage checks the last hop's signature over the mail as it came. Only
// relaxed canonicalisation is read, which is what sealers use.
func verifyMessage(h *header.Header, set arcSet, body []byte, lookup func(string) ([]string, error)) error {
	tags := dkim.Tags(h.Value(set.message))
	if tags["c"] != "relaxed/relaxed" || tags["l"] != "" {
		return fmt.Errorf("canonicalisation %q: %w", tags["c"], errChain)
	}
	sum := dkim.HashBody(body)
	if want, err := base64.StdEncoding.DecodeString(squeezed(tags["bh"])); err != nil || !bytes.Equal(want, sum[:]) {
		return fmt.Errorf("body was changed: %w", errChain)
	}
	left := map[string][]header.Span{}
	var text []byte
	covered := false
	for _, name := range strings.Split(tags["h"], ":") {
		name = strings.ToLower(strings.TrimSpace(name))
		covered = covered || name == "from"
		if _, known := left[name]; !known {
			left[name] = h.Find(name)
		}
		if n := len(left[name]); n > 0 { // from the bottom (RFC 6376 section 5.4.2)
			text = dkim.AppendField(text, h, left[name][n-1])
			left[name] = left[name][:n-1]
		}
	}
	if !covered {
		return fmt.Errorf("the From field is not signed: %w", errChain)
	}
	return verifySignature(unsigned(text, h, set.message), tags, lookup)
}

// verifySeal checks the seal of the last of sets over all of them.
func verifySeal(h *header.Header, sets []arcSet, lookup func(string) ([]string, error)) error {
	var text []byte
	last := len(sets) - 1
	for i, set := range sets {
		text = dkim.AppendField(text, h, set.results)
		text = dkim.AppendField(text, h, set.message)
		if i < last {
			text = dkim.AppendField(text, h, set.seal)
		}
	}
	return verifySignature(unsigned(text, h, sets[last].seal), sets[last].tags, lookup)
}

// unsigned appends a signature's own field with its b= left empty and without
// the last line end (RFC 6376 section 3.7).
func unsigned(text []byte, h *header.Header, s header.Span) []byte {
	field := string(dkim.AppendField(nil, h, s))
	name, value, _ := strings.Cut(strings.TrimSuffix(field, "\r\n"), ":")
	parts := strings.Split(value, ";")
	for i, p := range parts {
		if k, _, ok := strings.Cut(p, "="); ok && strings.TrimSpace(k) == "b" {
			parts[i] = k + "="
		}
	}
	return append(text, name+":"+strings.Join(parts, ";")...)
}

func verifySignature(text []byte, tags map[string]string, lookup func(string) ([]string, error)) error {
	if tags["a"] != "rsa-sha256" {
		return fmt.Errorf("algorithm %q: %w", tags["a"], errChain)
	}
	sig, err := base64.StdEncoding.DecodeString(squeezed(tags["b"]))
	if err != nil {
		return fmt.Errorf("signature is not base64: %w", errChain)
	}
	key, err := sealerKey(tags["s"], tags["d"], lookup)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) != nil {
		return fmt.Errorf("signature of %s does not fit: %w", tags["d"], errChain)
	}
	return nil
}

// sealerKey reads a key record as DKIM's (RFC 6376 section 3.6.1).
func sealerKey(selector, domain string, lookup func(string) ([]string, error)) (*rsa.PublicKey, error) {
	if selector == "" || domain == "" {
		return nil, fmt.Errorf("no key is named: %w", errChain)
	}
	records, err := lookup(selector + "._domainkey." + domain)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", domain, err)
	}
	if len(records) != 1 {
		return nil, fmt.Errorf("%s has %d key records: %w", domain, len(records), errChain)
	}
	tags := dkim.Tags(records[0])
	der, err := base64.StdEncoding.DecodeString(squeezed(tags["p"]))
	if err != nil || tags["k"] != "" && tags["k"] != "rsa" {
		return nil, fmt.Errorf("key of %s can't be read: %w", domain, errChain)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		key, err = x509.ParsePKCS1PublicKey(der)
	}
	public, ok := key.(*rsa.PublicKey)
	if err != nil || !ok || public.N.BitLen() < minKeyBits {
		return nil, fmt.Errorf("key of %s is none to trust: %w", domain, errChain)
	}
	return public, nil
}

// readARC takes the results of an ARC-Authentication-Results field: the
// instance stands before what other fields begin with.
func (s *Said) readARC(value string) {
	_, rest, ok := strings.Cut(value, ";")
	if !ok {
		return
	}
	rest = strings.TrimSpace(rest)
	server, _, err := authres.Parse(rest)
	if err != nil {
		return
	}
	server, _, _ = strings.Cut(server, " ")
	s.read(rest, server)
}

// squeezed removes the white space that folds base64.
func squeezed(v string) string { return strings.Join(strings.Fields(v), "") }
