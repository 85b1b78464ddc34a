package intake

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"postern/intake/mime"
)

// Ways to protect the connection to an IMAP server.
const (
	TLSImplicit = "implicit" // TLS from the first byte, port 993
	TLSStart    = "starttls" // STARTTLS on port 143; refused if not offered
	TLSNone     = "none"     // in clear: loopback and tests only
)

// Mailbox is one account that is read.
type Mailbox struct {
	Name string // unique, part of Redis keys and metrics
	// Revision differs where anything of the mailbox does, so that Reload leaves
	// alone what did not change; "": always begun anew.
	Revision   string
	Controller string // whose requests arrive here
	Address    string // host:port of the IMAP server
	TLS        string // implicit (default), starttls or none
	CAFile     string // PEM file of extra roots; default the system's
	User       string
	// Password gives the secret when it is needed; it may change.
	Password func() (string, error)
	// OAuth gives access tokens in place of a password; nil: none.
	OAuth TokenSource
	// Mechanism of OAuth: "xoauth2" or "oauthbearer"; default what is offered.
	Mechanism string

	Folders []string // read, and all must be there but JunkFolder; default INBOX and JunkFolder (DSR-2)
	Done    string   // folder a mail is moved to once stored; "": left in place
	Keyword string   // set on a mail once stored, "": none (IM-7)

	Addresses    []string // the mailbox's own addresses
	TokenDomain  string   // of u+TOKEN@, b+TOKEN@ and case+TOKEN@ beside the domains of Addresses (design D7, D19); "": none
	AuthServID   string   // authserv-id whose results are believed (AUTHN-6)
	ARCSealers   []string // domains whose ARC seals are believed (AUTHN-7)
	Confidential bool     // DPO, HR, whistleblowing: own role, no text in notices

	PollEvery time.Duration // beside IDLE; default 1 min
	MaxSize   int64         // bytes read of one mail; default 25 MiB, see IM-3
	Limits    mime.Limits
	// LookupTXT asks DNS for DKIM keys; nil: no own check.
	LookupTXT func(domain string) ([]string, error)
}

// withDefaults fills what is not set and says what is wrong.
func (m Mailbox) withDefaults() (Mailbox, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("mailbox %q: "+format, append([]any{m.Name}, args...)...))
	}
	if m.Name == "" || strings.ContainsAny(m.Name, "{}: \t\r\n") {
		bad("the name is empty or holds a space, brace or colon")
	}
	if _, _, err := net.SplitHostPort(m.Address); err != nil {
		bad("address must be host:port")
	}
	switch m.TLS {
	case "":
		m.TLS = TLSImplicit
	case TLSImplicit, TLSStart, TLSNone:
	default:
		bad("tls is %q, must be implicit, starttls or none", m.TLS)
	}
	if m.User == "" || m.Password == nil && m.OAuth == nil {
		bad("user, and a password or oauth, are needed")
	}
	if len(m.Folders) == 0 {
		m.Folders = []string{"INBOX", JunkFolder}
	}
	for _, f := range m.Folders {
		if m.Done != "" && strings.EqualFold(f, m.Done) {
			bad("folder %q is both read and moved to", f)
		}
	}
	if m.PollEvery <= 0 {
		m.PollEvery = time.Minute
	}
	if m.MaxSize <= 0 {
		m.MaxSize = 25 << 20
	}
	return m, errors.Join(errs...)
}

// receives tells whether mail to domain may come to the mailbox.
func (m Mailbox) receives(domain string) bool {
	return m.owns(domain) || m.TokenDomain != "" && strings.EqualFold(m.TokenDomain, domain)
}

// owns tells whether domain is that of one of the mailbox's own addresses.
func (m Mailbox) owns(domain string) bool {
	for _, a := range m.Addresses {
		if strings.EqualFold(domainPart(a), domain) && domain != "" {
			return true
		}
	}
	return false
}
