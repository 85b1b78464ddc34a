package delivery

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/address"
	"postern/gateway/spool"
)

// TLSMode says how much a smarthost connection insists on TLS.
type TLSMode string

const (
	TLSOpportunistic TLSMode = "opportunistic" // STARTTLS where offered, certificate not checked (RFC 7435)
	TLSNone          TLSMode = "none"          // never
	TLSRequired      TLSMode = "required"      // STARTTLS with a valid certificate, or no delivery
	TLSImplicit      TLSMode = "implicit"      // TLS from the first octet (RFC 8314), valid certificate
)

// Smarthost is one next hop (design D19).
type Smarthost struct {
	Name     string  // for logs, metrics and the spool; default: Address
	Address  string  // host:port
	Priority int     // lower is tried first; equals share the load
	TLS      TLSMode // default opportunistic
	// CAFile holds the PEM certificates trusted instead of the system's.
	CAFile string
	// ServerName is checked against the certificate. Default: the host of Address.
	ServerName string
	Username   string // AUTH PLAIN or LOGIN where set; only inside TLS unless AuthClear
	Password   string
	AuthClear  bool    // allow AUTH without TLS, for loopback
	MaxConns   int     // default 20
	PerConn    int     // messages over one connection, 0: no limit
	Rate       float64 // messages per second, 0: no limit
	// NoChunking keeps to DATA where the hop offers BDAT (RFC 3030).
	NoChunking bool
	Timeouts   Timeouts
}

// Timeouts of a connection; the defaults are those of RFC 5321 section
// 4.5.3.2 (SMTP-9), but for Connect.
type Timeouts struct {
	Connect  time.Duration // default 30 s
	Greeting time.Duration // default 5 min, for EHLO, STARTTLS and AUTH too
	Mail     time.Duration // default 5 min
	Rcpt     time.Duration // default 5 min
	Data     time.Duration // default 2 min
	Block    time.Duration // of each write, default 3 min
	Final    time.Duration // after the final dot, default 10 min
	Idle     time.Duration // how long an unused connection is kept, default 30 s
}

// Schedule says when a recipient that was refused for now is tried again
// (SMTP-10, RFC 5321 section 4.5.4.1).
type Schedule struct {
	First  time.Duration // gap after the first attempt, default 30 min
	Second time.Duration // gap after the second, default 1 h
	Later  time.Duration // all further gaps, default 2 h
	// Jitter varies each gap by up to this share either way. Default 0.1;
	// negative: none.
	Jitter float64
	// Defer is the gap where the gateway could not give a verdict; it costs
	// no attempt. Default 1 min.
	Defer time.Duration
	// Pause is the gap after a connection broke or was refused, it costs no
	// attempt; doubled each time. Default 1 s.
	Pause time.Duration
	// Breaks is how many broken connections in a row cost one message no
	// attempt. Default 3.
	Breaks int
}

// gap is the time to the next attempt after n attempts.
func (s Schedule) gap(n int) time.Duration {
	g := s.Later
	switch n {
	case 0, 1:
		g = s.First
	case 2:
		g = s.Second
	}
	return s.vary(g)
}

// pause is the gap after a connection broke, n of them in a row before it.
func (s Schedule) pause(n int) time.Duration { return s.vary(s.Pause << min(n, 4)) }

func (s Schedule) vary(g time.Duration) time.Duration {
	if s.Jitter <= 0 {
		return g
	}
	return g + time.Duration((2*rand.Float64()-1)*s.Jitter*float64(g))
}

// Outcome is what finally became of one recipient.
type Outcome struct {
	Message   *spool.Message // not to be changed
	Recipient int
	Subject   address.SubjectID
	Stream    uint16
	State     spool.State // Delivered, Failed, Expired or Denied
	Code      int         // SMTP reply code, 0 if none
	Status    string      // enhanced status code, "" if none
	Reason    string      // of Denied
	Host      string      // smarthost
	At        time.Time
}

// DSN settings (RFC 3461, RFC 3464).
type DSN struct {
	// ReportingMTA is the host name that stands in the reports. Default: Helo.
	ReportingMTA string
	// From is the header From of reports. Default: Mail Delivery System at
	// postmaster of ReportingMTA.
	From string
	// Stream is the number of the stream that reports belong to.
	Stream uint16
	// MayReport tells whether reports may go to the message's reverse-path
	// (design D3). Default: always, except to <>.
	MayReport func(m *spool.Message) bool
	// DelayAfter is how long a recipient waits before a delay DSN. Default 4 h;
	// negative: never.
	DelayAfter time.Duration
}

