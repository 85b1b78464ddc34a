package ledger

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// piece is one entry as found in the export.
type piece struct {
	leaf []byte // nil: pruned
	hash tlog.Hash
}

// align walks the entries found beside the leaves the tree knows, so that one
// record cut out or put in does not make all behind it look changed.
func (v *verifier) align() error {
	in := &feed{v: v}
	size := v.head.Size
	i := int64(0)
	for i < size {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		p, ok, err := in.peek(0)
		if err != nil {
			return err
		}
		if !ok {
			v.fault(FaultTruncated, i, size-1, "the entries end here")
			return nil
		}
		switch {
		case p.leaf == nil:
			v.absent = append(v.absent, i)
		case p.hash == v.leaves[i]:
			v.note(p.leaf)
		case v.unsure[i/width]:
			// Its tile is wrong as well: which of the tile's records was
			// changed can't be told, so all are named.
			v.fault(FaultChanged, i, i, "records of this tile do not fit the signed tree")
		default:
			next, err := v.mismatch(in, i, p)
			if err != nil {
				return err
			}
			i = next
			continue
		}
		in.take()
		i++
	}
	return v.rest(in)
}

// mismatch names what is wrong at place i and gives the place to go on.
func (v *verifier) mismatch(in *feed, i int64, p piece) (int64, error) {
	if at, ok := v.place(p.hash); ok && at > i {
		v.fault(FaultRemoved, i, at-1, "the record is not there")
		return at, nil
	}
	q, ok, err := in.peek(1)
	if err != nil {
		return i, err
	}
	if ok && q.leaf != nil && q.hash == v.leaves[i] {
		v.fault(FaultInserted, i, i, "a record stands before it that the tree does not know")
		in.take()
		return i, nil
	}
	v.fault(FaultChanged, i, i, "its content is not what was recorded")
	in.take()
	return i + 1, nil
}

// rest names what stands behind the last record of the tree.
func (v *verifier) rest(in *feed) error {
	for {
		_, ok, err := in.peek(0)
		if err != nil || !ok {
			return err
		}
		in.take()
		v.fault(FaultInserted, v.head.Size, v.head.Size, "a record stands behind the last one of the tree")
	}
}

// place finds where a leaf hash belongs; the table is made when first needed.
func (v *verifier) place(h tlog.Hash) (int64, bool) {
	if v.found == nil {
		v.found = make(map[tlog.Hash]int64, len(v.leaves))
		for i, x := range v.leaves {
			v.found[x] = int64(i)
		}
	}
	at, ok := v.found[h]
	return at, ok
}

// note reads the retention records, which stand in clear, on the way.
func (v *verifier) note(leaf []byte) {
	if len(leaf) < leafHead || leaf[1] != leafPlain {
		return
	}
	r, err := openLeaf(leaf, nil)
	if err != nil || r.Kind != KindRetention || r.Action != actionPrune {
		return
	}
	_ = unpackRanges(r.Data[dataRanges], uint64(v.head.Size), func(n uint64) { v.told[int64(n)] = true })
}

// feed gives the entries of all bundles one by one.
type feed struct {
	v      *verifier
	tile   int64
	pieces []piece
	done   bool
}

func (f *feed) take() { f.pieces = f.pieces[1:] }

func (f *feed) peek(n int) (piece, bool, error) {
	for len(f.pieces) <= n && !f.done {
		first := f.tile * width
		if first >= f.v.head.Size {
			f.done = true
			break
		}
		want := min(width, f.v.head.Size-first)
		leaves, err := f.v.readBundle(f.tile, want)
		if errors.Is(err, os.ErrNotExist) {
			// A missing file is no record: those behind it show how many.
			err = nil
		}
		if err != nil {
			return piece{}, false, err
		}
		for _, leaf := range leaves {
			p := piece{}
			if len(leaf) > 0 {
				p = piece{leaf, tlog.RecordHash(leaf)}
			}
			f.pieces = append(f.pieces, p)
		}
		f.tile++
	}
	if len(f.pieces) <= n {
		return piece{}, false, nil
	}
	return f.pieces[n], true, nil
}

// readBundle reads a bundle of entries. Where a length is damaged it looks for
// the next place from which a known record can be read.
func (v *verifier) readBundle(tile, count int64) ([][]byte, error) {
	b, cut, err := v.readTile("entries", tile, int(count))
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for len(b) > 0 {
		leaf, rest, ok := cutEntry(b)
		if !ok || (len(rest) > 0 && !plausible(rest) && !v.knows(tile, leaf)) {
			if skip, found := v.resync(b, tile, int64(len(out))); found {
				out = append(out, b[:skip])
				b = b[skip:]
				continue
			}
		}
		if !ok {
			out = append(out, b)
			break
		}
		out = append(out, leaf)
		b = rest
	}
	if cut && int64(len(out)) > count {
		out = out[:count]
	}
	return out, nil
}

// readTile reads a tile of count items; where there is none, one of more items
// stands in, which cut tells: the head to be checked is older than the export.
func (v *verifier) readTile(kind string, n int64, count int) (b []byte, cut bool, err error) {
	b, err = os.ReadFile(filepath.Join(v.dir, tilePath(kind, n, count)))
	for more := count + 1; errors.Is(err, os.ErrNotExist) && more <= width; more++ {
		b, err = os.ReadFile(filepath.Join(v.dir, tilePath(kind, n, more)))
		cut = true
	}
	return b, cut, err
}

// cutEntry reads one length and its leaf.
func cutEntry(b []byte) (leaf, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n : 2+n], b[2+n:], true
}

// plausible tells whether b begins like an entry: pruned, or a leaf of a known
// version.
func plausible(b []byte) bool {
	leaf, _, ok := cutEntry(b)
	return ok && (len(leaf) == 0 || (len(leaf) > leafHead && leaf[0] == leafVersion))
}

// knows tells whether the tree has that leaf in that tile.
func (v *verifier) knows(tile int64, leaf []byte) bool {
	h := tlog.RecordHash(leaf)
	first := min(tile*width, int64(len(v.leaves)))
	return slices.Contains(v.leaves[first:min(first+width, int64(len(v.leaves)))], h)
}

// resync finds how many octets to skip until an entry of this tile behind
// place n begins.
func (v *verifier) resync(b []byte, tile, n int64) (int, bool) {
	first := tile * width
	last := min(first+width, int64(len(v.leaves)))
	known := map[tlog.Hash]bool{}
	for i := first + n + 1; i < last; i++ {
		known[v.leaves[i]] = true
	}
	for skip := 1; skip < len(b); skip++ {
		if leaf, _, ok := cutEntry(b[skip:]); ok && len(leaf) > leafHead && leaf[0] == leafVersion && known[tlog.RecordHash(leaf)] {
			return skip, true
		}
	}
	return 0, false
}
