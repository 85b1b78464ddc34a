package spool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"

	"postern/gateway/ledger"
)

// intent is what an operator orders for a message.
type intent string

const (
	wantRetry   intent = "retry"
	wantHold    intent = "hold"
	wantRelease intent = "release"
	wantDrop    intent = "drop"
	wantMend    intent = "mend" // of an index entry, by the store itself
)

// order is one operator's change of one message, run by the writer so that it
// never meets a half-written outcome.
type order struct {
	id    msgID
	want  intent
	actor string
	match func(*Message) bool
	due   int64      // of wantMend
	done  chan error // errStale: nothing to change
}

// Retry makes the queued recipients of the matching messages due now. It
// returns how many messages it changed.
func (s *Store) Retry(ctx context.Context, f Filter) (int, error) {
	return s.order(ctx, f, wantRetry, "")
}

// Hold stops all attempts of the matching messages until Release.
func (s *Store) Hold(ctx context.Context, f Filter, actor string) (int, error) {
	return s.order(ctx, f, wantHold, actor)
}

// Release makes held recipients of the matching messages due now.
func (s *Store) Release(ctx context.Context, f Filter, actor string) (int, error) {
	return s.order(ctx, f, wantRelease, actor)
}

// Drop gives the matching messages up without a DSN; the ledger keeps who did.
func (s *Store) Drop(ctx context.Context, f Filter, actor string) (int, error) {
	return s.order(ctx, f, wantDrop, actor)
}

func (s *Store) order(ctx context.Context, f Filter, want intent, actor string) (n int, err error) {
	var ids []msgID
	f.Unlimited = true
	for _, text := range f.IDs {
		id, err := ParseID(text)
		if err != nil {
			return 0, err
		}
		ids = append(ids, id)
	}
	if len(f.IDs) == 0 {
		if err := s.each(ctx, f, false, func(m *Message) error {
			ids = append(ids, ulid.MustParse(m.ID))
			return nil
		}); err != nil {
			return 0, err
		}
	}
	for _, id := range ids {
		o := &order{id: id, want: want, actor: actor, match: f.matches, done: make(chan error, 1)}
		if err := s.submit(&change{order: o}); err != nil {
			return n, err
		}
		select {
		case err = <-o.done:
		case <-ctx.Done():
			return n, ctx.Err()
		}
		switch {
		case err == nil:
			n++
		case !errors.Is(err, errStale) && !errors.Is(err, ErrNotFound):
			return n, fmt.Errorf("%s message %s: %w", want, id, err)
		}
	}
	return n, nil
}

// run carries the order out, in the writer.
func (o *order) run(s *Store) {
	if o.want == wantMend {
		o.done <- o.reindex(s)
		return
	}
	s.mu.Lock()
	e := s.inHand[o.id]
	if e != nil && e.leased {
		e.want, e.actor = o.want, o.actor
		s.mu.Unlock()
		o.done <- nil
		return
	}
	// Until the change is on disk nobody else may take it in hand.
	waited := e != nil
	if waited {
		s.ready.remove(e)
		s.delayed.remove(e)
	} else {
		e = &entry{id: o.id}
		s.inHand[o.id] = e
	}
	e.leased = true
	s.mu.Unlock()
	err := o.rewrite(s)
	s.mu.Lock()
	s.drop(e)
	s.makeRoom()
	passed := e.passed
	s.mu.Unlock()
	if passed || waited && err != nil {
		s.forget(e)
	}
	o.done <- err
}

// rewrite changes a message that nobody works on.
func (o *order) rewrite(s *Store) error {
	m, states, err := s.load(o.id, false)
	if errors.Is(err, ErrDamaged) && o.want == wantDrop {
		return o.dropDamaged(s)
	}
	if err != nil {
		return err
	}
	if !o.match(m) {
		return errStale
	}
	size := int64(len(m.Header)) + m.BodySize + 2
	e := &entry{id: o.id, due: dueOf(m), size: size, states: states}
	results := turn(m, o.want, s.opts.Now())
	if len(results) == 0 {
		return errStale
	}
	old := e.due
	b := s.db.NewBatch()
	defer b.Close()
	for _, r := range results {
		r.apply(&m.Recipients[r.Recipient])
	}
	now := dueOf(m)
	recs := s.orderRecords(m, results, o.want, o.actor)
	if finished(now) {
		err = errors.Join(dropIndex(b, e), dropMessage(b, e, m.BodySize), s.stageRecords(b, recs))
	} else {
		err = errors.Join(s.stageFrames(b, &change{e: e, msg: m}, results), s.stageRecords(b, recs))
		if now != old {
			err = errors.Join(err, dropIndex(b, e), setIndex(b, e.at(now)))
		}
	}
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err != nil {
		return err
	}
	if s.trail != nil && len(recs) > 0 {
		s.trail.Notify()
	}
	s.moved(e, old, now)
	return nil
}

