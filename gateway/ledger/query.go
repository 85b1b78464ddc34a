package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/address"
)

// Filter chooses records; empty fields choose all.
type Filter struct {
	Subject    address.SubjectID
	Message    string // as in Record.Message
	Ref        string
	Kind       Kind
	Controller string
	Since      time.Time // inclusive
	Until      time.Time // exclusive
}

// Entry is a record with its place in the log.
type Entry struct {
	Record
	Index  int64 // place in the tree; -1: staged, not in the tree yet
	Erased bool  // its subject's key is destroyed: only Kind and Time are known
	Pruned bool  // its retention ended: only the hash is left
}

// ErrStop ends a Query early without being an error of it.
var ErrStop = errors.New("enough")

func (f Filter) takes(r Record) bool {
	return (f.Subject.IsZero() || f.Subject == r.Subject) && (f.Message == "" || f.Message == r.Message) &&
		(f.Ref == "" || f.Ref == r.Ref) && (f.Controller == "" || f.Controller == r.Controller) && f.takesHead(r.Time.UnixNano(), r.Kind)
}

func (f Filter) takesHead(at int64, k Kind) bool {
	return (f.Kind == "" || f.Kind == k) && (f.Since.IsZero() || at >= f.Since.UnixNano()) && (f.Until.IsZero() || at < f.Until.UnixNano())
}

// hidden tells whether f could choose by what an erased or pruned record no
// longer shows.
func (f Filter) hidden() bool {
	return !f.Subject.IsZero() || f.Message != "" || f.Ref != "" || f.Controller != ""
}

// Query yields the records that f chooses in the order of the tree, then those
// still staged, each once. An error of yield ends it and is returned, ErrStop
// as nil. Erased and pruned ones come only where f asks for neither person,
// message, ref nor controller.
func (l *Ledger) Query(ctx context.Context, f Filter, yield func(Entry) error) error {
	floor := l.floor.Load() // before the snapshot, which then has all below it in the tree
	snap := l.db.NewSnapshot()
	defer snap.Close()
	err := l.sequenced(ctx, snap, f, yield)
	if err == nil {
		err = l.staged(ctx, snap, floor, f, yield)
	}
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

func (l *Ledger) sequenced(ctx context.Context, db pebble.Reader, f Filter, yield func(Entry) error) error {
	index, narrow := f.index()
	if !narrow {
		return l.scan(ctx, db, f, yield)
	}
	upper := after(index)
	if f.byKind() { // in the order of their times, which is nearly that of the tree
		if !f.Until.IsZero() {
			upper = withNumber(slices.Clone(index), uint64(f.Until.UnixNano()))
		}
		if !f.Since.IsZero() {
			index = withNumber(slices.Clone(index), uint64(f.Since.UnixNano()))
		}
	}
	keys, err := keysBetween(db, index, upper)
	if err != nil {
		return fmt.Errorf("read ledger index: %w", err)
	}
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, closer, err := db.Get(numberKey(tabEntry, numberOf(k)))
		if err != nil {
			return fmt.Errorf("read ledger entry %d: %w", numberOf(k), err)
		}
		value := slices.Clone(v)
		if err := closer.Close(); err != nil {
			return err
		}
		if err := l.offer(db, f, numberOf(k), value, yield); err != nil {
			return err
		}
	}
	return nil
}

// index is the narrowest index that serves f.
func (f Filter) index() (prefix []byte, ok bool) {
	switch {
	case f.Ref != "":
		return hashedKey(tabByRef, f.Ref), true
	case f.Message != "":
		return hashedKey(tabByMsg, f.Message), true
	case !f.Subject.IsZero():
		return subjectKey(f.Subject), true
	case f.byKind():
		return hashedKey(tabByKind, string(f.Kind)), true
	}
	return nil, false
}

// byKind tells whether the index of rare kinds serves f.
func (f Filter) byKind() bool {
	return f.Ref == "" && f.Message == "" && f.Subject.IsZero() && slices.Contains(rareKinds, f.Kind)
}

