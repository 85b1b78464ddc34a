package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
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
	full, low := false, l.low
	// A batch may commit after one with higher numbers: look from the start
	// now and then. In between the scan need not step over deleted keys.
	if sign || now.Sub(l.fullScan) >= l.opts.Publish || now.Before(l.fullScan) {
		full, l.low, l.fullScan = true, 0, now
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
	if full {
		l.settle(now, low)
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

// lateCommit is more time than passes between staging a record and its commit.
const lateCommit = time.Second

// settle raises the floor after a look from the start, low being how far the
// looks before it had come: what was staged lateCommit before that look and is
// durable was moved by it. So a query need not step over the keys of all that
// was moved since the store's last flush.
func (l *Ledger) settle(now time.Time, low uint64) {
	if age := now.Sub(l.seenAt); age >= 0 && age < lateCommit {
		return
	}
	l.floor.Store(l.seen[1])
	l.seen, l.seenAt = [2]uint64{max(low, l.seen[0]), l.seen[0]}, now
}

// sequence is one batch on its way from the outbox into the tree.
type sequence struct {
	l     *Ledger
	b     *pebble.Batch
	size  uint64
	fresh map[address.SubjectID][]byte
	ids   map[string]bool
	edge  edge

	hashes []byte     // stored hashes not yet in b
	first  uint64     // record they begin with
	leaf   []byte     // scratch
	index  []indexKey // not yet in b
	taken  []uint64   // outbox numbers of the records added
}

// move takes one batch: entries, hashes, indexes and the outbox change
// together. It is not synced: a lost one is still in the outbox.
func (l *Ledger) move() (n int, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: numberKey(tabOutbox, l.low), UpperBound: after(prefix(tabOutbox))})
	if err != nil {
		return 0, fmt.Errorf("read outbox: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	s := l.begin()
	defer s.b.Reset()
	for ok := it.First(); ok && n < l.opts.Batch; ok = it.Next() {
		if err := s.add(it.Value()); err != nil {
			return 0, fmt.Errorf("staged record %d: %w", numberOf(it.Key()), err)
		}
		s.taken = append(s.taken, numberOf(it.Key()))
		n++
	}
	if n == 0 || it.Error() != nil {
		return n, it.Error()
	}
	if err := s.finish(); err != nil {
		return 0, err
	}
	if err := s.b.Commit(pebble.NoSync); err != nil {
		return 0, fmt.Errorf("move records into the tree: %w", err)
	}
	l.size, l.low, l.edge = s.size, s.taken[n-1], s.edge
	l.persons.keep(s.fresh)
	return n, nil
}

// begin sets the sequence up for the next move. It keeps its buffers: those of
// the store's pool are of the size of messages and would grow to that of a
// move each time.
func (l *Ledger) begin() *sequence {
	s := &l.work
	b := s.b
	if b == nil {
		b = l.db.NewBatch()
	}
	*s = sequence{
		l: l, b: b, size: l.size, first: l.size, edge: l.edge, fresh: map[address.SubjectID][]byte{}, ids: map[string]bool{},
		hashes: s.hashes[:0], leaf: s.leaf, index: s.index[:0], taken: s.taken[:0],
	}
	return s
}

// finish writes what was gathered, table by table and in the order of the
// keys, which costs the store the least.
func (s *sequence) finish() error {
	if err := s.putHashes(); err != nil {
		return err
	}
	slices.SortFunc(s.index, func(a, b indexKey) int { return bytes.Compare(a[:], b[:]) })
	for i := range s.index {
		if err := s.b.Set(s.index[i][:], nil, nil); err != nil {
			return err
		}
	}
	for _, n := range s.taken {
		// Each number is staged once, so both vanish where they meet.
		op := s.b.SingleDeleteDeferred(prefixLen + 8)
		appendNumberKey(op.Key[:0], tabOutbox, n)
		if err := op.Finish(); err != nil {
			return err
		}
	}
	head := append(binary.BigEndian.AppendUint64(nil, s.size), s.l.signed.Signed...)
	return s.b.Set(prefix(tabHead), head, nil)
}

// add puts one staged record at the end of the tree, unless its id is there.
func (s *sequence) add(text []byte) error {
	if len(text) < 1 {
		return fmt.Errorf("%w: staged record", errDamaged)
	}
	given, text := text[0] == idGiven, text[1:]
	r, err := decodeStaged(text)
	if err != nil {
		return err
	}
	if given {
		known, err := s.known(r.ID)
		if err != nil || known {
			return err
		}
	}
	subject := r.subject()
	if s.leaf, err = s.seal(s.leaf[:0], subject, text); err != nil {
		return err
	}
	if err := s.grow(tlog.RecordHash(s.leaf)); err != nil {
		return fmt.Errorf("hash record: %w", err)
	}
	h := head{r.Time, r.Kind, subject}
	op := s.b.SetDeferred(prefixLen+8, entrySize(h, s.leaf))
	appendNumberKey(op.Key[:0], tabEntry, s.size)
	appendEntry(op.Value[:0], h, s.leaf)
	if err := op.Finish(); err != nil {
		return err
	}
	if k := kindKey(h, s.size); k != nil {
		if err := s.b.Set(k, nil, nil); err != nil {
			return err
		}
	}
	s.index = appendIndexKeys(s.index, subject, r.Message, r.Ref, s.size)
	s.size++
	if s.size-s.first == hashRun {
		return s.putHashes()
	}
	return nil
}

// seal appends the leaf of a record to dst.
func (s *sequence) seal(dst []byte, subject address.SubjectID, text []byte) ([]byte, error) {
	if subject.IsZero() {
		return plainLeaf(dst, text), nil
	}
	key, err := s.l.persons.keyFor(s.l.db, s.b, s.fresh, subject)
	if err != nil {
		return nil, err
	}
	return sealLeaf(dst, key, text)
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
