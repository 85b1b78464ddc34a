package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/wire"
)

// ClientNet is a network whose hosts may send without AUTH (SMTP-1, design D21).
type ClientNet struct {
	Prefixes []netip.Prefix
	Grant    Grant
}

// Account may send after AUTH inside TLS, from wherever.
type Account struct {
	Name  string
	Hash  string // argon2id in PHC string format, see HashPassword
	Grant Grant
}

// Listener is one address that takes mail.
type Listener struct {
	Name     string // in logs, metrics and Addrs
	Network  string // "tcp" (default) or "unix"
	Address  string // host:port, or the path of the socket
	Protocol string // "smtp" (default) or "lmtp" (RFC 2033)

	TLS         *tls.Config // offers STARTTLS; nil: no TLS
	Implicit    bool        // TLS from the first octet (RFC 8314)
	RequireAuth bool        // submission: client networks don't count (RFC 6409 section 4.3)
	Auth        bool        // offers AUTH beside client networks

	Clients []ClientNet // the first whose prefix holds the client's address counts
	Unix    Grant       // of whoever may open the unix socket
	Mode    fs.FileMode // of the unix socket; default 0660

	Proxy    []netip.Prefix // peers that must send a PROXY protocol header
	XClient  []netip.Prefix // peers whose XCLIENT is believed
	XForward []netip.Prefix // peers whose XFORWARD is believed; a unix socket's peer always is
}

// ServerOptions configure a Server. The zero value works but has no listener.
type ServerOptions struct {
	// Hostname names us in the greeting and EHLO. Default os.Hostname.
	Hostname string
	// Listeners to bind; their names must differ.
	Listeners []Listener
	// Accounts for AUTH, on listeners with RequireAuth or Auth.
	Accounts []Account

	// MaxMessageBytes is the size of a message. Default 36 MiB.
	MaxMessageBytes int64
	// MaxRecipients is the number of RCPT in a message, at least 100
	// (RFC 5321 section 4.5.3.1.8). Default 1000.
	MaxRecipients int
	// MaxConns is the number of connections of all listeners. Default 1500.
	MaxConns int
	// MaxConnsPerIP is the number of connections from one address, 64 bits of
	// it for IPv6. Default 200.
	MaxConnsPerIP int
	// Memory is what messages being received may hold together, in octets.
	// Default 64 MiB; at least two messages of 64 KiB, and MaxMessageBytes.
	Memory int64
	// MemoryWait is how long a message waits for Memory before it gets
	// 451 4.4.5. Default 20 s.
	MemoryWait time.Duration

	// Idle, Block, Data: how long a command, the next octets of a message, a
	// whole message may take. Default 5 min, 3 min, 30 min.
	Idle, Block, Data time.Duration
	// Lookup bounds what is asked of the Judge at RCPT. Default 10 s (SMTP-9).
	Lookup time.Duration
	// Decide bounds what is asked of the Judge after DATA. Default 90 s.
	Decide time.Duration
	// Grace is how long messages in hand may take after Run's context ended.
	// Default 30 s.
	Grace time.Duration

	// MessagesPerMinute and RecipientsPerMinute are for each client network
	// and account that has none of its own. Default 0: no limit.
	MessagesPerMinute, RecipientsPerMinute int
	// AuthFailuresPerMinute is how many wrong passwords one address may try.
	// Default 10.
	AuthFailuresPerMinute int
	// AuthParallel is how many passwords are hashed at once, each with the
	// memory its hash asks for. Default 2.
	AuthParallel int
	// AuthRemember is how long a right password is known without hashing it
	// again. Default 10 min; negative: never.
	AuthRemember time.Duration

	// PolicyURL is told in refusals, for people who read bounces. Default: none.
	PolicyURL string
	// RequireTLS offers REQUIRETLS (RFC 8689). Set it only where delivery
	// passes it on or bounces (TLS-6).
	RequireTLS bool
	// Log takes one line per outcome. Default: discarded.
	Log *slog.Logger
	// Now is the clock for limits. Default time.Now.
	Now func() time.Time
	// Metrics takes postern_gateway_*. Default: none.
	Metrics prometheus.Registerer
}

func (o ServerOptions) withDefaults() ServerOptions {
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	def(&o.MaxMessageBytes, 36<<20)
	def(&o.MaxRecipients, 1000)
	def(&o.MaxConns, 1500)
	def(&o.MaxConnsPerIP, 200)
	def(&o.Memory, 64<<20)
	o.Memory = max(o.Memory, 128<<10, o.MaxMessageBytes+o.MaxMessageBytes/8)
	def(&o.MemoryWait, 20*time.Second)
	def(&o.Lookup, 10*time.Second)
	def(&o.Decide, 90*time.Second)
	def(&o.Grace, 30*time.Second)
	def(&o.AuthFailuresPerMinute, 10)
	def(&o.AuthParallel, 2)
	if o.AuthRemember == 0 {
		o.AuthRemember = 10 * time.Minute
	}
	listeners := make([]Listener, len(o.Listeners))
	for i, l := range o.Listeners {
		listeners[i] = l.withDefaults()
	}
	o.Listeners = listeners
	return o
}

func (l Listener) withDefaults() Listener {
	if l.Network == "" {
		l.Network = "tcp"
	}
	if l.Protocol == "" {
		l.Protocol = "smtp"
	}
	if l.Mode == 0 {
		l.Mode = 0o660
	}
	return l
}

func def[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// validate reports every fault of the options at once.
func (o ServerOptions) validate() error {
	var errs []error
	if o.Hostname == "" || !safeHelo(o.Hostname) {
		errs = append(errs, fmt.Errorf("hostname %q is no host name", o.Hostname))
	}
	if len(o.PolicyURL) > 200 || !wire.Printable(o.PolicyURL) || !wire.ASCII(o.PolicyURL) || strings.ContainsAny(o.PolicyURL, " @") {
		errs = append(errs, errors.New("policy URL is no URL of at most 200 signs"))
	}
	if o.MaxRecipients < 100 {
		errs = append(errs, fmt.Errorf("max recipients %d: at least 100 are needed (RFC 5321 section 4.5.3.1.8)", o.MaxRecipients))
	}
	names := map[string]bool{}
	for _, l := range o.Listeners {
		if l.Name == "" || names[l.Name] {
			errs = append(errs, fmt.Errorf("listener %q: the name is empty or given twice", l.Name))
		}
		names[l.Name] = true
		for _, err := range l.faults(len(o.Accounts)) {
			errs = append(errs, fmt.Errorf("listener %q: %w", l.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (l Listener) faults(accounts int) (errs []error) {
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(l.Network != "tcp" && l.Network != "unix", "network %q is neither tcp nor unix", l.Network)
	fault(l.Protocol != "smtp" && l.Protocol != "lmtp", "protocol %q is neither smtp nor lmtp", l.Protocol)
	fault(l.Address == "", "address is empty")
	fault(l.Implicit && l.TLS == nil, "implicit TLS needs a certificate")
	fault(l.TLS != nil && l.TLS.MinVersion != 0 && l.TLS.MinVersion < tls.VersionTLS12, "TLS below 1.2 (RFC 8997)")
	fault((l.RequireAuth || l.Auth) && l.TLS == nil, "AUTH needs TLS (RFC 4954 section 4)")
	fault((l.RequireAuth || l.Auth) && accounts == 0, "AUTH needs accounts")
	fault(l.Network == "unix" && !l.RequireAuth && l.Unix.Client == "" && len(l.Unix.Streams) == 0,
		"a unix socket needs the rights of its clients")
	return errs
}