// indexKinds builds the index by kind over a tree that was begun before there
// was one, once.
func (l *Ledger) indexKinds() (err error) {
	if known, err := hasKey(l.db, prefix(tabIndexed)); err != nil || known {
		return err
	}
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: prefix(tabEntry), UpperBound: after(prefix(tabEntry))})
	if err != nil {
		return fmt.Errorf("index ledger by kind: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	b := l.db.NewBatch()
	defer b.Close()
	for ok := it.First(); ok; ok = it.Next() {
		h, _, err := decodeEntry(it.Value())
		if err != nil {
			return fmt.Errorf("index ledger entry %d: %w", numberOf(it.Key()), err)
		}
		if k := kindKey(h, numberOf(it.Key())); k != nil {
			if err := b.Set(k, nil, nil); err != nil {
				return err
			}
		}
	}
	if err := b.Set(prefix(tabIndexed), nil, nil); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

func (l *Ledger) scan(ctx context.Context, db pebble.Reader, f Filter, yield func(Entry) error) (err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix(tabEntry), UpperBound: after(prefix(tabEntry))})
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.offer(db, f, numberOf(it.Key()), it.Value(), yield); err != nil {
			return err
		}
	}
	return nil
}

// offer opens one stored entry and yields it where f takes it.
func (l *Ledger) offer(db pebble.Reader, f Filter, index uint64, value []byte, yield func(Entry) error) error {
	h, leaf, err := decodeEntry(value)
	if err != nil {
		return fmt.Errorf("ledger entry %d: %w", index, err)
	}
	if !f.takesHead(h.time, h.kind) {
		return nil
	}
	e, err := l.open(db, index, h, leaf)
	if err != nil {
		return err
	}
	if e.Erased || e.Pruned {
		if f.hidden() {
			return nil
		}
	} else if !f.takes(e.Record) {
		return nil
	}
	return yield(e)
}

func (l *Ledger) open(db pebble.Reader, index uint64, h head, leaf []byte) (Entry, error) {
	e := Entry{Index: int64(index), Record: Record{Kind: h.kind, Time: time.Unix(0, h.time).UTC()}}
	if len(leaf) == 0 {
		e.Pruned = true
		return e, nil
	}
	var key []byte
	if salt := saltOf(leaf); salt != nil {
		person, err := l.keyOf(db, h.subject)
		if err != nil {
			return e, err
		}
		if person == nil {
			e.Erased = true
			return e, nil
		}
		key = recordKey(person, salt)
	}
	r, err := openLeaf(leaf, key)
	if err != nil {
		return e, fmt.Errorf("ledger entry %d: %w", index, err)
	}
	e.Record = r
	return e, nil
}

func (l *Ledger) keyOf(db pebble.Reader, s address.SubjectID) ([]byte, error) {
	if s.IsZero() {
		return nil, nil
	}
	return l.persons.key(db, s)
}

// staged yields from the outbox, above floor, what is not a repetition of a
// sequenced id.
func (l *Ledger) staged(ctx context.Context, db pebble.Reader, floor uint64, f Filter, yield func(Entry) error) (err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: numberKey(tabOutbox, floor+1), UpperBound: after(prefix(tabOutbox))})
	if err != nil {
		return fmt.Errorf("read outbox: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	seen := map[string]bool{}
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		v := it.Value()
		if len(v) < 1 {
			return fmt.Errorf("%w: staged record", errDamaged)
		}
		if !f.mayTake(v[1:]) {
			continue
		}
		r, err := decodeRecord(v[1:])
		if err != nil {
			return err
		}
		if !f.takes(r) {
			continue
		}
		if v[0] == idGiven {
			if known, err := hasKey(db, hashedKey(tabByID, r.ID)); err != nil || known || seen[r.ID] {
				if err != nil {
					return err
				}
				continue
			}
			seen[r.ID] = true
		}
		if err := yield(Entry{Record: r, Index: -1}); err != nil {
			return err
		}
	}
	return nil
}

// mayTake is a quick look at an encoded record, in which octets and texts stand
// as they are (RFC 8949 section 3.1): false means that takes would say no.
func (f Filter) mayTake(text []byte) bool {
	return (f.Subject.IsZero() || bytes.Contains(text, f.Subject[:])) &&
		bytes.Contains(text, []byte(f.Message)) && bytes.Contains(text, []byte(f.Ref))
}

func hasKey(db pebble.Reader, k []byte) (bool, error) {
	_, closer, err := db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}
