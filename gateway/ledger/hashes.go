package ledger

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/mod/sumdb/tlog"
)

// hashRun is how many records' hashes stand in one value at most. A record
// brings two on average, so that a proof reads 16 KiB for a hash at worst.
const hashRun = 256

// putHashes writes the hashes gathered so far as one value.
func (s *sequence) putHashes() error {
	if len(s.hashes) == 0 {
		return nil
	}
	err := s.b.Set(numberKey(tabHashes, s.first), s.hashes, nil)
	s.hashes, s.first = s.hashes[:0], s.size
	return err
}

// edge is the right edge of the tree: of each level the last hash that has no
// partner yet, under its stored index. It spares reading them back for every
// record; what it does not hold is read from the store.
type edge [64]struct {
	index int64 // plus one; 0: none
	hash  tlog.Hash
}

// grow puts a record's hash at the end of the tree, with those of the subtrees
// that it completes (RFC 6962 section 2.1).
func (s *sequence) grow(h tlog.Hash) error {
	s.hashes = append(s.hashes, h[:]...)
	level, n := 0, int64(s.size)
	for ; n&1 == 1; level, n = level+1, n>>1 {
		left, err := s.left(level, n-1)
		if err != nil {
			return err
		}
		h = tlog.NodeHash(left, h)
		s.hashes = append(s.hashes, h[:]...)
	}
	s.edge[level].index, s.edge[level].hash = tlog.StoredHashIndex(level, n)+1, h
	return nil
}

// left gives the hash that the next one of its level is joined with.
func (s *sequence) left(level int, n int64) (tlog.Hash, error) {
	index := tlog.StoredHashIndex(level, n)
	if e := &s.edge[level]; e.index == index+1 {
		return e.hash, nil
	}
	return readHash(s.l.db, index)
}

// readHash gives a stored hash of the tree (tlog.StoredHashIndex).
func readHash(db pebble.Reader, index int64) (h tlog.Hash, err error) {
	level, n := tlog.SplitStoredHashIndex(index)
	record := uint64(n+1)<<level - 1 // whose arrival completed it
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix(tabHashes), UpperBound: numberKey(tabHashes, record+1)})
	if err != nil {
		return h, fmt.Errorf("read tree hash %d: %w", index, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.Last() {
		if it.Error() != nil {
			return h, fmt.Errorf("read tree hash %d: %w", index, it.Error())
		}
		return readSingleHash(db, index)
	}
	at := (index - firstHash(it.Key())) * tlog.HashSize
	if at < 0 || at+tlog.HashSize > int64(len(it.Value())) {
		return h, fmt.Errorf("%w: tree hash %d", errDamaged, index)
	}
	copy(h[:], it.Value()[at:])
	return h, nil
}

// firstHash is the index of the first hash in the value under key.
func firstHash(key []byte) int64 { return tlog.StoredHashIndex(0, int64(numberOf(key))) }

// readSingleHash reads one as it was stored before they stood in runs.
func readSingleHash(db pebble.Reader, index int64) (h tlog.Hash, err error) {
	v, closer, err := db.Get(numberKey(tabHash, uint64(index)))
	if err != nil {
		return h, fmt.Errorf("read tree hash %d: %w", index, err)
	}
	defer closer.Close()
	if len(v) != len(h) {
		return h, fmt.Errorf("%w: tree hash %d", errDamaged, index)
	}
	copy(h[:], v)
	return h, nil
}

func hashReader(db pebble.Reader) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			var err error
			if out[i], err = readHash(db, x); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
}

// eachHash gives the first count stored hashes in the order in which the tree
// grew, in one sweep.
func eachHash(db pebble.Reader, count int64, f func(index int64, h []byte) error) error {
	for _, table := range []byte{tabHash, tabHashes} {
		if err := hashesOf(db, table, count, f); err != nil {
			return err
		}
	}
	return nil
}

func hashesOf(db pebble.Reader, table byte, count int64, f func(index int64, h []byte) error) (err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix(table), UpperBound: after(prefix(table))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		index, v := int64(numberOf(it.Key())), it.Value()
		if table == tabHashes {
			index = firstHash(it.Key())
		}
		if len(v)%tlog.HashSize != 0 {
			return fmt.Errorf("%w: tree hash %d", errDamaged, index)
		}
		for ; len(v) > 0; v = v[tlog.HashSize:] {
			if index >= count {
				return nil
			}
			if err := f(index, v[:tlog.HashSize]); err != nil {
				return err
			}
			index++
		}
	}
	return it.Error()
}
