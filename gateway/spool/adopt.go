package spool

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"

	"postern/gateway/node"
)

// Adopt takes over what waits in the data folder dir of a node that is dead
// (design D10). It returns how many messages moved. Each is durable here
// before it is removed there, so that Adopt can be run again after an error;
// what was damaged there is left there and reported in the log. The other
// node must have used the same key. Errors wrap node.ErrBusy while that node
// still runs.
func (s *Store) Adopt(ctx context.Context, dir string) (n int, err error) {
	db, err := node.Open(dir)
	if err != nil {
		return 0, fmt.Errorf("adopt spool: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	from := &Store{db: db, seal: s.seal, opts: s.opts}
	err = from.each(ctx, Filter{Unlimited: true}, true, func(m *Message) error {
		if err := s.adoptOne(ctx, from, m); err != nil {
			return fmt.Errorf("adopt message %s: %w", m.ID, err)
		}
		n++
		return nil
	})
	s.damaged.Add(from.damaged.Load())
	return n, err
}

func (s *Store) adoptOne(ctx context.Context, from *Store, m *Message) error {
	id, err := ulid.ParseStrict(m.ID)
	if err != nil {
		return err
	}
	old := &entry{id: id, due: dueOf(m), states: true}
	if _, err := s.get(id, idKey(keyMeta, id)); errors.Is(err, ErrNotFound) { // not from an earlier run
		if err := s.Accept(ctx, m); err != nil {
			return err
		}
	}
	b := from.db.NewBatch()
	defer b.Close()
	return errors.Join(dropIndex(b, old), dropMessage(b, old, m.BodySize), b.Commit(pebble.Sync))
}
