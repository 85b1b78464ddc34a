package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/dkim"
	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

// Grant is what a listener, client network or account may do (design D1, D21).
type Grant struct {
	Client        string   // its name in the config: logs, metrics, spool
	Streams       []string // names of the streams it may use
	Default       string   // stream of mail that names none
	FromDomains   []string // domains it owns: header From and reverse-path; empty: those of the stream
	MaxRecipients int      // per message; 0: 1000
	MaxSize       int64    // octets of a message; 0: the listener's limit

	MaxConns            int // at once; 0: the server's limit
	MessagesPerMinute   int // 0: the server's limit
	RecipientsPerMinute int // 0: the server's limit
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
	LongestLine int      // octets of the message's longest line without CRLF (MIME-1)
	Forward     *Forward // what a trusted client told by XFORWARD, or nil

	// Ahead lists recipients that the client has already named behind the one
	// in hand; nil where that is not known. It is valid during Judge.Rcpt.
	Ahead func() []address.Address

	asked  answered // got at RCPT
	stream string   // name of the stream chosen for the message in hand
}

// Outcome is what became of a message that could be judged: for each
// recipient of the envelope nil (accepted and durable) or its *Denial.
type Outcome struct {
	ID         string // spool id; "" where nobody was accepted
	Recipients []error
}

// Consent answers for many recipients at once, in their order.
// *consent.Registry does.
type Consent interface {
	Lookup(ctx context.Context, controller, purpose string, stream uint16, addrs []address.Address) ([]consent.Answer, error)
}

// Spooler makes a message and the records that belong to it durable. The
// message's slices are the spool's from then on. *spool.Store does.
type Spooler interface {
	Accept(ctx context.Context, m *spool.Message, recs ...ledger.Record) error
}

// OnceSpooler is a Spooler that knows what it has taken under a token already,
// and then gives that message's id. *spool.Store does.
type OnceSpooler interface {
	AcceptOnce(ctx context.Context, token string, m *spool.Message, recs ...ledger.Record) (id string, err error)
}

// Tokens seals who unsubscribes from what into the text of a link.
// *unsubscribe.Codec does.
type Tokens interface {
	Seal(subject address.SubjectID, stream uint16, at time.Time) string
}

// Trail keeps the records of those who were refused. *ledger.Ledger does.
type Trail interface {
	Append(ctx context.Context, recs ...ledger.Record) error
}

// Signer signs what leaves. *dkim.Signer does.
type Signer interface {
	// Signs tells whether there is a key for mail From that domain.
	Signs(domain string) bool
	// Sign gives the signature fields to be put before hdr.
	Sign(hdr []byte, body dkim.BodyHash, domain string) ([]byte, error)
}

// Advisor gives an opinion on mail of a transactional stream: whether it
// looks like marketing, and by which closed word (design D1). It never
// decides alone.
type Advisor interface {
	LooksMarketing(subject, text string) (bool, string)
}

// Deps are what the engine works with. Signer, Advisor and Trail may be nil.
type Deps struct {
	Streams *stream.Set
	Consent Consent
	Spool   Spooler
	Tokens  Tokens
	Trail   Trail
	Signer  Signer
	Advisor Advisor
}

// EngineOptions tune an Engine. Hostname, PublicURL and MailtoDomain are
// needed where there is a marketing stream.
type EngineOptions struct {
	Hostname      string                // in Received and DSNs; default "localhost"
	PublicURL     string                // https base of unsubscribe links, without the last slash
	MailtoDomain  string                // domain of u+TOKEN@
	BounceDomain  string                // domain of b+TOKEN@ for streams with bounce = "verp"; default MailtoDomain
	TraceMark     string                // word in our Received by which a loop is seen; default made from Hostname
	MaxHeader     int                   // octets; default 256 KiB (MIME-5)
	MaxReceived   int                   // Received fields that make a loop; default 100 (SMTP-13)
	MaxPasses     int                   // Received fields of our own that make a loop; default 4
	MaxDepth      int                   // of MIME parts within parts; default 50 (MIME-5)
	MaxParts      int                   // default 1000 (MIME-5)
	LookupTimeout time.Duration         // of one consent look-up; default 5 s, at most 10 s (SMTP-9)
	Report        Reporter              // takes what enforcing would have stopped, and all traffic; default: none
	Modes         ModeStore             // keeps modes set by operators; default: this process only
	Metrics       prometheus.Registerer // default: none
	Log           *slog.Logger          // default: discarded
	Now           func() time.Time      // default time.Now
}

