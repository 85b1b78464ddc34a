package unsubscribe

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/consent"
)

// Registry is what the pages do with consent. *consent.Registry is one.
type Registry interface {
	// Suppress makes an opt-out durable before it returns. The same ID again
	// is the same suppression while that stands.
	Suppress(ctx context.Context, s consent.Suppression) (id string, err error)
	// Undo takes back one opt-out within its time.
	Undo(ctx context.Context, suppressionID string) error
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
