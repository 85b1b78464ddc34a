package spool

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"postern/gateway/ledger"
)

// Item is one message leased to a delivery, together with the recipients that
// are due. The holder ends the lease with exactly one Finish or Return.
// Message must not be changed; Record and Finish may be called concurrently.
type Item struct {
	Message *Message
	Due     []int // indexes of recipients whose attempt is due
	// Pauses is how often this lease was returned since the message came in hand.
	Pauses int

	store *Store
	e     *entry
	mu    sync.Mutex
	noted []Result
}

// Result is what an attempt made of one recipient. State Queued means that it
// is to be tried again at Next.
type Result struct {
	Recipient int
	State     State
	Next      time.Time // Queued only
	Attempt   bool      // counts as an attempt
	Code      int
	Status    string
	Reply     string
	Host      string
	Warned    bool // a delay DSN goes out with this
}

func (r Result) apply(rc *Recipient) {
	rc.State, rc.Next = r.State, r.Next
	if r.State != Queued {
		rc.Next = time.Time{}
	}
	if r.Attempt {
		rc.Attempts++
	}
	if r.Code != 0 || r.Status != "" || r.Reply != "" {
		rc.Code, rc.Status, rc.Reply = r.Code, r.Status, r.Reply
	}
	if r.Host != "" {
		rc.Host = r.Host
	}
	rc.Warned = rc.Warned || r.Warned
}

// Flow tells whether deliveries take what is due at the moment. While they
// do, Accept keeps to their pace; while they don't (no next hop answers),
// Accept takes in until the spool is full.
func (s *Store) Flow(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flowing = on
	s.makeRoom()
}

// makeRoom lets waiting Accepts look again. s.mu is held.
func (s *Store) makeRoom() {
	close(s.room)
	s.room = make(chan struct{})
}

// Take waits for a message that is due and leases it. Errors: that of ctx, or
// ErrClosed.
func (s *Store) Take(ctx context.Context) (*Item, error) {
	for {
		e, err := s.next(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.weigh(ctx, e); err != nil {
			return nil, err
		}
		it, err := s.lease(e)
		switch {
		case err == nil:
			return it, nil
		case errors.Is(err, errStale):
			continue
		default:
			s.quarantine(e, err)
		}
	}
}

// Copies is how many transactions the item takes at least.
func (it *Item) Copies() int { return it.e.copies }

// Alone tells whether the item is one transaction, so that others may be
// delivered together with it.
func (it *Item) Alone() bool { return it.e.copies == 1 && it.e.pauses <= maxTogether }

// maxTogether is how often a message may have been returned and still go with
// others: one that breaks its companions off must end up alone.
const maxTogether = 2

// smallOctets is the size up to which a message is read back for company.
const smallOctets = 64 << 10

// AwaitReady waits until n messages are ready, at most for d, unless some are
// already: those that TakeReady has left are better taken alone. It is for one
// caller at a time.
func (s *Store) AwaitReady(ctx context.Context, n int, d time.Duration) {
	s.mu.Lock()
	if s.closed || n <= 0 || s.ready.len() > 0 {
		s.mu.Unlock()
		return
	}
	select {
	case <-s.crowd:
	default:
	}
	s.enough = n
	s.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.crowd:
	case <-timer.C:
	case <-ctx.Done():
	case <-s.stop:
	}
	s.mu.Lock()
	s.enough = 0
	s.mu.Unlock()
}

// TakeReady leases up to n further messages that need no waiting, in their
// order. It stops at the first that is better taken alone.
func (s *Store) TakeReady(n int) (out []*Item) {
	for len(out) < n {
		e := s.nextReady()
		if e == nil {
			break
		}
		it, err := s.lease(e)
		switch {
		case err == nil:
			out = append(out, it)
		case !errors.Is(err, errStale):
			s.quarantine(e, err)
		}
	}
	return out
}

// nextReady takes the first entry of the ready queue if it may go with others
// and there is room to read it back.
func (s *Store) nextReady() *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.ready.first()
	if s.closed || e == nil || e.copies > 1 || e.pauses > maxTogether {
		return nil
	}
	if e.msg == nil {
		weight := min(e.size+entryCost, s.readLimit())
		if e.size > smallOctets || !s.readBack.TryAcquire(weight) {
			return nil
		}
		e.weight = weight
	}
	return s.pop()
}

// pop takes the first entry of the ready queue. s.mu is held.
func (s *Store) pop() *entry {
	before := s.ready.copies + s.coming
	e := s.ready.pop()
	if e == nil {
		return nil
	}
	e.leased = true
	if s.ready.len() > 0 {
		s.handOut()
	}
	if s.ready.len() == scanBatch/2 {
		s.signal()
	}
	if before >= s.opts.Backlog && s.ready.copies+s.coming < s.opts.Backlog {
		s.makeRoom()
	}
	return e
}

