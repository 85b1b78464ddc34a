package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/mod/sumdb/tlog"
)

const dayForm = "2006-01-02"

// publish signs the tree as it is. Nobody sees a checkpoint before it and all
// it covers are synced: a log must never show two histories.
func (l *Ledger) publish(now time.Time) error {
	root, err := tlog.TreeHash(int64(l.size), hashReader(l.db))
	if err != nil {
		return fmt.Errorf("hash of the tree: %w", err)
	}
	signed, err := signCheckpoint(l.signer, int64(l.size), root)
	if err != nil {
		return err
	}
	b := l.db.NewBatch()
	defer b.Close()
	head := append(binary.BigEndian.AppendUint64(nil, l.size), signed...)
	if err := b.Set(prefix(tabHead), head, nil); err != nil {
		return err
	}
	day := now.UTC().Format(dayForm)
	if err := l.stageAnchor(b, day, signed); err != nil {
		return err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("store checkpoint: %w", err)
	}
	l.signed = Checkpoint{Origin: l.signer.Name(), Size: int64(l.size), Root: root, Signed: signed}
	l.published = now
	return writeFile(filepath.Join(l.dir, "checkpoint"), signed)
}

// stageAnchor makes the first checkpoint of a day its anchor.
func (l *Ledger) stageAnchor(b *pebble.Batch, day, signed string) error {
	_, closer, err := l.db.Get(append(prefix(tabAnchor), day...))
	if err == nil {
		return closer.Close()
	}
	if !errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("read anchor: %w", err)
	}
	if err := b.Set(append(prefix(tabAnchor), day...), []byte(signed), nil); err != nil {
		return err
	}
	return b.Set(append(prefix(tabPending), day...), nil, nil)
}

// anchor hands the anchors out that still have to be: as a file, then to the
// caller's function. A failure is told and tried again.
func (l *Ledger) anchor(ctx context.Context, now time.Time) error {
	if since := now.Sub(l.anchored); since >= 0 && since < l.opts.AnchorRetry {
		return nil
	}
	days, err := keysUnder(l.db, prefix(tabPending))
	if err != nil {
		return fmt.Errorf("read anchors: %w", err)
	}
	for _, k := range days {
		day := string(k[prefixLen:])
		if err := l.handOut(ctx, day); err != nil {
			l.anchored = now
			l.opts.Log.Error("ledger anchor could not be handed out", "day", day, "error", err)
			return nil
		}
		if err := l.handedOut(k, now); err != nil {
			return fmt.Errorf("mark anchor of %s: %w", day, err)
		}
	}
	return nil
}

// handedOut marks the anchor of a pending key as handed out.
func (l *Ledger) handedOut(pending []byte, now time.Time) error {
	b := l.db.NewBatch()
	defer b.Close()
	err := errors.Join(b.Delete(pending, nil), b.Set(prefix(tabHanded), binary.BigEndian.AppendUint64(nil, uint64(now.Unix())), nil))
	if err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}

// AnchoredAt is when the last anchor was handed out; zero where none was.
func (l *Ledger) AnchoredAt() (time.Time, error) {
	v, closer, err := l.db.Get(prefix(tabHanded))
	if errors.Is(err, pebble.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read anchors: %w", err)
	}
	defer closer.Close()
	return time.Unix(int64(numberOf(v)), 0).UTC(), nil
}

func (l *Ledger) handOut(ctx context.Context, day string) error {
	v, closer, err := l.db.Get(append(prefix(tabAnchor), day...))
	if err != nil {
		return fmt.Errorf("read anchor: %w", err)
	}
	signed := string(v)
	if err := closer.Close(); err != nil {
		return err
	}
	c, err := OpenCheckpoint(signed, l.public)
	if err != nil {
		return err
	}
	dir := filepath.Join(l.dir, "anchors")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make anchor folder: %w", err)
	}
	if err := writeFile(filepath.Join(dir, day), signed); err != nil {
		return err
	}
	if l.opts.Anchor == nil {
		return nil
	}
	return l.opts.Anchor(ctx, day, c)
}

// Unanchored lists the days whose anchor has not been handed out yet: more
// than one is an alarm.
func (l *Ledger) Unanchored() ([]string, error) {
	keys, err := keysUnder(l.db, prefix(tabPending))
	if err != nil {
		return nil, fmt.Errorf("read anchors: %w", err)
	}
	var out []string
	for _, k := range keys {
		out = append(out, string(k[prefixLen:]))
	}
	return out, nil
}

// Checkpoint is the last signed head; Size 0 before the first.
func (l *Ledger) Checkpoint() Checkpoint {
	l.seq.Lock()
	defer l.seq.Unlock()
	return l.signed
}

func keysUnder(db pebble.Reader, p []byte) (out [][]byte, err error) {
	return keysBetween(db, p, after(p))
}

func keysBetween(db pebble.Reader, from, to []byte) (out [][]byte, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		out = append(out, append([]byte(nil), it.Key()...))
	}
	return out, it.Close()
}

// writeFile replaces a file whole; it is synced before it takes the name.
func writeFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
