package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/mod/sumdb/tlog"

	"postern/gateway/address"
)

// Run moves staged records into the tree and signs its head until ctx ends,
// then moves what is left. Only an unusable store ends it earlier.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(l.opts.Publish)
	defer tick.Stop()
	for {
		if err := l.pass(ctx, false); err != nil {
			return fmt.Errorf("ledger sequencer: %w", err)
		}
		select {
		case <-ctx.Done():
			if err := l.Flush(context.WithoutCancel(ctx)); err != nil {
				return fmt.Errorf("ledger sequencer: %w", err)
			}
			return nil
		case <-tick.C:
		case <-l.wake:
			if !wait(ctx, l.opts.Gather) {
				continue
			}
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Flush moves everything staged into the tree and signs it, without Run too.
func (l *Ledger) Flush(ctx context.Context) error { return l.pass(ctx, true) }

// pass empties the outbox, then signs where it is time to.
func (l *Ledger) pass(ctx context.Context, sign bool) error {
	l.seq.Lock()
	defer l.seq.Unlock()
	return l.passLocked(ctx, sign)
}

func (l *Ledger) passLocked(ctx context.Context, sign bool) error {
	now := l.opts.Now()
	// A batch may commit after one with higher numbers: look from the start
	// now and then. In between the scan need not step over deleted keys.
	if sign || now.Sub(l.fullScan) >= l.opts.Publish || now.Before(l.fullScan) {
		l.low, l.fullScan = 0, now
	}
	for {
		n, err := l.move()
		if err != nil {
			return err
		}
		if n < l.opts.Batch {
			break
		}
		if err := ctx.Err(); err != nil && !sign {
			return nil
		}
	}
	due := now.Sub(l.published) >= l.opts.Publish || now.Before(l.published)
	// A day on which nothing was recorded has its anchor too: that it is not
	// missing can be watched.
	newDay := l.size > 0 && now.UTC().Format(dayForm) != l.published.UTC().Format(dayForm)
	if int64(l.size) != l.signed.Size && (sign || due) || newDay {
		if err := l.publish(now); err != nil {
			return err
		}
	}
	return l.anchor(ctx, now)
}

// sequence is one batch on its way from the outbox into the tree.
type sequence struct {
	l     *Ledger
	b     *pebble.Batch
	size  uint64
	fresh map[address.SubjectID][]byte
	ids   map[string]bool
	nodes map[int64]tlog.Hash

	hashes []byte // stored hashes not yet in b
	first  uint64 // record they begin with
}

// move takes one batch: entries, hashes, indexes and the outbox change
// together. It is not synced: a lost one is still in the outbox.
func (l *Ledger) move() (n int, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: numberKey(tabOutbox, l.low), UpperBound: after(prefix(tabOutbox))})
	if err != nil {
		return 0, fmt.Errorf("read outbox: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	s := &sequence{
		l: l, b: l.db.NewBatch(), size: l.size, first: l.size,
		fresh: map[address.SubjectID][]byte{}, ids: map[string]bool{}, nodes: map[int64]tlog.Hash{},
	}
	defer s.b.Close()
	low := l.low
	for ok := it.First(); ok && n < l.opts.Batch; ok = it.Next() {
		if err := s.add(it.Value()); err != nil {
			return 0, fmt.Errorf("staged record %d: %w", numberOf(it.Key()), err)
		}
		if err := s.b.Delete(it.Key(), nil); err != nil {
			return 0, err
		}
		low = numberOf(it.Key())
		n++
	}
	if n == 0 || it.Error() != nil {
		return n, it.Error()
	}
	if err := s.putHashes(); err != nil {
		return 0, err
	}
	head := append(binary.BigEndian.AppendUint64(nil, s.size), l.signed.Signed...)
	if err := s.b.Set(prefix(tabHead), head, nil); err != nil {
		return 0, err
	}
	if err := s.b.Commit(pebble.NoSync); err != nil {
		return 0, fmt.Errorf("move records into the tree: %w", err)
	}
	l.size, l.low = s.size, low
	l.persons.keep(s.fresh)
	return n, nil
}

// add puts one staged record at the end of the tree, unless its id is there.
func (s *sequence) add(staged []byte) error {
	if len(staged) < 1 {
		return fmt.Errorf("%w: staged record", errDamaged)
	}
	text := staged[1:]
	r, err := decodeRecord(text)
	if err != nil {
		return err
	}
	if staged[0] == idGiven {
		known, err := s.known(r.ID)
		if err != nil || known {
			return err
		}
	}
	leaf, err := s.leaf(r, text)
	if err != nil {
		return err
	}
	hashes, err := tlog.StoredHashesForRecordHash(int64(s.size), tlog.RecordHash(leaf), tlog.HashReaderFunc(s.read))
	if err != nil {
		return fmt.Errorf("hash record: %w", err)
	}
	at := tlog.StoredHashIndex(0, int64(s.size))
	for i, h := range hashes {
		s.nodes[at+int64(i)] = h
		s.hashes = append(s.hashes, h[:]...)
	}
	if err := s.b.Set(numberKey(tabEntry, s.size), encodeEntry(head{r.Time.UnixNano(), r.Kind, r.Subject}, leaf), nil); err != nil {
		return err
	}
	keys := indexKeys(r, s.size)
	if k := kindKey(head{r.Time.UnixNano(), r.Kind, r.Subject}, s.size); k != nil {
		keys = append(keys, k)
	}
	for _, k := range keys {
		if err := s.b.Set(k, nil, nil); err != nil {
			return err
		}
	}
	s.size++
	if s.size-s.first == hashRun {
		return s.putHashes()
	}
	return nil
}

func (s *sequence) leaf(r Record, text []byte) ([]byte, error) {
	if r.Subject.IsZero() {
		return plainLeaf(text), nil
	}
	key, err := s.l.persons.keyFor(s.l.db, s.b, s.fresh, r.Subject)
	if err != nil {
		return nil, err
	}
	return sealLeaf(key, text)
}

// known tells whether a record id given by a caller is in the tree, and
// remembers it where not.
func (s *sequence) known(id string) (bool, error) {
	if s.ids[id] {
		return true, nil
	}
	k := hashedKey(tabByID, id)
	_, closer, err := s.l.db.Get(k)
	if err == nil {
		return true, closer.Close()
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return false, fmt.Errorf("look up record id: %w", err)
	}
	s.ids[id] = true
	return false, s.b.Set(k, binary.BigEndian.AppendUint64(nil, s.size), nil)
}

// indexKeys are the keys under which a record is found.
func indexKeys(r Record, index uint64) (out [][]byte) {
	if !r.Subject.IsZero() {
		out = append(out, withNumber(subjectKey(r.Subject), index))
	}
	if r.Message != "" {
		out = append(out, withNumber(hashedKey(tabByMsg, r.Message), index))
	}
	if r.Ref != "" {
		out = append(out, withNumber(hashedKey(tabByRef, r.Ref), index))
	}
	return out
}

// read gives tree hashes from this batch or the store.
func (s *sequence) read(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		h, ok := s.nodes[x]
		if !ok {
			var err error
			if h, err = readHash(s.l.db, x); err != nil {
				return nil, err
			}
			s.nodes[x] = h
		}
		out[i] = h
	}
	return out, nil
}
