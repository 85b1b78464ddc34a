package preflight

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/emersion/go-msgauth/dkim"
	"golang.org/x/net/publicsuffix"

	own "postern/gateway/dkim"
)

// signature is one DKIM-Signature field and what verifying it gave.
type signature struct {
	tags   map[string]string
	domain string
	valid  bool
	fault  string // why it is not valid
	key    string // its key, as in "rsa 2048"
	bits   int    // of an RSA key; 0 for others
	err    error  // the key could not be fetched now
}

// maxSignatures bounds the work on a message.
const maxSignatures = 20

// checkSignatures verifies the signatures and looks at what they cover
// (UNS-2, AUTHN-1..3).
func checkSignatures(ctx context.Context, m *message, o Options) []Finding {
	m.sigs = readSignatures(m)
	const sign = "sign here (sign = \"dkim\" and postern dkim keygen), or have the smarthost sign; look which hop changes the message"
	if len(m.sigs) == 0 {
		return []Finding{fail(NameDKIM, "the message has no DKIM signature", sign)}
	}
	if o.LookupTXT == nil {
		f := unchecked(NameDKIM, fmt.Sprintf("%d signatures, not verified: no DNS", len(m.sigs)), "run again with DNS")
		return append([]Finding{f}, coverage(m, true)...)
	}
	verify(ctx, m, o)
	var valid, open, faults []string
	for _, s := range m.sigs {
		switch {
		case s.valid:
			valid = append(valid, s.domain+" ("+s.key+")")
		case s.err != nil:
			open = append(open, s.domain)
		default:
			faults = append(faults, s.domain+": "+s.fault)
		}
	}
	switch {
	case len(valid) > 0 && len(faults) == 0:
		return append([]Finding{pass(NameDKIM, "valid: "+strings.Join(valid, ", "))}, coverage(m, false)...)
	case len(valid) > 0:
		f := advise(NameDKIM, "valid: "+strings.Join(valid, ", ")+"; not valid: "+strings.Join(faults, ", "), "remove the signature that does not verify")
		return append([]Finding{f}, coverage(m, false)...)
	case len(open) > 0 && len(faults) == 0:
		f := unchecked(NameDKIM, "no key could be fetched for "+strings.Join(open, ", "), "run again when DNS answers")
		return append([]Finding{f}, coverage(m, true)...)
	}
	return append([]Finding{fail(NameDKIM, "no signature is valid: "+strings.Join(faults, ", "), sign)}, coverage(m, false)...)
}

func readSignatures(m *message) (list []signature) {
	for _, span := range m.head.Find("DKIM-Signature") {
		if len(list) == maxSignatures {
			break
		}
		tags := own.Tags(m.head.Value(span))
		list = append(list, signature{tags: tags, domain: strings.ToLower(strings.TrimSuffix(tags["d"], "."))})
	}
	return list
}

// verify fills in what the signatures are worth.
func verify(ctx context.Context, m *message, o Options) {
	var mu sync.Mutex // the signatures are verified side by side
	records := map[string][]string{}
	lookup := func(name string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, o.Timeout)
		defer cancel()
		txt, err := o.LookupTXT(ctx, name)
		if err == nil {
			mu.Lock()
			records[strings.ToLower(name)] = txt
			mu.Unlock()
		}
		return txt, err
	}
	got, err := dkim.VerifyWithOptions(bytes.NewReader(crlf(m.raw)), &dkim.VerifyOptions{LookupTXT: lookup, MaxVerifications: maxSignatures})
	for i := range m.sigs {
		s := &m.sigs[i]
		if i >= len(got) {
			s.fault = "can't be read"
			if err != nil {
				s.fault = "can't be verified"
			}
			continue
		}
		switch v := got[i]; {
		case v.Err == nil:
			s.valid = true
		case dkim.IsTempFail(v.Err):
			s.err = v.Err
		default:
			s.fault = strings.TrimPrefix(v.Err.Error(), "dkim: ")
		}
		s.key, s.bits = keyOf(records[strings.ToLower(s.tags["s"]+"._domainkey."+s.tags["d"])])
	}
}

