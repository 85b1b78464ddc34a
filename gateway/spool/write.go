package spool

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/ledger"
)

// change is one step of a message's life on its way to the disk.
type change struct {
	e       *entry
	msg     *Message
	results []Result
	noted   []Result // recorded earlier in this lease, already on disk
	recs    []ledger.Record
	spawned []*Message
	finish  bool
	order   *order // instead of all above

	due   int64    // of a finished lease
	added []*entry // entries of spawned
}

// writeBatch is how many changes share one commit at most.
const writeBatch = 512

func (s *Store) submit(c *change) error {
	select {
	case s.records <- c:
		return nil
	case <-s.stop:
	}
	// The writer drains the channel while it stops, so what got in is written.
	return ErrClosed
}

// write commits changes, many at a time: an outcome is on disk some
// milliseconds after the next hop's reply without an fsync of its own.
func (s *Store) write() {
	defer s.done.Done()
	for {
		select {
		case c := <-s.records:
			s.commit(s.gather(c))
		case <-s.stop:
			for {
				select {
				case c := <-s.records:
					s.commit(s.gather(c))
				default:
					return
				}
			}
		}
	}
}

func (s *Store) gather(first *change) []*change {
	out := []*change{first}
	for len(out) < writeBatch {
		select {
		case c := <-s.records:
			out = append(out, c)
		default:
			return out
		}
	}
	return out
}

// commit writes the changes; an operator's order sees all before it and gets
// a batch of its own.
func (s *Store) commit(changes []*change) {
	for len(changes) > 0 {
		n := 0
		for n < len(changes) && changes[n].order == nil {
			n++
		}
		if n == 0 {
			changes[0].order.run(s)
			changes = changes[1:]
			continue
		}
		if err := s.commitResults(changes[:n]); err != nil {
			// Nothing is lost: the messages stay as they were and are found
			// again, at the price of a second delivery.
			s.opts.Log.Error("outcomes of deliveries were not recorded", "count", n, "error", err)
			s.met.writeErrors.Inc()
		}
		changes = changes[n:]
	}
}

func (s *Store) commitResults(changes []*change) (err error) {
	b := s.db.NewBatchWithSize(512 * len(changes))
	defer b.Close()
	notify := false
	for _, c := range changes {
		if e := s.stageChange(b, c); e != nil {
			err = errors.Join(err, fmt.Errorf("message %s: %w", c.e.id, e))
		}
		notify = notify || len(c.recs) > 0
	}
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err != nil {
		for _, c := range changes {
			for _, e := range c.added {
				s.disclaim(e)
			}
			if c.finish {
				s.forget(c.e)
			}
		}
		return err
	}
	if notify && s.trail != nil {
		s.trail.Notify()
	}
	for _, c := range changes {
		s.settle(c)
	}
	return nil
}

// stageChange writes one change into b.
func (s *Store) stageChange(b *pebble.Batch, c *change) error {
	if !c.finish {
		if err := s.stageFrames(b, c, c.results); err != nil {
			return err
		}
		return s.stageRecords(b, c.recs)
	}
	m := c.msg
	for _, r := range c.noted {
		r.apply(&m.Recipients[r.Recipient])
	}
	for _, r := range c.results {
		r.apply(&m.Recipients[r.Recipient])
	}
	more, recs := s.obey(c)
	c.due = dueOf(m)
	var err error
	if finished(c.due) {
		err = errors.Join(dropIndex(b, c.e), dropMessage(b, c.e, m.BodySize))
	} else {
		err = s.stageFrames(b, &change{e: c.e, msg: m}, append(c.results, more...))
		if c.due != c.e.due {
			err = errors.Join(err, dropIndex(b, c.e), setIndex(b, c.e.at(c.due)))
		}
	}
	for _, d := range c.spawned {
		e, stageErr := s.stageSpawned(b, d)
		err = errors.Join(err, stageErr)
		if stageErr == nil {
			s.claim(e)
			c.added = append(c.added, e)
		}
	}
	c.recs = append(c.recs, recs...)
	return errors.Join(err, s.stageRecords(b, c.recs))
}

// stageSpawned writes a DSN; one about very many recipients may be large.
func (s *Store) stageSpawned(b *pebble.Batch, d *Message) (*entry, error) {
	id, err := s.complete(d)
	if err == nil && chunked(d.BodySize) {
		err = s.putChunks(id, d.Body)
	}
	if err != nil {
		return nil, err
	}
	return s.stage(b, d, nil)
}

func (s *Store) stageRecords(b *pebble.Batch, recs []ledger.Record) error {
	if s.trail == nil || len(recs) == 0 {
		return nil
	}
	return s.trail.Stage(b, recs...)
}

// stageFrames writes the states that results lead to.
func (s *Store) stageFrames(b *pebble.Batch, c *change, results []Result) error {
	if len(results) == 0 {
		return nil
	}
	var frames []byte
	for _, r := range results {
		rc := c.msg.Recipients[r.Recipient]
		if c.results != nil { // not applied to the message yet
			r.apply(&rc)
		}
		frames = appendFrame(frames, r.Recipient, &rc)
	}
	c.e.states = true
	return s.mergeFrames(b, c.e.id, frames)
}

// settle brings memory in line with a committed change.
func (s *Store) settle(c *change) {
	if !c.finish {
		return
	}
	s.mu.Lock()
	e := c.e
	s.drop(e)
	switch {
	case finished(c.due):
		s.messages.Add(-1)
		s.bytes.Add(-e.size)
		s.met.finished.Inc()
		s.met.spoolTime.Observe(max(s.opts.Now().Sub(c.msg.Received), time.Duration(0)).Seconds())
	case c.due == heldIndex:
		s.held.Add(1)
	default:
		s.waitFor(c.due, e.id)
		s.signal()
	}
	s.mu.Unlock()
	for _, d := range c.added {
		s.admit(d)
	}
}