// next waits for an entry in the ready queue.
func (s *Store) next(ctx context.Context) (*entry, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		if e := s.pop(); e != nil {
			s.mu.Unlock()
			return e, nil
		}
		s.mu.Unlock()
		select {
		case <-s.handouts:
		case <-s.stop:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// readLimit is how many octets may be read back at a time: large messages go
// out a few at once, however many workers there are.
func (s *Store) readLimit() int64 { return 3 * s.opts.Memory }

// weigh waits until e may be read back, unless it is in memory.
func (s *Store) weigh(ctx context.Context, e *entry) error {
	if e.msg != nil {
		return nil
	}
	weight := min(e.size+entryCost, s.readLimit())
	if err := s.readBack.Acquire(ctx, weight); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		e.leased = false
		s.ready.pushFront(e)
		return err
	}
	s.mu.Lock()
	e.weight = weight
	s.mu.Unlock()
	return nil
}

// unload takes the octets of e out of memory. s.mu is held.
func (s *Store) unload(e *entry) {
	before := s.memory
	s.memory -= e.mem
	e.mem = 0
	if before >= s.ample() && s.memory < s.ample() {
		s.makeRoom()
	}
	if e.weight > 0 {
		s.readBack.Release(e.weight)
		e.weight = 0
	}
}

// errStale says that an index entry was overtaken by a change made meanwhile.
var errStale = errors.New("message is no longer due")

// lease makes the item of e, reading it from disk where it is not in memory.
func (s *Store) lease(e *entry) (*Item, error) {
	if e.msg == nil {
		m, states, err := s.load(e.id, true)
		if errors.Is(err, ErrNotFound) || err == nil && dueOf(m) != e.due {
			s.mend(e)
			return nil, errStale
		}
		if err != nil {
			return nil, err
		}
		e.states, e.msg, e.copies = states, m, copiesOf(m)
		s.met.readBack.Inc()
	}
	it := &Item{Message: e.msg, store: s, e: e, Pauses: e.pauses}
	now := s.opts.Now()
	for i := range e.msg.Recipients {
		if r := &e.msg.Recipients[i]; r.State == Queued && !r.Next.After(now) {
			it.Due = append(it.Due, i)
		}
	}
	if len(it.Due) == 0 {
		s.stale(e)
		return nil, errStale
	}
	return it, nil
}

// forget takes e out of hand; the index brings it again when it is due.
func (s *Store) forget(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(e)
	// The entry that made e may be gone; the true one may have been passed by.
	if s.cursor != nil {
		s.cursor = nil
	}
	if s.scan0.active {
		s.scan0.low, _ = bounds(keyDue)
		s.scan0.at = 0
	}
	s.scanAt = 0
	s.signal()
}

// drop takes e out of memory. s.mu is held.
func (s *Store) drop(e *entry) {
	s.unload(e)
	if s.inHand[e.id] == e {
		delete(s.inHand, e.id)
	}
}

// Record notes results that must survive a crash although the lease goes on,
// such as a delivery of one of several copies. It does not wait for the disk.
func (it *Item) Record(results []Result, recs ...ledger.Record) error {
	it.mu.Lock()
	it.noted = append(it.noted, results...)
	it.mu.Unlock()
	return it.store.submit(&change{e: it.e, msg: it.Message, results: results, recs: recs})
}

// Finish ends the lease: the results and those recorded before become the
// state of the message, spawned messages (DSNs) enter the spool in the same
// batch, and a message that is done everywhere leaves it. It does not wait
// for the disk.
func (it *Item) Finish(results []Result, spawned []*Message, recs ...ledger.Record) error {
	it.mu.Lock()
	noted := it.noted
	it.noted = nil
	it.mu.Unlock()
	return it.store.submit(&change{e: it.e, msg: it.Message, results: results, noted: noted, recs: recs, spawned: spawned, finish: true})
}

// Return ends the lease without any change: the message is handed out again
// after the pause, or as soon as asked for if that is zero. Nothing is
// written, no attempt is counted.
func (it *Item) Return(pause time.Duration) error {
	it.mu.Lock()
	noted := len(it.noted) > 0
	it.mu.Unlock()
	s, e := it.store, it.e
	s.mu.Lock()
	if noted || e.want != "" {
		s.mu.Unlock()
		return it.Finish(nil, nil)
	}
	defer s.mu.Unlock()
	e.leased = false
	e.pauses++
	if e.weight > 0 { // others may need the room meanwhile
		s.unload(e)
		e.msg = nil
	}
	if pause <= 0 {
		s.ready.pushFront(e)
		s.handOut()
		return nil
	}
	e.notBef = s.opts.Now().Add(pause).UnixNano()
	heap.Push(&s.delayed, e)
	s.signal()
	return nil
}