func (o EngineOptions) withDefaults() EngineOptions {
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	o.PublicURL = strings.TrimRight(o.PublicURL, "/")
	if o.BounceDomain == "" {
		o.BounceDomain = o.MailtoDomain
	}
	if o.TraceMark == "" {
		o.TraceMark = "postern/" + o.Hostname
	}
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.MaxHeader, 256<<10)
	def(&o.MaxReceived, 100)
	def(&o.MaxPasses, 4)
	def(&o.MaxDepth, 50)
	def(&o.MaxParts, 1000)
	if o.LookupTimeout <= 0 {
		o.LookupTimeout = 5 * time.Second
	}
	o.LookupTimeout = min(o.LookupTimeout, 10*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Engine judges messages and prepares what leaves. It holds no connection and
// no goroutine; all methods are safe for concurrent use.
type Engine struct {
	deps    Deps
	opts    EngineOptions
	rules   atomic.Pointer[rules]
	met     *engineMetrics
	consent *joiner
	sign    chan struct{} // slots: no more signatures at once than cores

	storeDown atomic.Bool // the last look-up failed; for one log line per outage
}

// NewEngine checks that nothing is missing that a configured stream needs.
// All faults are reported at once, joined.
func NewEngine(d Deps, opts EngineOptions) (*Engine, error) {
	opts = opts.withDefaults()
	if d.Streams == nil || d.Spool == nil || d.Consent == nil {
		return nil, errors.New("engine: streams, consent and spool are needed")
	}
	e := &Engine{deps: d, opts: opts, consent: newJoiner(d.Consent, opts.LookupTimeout), sign: make(chan struct{}, signSlots())}
	if err := e.checkStreams(d.Streams); err != nil {
		return nil, err
	}
	met, err := newEngineMetrics(opts.Metrics)
	if err != nil {
		return nil, fmt.Errorf("engine metrics: %w", err)
	}
	e.met = met
	e.rules.Store(&rules{set: d.Streams})
	return e, nil
}

func (e *Engine) checkStreams(set *stream.Set) error {
	var errs []error
	for _, st := range set.Streams() {
		if st.Retired {
			continue
		}
		if st.Kind == stream.Marketing && (e.deps.Tokens == nil || !strings.HasPrefix(set.PublicURL(st.Controller, e.opts.PublicURL), "https://") || e.opts.MailtoDomain == "") {
			errs = append(errs, fmt.Errorf("stream %q: marketing needs tokens, an https public URL and a mailto domain (RFC 8058)", st.Name))
		}
		if st.Sign == signDKIM {
			for _, d := range e.ownDomains(set, st) {
				if e.deps.Signer == nil || !e.deps.Signer.Signs(d) {
					errs = append(errs, fmt.Errorf("stream %q: no DKIM key for its domain %s; run postern dkim keygen", st.Name, d))
				}
			}
		}
		if st.Bounce == bounceVERP && (e.deps.Tokens == nil || e.opts.BounceDomain == "") {
			errs = append(errs, fmt.Errorf("stream %q: bounce = \"verp\" needs tokens and a bounce domain", st.Name))
		}
	}
	return errors.Join(errs...)
}

// Words of stream.Stream's fields.
const (
	signDKIM      = "dkim"
	signSmarthost = "smarthost"
	bounceVERP    = "verp"
	mixedRefuse   = "refuse"
	storeDefer    = "defer"
	signedRefuse  = "refuse"
	keepOwn       = "keep"
)
