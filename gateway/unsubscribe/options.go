package unsubscribe

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/throttle"
)

// Registry is what the pages do with consent. *consent.Registry is one.
type Registry interface {
	// Suppress makes an opt-out durable before it returns. The same ID again
	// is the same suppression while that stands.
	Suppress(ctx context.Context, s consent.Suppression) (id string, err error)
	// Undo takes back one opt-out within its time.
	Undo(ctx context.Context, suppressionID string) error
	// Record stores a sign-up or its confirmation.
	Record(ctx context.Context, e consent.Event) (id string, err error)
	// ProfileSubject gives what is known of a token's subject.
	ProfileSubject(ctx context.Context, controller string, id address.SubjectID) (consent.Profile, error)
	// Profile gives what is known of an address, with its subject ids.
	Profile(ctx context.Context, controller string, a address.Address) (consent.Profile, error)
}

// Options of the public pages. The zero value works.
type Options struct {
	// BasePath stands before every path where a proxy serves the pages below
	// one, as in "/mail". Default "".
	BasePath string
	// Timeout bounds the work for one answer. Default 8 s: mail providers wait
	// about ten.
	Timeout time.Duration
	// UndoFor is how long the undo button works. Default 24 h (design D7);
	// the registry has the last word.
	UndoFor time.Duration
	// PublicURL is the https base in mailed links, without the last slash.
	// Needed with Mailer.
	PublicURL string
	// Mailer sends confirmations and fresh links. Default: none, and there are
	// neither sign-up pages nor a form for fresh links.
	Mailer Mailer
	// PendingFor is how long a confirmation link works. Default 7 days, as
	// the registry keeps a sign-up (CON-12).
	PendingFor time.Duration
	// Wording gives what a sign-up says over its button, as operators edited it
	// for a stream and language; "" where it is not. Default: the built-in words.
	Wording func(stream, language string) string
	// PerClient is how many sign-ups and requests for links one client address
	// (IPv6: /64) may make in an hour. Default 20.
	PerClient int
	// PerAddress is how many mails of these pages one mailbox gets in a day
	// from one controller. Default 3.
	PerAddress int
	// Total is how many of these mails leave in an hour. Default 2000.
	Total int
	// Limits counts these limits for all nodes together, so that nobody asks
	// one node after the other. Where it fails nothing is sent. Default: each
	// process counts by itself, for a single node or a test.
	Limits throttle.Taker
	// EvenTime is the least time of an answer that must not tell whether an
	// address is known. Default 400 ms.
	EvenTime time.Duration
	// TrustProxy takes the client's address from X-Forwarded-For. Default: no.
	TrustProxy bool
	// Metrics takes the counters. Default: none.
	Metrics prometheus.Registerer
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log takes what an operator must know. Default: discarded.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	o.BasePath = strings.TrimRight(o.BasePath, "/")
	if o.Timeout <= 0 {
		o.Timeout = 8 * time.Second
	}
	o.PublicURL = strings.TrimRight(o.PublicURL, "/")
	if o.PendingFor <= 0 || o.PendingFor > 7*24*time.Hour {
		o.PendingFor = 7 * 24 * time.Hour
	}
	if o.EvenTime <= 0 {
		o.EvenTime = 400 * time.Millisecond
	}
	count := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	count(&o.PerClient, 20)
	count(&o.PerAddress, 3)
	count(&o.Total, 2000)
	if o.UndoFor <= 0 {
		o.UndoFor = 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
