package ledger

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/address"
)

// Erase destroys the key of a subject: what its records say can't be read any
// more, by anybody, while the tree stays as it is (ST-6). Records staged
// before are included. It gives the number of records; erasing twice is
// erasing once. A backup of the store taken before still has the wrapped key:
// backups follow retention (ST-7).
func (l *Ledger) Erase(ctx context.Context, subject address.SubjectID) (int, error) {
	l.seq.Lock()
	defer l.seq.Unlock()
	if err := l.passLocked(ctx, true); err != nil {
		return 0, fmt.Errorf("erase subject %s: %w", subject, err)
	}
	n, err := l.eraseLocked(ctx, subject)
	if err != nil {
		return n, fmt.Errorf("erase subject %s: %w", subject, err)
	}
	return n, nil
}

func (l *Ledger) eraseLocked(ctx context.Context, subject address.SubjectID) (int, error) {
	b := l.db.NewBatch()
	defer b.Close()
	n, err := l.stageErase(b, subject)
	if err != nil {
		return 0, err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return 0, err
	}
	l.persons.forget(subject)
	// A deleted key lives on in older files of the store until they are merged.
	return n, l.db.Compact(ctx, personKey(subject), after(personKey(subject)), false)
}

// stageErase takes a subject's key and what finds its records, in b.
func (l *Ledger) stageErase(b *pebble.Batch, subject address.SubjectID) (int, error) {
	keys, err := keysUnder(l.db, subjectKey(subject))
	if err != nil {
		return 0, err
	}
	for _, k := range keys {
		index := numberOf(k)
		v, closer, err := l.db.Get(numberKey(tabEntry, index))
		if err != nil {
			return 0, err
		}
		h, leaf, err := decodeEntry(v)
		if err == nil {
			err = l.unlink(b, index, h, leaf)
		}
		if err == nil {
			h.subject = address.SubjectID{}
			err = b.Set(numberKey(tabEntry, index), encodeEntry(h, leaf), nil)
		}
		if err = errors.Join(err, closer.Close()); err != nil {
			return 0, err
		}
	}
	return len(keys), b.Delete(personKey(subject), nil)
}

// unlink removes what finds an entry, as long as it can still be read.
func (l *Ledger) unlink(b *pebble.Batch, index uint64, h head, leaf []byte) error {
	e, err := l.open(l.db, index, h, leaf)
	if err != nil || e.Erased || e.Pruned {
		return err
	}
	for _, k := range appendIndexKeys(nil, e.Subject, e.Message, e.Ref, index) {
		if err := b.Delete(k[:], nil); err != nil {
			return err
		}
	}
	return nil
}

// Retention is one rule of a deletion run (ST-1).
type Retention struct {
	Class  string            // name of the rule, for the record of the run
	Before time.Time         // only records older than this
	Match  func(Record) bool // which of them; erased ones show Kind and Time only; nil takes all
}

const (
	actionPrune  = "prune"
	dataClass    = "class"
	dataBefore   = "before"
	dataCount    = "count"
	dataRanges   = "ranges"      // of the records whose content is gone
	maxRangeText = 24 << 10      // octets in one retention record
	pruneChunk   = 50_000        // records looked at between two commits
	keptKind     = KindRetention // tells what was pruned
)

// Prune removes the content of records whose time is over and keeps their
// hashes, so that the rest stays provable. Which ones is told by a retention
// record in the same batch: Verify takes no other absence. Retention records
// themselves are never pruned.
func (l *Ledger) Prune(ctx context.Context, rule Retention) (pruned int, err error) {
	l.seq.Lock()
	defer l.seq.Unlock()
	if err := l.passLocked(ctx, true); err != nil {
		return 0, fmt.Errorf("prune %s: %w", rule.Class, err)
	}
	for from := uint64(0); from < l.size; from += pruneChunk {
		if err := ctx.Err(); err != nil {
			return pruned, err
		}
		n, err := l.pruneChunk(rule, from, min(from+pruneChunk, l.size))
		pruned += n
		if err != nil {
			return pruned, fmt.Errorf("prune %s: %w", rule.Class, err)
		}
	}
	l.Notify()
	return pruned, nil
}

func (l *Ledger) pruneChunk(rule Retention, from, to uint64) (n int, err error) {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: numberKey(tabEntry, from), UpperBound: numberKey(tabEntry, to)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	b := l.db.NewBatch()
	defer b.Close()
	var gone []uint64
	for ok := it.First(); ok; ok = it.Next() {
		index := numberOf(it.Key())
		h, leaf, err := decodeEntry(it.Value())
		if err != nil {
			return 0, fmt.Errorf("ledger entry %d: %w", index, err)
		}
		if len(leaf) == 0 || h.kind == keptKind || h.time >= rule.Before.UnixNano() {
			continue
		}
		e, err := l.open(l.db, index, h, leaf)
		if err != nil {
			return 0, err
		}
		if rule.Match != nil && !rule.Match(e.Record) {
			continue
		}
		if err := l.unlink(b, index, h, leaf); err != nil {
			return 0, err
		}
		if err := b.Set(it.Key(), encodeEntry(head{time: h.time, kind: h.kind}, nil), nil); err != nil {
			return 0, err
		}
		gone = append(gone, index)
	}
	if len(gone) == 0 {
		return 0, it.Error()
	}
	if err := l.Stage(b, l.pruneRecords(rule, gone)...); err != nil {
		return 0, err
	}
	return len(gone), b.Commit(pebble.Sync)
}

// pruneRecords tells which records are gone, in as many records as it takes.
func (l *Ledger) pruneRecords(rule Retention, gone []uint64) (out []Record) {
	for len(gone) > 0 {
		text, n := packRanges(gone, maxRangeText)
		out = append(out, Record{
			Time: l.opts.Now(), Kind: KindRetention, Actor: "rule", Action: actionPrune, Data: map[string]string{
				dataClass: rule.Class, dataBefore: rule.Before.UTC().Format(time.RFC3339), dataCount: strconv.Itoa(n), dataRanges: text,
			},
		})
		gone = gone[n:]
	}
	return out
}

// packRanges writes rising numbers as gap and length pairs (varint, base64)
// and tells how many fit.
func packRanges(numbers []uint64, limit int) (text string, n int) {
	var b []byte
	next := uint64(0)
	for n < len(numbers) && len(b) < limit {
		start, end := numbers[n], n+1
		for end < len(numbers) && numbers[end] == numbers[end-1]+1 {
			end++
		}
		b = binary.AppendUvarint(b, start-next)
		b = binary.AppendUvarint(b, uint64(end-n))
		next = numbers[end-1] + 1
		n = end
	}
	return base64.StdEncoding.EncodeToString(b), n
}

// unpackRanges calls each for every number that packRanges wrote; none may be
// at or over limit.
func unpackRanges(text string, limit uint64, each func(uint64)) error {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("%w: pruned ranges", errDamaged)
	}
	next := uint64(0)
	for len(b) > 0 {
		gap, g := binary.Uvarint(b)
		if g <= 0 {
			return fmt.Errorf("%w: pruned ranges", errDamaged)
		}
		count, c := binary.Uvarint(b[g:])
		if c <= 0 || gap > limit || count > limit || next+gap+count > limit {
			return fmt.Errorf("%w: pruned ranges", errDamaged)
		}
		for i := range count {
			each(next + gap + i)
		}
		next += gap + count
		b = b[g+c:]
	}
	return nil
}