// Options of a Deliverer. Smarthosts are needed; the zero value of all else works.
type Options struct {
	Smarthosts []Smarthost
	Helo       string // ASCII host name, default "localhost"
	Schedule   Schedule
	DSN        DSN
	// Outcome is called for each final outcome, before it is recorded unless
	// it is a delivery: it may be called twice for one recipient after a crash.
	Outcome func(ctx context.Context, o Outcome)
	// Tally is called for each result of an attempt, those that will be tried
	// again included, for counters of traffic. It must not block.
	Tally func(stream uint16, r spool.Result)
	// Controller names the controller of a stream in ledger records. Default: none.
	Controller func(stream uint16) string
	// Workers is how many messages are worked on at once. Default: the sum of
	// the smarthosts' MaxConns.
	Workers int
	// Chunk is how many recipients of a personalised message are prepared in
	// one call. Default 8.
	Chunk int
	// Fanout is how many chunks of one message are under way. Default: twice
	// the number of cores.
	Fanout int
	// ProbeEvery is the gap between two probes of a smarthost that is away.
	// Default 5 s.
	ProbeEvery time.Duration
	// BreakAfter is how many failed connections in a row mean that a
	// smarthost is away. Default 3.
	BreakAfter int
	// Grace is how long work in hand may go on after Run's context ended.
	// Default 30 s.
	Grace time.Duration
	// Dial opens connections. Default: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log takes what a person should know. Default: discarded.
	Log *slog.Logger
	// Metrics takes the metrics postern_delivery_*. Default: none.
	Metrics prometheus.Registerer
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (t *Timeouts) defaults() {
	orDefault(&t.Connect, 30*time.Second)
	orDefault(&t.Greeting, 5*time.Minute)
	orDefault(&t.Mail, 5*time.Minute)
	orDefault(&t.Rcpt, 5*time.Minute)
	orDefault(&t.Data, 2*time.Minute)
	orDefault(&t.Block, 3*time.Minute)
	orDefault(&t.Final, 10*time.Minute)
	orDefault(&t.Idle, 30*time.Second)
}

func (s *Schedule) defaults() {
	orDefault(&s.First, 30*time.Minute)
	orDefault(&s.Second, time.Hour)
	orDefault(&s.Later, 2*time.Hour)
	orDefault(&s.Defer, time.Minute)
	orDefault(&s.Pause, time.Second)
	orDefault(&s.Breaks, 3)
	if s.Jitter == 0 {
		s.Jitter = 0.1
	}
}

func (o Options) withDefaults() Options {
	if o.Helo == "" {
		o.Helo = "localhost"
	}
	o.Schedule.defaults()
	if o.DSN.ReportingMTA == "" {
		o.DSN.ReportingMTA = o.Helo
	}
	if o.DSN.From == "" {
		o.DSN.From = "Mail Delivery System <postmaster@" + o.DSN.ReportingMTA + ">"
	}
	if o.DSN.MayReport == nil {
		o.DSN.MayReport = func(*spool.Message) bool { return true }
	}
	orDefault(&o.DSN.DelayAfter, 4*time.Hour)
	if o.Outcome == nil {
		o.Outcome = func(context.Context, Outcome) {}
	}
	if o.Tally == nil {
		o.Tally = func(uint16, spool.Result) {}
	}
	if o.Controller == nil {
		o.Controller = func(uint16) string { return "" }
	}
	o.Smarthosts = append([]Smarthost(nil), o.Smarthosts...)
	workers := 0
	for i := range o.Smarthosts {
		h := &o.Smarthosts[i]
		h.Timeouts.defaults()
		orDefault(&h.MaxConns, 20)
		if h.Name == "" {
			h.Name = h.Address
		}
		if h.TLS == "" {
			h.TLS = TLSOpportunistic
		}
		workers += h.MaxConns
	}
	orDefault(&o.Workers, workers)
	orDefault(&o.Chunk, 8)
	orDefault(&o.Fanout, 2*runtime.GOMAXPROCS(0))
	orDefault(&o.ProbeEvery, 5*time.Second)
	orDefault(&o.BreakAfter, 3)
	orDefault(&o.Grace, 30*time.Second)
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) validate() error {
	var errs []error
	if len(o.Smarthosts) == 0 {
		errs = append(errs, errors.New("no smarthost is configured"))
	}
	seen := map[string]bool{}
	for _, h := range o.Smarthosts {
		if _, _, err := net.SplitHostPort(h.Address); err != nil {
			errs = append(errs, fmt.Errorf("smarthost %q: address: %w", h.Name, err))
		}
		if seen[h.Name] {
			errs = append(errs, fmt.Errorf("smarthost %q: the name is given twice", h.Name))
		}
		seen[h.Name] = true
		switch h.TLS {
		case TLSNone, TLSOpportunistic, TLSRequired, TLSImplicit:
		default:
			errs = append(errs, fmt.Errorf("smarthost %q: tls %q is none of none, opportunistic, required, implicit", h.Name, h.TLS))
		}
		if h.Username != "" && !h.AuthClear && (h.TLS == TLSNone || h.TLS == TLSOpportunistic) {
			errs = append(errs, fmt.Errorf("smarthost %q: a password would travel without TLS: set tls to required or implicit", h.Name))
		}
	}
	for i := 0; i < len(o.Helo); i++ {
		if c := o.Helo[i]; c <= ' ' || c >= 0x7f {
			errs = append(errs, errors.New("helo is not an ASCII host name"))
			break
		}
	}
	return errors.Join(errs...)
}

// loadCA reads the certificates of CAFile; nil means the system's.
func loadCA(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s holds no certificate", strings.TrimSpace(file))
	}
	return pool, nil
}
