package gateway

import (
	"net/netip"

	"postern/gateway/address"
)

// Grant is what a listener, client network or account may do (design D1, D21).
type Grant struct {
	Client        string   // its name in the config: logs, metrics, spool
	Streams       []string // names of the streams it may use
	Default       string   // stream of mail that names none
	FromDomains   []string // domains it owns: header From and reverse-path; empty: those of the stream
	MaxRecipients int      // per message; 0: 1000
	MaxSize       int64    // octets of a message; 0: the listener's limit
}

// EnvelopeRecipient is one RCPT with its RFC 3461 parameters, decoded.
type EnvelopeRecipient struct {
	Address address.Address
	Notify  string // upper-case list, "" if not given
	ORcpt   string // "type;address", or ""
}

// Envelope is what the protocol side knows of a message when DATA ends.
type Envelope struct {
	Session     string // id for log lines and reply texts
	Grant       *Grant
	LMTP        bool
	Helo        string
	Remote      netip.Addr // zero on a unix socket
	TLS         string     // version and cipher for Received, "" in clear
	Auth        string     // account name, "" if none
	ReversePath address.Address
	Ret         string
	EnvID       string
	UTF8        bool
	EightBit    bool
	RequireTLS  bool
	Recipients  []EnvelopeRecipient
}

// Outcome is what became of a message that could be judged: for each
// recipient of the envelope nil (accepted and durable) or its *Denial.
type Outcome struct {
	ID         string // spool id; "" where nobody was accepted
	Recipients []error
}