// keyOf tells the kind of a published key.
func keyOf(txt []string) (string, int) {
	tags := own.Tags(strings.Join(txt, ""))
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(tags["p"]), ""))
	if err != nil {
		return "unknown key", 0
	}
	if tags["k"] == "ed25519" && len(der) == ed25519.PublicKeySize {
		return "ed25519", 0
	}
	if pub, err := x509.ParsePKIXPublicKey(der); err == nil {
		if k, ok := pub.(*rsa.PublicKey); ok {
			return fmt.Sprintf("rsa %d", k.N.BitLen()), k.N.BitLen()
		}
	}
	if k, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return fmt.Sprintf("rsa %d", k.N.BitLen()), k.N.BitLen()
	}
	return "unknown key", 0
}

// coverage judges the signatures that count: the valid ones, or all where
// none could be verified.
func coverage(m *message, all bool) []Finding {
	var use []signature
	for _, s := range m.sigs {
		if all || s.valid {
			use = append(use, s)
		}
	}
	return []Finding{checkCovered(use, all), checkLength(m.sigs), checkKey(use, all), checkAlignment(m.from, use, all)}
}

func checkCovered(use []signature, all bool) Finding {
	for _, s := range use {
		if covers(s, "List-Unsubscribe") && covers(s, "List-Unsubscribe-Post") && s.tags["l"] == "" {
			if all {
				return unchecked(NameCovered, "both unsubscribe fields are in h= of "+s.domain+", which was not verified", "run again with DNS")
			}
			return pass(NameCovered, "both unsubscribe fields are in h= of "+s.domain)
		}
	}
	return fail(NameCovered, "no valid signature names both List-Unsubscribe and List-Unsubscribe-Post in h= (RFC 8058 section 4): Gmail shows no button",
		"sign here (sign = \"dkim\"), or have the smarthost add both fields to what it signs")
}

func covers(s signature, field string) bool {
	for _, n := range strings.Split(s.tags["h"], ":") {
		if strings.EqualFold(strings.TrimSpace(n), field) {
			return true
		}
	}
	return false
}

func checkLength(sigs []signature) Finding {
	for _, s := range sigs {
		if _, ok := s.tags["l"]; ok {
			return fail(NameLength, "the signature of "+s.domain+" covers only part of the body (l=): anyone can add to it (RFC 6376 section 8.2)", "switch l= off where it is signed")
		}
	}
	return pass(NameLength, "the whole body is signed")
}

func checkKey(use []signature, all bool) Finding {
	const do = "make a key of 2048 bits: postern dkim keygen, or ask the smarthost"
	if all {
		return unchecked(NameKey, "the keys are not known", "run again with DNS")
	}
	best, kind := 0, ""
	for _, s := range use {
		if strings.EqualFold(s.tags["a"], "rsa-sha256") && s.bits > best {
			best, kind = s.bits, s.key
		}
	}
	switch {
	case best == 0:
		return fail(NameKey, "no valid rsa-sha256 signature; many receivers verify nothing else (RFC 8301, RFC 8463)", do)
	case best < 1024:
		return fail(NameKey, kind+" is too short: receivers ignore keys under 1024 bits (RFC 8301 section 3.2)", do)
	case best < 2048:
		return advise(NameKey, kind+" works, 2048 bits are advised", do)
	}
	return pass(NameKey, kind)
}

// checkAlignment wants a signature whose d= and the From share their
// organisational domain (relaxed, RFC 9989).
func checkAlignment(from string, use []signature, all bool) Finding {
	const do = "sign with a key of the From domain; ask the smarthost for a signature with your own domain"
	if from == "" {
		return fail(NameAlignment, "there is no one From to align with", "send with one From address")
	}
	for _, s := range use {
		if aligned(s.domain, from) {
			if all {
				return unchecked(NameAlignment, s.domain+" is aligned with From, its signature was not verified", "run again with DNS")
			}
			return pass(NameAlignment, s.domain+" is aligned with From "+from)
		}
	}
	return fail(NameAlignment, "no valid signature is of the From domain "+from+": DMARC does not pass by DKIM", do)
}

// aligned compares organisational domains; of what has none, the names.
func aligned(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	return a == b || orgDomain(a) == orgDomain(b)
}

func orgDomain(d string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(d); err == nil {
		return org
	}
	return d
}

// crlf gives the message with the line ends it was signed with: mailboxes and
// files often hold bare LF.
func crlf(raw []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}
