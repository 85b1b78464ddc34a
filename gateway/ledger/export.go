package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/mod/sumdb/tlog"
)

// width is how many hashes or entries stand in a full tile (C2SP tlog-tiles).
const (
	width      = 256
	tileHeight = 8
)

// tilePath is the path of tile n that holds count items; kind is a level or
// "entries".
func tilePath(kind string, n int64, count int) string {
	name := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	if count < width {
		name += ".p/" + strconv.Itoa(count)
	}
	return filepath.Join("tile", kind, filepath.FromSlash(name))
}

// Export writes the log into a new or empty folder, in the layout of C2SP
// tlog-tiles: checkpoint, tile/LEVEL/N, tile/entries/N, anchors/DAY and the
// public key as key.txt (which a verifier takes from elsewhere). Entries are
// as the tree holds them: sealed. Subjects' keys are not in it.
func (l *Ledger) Export(ctx context.Context, dir string) error {
	if err := l.Flush(ctx); err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	if had, err := os.ReadDir(dir); err != nil || len(had) > 0 {
		return errors.Join(err, fmt.Errorf("export ledger: %s is not empty", dir))
	}
	snap := l.db.NewSnapshot()
	defer snap.Close()
	_, signed, err := headOf(snap)
	if err != nil || signed == "" {
		return errors.Join(err, errors.New("export ledger: it holds no record yet"))
	}
	c, err := OpenCheckpoint(signed, l.public)
	if err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	x := &exporter{ctx: ctx, db: snap, dir: dir, size: c.Size}
	err = errors.Join(x.entries(), x.hashes(), x.anchors())
	if err == nil {
		err = errors.Join(x.write("key.txt", []byte(l.public+"\n")), x.write("checkpoint", []byte(signed)))
	}
	if err != nil {
		return fmt.Errorf("export ledger: %w", err)
	}
	return nil
}

type exporter struct {
	ctx  context.Context
	db   pebble.Reader
	dir  string
	size int64
}

func (x *exporter) write(path string, b []byte) error {
	path = filepath.Join(x.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// entries writes bundles of 256: each leaf with its length in 16 bits, length
// 0 where it was pruned.
func (x *exporter) entries() (err error) {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: prefix(tabEntry), UpperBound: numberKey(tabEntry, uint64(x.size))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var b []byte
	at := int64(0)
	for ok := it.First(); ok; ok = it.Next() {
		_, leaf, err := decodeEntry(it.Value())
		if err != nil || numberOf(it.Key()) != uint64(at) {
			return fmt.Errorf("entry %d: %w", at, errors.Join(err, errDamaged))
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(leaf)))
		b = append(b, leaf...)
		at++
		if at%width == 0 || at == x.size {
			if err := errors.Join(x.ctx.Err(), x.write(tilePath("entries", (at-1)/width, int((at-1)%width)+1), b)); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	if at != x.size {
		return fmt.Errorf("%w: %d entries of %d", errDamaged, at, x.size)
	}
	return it.Error()
}

// hashes writes the tiles of every level, reading the stored hashes in one
// sweep: they lie in the order in which the tree grew.
func (x *exporter) hashes() error {
	var tiles [64 / tileHeight][]byte
	var next [64 / tileHeight]int64 // hashes taken of each level
	err := eachHash(x.db, tlog.StoredHashCount(x.size), func(index int64, h []byte) error {
		height, n := tlog.SplitStoredHashIndex(index)
		if height%tileHeight != 0 {
			return nil
		}
		level := height / tileHeight
		if n != next[level] {
			return fmt.Errorf("%w: tree hash %d of level %d", errDamaged, n, height)
		}
		next[level]++
		tiles[level] = append(tiles[level], h...)
		if next[level]%width != 0 {
			return nil
		}
		err := errors.Join(x.ctx.Err(), x.writeTile(level, next[level], tiles[level]))
		tiles[level] = tiles[level][:0]
		return err
	})
	if err != nil {
		return err
	}
	for level, b := range tiles {
		if next[level] != x.size>>(level*tileHeight) {
			return fmt.Errorf("%w: %d tree hashes of level %d", errDamaged, next[level], level*tileHeight)
		}
		if len(b) > 0 {
			if err := x.writeTile(level, next[level], b); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeTile writes the tile that ends with the last of count hashes.
func (x *exporter) writeTile(level int, count int64, b []byte) error {
	return x.write(tilePath(strconv.Itoa(level), (count-1)/width, len(b)/tlog.HashSize), b)
}

func (x *exporter) anchors() (err error) {
	it, err := x.db.NewIter(&pebble.IterOptions{LowerBound: prefix(tabAnchor), UpperBound: after(prefix(tabAnchor))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if err := x.write(filepath.Join("anchors", string(it.Key()[prefixLen:])), it.Value()); err != nil {
			return err
		}
	}
	return it.Error()
}
