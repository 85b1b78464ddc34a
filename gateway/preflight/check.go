package preflight

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"blitiri.com.ar/go/spf"

	"postern/gateway/header"
)

// Level says how a check came out.
type Level string

const (
	Pass      Level = "pass"
	Advice    Level = "advice"      // works, could be better
	Unchecked Level = "not checked" // needs something that was not given
	Fail      Level = "fail"
)

// Names of findings, stable for scripts.
const (
	NameUnsubscribe = "list-unsubscribe"
	NamePost        = "list-unsubscribe-post"
	NameListID      = "list-id"
	NameOnce        = "required-fields"
	NameFeedbackID  = "feedback-id"
	NameDKIM        = "dkim"
	NameCovered     = "dkim-covers-unsubscribe"
	NameLength      = "dkim-no-length"
	NameKey         = "dkim-key"
	NameAlignment   = "alignment"
	NameSPF         = "spf-record"
	NameDMARC       = "dmarc-record"
	NamePTR         = "reverse-dns"
	NameLink        = "visible-link"
	NamePostal      = "postal-address"
	NameGET         = "one-click-get"
	NamePOST        = "one-click-post"
)

// Finding is the outcome of one check.
type Finding struct {
	Name  string `json:"name"`
	Level Level  `json:"level"`
	What  string `json:"what"`         // what was found; names no person and no token
	Do    string `json:"do,omitempty"` // what to do about it; empty where it passed
}

// OK tells whether nothing needs to be done before sending.
func (f Finding) OK() bool { return f.Level != Fail }

// Options are what the checks may use. Of a message alone, all that needs the
// network is reported as not checked.
type Options struct {
	// LookupTXT fetches DKIM keys. nil: signatures are not verified.
	LookupTXT func(ctx context.Context, name string) ([]string, error)
	// Resolver answers for SPF, DMARC and reverse DNS; *net.Resolver does.
	// nil: these are not checked.
	Resolver spf.DNSResolver
	// Client reaches the unsubscribe link. nil: the link is not tried. Trying
	// it ends the consent that the message went out under.
	Client *http.Client
	// SendingIP is the address the smarthost sends from. Zero: SPF is only
	// checked for its form, reverse DNS not at all.
	SendingIP netip.Addr
	// ReversePath is the envelope sender's domain; default that of Return-Path.
	ReversePath string
	// PublicURLs are the bases of which the unsubscribe link has to begin with
	// one; none: any.
	PublicURLs []string
	// Postal is the postal address that has to stand in the body; "": any.
	Postal string
	// Timeout of one look-up or request; default 20 s.
	Timeout time.Duration
}

// message is a received message, read once.
type message struct {
	raw  []byte
	head *header.Header
	link string // the one https URI, "" where there is not exactly one
	from string // domain of the one From, lower case
	sigs []signature
}

// Check runs all checks over a message as it came out of the mailbox, in a
// fixed order. The link is tried last, since that ends the consent.
func Check(ctx context.Context, raw []byte, o Options) []Finding {
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	hdr, _ := header.Split(raw)
	m := &message{raw: raw, head: header.Parse(hdr)}
	list := checkFields(m, o)
	list = append(list, checkSignatures(ctx, m, o)...)
	list = append(list, checkDNS(ctx, m, o)...)
	list = append(list, checkBody(m, o)...)
	return append(list, checkOneClick(ctx, m, o)...)
}

// Failed tells whether any finding has to be mended before sending.
func Failed(list []Finding) bool {
	for _, f := range list {
		if !f.OK() {
			return true
		}
	}
	return false
}

func pass(name, what string) Finding          { return Finding{name, Pass, what, ""} }
func fail(name, what, do string) Finding      { return Finding{name, Fail, what, do} }
func advise(name, what, do string) Finding    { return Finding{name, Advice, what, do} }
func unchecked(name, what, do string) Finding { return Finding{name, Unchecked, what, do} }
