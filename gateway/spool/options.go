package spool

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/ledger"
)

// Trail takes the records that belong to a change of the spool into the same
// batch, so that both are durable or neither (design D15).
type Trail interface {
	// Stage adds the records to b; they become durable when b commits.
	Stage(b *pebble.Batch, recs ...ledger.Record) error
	// Notify tells that a batch with staged records has committed.
	Notify()
}

// Errors of the store. Inspect with errors.Is.
var (
	// ErrFull says that a limit or the disk allows no further message: 452 4.3.1.
	ErrFull = errors.New("spool is full")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("spool is closed")
	// ErrNotFound says that no such message is spooled.
	ErrNotFound = errors.New("message not found in the spool")
	// ErrDamaged says that a stored record can't be read back.
	ErrDamaged = errors.New("spool record is damaged")
)

// Options of a Store. The zero value works.
type Options struct {
	// MaxMessages is how many messages may wait. Default 1,000,000.
	MaxMessages int64
	// MaxBytes is how many octets of messages may wait. Default 20 GiB.
	MaxBytes int64
	// Reserve is the free space in octets below which the disk counts as
	// full, so that outcomes can still be written. Default 256 MiB.
	Reserve int64
	// Memory is how many octets of accepted messages are kept for immediate
	// delivery; what exceeds it is read back from disk. Default 16 MiB.
	Memory int64
	// Backlog is how many copies may wait for an idle delivery worker
	// before Accept slows down to the pace of delivery; it does so too when
	// three quarters of Memory are in use. Default 400.
	Backlog int
	// Pace is how long Accept waits at most for the backlog to shrink, for
	// each copy of the message up to 40. Default 250 ms; negative: never waits.
	Pace time.Duration
	// Expire is the life of a message that brings no Expires. Default five
	// days (RFC 5321 section 4.5.4.1).
	Expire time.Duration
	// Key encrypts what is stored with AES-256-GCM; 32 bytes, or nil for
	// storage in clear.
	Key []byte
	// Free tells the free octets of the file system that holds dir. Default:
	// asked from the kernel; with an empty dir there is no such check.
	Free func() (int64, error)
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log takes warnings about losses. Default: discarded.
	Log *slog.Logger
	// Metrics takes the metrics postern_spool_*. Default: none.
	Metrics prometheus.Registerer
}

func (o Options) withDefaults(dir string) Options {
	if o.MaxMessages <= 0 {
		o.MaxMessages = 1_000_000
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 20 << 30
	}
	if o.Reserve <= 0 {
		o.Reserve = 256 << 20
	}
	if o.Memory <= 0 {
		o.Memory = 16 << 20
	}
	if o.Backlog <= 0 {
		o.Backlog = 400
	}
	if o.Pace == 0 {
		o.Pace = 250 * time.Millisecond
	}
	if o.Expire <= 0 {
		o.Expire = 5 * 24 * time.Hour
	}
	if o.Free == nil && dir != "" {
		o.Free = func() (int64, error) { return freeSpace(dir) }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Filter chooses messages; all fields that are set must match.
type Filter struct {
	IDs       []string  // these messages only
	State     State     // at least one recipient is in this state
	Stream    uint16    // 0: any
	Client    string    // "": any
	Subject   string    // text form of a subject id of one recipient, "": any
	Address   string    // plain forward-path of one recipient, "": any
	Domain    string    // domain of one recipient in A-labels, "": any
	Before    time.Time // received before, zero: any
	After     string    // id after which the listing goes on, for paging
	Limit     int       // of List; 0: 1000
	WithBody  bool      // List and Get bring the body too
	Unlimited bool      // List brings all
}

// Stats are counts of now.
type Stats struct {
	Messages int64     // spooled, held ones included
	Bytes    int64     // their octets
	Held     int64     // messages that wait for an operator
	InHand   int64     // messages a delivery works on or has next
	Memory   int64     // octets kept for immediate delivery
	Damaged  int64     // records that could not be read since start
	OldestAt time.Time // when the longest waiting queued message was received; zero if none
	Full     bool      // the next Accept would be refused
}
