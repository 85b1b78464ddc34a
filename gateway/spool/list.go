package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"
)

// List brings the matching messages, oldest first, without bodies unless
// asked for. A damaged record is counted and left out.
func (s *Store) List(ctx context.Context, f Filter) ([]Message, error) {
	var out []Message
	err := s.each(ctx, f, f.WithBody, func(m *Message) error {
		out = append(out, *m)
		return nil
	})
	return out, err
}

// Get brings one message with its body. Errors wrap ErrNotFound or ErrDamaged.
func (s *Store) Get(_ context.Context, id string) (*Message, error) {
	key, err := ParseID(id)
	if err != nil {
		return nil, err
	}
	m, _, err := s.load(key, true)
	return m, err
}

// each calls fn with every matching message, oldest first.
func (s *Store) each(ctx context.Context, f Filter, body bool, fn func(*Message) error) error {
	limit := f.Limit
	if limit <= 0 {
		limit = 1000
	}
	if f.Unlimited {
		limit = math.MaxInt
	}
	visit := func(id msgID) error {
		m, _, err := s.load(id, body)
		switch {
		case errors.Is(err, ErrNotFound): // done meanwhile
		case errors.Is(err, ErrDamaged):
			s.lost("message", err)
		case err != nil:
			return err
		case f.matches(m):
			limit--
			return fn(m)
		}
		return nil
	}
	if len(f.IDs) > 0 {
		for _, text := range f.IDs {
			id, err := ParseID(text)
			if err != nil {
				return err
			}
			if err := visit(id); err != nil || limit == 0 {
				return err
			}
		}
		return nil
	}
	lower, upper := bounds(keyMeta)
	if f.After != "" {
		id, err := ulid.ParseStrict(f.After)
		if err != nil {
			return fmt.Errorf("list after %q: %w", f.After, err)
		}
		lower = append(idKey(keyMeta, id), 0)
	}
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("list spool: %w", err)
	}
	defer it.Close()
	for ok := it.First(); ok && limit > 0 && ctx.Err() == nil; ok = it.Next() {
		id, err := parseIDKey(it.Key())
		if err != nil {
			s.lost("message key", err)
			continue
		}
		if err := visit(id); err != nil {
			return err
		}
	}
	return errors.Join(ctx.Err(), it.Error())
}

// oldest is when the first message that still waits was received, by its id.
func (s *Store) oldest() (t time.Time) {
	lower, upper := bounds(keyMeta)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return t
	}
	defer it.Close()
	if it.First() {
		if id, err := parseIDKey(bytes.Clone(it.Key())); err == nil {
			t = ulid.Time(id.Time()).UTC()
		}
	}
	return t
}

// quarantine sets a message aside that can't be read: it is reported, kept on
// disk for an operator, and stands in nobody's way.
func (s *Store) quarantine(e *entry, cause error) {
	if !errors.Is(cause, ErrDamaged) {
		s.opts.Log.Error("a spooled message can't be read now", "id", e.id.String(), "error", cause)
		s.forget(e)
		return
	}
	s.lost("message "+e.id.String(), cause)
	b := s.db.NewBatch()
	defer b.Close()
	if err := errors.Join(dropIndex(b, e), setIndex(b, e.at(heldIndex)), b.Commit(pebble.Sync)); err != nil {
		s.opts.Log.Error("a damaged message was not set aside", "id", e.id.String(), "error", err)
	}
	s.held.Add(1)
	s.stale(e)
}
