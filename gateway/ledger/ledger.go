package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"
)

// Keys are the secrets of a node's log.
type Keys struct {
	Origin string // name of the log, as in "relay1.example.com/postern"; no spaces, no plus; never changed
	Signer []byte // Ed25519 seed, 32 octets: signs checkpoints
	Master []byte // 32 octets: wraps the keys of subjects
}

// Options of a Ledger. The zero value works.
type Options struct {
	// Batch is how many staged records one commit moves at most: while it is
	// applied, messages wait for theirs. Default 512.
	Batch int
	// Gather is how long the sequencer lets records collect: the more go together,
	// the less each costs. Default 100 ms.
	Gather time.Duration
	// Publish is the least time between two signed checkpoints. Default 1 s.
	Publish time.Duration
	// Anchor is given the checkpoint of each day (UTC) to keep it outside, as
	// by mail; it is tried again until it returns nil. Default: the file in
	// the ledger's folder alone.
	Anchor func(ctx context.Context, day string, c Checkpoint) error
	// AnchorRetry is the time between two tries. Default 1 min.
	AnchorRetry time.Duration
	// Metrics takes postern_ledger_*. Default: none.
	Metrics prometheus.Registerer
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log takes warnings. Default: discarded.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Gather, 100*time.Millisecond)
	def(&o.Publish, time.Second)
	def(&o.AnchorRetry, time.Minute)
	if o.Batch <= 0 {
		o.Batch = 512
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Ledger is the log of this node. It is safe for concurrent use.
type Ledger struct {
	db      *pebble.DB
	dir     string
	opts    Options
	signer  note.Signer
	public  string
	persons *persons
	counter atomic.Uint64 // last outbox number given
	wake    chan struct{}
	floor   atomic.Uint64 // outbox numbers up to here are in the tree (settle)

	seq       sync.Mutex // one who changes tree, keys or index at a time
	size      uint64     // records in the tree
	edge      edge
	work      sequence   // the move under way or the last one
	signed    Checkpoint // the last one signed
	low       uint64     // outbox numbers up to here were seen in order
	published time.Time
	fullScan  time.Time
	seen      [2]uint64 // low of a moment ago, and of one before
	seenAt    time.Time // when seen[0] was
	anchored  time.Time // last try to hand an anchor out
}

// Open reads the log's head from the node's store. dir gets the checkpoint and
// the anchors as files, 0700. Errors: bad keys, a damaged head, or a head
// signed by another key.
func Open(db *pebble.DB, dir string, keys Keys, opts Options) (*Ledger, error) {
	signer, public, err := noteKeys(keys.Origin, keys.Signer)
	if err != nil {
		return nil, err
	}
	people, err := newPersons(keys.Master)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ledger folder: %w", err)
	}
	l := &Ledger{
		db: db, dir: dir, opts: opts.withDefaults(), signer: signer, public: public, persons: people,
		wake: make(chan struct{}, 1),
	}
	if err := l.readHead(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := l.indexKinds(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := l.register(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

func (l *Ledger) readHead() error {
	size, signed, err := headOf(l.db)
	if err != nil {
		return err
	}
	l.size = size
	if signed != "" {
		if l.signed, err = OpenCheckpoint(signed, l.public); err != nil {
			return fmt.Errorf("stored head: %w", err)
		}
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix(tabOutbox), UpperBound: after(prefix(tabOutbox))})
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	if it.Last() {
		l.counter.Store(numberOf(it.Key()))
	}
	return it.Close()
}

// headOf reads size and last checkpoint.
func headOf(db pebble.Reader) (size uint64, signed string, err error) {
	v, closer, err := db.Get(prefix(tabHead))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("read ledger head: %w", err)
	}
	defer closer.Close()
	if len(v) < 8 {
		return 0, "", fmt.Errorf("%w: head", errDamaged)
	}
	return numberOf(v[:8]), string(v[8:]), nil
}

// PublicKey is the verifier key of the log's checkpoints, to be kept outside
// (C2SP signed-note).
func (l *Ledger) PublicKey() string { return l.public }

// marks before a staged record: whether its id may have been staged before.
const (
	idGiven byte = 0
	idMade  byte = 1
)

// Stage adds the records to b: they are durable when b is. Call Notify after
// the commit. It sets missing ids and times in its own copy. Errors wrap
// ErrRecord where a record is too large.
func (l *Ledger) Stage(b *pebble.Batch, recs ...Record) error {
	for i := range recs {
		r := recs[i]
		mark := idGiven
		if r.ID == "" {
			r.ID, mark = ulid.Make().String(), idMade
		}
		if r.Time.IsZero() {
			r.Time = l.opts.Now()
		}
		text, err := encodeRecord(&r)
		if err != nil {
			return fmt.Errorf("stage %s record: %w", r.Kind, err)
		}
		op := b.SetDeferred(prefixLen+8, 1+len(text))
		copy(op.Key, numberKey(tabOutbox, l.counter.Add(1)))
		op.Value[0] = mark
		copy(op.Value[1:], text)
		if err := op.Finish(); err != nil {
			return fmt.Errorf("stage %s record: %w", r.Kind, err)
		}
	}
	return nil
}

// Notify wakes the sequencer: staged records have been committed.
func (l *Ledger) Notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Append stages the records in a batch of their own; they are durable when it
// returns.
func (l *Ledger) Append(ctx context.Context, recs ...Record) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("append to ledger: %w", err)
	}
	b := l.db.NewBatch()
	defer b.Close()
	if err := l.Stage(b, recs...); err != nil {
		return err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("append to ledger: %w", err)
	}
	l.Notify()
	return nil
}
