package spool

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/semaphore"
)

// Store keeps accepted messages until each recipient has its outcome. It is
// safe for concurrent use; the node's store below it is owned by the caller.
//
// Only messages in hand (accepted a moment ago or taken by a delivery) are in
// memory. All others are found through the due index, so a start with any
// number of waiting messages costs one pass over that index.
type Store struct {
	db     *pebble.DB
	trail  Trail
	opts   Options
	limits atomic.Pointer[Limits] // in place of those in opts
	seal   *sealer
	ids    *idSource
	met    *metrics

	mu      sync.Mutex
	inHand  map[msgID]*entry
	ready   queue
	delayed delayHeap
	cursor  []byte // where the next scan of the due index goes on
	scan0   scanState
	scanAt  int64 // Unix nanoseconds of the next scan; noScan: nothing waits on disk
	memory  int64
	coming  int  // copies of messages being accepted
	lined   int  // Accepts that wait for room
	flowing bool // deliveries take what is due, so Accept may wait for them
	enough  int  // ready messages that AwaitReady waits for; 0: nobody waits
	closed  bool
	room    chan struct{} // closed and replaced when the backlog shrinks

	turn     chan struct{} // held by the Accept that is first in line
	wake     chan struct{} // to the scheduler
	handouts chan struct{} // one token per waiting taker that should look again
	crowd    chan struct{} // to AwaitReady: there are enough
	records  chan *change
	stop     chan struct{}
	done     sync.WaitGroup

	readBack *semaphore.Weighted // octets of messages read back and not yet done with

	once      sync.Mutex // one AcceptOnce at a time
	onceSwept time.Time

	messages, bytes, held, damaged atomic.Int64
	full                           fullness
}

// entry is one message in hand.
type entry struct {
	id     msgID
	due    int64 // its key in the due index; -1 while it is in the held index
	size   int64
	msg    *Message // nil: to be read from disk when taken
	mem    int64    // octets counted in Store.memory
	weight int64    // octets counted in Store.readBack
	copies int      // transactions it takes, while that is known
	leased bool     // a delivery works on it, or the store itself
	passed bool     // the due index was read past it meanwhile
	states bool     // the store has frames of states for it
	pauses int
	notBef int64
	want   intent // what an operator asked for while it was leased
	actor  string
}

// at is the place of e in the index at another time.
func (e *entry) at(due int64) *entry { return &entry{id: e.id, size: e.size, due: due} }

// New opens the spool in db, recovering what waits there. dir is the folder
// whose file system is watched for free space; "" watches none. trail may be
// nil where nothing is recorded. Errors: a key of wrong length or a failing
// store; single damaged records are counted and logged instead.
func New(db *pebble.DB, dir string, trail Trail, opts Options) (*Store, error) {
	seal, err := newSealer(opts.Key)
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, trail: trail, opts: opts.withDefaults(dir), seal: seal, ids: newIDSource(),
		inHand: map[msgID]*entry{}, scanAt: noScan, room: make(chan struct{}),
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), handouts: make(chan struct{}, 1), crowd: make(chan struct{}, 1),
		records: make(chan *change, 1024), stop: make(chan struct{}),
	}
	s.SetLimits(Limits{s.opts.MaxMessages, s.opts.MaxBytes, s.opts.Expire})
	s.readBack = semaphore.NewWeighted(s.readLimit())
	if s.opts.Free != nil {
		if err := s.lookAtDisk(); err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
	}
	s.reportDamage(dir)
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("recover spool: %w", err)
	}
	if s.met, err = newMetrics(s.opts.Metrics, s); err != nil {
		return nil, fmt.Errorf("register spool metrics: %w", err)
	}
	s.done.Add(2)
	go s.schedule()
	go s.write()
	return s, nil
}

// Close stops handing out, writes what was recorded and waits for it. The
// node's store stays open.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.done.Wait()
	s.met.unregister(s.opts.Metrics)
	return nil
}

// Stats tells the counts of now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	st := Stats{InHand: int64(len(s.inHand)), Memory: s.memory}
	s.mu.Unlock()
	st.Messages, st.Bytes, st.Held, st.Damaged = s.messages.Load(), s.bytes.Load(), s.held.Load(), s.damaged.Load()
	st.Full = s.checkRoom(0) != nil
	st.OldestAt = s.oldest()
	return st
}

// ParseID checks the text form of a message id. Errors wrap ErrNotFound.
func ParseID(text string) (ulid.ULID, error) {
	id, err := ulid.ParseStrict(text)
	if err != nil {
		return id, fmt.Errorf("%w: %q is not a spool id", ErrNotFound, text)
	}
	return id, nil
}
