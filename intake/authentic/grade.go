package authentic

import (
	"bytes"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"golang.org/x/net/publicsuffix"

	"postern/intake/mime"
	"postern/queue"
)

// Options are what a grade rests on; the zero value grades Unknown but for
// what the mail itself contradicts.
type Options struct {
	// AuthServID is the authserv-id to believe; none believes nobody.
	AuthServID string
	// ARCSealers are domains that forward mail to us and are believed about what
	// they saw of it (AUTHN-7); none believes nobody.
	ARCSealers []string
	// LookupTXT asks DNS for keys; nil: no own DKIM check is made.
	LookupTXT func(domain string) ([]string, error)
	// Addresses are the mailbox's own; a proven mail is addressed to one.
	Addresses []string
	// Fresh is how old a Date may be; default 7 days.
	Fresh time.Duration
}

// maxSignatures bounds the key look-ups one mail may cause.
const maxSignatures = 5

// Grade judges the sender of raw, received at the given time. from is the
// domain of its From. why names what decided, in closed words.
func Grade(raw []byte, h mime.Header, from string, received time.Time, opts Options) (g queue.Grade, why string) {
	if from == "" || len(h.Addresses("From")) != 1 || len(h.All("From")) != 1 {
		return queue.Unknown, "no single From"
	}
	said := Results(h, opts.AuthServID)
	own := check(raw, h, from, received, opts)
	if said.DMARC == "fail" {
		// The border saw the mail as it came in; we may see it altered.
		if own == sigProven {
			return queue.Likely, "own dkim pass, border dmarc fail"
		}
		if forwarded(raw, from, opts) {
			return queue.Likely, "arc" // the forwarder broke what it saw whole
		}
		return queue.Contradicted, "dmarc fail"
	}
	switch own {
	case sigProven:
		return queue.Proven, "dkim"
	case sigWeak:
		return queue.Likely, "dkim, but weak"
	}
	switch {
	case said.DMARC == "pass":
		return queue.Likely, "dmarc pass"
	case said.DKIM == "pass" && Aligned(said.DKIMDomain, from):
		return queue.Likely, "dkim pass at border"
	case said.SPF == "pass" && Aligned(said.SPFDomain, from):
		return queue.Likely, "spf pass"
	case forwarded(raw, from, opts):
		return queue.Likely, "arc"
	case own == sigBroken:
		// A broken signature is as good as none (RFC 6376 section 6.1), for
		// lists and footers break them; but nobody vouches either.
		return queue.Unknown, "dkim broken"
	case said.SPF == "fail" && Aligned(said.SPFDomain, from):
		return queue.Contradicted, "spf fail"
	}
	return queue.Unknown, "nothing said"
}

// forwarded tells whether a sealer we believe saw the mail authenticated for
// the domain of its From before it passed it on.
func forwarded(raw []byte, from string, opts Options) bool {
	said, err := arcSaid(raw, opts.ARCSealers, opts.LookupTXT)
	if err != nil || !said.Found {
		return false
	}
	return said.DMARC == "pass" || said.DKIM == "pass" && Aligned(said.DKIMDomain, from) ||
		said.DMARC == "" && said.SPF == "pass" && Aligned(said.SPFDomain, from)
}

type signatureState int

const (
	sigNone signatureState = iota
	sigBroken
	sigWeak
	sigProven
)

// check verifies the signatures aligned with from.
func check(raw []byte, h mime.Header, from string, received time.Time, opts Options) signatureState {
	if opts.LookupTXT == nil || !h.Has("DKIM-Signature") {
		return sigNone
	}
	list, _ := dkim.VerifyWithOptions(bytes.NewReader(crlf(raw)), &dkim.VerifyOptions{LookupTXT: opts.LookupTXT, MaxVerifications: maxSignatures})
	limited := partial(h)
	state := sigNone
	for _, v := range list {
		if !Aligned(strings.ToLower(v.Domain), from) {
			continue
		}
		got := sigBroken
		if v.Err == nil {
			got = sigWeak
			if !limited[strings.ToLower(v.Domain)] && covers(v.HeaderKeys, "from") && addressedToUs(h, v.HeaderKeys, opts.Addresses) && fresh(h, v.HeaderKeys, received, opts.Fresh) {
				got = sigProven
			}
		}
		if got > state {
			state = got
		}
	}
	return state
}

// partial lists the domains whose signature bears l=, which leaves room for a
// text below it (RFC 6376 section 8.2).
func partial(h mime.Header) map[string]bool {
	out := map[string]bool{}
	for _, v := range h.All("DKIM-Signature") {
		domain, limited := "", false
		for _, tag := range strings.Split(v, ";") {
			k, val, _ := strings.Cut(tag, "=")
			switch strings.TrimSpace(k) {
			case "l":
				limited = true
			case "d":
				domain = strings.ToLower(strings.TrimSpace(val))
			}
		}
		if limited {
			out[domain] = true
		}
	}
	return out
}

// covers tells whether a header field is among the signed ones.
func covers(keys []string, name string) bool {
	for _, k := range keys {
		if strings.EqualFold(strings.TrimSpace(k), name) {
			return true
		}
	}
	return false
}

// addressedToUs tells whether signed To or Cc hold our mailbox: else a mail
// written to someone else may be replayed at us.
func addressedToUs(h mime.Header, keys []string, ours []string) bool {
	for _, name := range []string{"To", "Cc"} {
		if !covers(keys, name) {
			continue
		}
		for _, a := range h.Addresses(name) {
			for _, o := range ours {
				if strings.EqualFold(a.Addr, o) {
					return true
				}
			}
		}
	}
	return false
}

// fresh tells whether the signed Date is within the window around receipt.
func fresh(h mime.Header, keys []string, received time.Time, window time.Duration) bool {
	if window <= 0 {
		window = 7 * 24 * time.Hour
	}
	if !covers(keys, "date") {
		return false
	}
	at, err := mime.Date(h.Get("Date"))
	if err != nil {
		return false
	}
	d := received.Sub(at)
	return d < window && d > -24*time.Hour
}

// Aligned tells whether two domains share their organisational domain
// (relaxed alignment, RFC 7489 section 3.1).
func Aligned(a, b string) bool {
	a, b = strings.ToLower(strings.TrimSuffix(a, ".")), strings.ToLower(strings.TrimSuffix(b, "."))
	return a != "" && (a == b || orgDomain(a) == orgDomain(b) && orgDomain(a) != "")
}

func orgDomain(d string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(d))
	if err != nil {
		return d
	}
	return org
}

// crlf gives raw with CRLF line ends, as it was signed; some stores keep LF.
func crlf(raw []byte) []byte {
	if bytes.Contains(raw, []byte("\r\n")) {
		return raw
	}
	return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
}
