package spool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"

	"postern/gateway/ledger"
)

// entryCost is the memory an entry in hand takes beside its octets.
const entryCost = 1024

// Accept stores m and the records that belong to it; both are durable when it
// returns nil (RFC 5321 section 6.1). It fills ID, Received, Expires,
// BodySize and the first state of each recipient where they are unset. m and
// its slices belong to the store from then on and must not be changed.
//
// While deliveries can't keep up it waits up to Options.Pace, so that what is
// accepted leaves again within a moment. Errors wrap ErrFull where a limit or
// the disk is reached (452 4.3.1); after any error nothing is kept.
func (s *Store) Accept(ctx context.Context, m *Message, recs ...ledger.Record) error {
	start := s.opts.Now()
	if err := s.checkRoom(messageSize(m)); err != nil {
		s.met.refused.Inc()
		return err
	}
	copies := copiesOf(m)
	if err := s.pace(ctx, copies); err != nil {
		return err
	}
	defer s.arrived(copies)
	e, err := s.commitMessage(m, recs)
	if err != nil {
		return fmt.Errorf("spool message: %w", err)
	}
	if s.trail != nil && len(recs) > 0 {
		s.trail.Notify()
	}
	s.admit(e)
	s.met.accepted.Inc()
	s.met.acceptTime.Observe(s.opts.Now().Sub(start).Seconds())
	return nil
}

// commitMessage writes m and recs and waits until they are on disk.
func (s *Store) commitMessage(m *Message, recs []ledger.Record) (*entry, error) {
	id, err := s.complete(m)
	if err != nil {
		return nil, err
	}
	large, batchSize := chunked(m.BodySize), messageSize(m)+1024
	if large {
		batchSize -= m.BodySize
		if err := s.putChunks(id, m.Body); err != nil {
			return nil, err
		}
	}
	b := s.db.NewBatchWithSize(int(batchSize))
	defer b.Close()
	e, err := s.stage(b, m, recs)
	if err == nil {
		s.claim(e)
		if err = b.Commit(pebble.Sync); err == nil {
			return e, nil
		}
		s.disclaim(e)
	}
	if large {
		err = errors.Join(err, s.sweep(id))
	}
	return nil, err
}

// messageSize is what m counts against limits: its octets on the wire.
func messageSize(m *Message) int64 { return int64(len(m.Header)) + int64(len(m.Body)) + 2 }

// stage fills in what m lacks and writes it into b.
func (s *Store) stage(b *pebble.Batch, m *Message, recs []ledger.Record) (*entry, error) {
	id, err := s.complete(m)
	if err != nil {
		return nil, err
	}
	e := &entry{id: id, size: messageSize(m), msg: m, due: dueOf(m), copies: copiesOf(m)}
	for i := range m.Recipients {
		if r := &m.Recipients[i]; r.State == Queued && r.Next.UnixNano() < e.due {
			e.due = r.Next.UnixNano()
		}
	}
	if err := s.putMeta(b, id, m); err != nil {
		return nil, err
	}
	if chunked(m.BodySize) {
		err = b.SingleDelete(idKey(keyPending, id), nil) // the pieces are its own now
	} else {
		err = s.put(b, idKey(keyBody, id), id, m.Body)
	}
	if err != nil {
		return nil, err
	}
	if err := setIndex(b, e); err != nil {
		return nil, err
	}
	if m.once != nil {
		if err := b.Set(m.once, onceValue(m.Received, id), nil); err != nil {
			return nil, err
		}
	}
	if s.trail != nil && len(recs) > 0 {
		if err := s.trail.Stage(b, recs...); err != nil {
			return nil, fmt.Errorf("stage ledger records: %w", err)
		}
	}
	return e, nil
}

// complete gives m its id and times.
func (s *Store) complete(m *Message) (id msgID, err error) {
	now := s.opts.Now().UTC()
	if m.ID == "" {
		if id, err = s.ids.next(now); err != nil {
			return id, fmt.Errorf("make spool id: %w", err)
		}
		m.ID = id.String()
	} else if id, err = ulid.ParseStrict(m.ID); err != nil {
		return id, fmt.Errorf("spool id %q: %w", m.ID, err)
	}
	if m.Received.IsZero() {
		m.Received = now
	}
	if m.Expires.IsZero() {
		m.Expires = m.Received.Add(s.limits.Load().Expire)
	}
	m.BodySize = int64(len(m.Body))
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if r.State == "" {
			r.State = Queued
		}
		if r.State == Queued && r.Next.IsZero() {
			r.Next = now
		}
	}
	return id, nil
}

