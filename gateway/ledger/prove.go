package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that records stood in a log when its checkpoint was signed. It
// names no key but those of its own records.
type Proof struct {
	PublicKey  string       `json:"public_key"` // of the log; compare it with the one kept outside
	Checkpoint string       `json:"checkpoint"` // signed
	Records    []ProvenItem `json:"records"`
}

// ProvenItem is one record with what it takes to check it.
type ProvenItem struct {
	Index  int64       `json:"index"`
	Record Record      `json:"record"`
	Leaf   []byte      `json:"leaf"`          // what the tree hashes
	Key    []byte      `json:"key,omitempty"` // opens this leaf; none where it is in clear
	Path   []tlog.Hash `json:"path"`          // RFC 6962 section 2.1.1
}

// ErrNoRecord says that nothing was found to prove.
var ErrNoRecord = errors.New("no such record in the ledger")

// Prove gathers the records f chooses with their inclusion proofs under a
// fresh checkpoint. Errors wrap ErrNoRecord where there is none.
func (l *Ledger) Prove(ctx context.Context, f Filter) (Proof, error) {
	if err := l.Flush(ctx); err != nil {
		return Proof{}, fmt.Errorf("prove: %w", err)
	}
	snap := l.db.NewSnapshot()
	defer snap.Close()
	_, signed, err := headOf(snap)
	if err != nil {
		return Proof{}, err
	}
	p := Proof{PublicKey: l.public, Checkpoint: signed}
	if signed == "" {
		return p, ErrNoRecord
	}
	c, err := OpenCheckpoint(signed, l.public)
	if err != nil {
		return p, err
	}
	err = l.sequenced(ctx, snap, f, func(e Entry) error {
		if e.Index >= c.Size || e.Erased || e.Pruned {
			return nil
		}
		item, err := l.item(snap, e, c.Size)
		if err == nil {
			p.Records = append(p.Records, item)
		}
		return err
	})
	if err != nil {
		return p, fmt.Errorf("prove: %w", err)
	}
	if len(p.Records) == 0 {
		return p, ErrNoRecord
	}
	return p, nil
}

func (l *Ledger) item(db pebble.Reader, e Entry, size int64) (ProvenItem, error) {
	it := ProvenItem{Index: e.Index, Record: e.Record}
	v, closer, err := db.Get(numberKey(tabEntry, uint64(e.Index)))
	if err != nil {
		return it, fmt.Errorf("read ledger entry %d: %w", e.Index, err)
	}
	h, leaf, err := decodeEntry(v)
	it.Leaf = slices.Clone(leaf)
	if err = errors.Join(err, closer.Close()); err != nil {
		return it, err
	}
	if salt := saltOf(it.Leaf); salt != nil {
		person, err := l.keyOf(db, h.subject)
		if err != nil {
			return it, err
		}
		it.Key = recordKey(person, salt)
	}
	path, err := tlog.ProveRecord(size, e.Index, hashReader(db))
	if err != nil {
		return it, fmt.Errorf("inclusion of entry %d: %w", e.Index, err)
	}
	it.Path = path
	return it, nil
}

// CheckProof checks a proof offline: signature, inclusion of each leaf, and
// that each leaf holds the record shown.
func CheckProof(p Proof, publicKey string) error {
	c, err := OpenCheckpoint(p.Checkpoint, publicKey)
	if err != nil {
		return err
	}
	if len(p.Records) == 0 {
		return ErrNoRecord
	}
	for _, it := range p.Records {
		if err := tlog.CheckRecord(it.Path, c.Size, c.Root, it.Index, tlog.RecordHash(it.Leaf)); err != nil {
			return fmt.Errorf("record %d is not in the tree: %w", it.Index, err)
		}
		r, err := openLeaf(it.Leaf, it.Key)
		if err != nil {
			return fmt.Errorf("record %d: %w", it.Index, err)
		}
		shown, err := encodeRecord(&it.Record)
		if err != nil {
			return fmt.Errorf("record %d: %w", it.Index, err)
		}
		held, err := encodeRecord(&r)
		if err != nil || string(shown) != string(held) {
			return fmt.Errorf("record %d is not what its leaf holds", it.Index)
		}
	}
	return nil
}