// dropDamaged removes what was set aside because it can't be read.
func (o *order) dropDamaged(s *Store) error {
	key := idKey(keyHeld, o.id)
	v, closer, err := s.db.Get(key)
	if err != nil {
		return errStale
	}
	e := &entry{id: o.id, due: heldIndex, states: true, size: indexSize(v)}
	if err := closer.Close(); err != nil {
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	rec := ledger.Record{Time: s.opts.Now().UTC(), Kind: ledger.KindDelivery, Actor: "operator:" + o.actor,
		Action: string(Dropped), Reason: "damaged", Ref: o.id.String()}
	if err := errors.Join(dropIndex(b, e), dropMessage(b, e, 0), dropBodyRange(b, e.id), s.stageRecords(b, []ledger.Record{rec}), b.Commit(pebble.Sync)); err != nil {
		return err
	}
	if s.trail != nil {
		s.trail.Notify()
	}
	s.moved(e, heldIndex, math.MaxInt64)
	return nil
}

// moved keeps counters and scheduler in line with a rewritten message.
func (s *Store) moved(e *entry, old, now int64) {
	if old == heldIndex {
		s.held.Add(-1)
	}
	switch {
	case finished(now):
		s.messages.Add(-1)
		s.bytes.Add(-e.size)
	case now == heldIndex:
		s.held.Add(1)
	default:
		s.mu.Lock()
		s.waitFor(now, e.id)
		s.mu.Unlock()
		s.signal()
	}
}

// turn says which recipients an order changes, and into what.
func turn(m *Message, want intent, now time.Time) (out []Result) {
	for i := range m.Recipients {
		r := Result{Recipient: i, Next: m.Recipients[i].Next}
		switch state := m.Recipients[i].State; {
		case want == wantRetry && state == Queued:
			r.State, r.Next = Queued, now
		case want == wantHold && state == Queued:
			r.State = Held
		case want == wantRelease && state == Held:
			r.State, r.Next = Queued, now
		case want == wantDrop && (state == Queued || state == Held):
			r.State = Dropped
		default:
			continue
		}
		out = append(out, r)
	}
	return out
}

// obey applies an order that came while the message was leased.
func (s *Store) obey(c *change) ([]Result, []ledger.Record) {
	s.mu.Lock()
	want, actor := c.e.want, c.e.actor
	c.e.want = ""
	s.mu.Unlock()
	if want == "" {
		return nil, nil
	}
	results := turn(c.msg, want, s.opts.Now())
	for _, r := range results {
		r.apply(&c.msg.Recipients[r.Recipient])
	}
	return results, s.orderRecords(c.msg, results, want, actor)
}

// orderRecords tells the ledger of recipients an operator dropped.
func (s *Store) orderRecords(m *Message, results []Result, want intent, actor string) (out []ledger.Record) {
	if want != wantDrop {
		return nil
	}
	for _, r := range results {
		out = append(out, ledger.Record{
			Time: s.opts.Now().UTC(), Kind: ledger.KindDelivery, Subject: m.Recipients[r.Recipient].Subject,
			Actor: "operator:" + actor, Action: string(Dropped), Stream: m.Stream, Ref: m.ID, Message: m.MessageID,
		})
	}
	return out
}

// matches tells whether m passes all fields of f but Before paging and limit.
func (f Filter) matches(m *Message) bool {
	if f.Stream != 0 && m.Stream != f.Stream || f.Client != "" && m.Client != f.Client {
		return false
	}
	if !f.Before.IsZero() && !m.Received.Before(f.Before) {
		return false
	}
	if f.State == "" && f.Subject == "" && f.Address == "" && f.Domain == "" {
		return true
	}
	for i := range m.Recipients {
		if f.matchesRecipient(&m.Recipients[i]) {
			return true
		}
	}
	return false
}

func (f Filter) matchesRecipient(r *Recipient) bool {
	return (f.State == "" || r.State == f.State) &&
		(f.Subject == "" || !r.Subject.IsZero() && r.Subject.String() == f.Subject) &&
		(f.Address == "" || strings.EqualFold(r.Address.Plain(), f.Address)) &&
		(f.Domain == "" || strings.EqualFold(r.Address.Domain(), f.Domain))
}
