package spool

import (
	"bytes"
	"container/heap"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// noScan says that nothing waits on disk for a time to come.
const noScan = math.MaxInt64

// scanBatch is how many messages one look at the due index brings in hand;
// they carry no octets until they are taken.
const scanBatch = 256

// schedule brings waiting messages in hand when they are due.
func (s *Store) schedule() {
	defer s.done.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(s.dueIn())
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
		s.endPauses()
		s.scan()
	}
}

// dueIn is how long the scheduler may sleep.
func (s *Store) dueIn() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := int64(noScan)
	if s.ready.len() < scanBatch {
		at = s.scanAt
	}
	if len(s.delayed) > 0 {
		at = min(at, s.delayed[0].notBef)
	}
	if at == noScan {
		return time.Hour
	}
	return max(time.Duration(at-s.opts.Now().UnixNano()), 0)
}

func (s *Store) endPauses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now().UnixNano()
	for len(s.delayed) > 0 && s.delayed[0].notBef <= now {
		s.ready.push(heap.Pop(&s.delayed).(*entry))
		s.handOut()
	}
}

// waitFor notes that a message waits in the due index. s.mu is held.
func (s *Store) waitFor(due int64, id msgID) {
	key := dueKey(due, id)
	if s.cursor != nil && bytes.Compare(key, s.cursor) < 0 {
		s.cursor = key
	}
	if s.scan0.active && (s.scan0.low == nil || bytes.Compare(key, s.scan0.low) < 0) {
		s.scan0.low = key
	}
	s.scan0.at = min(s.scan0.at, due)
	s.scanAt = min(s.scanAt, due)
}

// scanState collects what enters the index while a scan runs on its snapshot.
type scanState struct {
	active bool
	low    []byte
	at     int64
}

// scan takes messages that are due in hand, going on where it last ended.
func (s *Store) scan() {
	s.mu.Lock()
	now := s.opts.Now().UnixNano()
	if s.scanAt > now || s.ready.len() >= scanBatch {
		s.mu.Unlock()
		return
	}
	s.scan0 = scanState{active: true, at: noScan}
	lower, upper := bounds(keyDue)
	if s.cursor != nil {
		lower = s.cursor
	}
	s.mu.Unlock()

	pos, next := s.collect(lower, upper, now)

	s.mu.Lock()
	if s.scan0.low != nil && (pos == nil || bytes.Compare(s.scan0.low, pos) < 0) {
		pos = s.scan0.low
	}
	s.cursor, s.scanAt = pos, min(next, s.scan0.at)
	s.scan0.active = false
	s.mu.Unlock()
}

// collect walks the index from lower. It returns where to go on, and when.
func (s *Store) collect(lower, upper []byte, now int64) (pos []byte, next int64) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		s.opts.Log.Error("the due index can't be read", "error", err)
		return lower, now + int64(time.Second)
	}
	defer it.Close()
	found := 0
	for ok := it.First(); ok; ok = it.Next() {
		due, id, err := parseDueKey(it.Key())
		if err != nil {
			s.lost("due index", err)
			continue
		}
		if due > now || found == scanBatch {
			return bytes.Clone(it.Key()), due
		}
		if s.take(due, id, it.Value()) {
			found++
		}
	}
	if err := it.Error(); err != nil {
		s.opts.Log.Error("the due index can't be read", "error", err)
		return lower, now + int64(time.Second)
	}
	// What comes later announces itself by waitFor, which sets the cursor back.
	return dueKey(now, msgID{}), noScan
}

// take puts one indexed message into the ready queue unless it is in hand.
func (s *Store) take(due int64, id msgID, value []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.inHand[id]; ok {
		e.passed = true
		return false
	}
	e := &entry{id: id, due: due, size: indexSize(value), copies: 1}
	s.inHand[id] = e
	s.ready.push(e)
	s.handOut()
	return true
}

// signal wakes the scheduler.
func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// handOut wakes one waiting Take, and AwaitReady where it has enough. s.mu is
// held.
func (s *Store) handOut() {
	if s.enough > 0 && s.ready.len() >= s.enough {
		s.enough = 0
		select {
		case s.crowd <- struct{}{}:
		default:
		}
	}
	select {
	case s.handouts <- struct{}{}:
	default:
	}
}
