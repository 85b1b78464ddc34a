package intake

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/intake/report"
	"postern/queue"
)

// Cases stores requests; *queue.Queue is one. OpenAll is idempotent, and the
// mails are durable when it returns no error.
type Cases interface {
	OpenAll(ctx context.Context, mails []queue.Incoming) ([]queue.Ref, error)
}

// Aside keeps machine mail where operators look through it.
type Aside interface {
	SetAside(ctx context.Context, list ...queue.Aside) error
}

// Optouts acts on mail to an unsubscribe address.
type Optouts interface {
	OptOut(ctx context.Context, token string, in queue.Incoming) error
}

// Bounces learns of failed deliveries and of complaints. Both are told at
// least once: implementations are idempotent.
type Bounces interface {
	Bounced(ctx context.Context, b report.Bounce) error
	Complained(ctx context.Context, c report.Complaint) error
}

// Deps are what the poller works with; all but Bounces are needed.
type Deps struct {
	Cases      Cases
	Aside      Aside
	Optouts    Optouts
	Bounces    Bounces // nil: bounces and complaints are only set aside
	Classifier Classifier
	State      State
}

// Options of a Poller; the zero value works.
type Options struct {
	Log      *slog.Logger          // default: silent
	Now      func() time.Time      // default time.Now
	Registry prometheus.Registerer // default: metrics are not published
	// Owner names this process in leases: no two at a time may have the same, and
	// one that was killed takes its lease again by it. Default a random id.
	Owner string
	// Lease is how long a mailbox stays ours without renewal; default 30 s.
	Lease time.Duration
	// Batch is how many mails are fetched at once; default 250.
	Batch int
	// Workers is how many mails of a folder are read at once, which may wait for
	// DNS, and how many reports and opt-outs are told at once; default 64.
	Workers int
	// BackoffMax bounds the wait after a failure, which begins at 1 s; after
	// a refused log-in it begins at 30 s (IM-11). Default 5 min.
	BackoffMax time.Duration
	// Command is how long an IMAP command may take without any byte; default 1 min.
	Command time.Duration
	// Tries is how often a mail that breaks the reader is tried before it
	// becomes a case as it is (IM-12); default 3.
	Tries int
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Owner == "" {
		o.Owner = randomOwner()
	}
	if o.Lease <= 0 {
		o.Lease = 30 * time.Second
	}
	if o.Batch <= 0 {
		o.Batch = 250
	}
	if o.Workers <= 0 {
		o.Workers = 64
	}
	if o.BackoffMax <= 0 {
		o.BackoffMax = 5 * time.Minute
	}
	if o.Command <= 0 {
		o.Command = time.Minute
	}
	if o.Tries <= 0 {
		o.Tries = 3
	}
	return o
}
