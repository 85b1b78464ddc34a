package consent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// Trail takes the records that belong to a change into the same batch, so
// that both are durable or neither (design D15).
type Trail interface {
	// Stage adds the records to b; they become durable when b commits.
	Stage(b *pebble.Batch, recs ...ledger.Record) error
	// Notify tells that a batch with staged records has committed.
	Notify()
}

// Options of a Registry. The zero value works.
type Options struct {
	// Timeout bounds one look-up. Default 2 s, at most 10 s (design D4).
	Timeout time.Duration
	// WriteTimeout bounds one change and each batch of an import. Default 10 s.
	WriteTimeout time.Duration
	// PendingFor is how long a sign-up waits for its confirmation. Default and
	// at most 7 days (CON-12).
	PendingFor time.Duration
	// UndoFor is how long an opt-out can be undone by its link. Default 24 h
	// (design D7).
	UndoFor time.Duration
	// Rules say what each jurisdiction asks. Default DefaultRules().
	Rules []Rule
	// Retention is how long evidence is kept after a consent has ended: the
	// limitation time (ST-1). Default 3 years.
	Retention time.Duration
	// Sweep is how often ended sign-ups, consents and evidence are looked for.
	// One node does it for all. Default 24 h; negative: never.
	Sweep time.Duration
	// HardBounces is how many messages must fail for good before an address
	// is suppressed. Default 1.
	HardBounces int
	// BounceWindow is the time within which they count. Default 90 days.
	BounceWindow time.Duration
	// Former gives the numbers of streams that are no more and whose opt-outs
	// bind a stream, as it took their place. Default: none.
	Former func(stream uint16) []uint16
	// Tick is how often Run looks after the store. Default 1 s.
	Tick time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log takes warnings. Default: discarded.
	Log *slog.Logger
	// Metrics takes the metrics postern_consent_*. Default: none.
	Metrics prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	o.Timeout = min(o.Timeout, 10*time.Second)
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.PendingFor <= 0 || o.PendingFor > maxPending {
		o.PendingFor = maxPending
	}
	if o.UndoFor <= 0 {
		o.UndoFor = 24 * time.Hour
	}
	if o.Rules == nil {
		o.Rules = DefaultRules()
	}
	if o.Retention <= 0 {
		o.Retention = 3 * year
	}
	if o.Sweep == 0 {
		o.Sweep = 24 * time.Hour
	}
	if o.HardBounces <= 0 {
		o.HardBounces = 1
	}
	if o.BounceWindow <= 0 {
		o.BounceWindow = 90 * 24 * time.Hour
	}
	if o.Former == nil {
		o.Former = func(uint16) []uint16 { return nil }
	}
	if o.Tick <= 0 {
		o.Tick = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Registry is the consent store of this node's relay: Redis shared with the
// other nodes, and the node's own journal of opt-outs. It is safe for
// concurrent use.
type Registry struct {
	rdb     redis.UniversalClient
	ring    *address.Keyring
	journal *journal
	opts    Options
	met     *metrics
	direct  bool // the client heeds context deadlines by itself

	keys    int // how many subject-id keys are live
	moves   chan move
	healing chan struct{} // holds a token while a replay runs
	blocked errorBox      // why nobody may be mailed, found by Run
}

// New makes a registry over rdb and the node's store db. trail may be nil
// where nothing is recorded. Redis need not answer yet. Set
// ContextTimeoutEnabled in the client's options, which saves a goroutine per
// call. Errors: an unreadable journal, metrics that are registered already.
func New(rdb redis.UniversalClient, ring *address.Keyring, db *pebble.DB, trail Trail, opts Options) (*Registry, error) {
	if rdb == nil || ring == nil || db == nil {
		return nil, errors.New("consent registry: Redis client, keyring and node store are needed")
	}
	j, err := openJournal(db, trail)
	if err != nil {
		return nil, fmt.Errorf("open consent journal: %w", err)
	}
	met, err := newMetrics(opts.Metrics, j)
	if err != nil {
		return nil, err
	}
	return &Registry{
		met: met, rdb: rdb, ring: ring, journal: j, opts: opts.withDefaults(), direct: heedsContext(rdb),
		keys: len(ring.Fingerprints()), moves: make(chan move, 1024), healing: make(chan struct{}, 1),
	}, nil
}

func heedsContext(rdb redis.UniversalClient) bool {
	switch c := rdb.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	}
	return false
}

// bounded runs f for at most d; a client that ignores the context is left to
// end by its own timeout. Errors of the store come back wrapping
// ErrStoreUnavailable.
func bounded[T any](ctx context.Context, r *Registry, d time.Duration, f func(context.Context) (T, error)) (T, error) {
	if end, ok := ctx.Deadline(); !ok || !r.direct || time.Until(end) > d { // each timer costs
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if r.direct {
		v, err := f(ctx)
		return v, asUnavailable(err)
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f(ctx)
		done <- result{v, err}
	}()
	select {
	case res := <-done:
		return res.v, asUnavailable(res.err)
	case <-ctx.Done():
		var none T
		return none, asUnavailable(ctx.Err())
	}
}

// within is bounded for work of many steps: it runs f itself, with d for it,
// so that nothing goes on when it has returned. A client that ignores the
// context ends each step by its own timeout.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return asUnavailable(f(ctx))
}

// asUnavailable marks what Redis or the way to it answered. Only the package's
// own findings keep their name.
func asUnavailable(err error) error {
	if err == nil {
		return nil
	}
	for _, own := range []error{ErrStoreUnavailable, ErrRefused, ErrNotFound, ErrUndoOver, ErrForeignKey, ErrDamaged} {
		if errors.Is(err, own) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
}

// errorBox holds one error for many readers.
type errorBox struct {
	mu  sync.RWMutex
	err error
}

func (b *errorBox) get() error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.err
}

func (b *errorBox) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// Node is the id of this node's data folder: made once, never changed.
func (r *Registry) Node() string { return r.journal.node }
