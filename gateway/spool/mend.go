package spool

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// mend is called for an index entry that does not fit its message. Mostly the
// entry was seen just before a change removed it, and nothing is to be done.
// An entry that is still there is put right, so that it can't come up for ever.
func (s *Store) mend(e *entry) {
	o := &order{id: e.id, want: wantMend, due: e.due, done: make(chan error, 1)}
	if err := s.submit(&change{order: o}); err == nil {
		select {
		case err = <-o.done:
		case <-s.stop:
		}
		if err != nil && !errors.Is(err, errStale) {
			s.opts.Log.Error("a due index entry was not put right", "id", e.id.String(), "error", err)
		}
	}
	s.stale(e)
}

// stale gives an entry up that was overtaken. An order that came for it in the
// meantime is given again, now to the message as it stands.
func (s *Store) stale(e *entry) {
	s.mu.Lock()
	want, actor := e.want, e.actor
	s.mu.Unlock()
	s.forget(e)
	if want != "" {
		s.orderAgain(e.id, want, actor)
	}
}

// orderAgain gives an order anew that came while its message was in hand.
func (s *Store) orderAgain(id msgID, want intent, actor string) {
	all := func(*Message) bool { return true }
	if err := s.submit(&change{order: &order{id: id, want: want, actor: actor, match: all, done: make(chan error, 1)}}); err != nil {
		s.opts.Log.Warn("an operator's order was lost in the stop", "id", id.String(), "order", string(want))
	}
}

// reindex runs in the writer, where no change is half-done.
func (o *order) reindex(s *Store) error {
	_, closer, err := s.db.Get(dueKey(o.due, o.id))
	if errors.Is(err, pebble.ErrNotFound) {
		return errStale
	}
	if err != nil {
		return err
	}
	if err := closer.Close(); err != nil {
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	wrong := &entry{id: o.id, due: o.due}
	m, states, err := s.load(o.id, false)
	switch {
	case errors.Is(err, ErrNotFound):
		s.lost("message "+o.id.String(), err)
		s.messages.Add(-1)
		err = dropIndex(b, wrong)
	case err != nil:
		return err
	case dueOf(m) == o.due:
		return errStale
	default:
		e := &entry{id: o.id, due: dueOf(m), states: states, size: int64(len(m.Header)) + m.BodySize + 2}
		if finished(e.due) {
			s.messages.Add(-1)
			s.bytes.Add(-e.size)
			err = errors.Join(dropIndex(b, wrong), dropMessage(b, e, m.BodySize))
		} else {
			err = errors.Join(dropIndex(b, wrong), setIndex(b, e))
		}
	}
	return errors.Join(err, b.Commit(pebble.Sync))
}
