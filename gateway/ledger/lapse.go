package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/address"
)

// Lapse is one run that destroys the keys of subjects whose time is over
// (design D15, ST-1).
type Lapse struct {
	// Before is the end of the limitation time: who has a record from then on
	// that Keeps takes keeps the key.
	Before time.Time
	// Keeps tells which records do that; nil: all.
	Keeps func(Record) bool
	// Spare tells whose key stays for another reason, as a legal hold, a consent
	// that stands, or what another node sent. An error ends the run: nothing more
	// is destroyed.
	Spare func(ctx context.Context, over []Over) (map[address.SubjectID]bool, error)
}

// Over is a subject whose time is over by this node's log.
type Over struct {
	Controller string // "" where no record of the subject is left
	Subject    address.SubjectID
}

// Lapsed is what a run did.
type Lapsed struct {
	Persons int // keys destroyed
	Records int // records that can't be read any more
	Spared  int
}

const (
	actionLapse = "destroy-keys"
	classLapse  = "persons"
	lapseChunk  = 64 // subjects of one commit
)

// DestroyLapsed destroys the keys of subjects whose last record that counts is
// over: what is left of them can't be read any more, as after Erase, and the
// tree stays as it is. Each commit is told by a retention record in the same
// batch, and a run that found nothing as well.
func (l *Ledger) DestroyLapsed(ctx context.Context, rule Lapse) (Lapsed, error) {
	var done Lapsed
	if err := l.pass(ctx, true); err != nil { // what is staged has no key yet
		return done, fmt.Errorf("destroy lapsed keys: %w", err)
	}
	from, end := prefix(tabPerson), after(prefix(tabPerson))
	for {
		subjects, err := l.personsFrom(from, end)
		if err != nil {
			return done, fmt.Errorf("destroy lapsed keys: %w", err)
		}
		if len(subjects) == 0 {
			break
		}
		gone, spared, err := l.candidates(ctx, rule, subjects)
		if err != nil {
			return done, fmt.Errorf("destroy lapsed keys: %w", err)
		}
		done.Spared += spared
		if len(gone) > 0 {
			if err := l.destroy(ctx, rule, gone, &done); err != nil {
				return done, fmt.Errorf("destroy lapsed keys: %w", err)
			}
		}
		from = append(personKey(subjects[len(subjects)-1]), 0)
	}
	if done.Persons == 0 {
		if err := l.destroy(ctx, rule, nil, &done); err != nil {
			return done, fmt.Errorf("destroy lapsed keys: %w", err)
		}
	}
	l.Notify()
	if done.Persons == 0 {
		return done, nil
	}
	// A deleted key lives on in older files of the store until they are merged.
	return done, l.db.Compact(ctx, prefix(tabPerson), end, false)
}

// personsFrom lists the next subjects that have a key.
func (l *Ledger) personsFrom(from, end []byte) (out []address.SubjectID, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: end})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok && len(out) < lapseChunk; ok = it.Next() {
		var s address.SubjectID
		if copy(s[:], it.Key()[prefixLen:]) == len(s) {
			out = append(out, s)
		}
	}
	return out, errors.Join(it.Error(), it.Close())
}

// candidates are those of subjects whose time is over and whom nothing spares.
func (l *Ledger) candidates(ctx context.Context, rule Lapse, subjects []address.SubjectID) (gone []address.SubjectID, spared int, err error) {
	var over []Over
	for _, s := range subjects {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		controller, ended, err := l.lapsed(rule, s)
		if err != nil {
			return nil, 0, err
		}
		if ended {
			over = append(over, Over{controller, s})
		}
	}
	var keep map[address.SubjectID]bool
	if rule.Spare != nil && len(over) > 0 {
		if keep, err = rule.Spare(ctx, over); err != nil {
			return nil, 0, err
		}
	}
	for _, o := range over {
		if keep[o.Subject] {
			spared++
			continue
		}
		gone = append(gone, o.Subject)
	}
	return gone, spared, nil
}

// Outlast tells which subjects have a record here that keeps their key by the
// rule, those still staged included. Spare is not asked.
func (l *Ledger) Outlast(ctx context.Context, rule Lapse, subjects []address.SubjectID) ([]address.SubjectID, error) {
	if err := l.Flush(ctx); err != nil {
		return nil, fmt.Errorf("look who outlasts: %w", err)
	}
	var out []address.SubjectID
	for _, s := range subjects {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		_, over, err := l.lapsed(rule, s)
		if err != nil {
			return nil, fmt.Errorf("look who outlasts: %w", err)
		}
		if !over {
			out = append(out, s)
		}
	}
	return out, nil
}

// lapsed tells whether no record of a subject keeps its key, and whose subject
// it is.
func (l *Ledger) lapsed(rule Lapse, s address.SubjectID) (controller string, over bool, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: subjectKey(s), UpperBound: after(subjectKey(s))})
	if err != nil {
		return "", false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.Last(); ok; ok = it.Prev() { // the newest first: it decides for most
		e, err := l.entryAt(numberOf(it.Key()))
		if err != nil {
			return "", false, err
		}
		if controller == "" {
			controller = e.Controller
		}
		if !e.Time.Before(rule.Before) && (rule.Keeps == nil || rule.Keeps(e.Record)) {
			return controller, false, nil
		}
	}
	return controller, true, it.Error()
}

func (l *Ledger) entryAt(index uint64) (Entry, error) {
	v, closer, err := l.db.Get(numberKey(tabEntry, index))
	if err != nil {
		return Entry{}, fmt.Errorf("read ledger entry %d: %w", index, err)
	}
	defer closer.Close()
	h, leaf, err := decodeEntry(v)
	if err != nil {
		return Entry{}, fmt.Errorf("ledger entry %d: %w", index, err)
	}
	return l.open(l.db, index, h, leaf)
}

// destroy takes the keys of subjects whose time is over still.
func (l *Ledger) destroy(ctx context.Context, rule Lapse, subjects []address.SubjectID, done *Lapsed) error {
	l.seq.Lock()
	defer l.seq.Unlock()
	if err := l.passLocked(ctx, true); err != nil { // what was staged meanwhile counts
		return err
	}
	b := l.db.NewBatch()
	defer b.Close()
	var gone []address.SubjectID
	records := 0
	for _, s := range subjects {
		_, over, err := l.lapsed(rule, s)
		if err != nil {
			return err
		}
		if !over {
			continue
		}
		n, err := l.stageErase(b, s)
		if err != nil {
			return err
		}
		gone, records = append(gone, s), records+n
	}
	run := Record{Time: l.opts.Now(), Kind: KindRetention, Actor: "rule", Action: actionLapse, Reason: "end-of-time", Data: map[string]string{
		dataClass: classLapse, dataBefore: rule.Before.UTC().Format(time.RFC3339), dataCount: strconv.Itoa(len(gone)), "records": strconv.Itoa(records),
	}}
	if err := l.Stage(b, run); err != nil {
		return err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return err
	}
	for _, s := range gone {
		l.persons.forget(s)
	}
	done.Persons += len(gone)
	done.Records += records
	return nil
}