// copiesOf is how many transactions m takes: one for each recipient that gets
// a copy of its own, one for all others.
func copiesOf(m *Message) int {
	n, shared := 0, 0
	for i := range m.Recipients {
		if m.Shared || m.Recipients[i].Subject.IsZero() {
			shared = 1
		} else {
			n++
		}
	}
	return n + shared
}

// heldIndex is the due of messages that only an operator can move.
const heldIndex = -1

// dueOf is the earliest next attempt, heldIndex if nobody is queued but
// somebody held, math.MaxInt64 if nobody is either.
func dueOf(m *Message) int64 {
	due, held := int64(math.MaxInt64), false
	for i := range m.Recipients {
		switch r := &m.Recipients[i]; r.State {
		case Queued:
			due = min(due, max(r.Next.UnixNano(), 0))
		case Held:
			held = true
		}
	}
	if due == math.MaxInt64 && held {
		return heldIndex
	}
	return due
}

func finished(due int64) bool { return due == math.MaxInt64 }

// claim counts a message that is about to commit, and takes it in hand if
// memory allows: from the moment it is in the index, the scheduler must see
// that it is taken.
func (s *Store) claim(e *entry) {
	s.messages.Add(1)
	s.bytes.Add(e.size)
	s.mu.Lock()
	defer s.mu.Unlock()
	mem := e.size + entryCost
	if e.due == heldIndex || s.memory+mem > s.opts.Memory || e.due > s.opts.Now().UnixNano() {
		e.msg = nil
		return
	}
	e.mem, e.leased = mem, true
	s.memory += mem
	s.inHand[e.id] = e
}

// disclaim takes a claim back whose commit failed.
func (s *Store) disclaim(e *entry) {
	s.messages.Add(-1)
	s.bytes.Add(-e.size)
	s.mu.Lock()
	s.drop(e)
	s.mu.Unlock()
}

// admit hands a committed message out; what is not in hand waits in the index.
func (s *Store) admit(e *entry) {
	s.mu.Lock()
	e.leased = false
	if want, actor := e.want, e.actor; want != "" { // it was listed and ordered about before it was here
		e.want = ""
		s.mu.Unlock()
		s.orderAgain(e.id, want, actor)
		return
	}
	defer s.mu.Unlock()
	switch {
	case e.due == heldIndex:
		s.held.Add(1)
	case e.msg == nil:
		s.waitFor(e.due, e.id)
		s.signal()
	default:
		s.ready.push(e)
		s.handOut()
	}
}

// ample is the memory in use up to which Accept does not wait.
func (s *Store) ample() int64 { return s.opts.Memory / 4 * 3 }

// maxPaced bounds for how many copies of one message the pace is kept.
const maxPaced = 40

// pace waits while the backlog in memory is longer than deliveries can take
// at once, so that accepting runs at their speed; first come, first served. It
// then counts copies among those to come until arrived.
func (s *Store) pace(ctx context.Context, copies int) error {
	if ok, err := s.pass(ctx, copies, true); ok || err != nil {
		return err
	}
	timer := time.NewTimer(s.opts.Pace * time.Duration(min(copies, maxPaced)))
	defer timer.Stop()
	s.mu.Lock()
	s.lined++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.lined--
		s.mu.Unlock()
	}()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-timer.C:
		return s.force(copies)
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stop:
		return ErrClosed
	}
	for {
		s.mu.Lock()
		room := s.room
		s.mu.Unlock()
		if ok, err := s.pass(ctx, copies, false); ok || err != nil {
			return err
		}
		select {
		case <-room:
		case <-timer.C:
			return s.force(copies)
		case <-ctx.Done():
		case <-s.stop:
		}
	}
}

// pass lets a message in if there is room; one that has just come only if
// nobody stands in line.
func (s *Store) pass(ctx context.Context, copies int, fresh bool) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return false, ErrClosed
	case ctx.Err() != nil:
		return false, ctx.Err()
	case s.opts.Pace < 0 || !s.flowing:
	case fresh && s.lined > 0 || s.ready.copies+s.coming >= s.opts.Backlog || s.memory >= s.ample():
		return false, nil
	}
	s.coming += copies
	return true, nil
}

// force lets a message in that has waited long enough.
func (s *Store) force(copies int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.coming += copies
	return nil
}

// arrived takes copies that pace counted off again: they are in hand by now,
// on disk, or refused.
func (s *Store) arrived(copies int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.ready.copies + s.coming
	s.coming -= copies
	if before >= s.opts.Backlog && s.ready.copies+s.coming < s.opts.Backlog {
		s.makeRoom()
	}
}
