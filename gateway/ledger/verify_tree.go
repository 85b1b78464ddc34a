package ledger

import (
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// readLeaves gets the leaf hashes and proves them against the signed head.
// Where they do not fit, the level above tells which tiles are wrong, and the
// entries may stand in for a damaged tile.
func (v *verifier) readLeaves() error {
	var err error
	if v.leaves, err = v.readLevel(0, v.head.Size); err != nil {
		return err
	}
	tiles := (v.head.Size + width - 1) / width
	v.unsure = make([]bool, tiles)
	if rootOf(v.leaves) == v.head.Root {
		return v.checkAnchors()
	}
	parents, err := v.readLevel(1, v.head.Size/width)
	if err != nil {
		return err
	}
	for t := range tiles {
		v.mendTile(t, parents)
	}
	if rootOf(v.leaves) == v.head.Root {
		return v.checkAnchors()
	}
	if !v.parentsHold(parents) {
		v.fault(FaultCheckpoint, -1, -1, "the tree's hashes do not lead to the signed head")
		for t := range v.unsure {
			v.unsure[t] = true
		}
	}
	return v.checkAnchors()
}

// readLevel reads all hashes of a level; what is missing stays zero.
func (v *verifier) readLevel(level int, n int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, n)
	for first := int64(0); first < n; first += width {
		if err := v.ctx.Err(); err != nil {
			return nil, err
		}
		count := min(width, n-first)
		b, cut, err := v.readTile(strconv.Itoa(level), first/width, int(count))
		if cut && int64(len(b)) > count*tlog.HashSize {
			b = b[:count*tlog.HashSize]
		}
		if err != nil || int64(len(b)) != count*tlog.HashSize {
			v.fault(FaultTile, -1, -1, "hashes of records %d to %d are missing or cut", first<<(level*tileHeight), (first+count)<<(level*tileHeight)-1)
		}
		for i := range min(count, int64(len(b)/tlog.HashSize)) {
			copy(out[first+i][:], b[i*tlog.HashSize:])
		}
	}
	return out, nil
}

// mendTile puts the hashes of the entries in where those of the tile do not
// lead to the hash above and the entries do.
func (v *verifier) mendTile(t int64, parents []tlog.Hash) {
	first, last := t*width, min((t+1)*width, v.head.Size)
	whole := t < int64(len(parents))
	if whole && rootOf(v.leaves[first:last]) == parents[t] {
		return
	}
	entries, _ := v.readBundle(t, last-first)
	hashes := make([]tlog.Hash, last-first)
	for i := range hashes {
		if i < len(entries) && len(entries[i]) > 0 {
			hashes[i] = tlog.RecordHash(entries[i])
		} else {
			hashes[i] = v.leaves[first+int64(i)] // pruned: only the tile has it
		}
	}
	if whole {
		if rootOf(hashes) == parents[t] {
			copy(v.leaves[first:last], hashes)
			v.fault(FaultTile, -1, -1, "hashes of records %d to %d are damaged; the records themselves hold", first, last-1)
			return
		}
		v.unsure[t] = true
		return
	}
	// The last tile has no hash above it: try which of the two gives the root.
	kept := append([]tlog.Hash(nil), v.leaves[first:last]...)
	copy(v.leaves[first:last], hashes)
	if rootOf(v.leaves) != v.head.Root {
		copy(v.leaves[first:last], kept)
		v.unsure[t] = true
		return
	}
	if len(entries) == len(hashes) {
		v.fault(FaultTile, -1, -1, "hashes of records %d to %d are damaged; the records themselves hold", first, last-1)
	}
}

// parentsHold tells whether the level above with the last tile gives the root.
func (v *verifier) parentsHold(parents []tlog.Hash) bool {
	var f frontier
	for _, h := range parents {
		f.add(h, width)
	}
	for _, h := range v.leaves[int64(len(parents))*width:] {
		f.add(h, 1)
	}
	return f.root() == v.head.Root
}

// checkAnchors compares each earlier checkpoint with the tree of its size.
func (v *verifier) checkAnchors() error {
	anchors, err := v.readAnchors()
	if err != nil {
		return err
	}
	var f frontier
	at := int64(0)
	for _, a := range anchors {
		if a.Size > v.head.Size {
			continue // told already
		}
		for ; at < a.Size; at++ {
			f.add(v.leaves[at], 1)
		}
		if f.root() != a.Root {
			v.fault(FaultCheckpoint, -1, -1, "the first %d records are not those of an anchor: history was rewritten", a.Size)
			continue
		}
		v.report.Anchors++
	}
	return nil
}

// frontier computes RFC 6962 tree hashes from left to right in little memory.
type frontier struct {
	hashes []tlog.Hash
	sizes  []int64 // powers of two, falling
}

func (f *frontier) add(h tlog.Hash, size int64) {
	f.hashes, f.sizes = append(f.hashes, h), append(f.sizes, size)
	for n := len(f.sizes); n > 1 && f.sizes[n-2] == f.sizes[n-1]; n = len(f.sizes) {
		f.hashes[n-2] = tlog.NodeHash(f.hashes[n-2], f.hashes[n-1])
		f.sizes[n-2] *= 2
		f.hashes, f.sizes = f.hashes[:n-1], f.sizes[:n-1]
	}
}

func (f *frontier) root() tlog.Hash {
	n := len(f.hashes)
	if n == 0 {
		h, _ := tlog.TreeHash(0, nil) // of the empty tree
		return h
	}
	h := f.hashes[n-1]
	for i := n - 2; i >= 0; i-- {
		h = tlog.NodeHash(f.hashes[i], h)
	}
	return h
}

func rootOf(leaves []tlog.Hash) tlog.Hash {
	var f frontier
	for _, h := range leaves {
		f.add(h, 1)
	}
	return f.root()
}
