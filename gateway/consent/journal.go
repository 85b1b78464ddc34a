package consent

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/node"
)

// change is what is added to one subject: entries of its logs.
type change struct {
	seq        uint64 // place in the journal, 0 for what is not journalled
	subject    address.SubjectID
	controller string
	parts      []part
	stuck      bool // bringing it to Redis failed
}

type part struct {
	field string
	entry string // unframed
}

// fieldTerms marks the part of a change that is no entry but the text of
// shared evidence, kept under its own hash.
const fieldTerms = "T"

// journal is the node's own durable record of every opt-out, release and undo
// (design D11). What Redis has not confirmed yet binds this node from memory.
//
//	j e <8 octets seq>  subject 16 · short controller · parts (text field, text entry)
//	j n                 id of this journal, the field of pc:nodes
//	j m <node>          8 octets: the highest marker that Redis was seen to hold
//	                    of another node
type journal struct {
	db    *pebble.DB
	trail Trail
	node  string

	mu       sync.Mutex
	last     uint64 // newest seq given out
	waiting  map[uint64]*change
	bySubj   map[address.SubjectID][]*change
	markers  map[string]uint64 // per node, the highest marker that Redis was seen to hold
	kept     map[string]uint64 // those of other nodes that a restart will know
	verified bool              // Redis was compared with the journal since the start
	marking  sync.Mutex
}

var (
	journalNode = []byte{node.SpaceJournal, 'n'}
	journalLow  = journalKey(0)
	journalHigh = []byte{node.SpaceJournal, 'e' + 1}
)

func journalKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{node.SpaceJournal, 'e'}, seq)
}

func openJournal(db *pebble.DB, trail Trail) (*journal, error) {
	j := &journal{db: db, trail: trail, waiting: map[uint64]*change{}, bySubj: map[address.SubjectID][]*change{}, markers: map[string]uint64{}, kept: map[string]uint64{}}
	id, closer, err := db.Get(journalNode)
	switch {
	case err == nil:
		j.node = string(id)
		if err := closer.Close(); err != nil {
			return nil, fmt.Errorf("read journal id: %w", err)
		}
	case err == pebble.ErrNotFound:
		j.node = ulid.Make().String()
		if err := db.Set(journalNode, []byte(j.node), pebble.Sync); err != nil {
			return nil, fmt.Errorf("name journal: %w", err)
		}
	default:
		return nil, fmt.Errorf("read journal id: %w", err)
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: journalLow, UpperBound: journalHigh})
	if err != nil {
		return nil, fmt.Errorf("scan journal: %w", err)
	}
	if it.Last() {
		j.last = binary.BigEndian.Uint64(it.Key()[2:])
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("scan journal: %w", err)
	}
	return j, j.loadMarkers()
}

// write makes changes durable together with their records. From its return on
// they bind this node's look-ups until applied is called for each.
func (j *journal) write(changes []*change, recs []ledger.Record) error {
	b := j.db.NewBatch()
	defer b.Close()
	j.mu.Lock()
	for _, c := range changes {
		j.last++
		c.seq = j.last
		j.waiting[c.seq] = c
		j.bySubj[c.subject] = append(j.bySubj[c.subject], c)
	}
	j.mu.Unlock()
	err := j.stage(b, changes, recs)
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	if err != nil {
		j.applied(changes...)
		return fmt.Errorf("write consent journal: %w", err)
	}
	if j.trail != nil {
		j.trail.Notify()
	}
	return nil
}

func (j *journal) stage(b *pebble.Batch, changes []*change, recs []ledger.Record) error {
	for _, c := range changes {
		if err := b.Set(journalKey(c.seq), c.encode(), nil); err != nil {
			return err
		}
	}
	if j.trail == nil || len(recs) == 0 {
		return nil
	}
	if err := j.trail.Stage(b, recs...); err != nil {
		return fmt.Errorf("stage ledger record: %w", err)
	}
	return nil
}

// record commits ledger records that belong to no journalled change.
func (j *journal) record(recs []ledger.Record) error {
	if j.trail == nil || len(recs) == 0 {
		return nil
	}
	b := j.db.NewBatch()
	defer b.Close()
	if err := j.trail.Stage(b, recs...); err != nil {
		return fmt.Errorf("stage ledger record: %w", err)
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("commit ledger record: %w", err)
	}
	j.trail.Notify()
	return nil
}

// applied tells that Redis holds the changes.
func (j *journal) applied(changes ...*change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range changes {
		if j.waiting[c.seq] == nil {
			continue
		}
		delete(j.waiting, c.seq)
		rest := j.bySubj[c.subject][:0:0]
		for _, x := range j.bySubj[c.subject] {
			if x.seq != c.seq {
				rest = append(rest, x)
			}
		}
		if len(rest) == 0 {
			delete(j.bySubj, c.subject)
		} else {
			j.bySubj[c.subject] = rest
		}
	}
}

// waitingFor gives what Redis has not confirmed about a subject.
func (j *journal) waitingFor(s address.SubjectID) []*change {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.bySubj[s]
}

// setStuck notes that bringing changes to Redis failed.
func (j *journal) setStuck(changes []*change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, c := range changes {
		c.stuck = true
	}
}

// stuckAll gives the changes that Redis missed; those on their way are not
// among them.
func (j *journal) stuckAll() []*change {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []*change
	for _, c := range j.waiting {
		if c.stuck {
			out = append(out, c)
		}
	}
	return out
}

// reached is the newest seq up to which Redis has confirmed everything.
func (j *journal) reached() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	low := j.last + 1
	for seq := range j.waiting {
		low = min(low, seq)
	}
	return low - 1
}

func (j *journal) isVerified() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.verified
}

// skipTo gives out no number again that Redis knows already: the data folder
// may have been put back from a backup.
func (j *journal) skipTo(seq uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = max(j.last, seq)
}

// proven is the highest marker of a node that Redis was seen to hold.
func (j *journal) proven(node string) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.markers[node]
}

// each reads the changes after seq, oldest first.
func (j *journal) each(after uint64, yield func(*change) error) error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: journalKey(after + 1), UpperBound: journalHigh})
	if err != nil {
		return fmt.Errorf("scan consent journal: %w", err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		c, err := decodeChange(string(it.Value()))
		if err != nil {
			return fmt.Errorf("journal entry %d: %w", binary.BigEndian.Uint64(it.Key()[2:]), err)
		}
		c.seq = binary.BigEndian.Uint64(it.Key()[2:])
		if err := yield(c); err != nil {
			return err
		}
	}
	return it.Error()
}

func (c *change) encode() []byte {
	b := append([]byte(nil), c.subject[:]...)
	b = putShort(b, c.controller)
	for _, p := range c.parts {
		b = putText(putText(b, p.field), p.entry)
	}
	return b
}

func decodeChange(s string) (*change, error) {
	r := reader{s: s}
	c := &change{}
	copy(c.subject[:], r.take(16))
	c.controller = r.short()
	for !r.bad && r.s != "" {
		p := part{field: r.text(), entry: r.text()}
		if len(p.entry) < 8 {
			r.bad = true
		}
		c.parts = append(c.parts, p)
	}
	if r.bad || len(c.parts) == 0 {
		return nil, fmt.Errorf("%w: journal entry", ErrDamaged)
	}
	return c, nil
}
