package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// VerifyOptions tune Verify. The zero value works.
type VerifyOptions struct {
	// Anchors are signed checkpoints kept outside the export, as those mailed
	// each day. They find what a forger with the signing key did, and a log
	// cut short together with its checkpoint.
	Anchors []string
	// MaxFaults ends the list of faults. Default 1000.
	MaxFaults int
}

// What a Fault is.
const (
	FaultChanged    = "changed"    // the record is there with another content
	FaultRemoved    = "removed"    // the record is not there and no retention record says so
	FaultInserted   = "inserted"   // a record stands there that the tree does not know
	FaultTruncated  = "truncated"  // the log ends before its checkpoint or an anchor says
	FaultCheckpoint = "checkpoint" // the head does not verify or contradicts an anchor
	FaultTile       = "tile"       // the export's hashes are damaged
)

// Fault is one finding. First and Last are places in the log, -1 where it
// concerns none.
type Fault struct {
	What   string `json:"what"`
	First  int64  `json:"first"`
	Last   int64  `json:"last"`
	Detail string `json:"detail"`
}

func (f Fault) String() string {
	switch {
	case f.First < 0:
		return f.What + ": " + f.Detail
	case f.First == f.Last:
		return fmt.Sprintf("record %d %s: %s", f.First, f.What, f.Detail)
	}
	return fmt.Sprintf("records %d to %d %s: %s", f.First, f.Last, f.What, f.Detail)
}

// Report is what Verify found.
type Report struct {
	Origin  string  `json:"origin"`
	Size    int64   `json:"size"`
	Root    string  `json:"root"`
	Pruned  int64   `json:"pruned"`  // records whose content ended with their retention
	Anchors int     `json:"anchors"` // earlier checkpoints that agree
	Faults  []Fault `json:"faults"`
	More    bool    `json:"more,omitempty"` // there are more faults than are listed
}

// OK tells whether nothing is wrong.
func (r Report) OK() bool { return len(r.Faults) == 0 }

// Verify checks an export offline with the log's public key and names every
// record that was changed, removed, inserted or cut off. An error means that
// it could not be checked at all; what is wrong with the log stands in the
// report.
func Verify(ctx context.Context, dir, publicKey string, opts VerifyOptions) (Report, error) {
	if opts.MaxFaults <= 0 {
		opts.MaxFaults = 1000
	}
	v := &verifier{ctx: ctx, dir: dir, opts: opts, public: publicKey}
	if err := v.run(); err != nil {
		return v.report, fmt.Errorf("verify ledger: %w", err)
	}
	return v.report, nil
}

type verifier struct {
	ctx    context.Context
	dir    string
	opts   VerifyOptions
	public string
	report Report
	head   Checkpoint
	leaves []tlog.Hash // as the signed tree has them
	unsure []bool      // by tile: its leaf hashes are not proven
	found  map[tlog.Hash]int64
	absent []int64 // records without content
	told   map[int64]bool
}

func (v *verifier) fault(what string, first, last int64, format string, args ...any) {
	if len(v.report.Faults) >= v.opts.MaxFaults {
		v.report.More = true
		return
	}
	fs := v.report.Faults
	if n := len(fs); n > 0 && first >= 0 && fs[n-1].What == what && fs[n-1].Last+1 == first && len(args) == 0 && fs[n-1].Detail == format {
		fs[n-1].Last = last // one after the other: one finding
		return
	}
	v.report.Faults = append(fs, Fault{what, first, last, fmt.Sprintf(format, args...)})
}

func (v *verifier) run() error {
	if err := v.readHeads(); err != nil {
		return err
	}
	v.told = map[int64]bool{}
	if err := v.readLeaves(); err != nil {
		return err
	}
	if err := v.align(); err != nil {
		return err
	}
	for _, i := range v.absent {
		if v.told[i] {
			v.report.Pruned++
		} else {
			v.fault(FaultRemoved, i, i, "its content is gone and no retention record says so")
		}
	}
	slices.SortStableFunc(v.report.Faults, func(a, b Fault) int { return int(a.First - b.First) })
	return nil
}

// readHeads takes the checkpoint, or where that does not verify the largest
// anchor that does, so that the rest can be checked all the same.
func (v *verifier) readHeads() error {
	signed, err := os.ReadFile(filepath.Join(v.dir, "checkpoint"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	anchors, err := v.readAnchors()
	if err != nil {
		return err
	}
	v.head, err = OpenCheckpoint(string(signed), v.public)
	if err != nil {
		v.fault(FaultCheckpoint, -1, -1, "%v", err)
		if len(anchors) == 0 {
			return errors.New("neither the checkpoint nor an anchor verifies with this key")
		}
		v.head = anchors[len(anchors)-1]
	}
	for _, a := range anchors {
		if a.Size > v.head.Size {
			v.fault(FaultTruncated, v.head.Size, a.Size-1, "an anchor of %d records exists", a.Size)
		}
	}
	v.report.Origin, v.report.Size, v.report.Root = v.head.Origin, v.head.Size, v.head.Root.String()
	return nil
}

// readAnchors gives those of the export and of the options, by size.
func (v *verifier) readAnchors() (out []Checkpoint, err error) {
	files, err := os.ReadDir(filepath.Join(v.dir, "anchors"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	texts := slices.Clone(v.opts.Anchors)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(v.dir, "anchors", f.Name()))
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(b))
	}
	for _, text := range texts {
		c, err := OpenCheckpoint(text, v.public)
		if err != nil {
			v.fault(FaultCheckpoint, -1, -1, "an anchor: %v", err)
			continue
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Checkpoint) int { return int(a.Size - b.Size) })
	return out, nil
}
