package authentic

import (
	"strings"

	"github.com/emersion/go-msgauth/authres"

	"postern/intake/mime"
)

// Said is what the trusted server says of a mail. Each is pass, fail, none or
// "" (not said); domains are lower case.
type Said struct {
	Found      bool // a field of the trusted server is there
	DKIM       string
	DKIMDomain string
	SPF        string
	SPFDomain  string
	DMARC      string
}

// Results reads the Authentication-Results fields whose authserv-id is id and
// which stand above the first Received of another server (RFC 8601 section 5,
// AUTHN-6). Those below came with the mail and may be forged. Most servers
// write the field above their own Received, Gmail writes it below; a server
// that adds the field must delete forged ones with its own name (section 5),
// so between its own Received fields and the first foreign one it is believed.
// Where several speak, the topmost counts.
func Results(h mime.Header, id string) Said {
	var s Said
	if id == "" {
		return s
	}
	for _, f := range h {
		switch {
		case strings.EqualFold(f.Name, "Received"):
			if !byOwn(f.Value, id) {
				return s // below the hop at which the mail came in
			}
		case strings.EqualFold(f.Name, "Authentication-Results"):
			s.read(f.Value, id)
		}
	}
	return s
}

// byOwn tells whether a Received field was written by a host of the trusted
// server: the same name or one below the same organisation.
func byOwn(received, id string) bool {
	low := " " + strings.ToLower(received)
	_, after, ok := strings.Cut(low, " by ")
	if !ok {
		return false
	}
	f := strings.Fields(after)
	if len(f) == 0 {
		return false
	}
	host := strings.Trim(f[0], ".;()")
	id = strings.ToLower(id)
	return host == id || strings.HasSuffix(host, "."+orgDomain(id)) || host == orgDomain(id)
}

func (s *Said) read(value, id string) {
	server, results, err := authres.Parse(value)
	server, _, _ = strings.Cut(server, " ")
	if err != nil || !strings.EqualFold(server, id) {
		return
	}
	s.Found = true
	for _, r := range results {
		switch r := r.(type) {
		case *authres.DKIMResult:
			if s.DKIM != "pass" {
				s.DKIM, s.DKIMDomain = string(r.Value), domainOf(first(r.Domain, r.Identifier))
			}
		case *authres.SPFResult:
			if s.SPF != "" { // the topmost is the border's
				continue
			}
			s.SPF, s.SPFDomain = string(r.Value), domainOf(first(r.From, r.Helo))
		case *authres.DMARCResult:
			if s.DMARC == "" {
				s.DMARC = string(r.Value)
			}
		}
	}
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// domainOf gives the domain of an address, "@domain" or domain.
func domainOf(v string) string {
	v = strings.ToLower(strings.Trim(v, "<> "))
	if i := strings.LastIndexByte(v, '@'); i >= 0 {
		v = v[i+1:]
	}
	return strings.TrimSuffix(v, ".")
}
