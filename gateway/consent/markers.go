package consent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/node"
)

// Each node's marker in Redis tells how far its journal is applied there. It
// only rises; one that is lower than it was seen to be gives away a Redis that
// fell back, as after a fail-over or a restored backup. What was seen of other
// nodes outlasts a restart, or a node that is started first after a restore
// would not miss what the others took since the backup.

// lostPrefix and a node's id name the field of keyNodes that holds the marker
// up to which an operator has accepted the loss of that node's opt-outs.
const lostPrefix = "lost:"

func markerKey(id string) []byte {
	return append([]byte{node.SpaceJournal, 'm'}, id...)
}

// loadMarkers reads what was known of other nodes before the restart.
func (j *journal) loadMarkers() error {
	it, err := j.db.NewIter(&pebble.IterOptions{LowerBound: markerKey(""), UpperBound: []byte{node.SpaceJournal, 'm' + 1}})
	if err != nil {
		return fmt.Errorf("read markers of other nodes: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if len(it.Value()) != 8 {
			return errors.Join(fmt.Errorf("%w: marker of another node", ErrDamaged), it.Close())
		}
		id := string(it.Key()[2:])
		j.markers[id] = binary.BigEndian.Uint64(it.Value())
		j.kept[id] = j.markers[id]
	}
	return errors.Join(it.Error(), it.Close())
}

// keepMarkers makes durable what was seen of other nodes.
func (j *journal) keepMarkers() error {
	risen := map[string]uint64{}
	j.mu.Lock()
	for id, at := range j.markers {
		if id != j.node && at > j.kept[id] {
			risen[id] = at
		}
	}
	j.mu.Unlock()
	if len(risen) == 0 {
		return nil
	}
	b := j.db.NewBatch()
	defer b.Close()
	for id, at := range risen {
		if err := b.Set(markerKey(id), binary.BigEndian.AppendUint64(nil, at), nil); err != nil {
			return fmt.Errorf("keep markers of other nodes: %w", err)
		}
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("keep markers of other nodes: %w", err)
	}
	j.mu.Lock()
	maps.Copy(j.kept, risen)
	j.mu.Unlock()
	return nil
}

// parseMarkers are the nodes' journals as Redis knows them: node id to seq.
func parseMarkers(fields map[string]string, err error) (map[string]uint64, error) {
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(fields))
	for id, text := range fields {
		if out[id], err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, fmt.Errorf("%w: journal marker", ErrDamaged)
		}
	}
	return out, nil
}

// expected gives the markers that Redis has to show from now on at least. It
// is asked before Redis is, since markers only rise.
func (j *journal) expected() (markers map[string]uint64, verified bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.markers), j.verified
}

// saw remembers the markers that Redis showed and tells whether it holds all
// that was expected.
func (j *journal) saw(markers, expected map[string]uint64) bool {
	for id, had := range expected {
		if markers[id] < had && !j.accepted(markers, id, had) {
			return false
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, at := range markers {
		if at > j.markers[id] && id != j.node && !strings.HasPrefix(id, lostPrefix) {
			j.markers[id] = at
		}
	}
	return true
}

// accepted tells whether an operator took the loss of what another node wrote
// up to a marker. This node's own journal is here, and is brought back.
func (j *journal) accepted(markers map[string]uint64, id string, had uint64) bool {
	return id != j.node && markers[lostPrefix+id] >= had
}

// readMarkers asks Redis for the markers: this node's, whether that is behind
// the journal, and of which other nodes it forgot something.
func (r *Registry) readMarkers(ctx context.Context) (own uint64, behind bool, forgotten []string, err error) {
	expected, verified := r.journal.expected()
	markers, err := parseMarkers(r.rdb.HGetAll(ctx, keyNodes).Result())
	if err != nil {
		return 0, false, nil, err
	}
	own = markers[r.journal.node]
	behind = !verified || own < expected[r.journal.node]
	if !r.journal.saw(markers, expected) {
		for id, had := range expected {
			if id != r.journal.node && markers[id] < had && !r.journal.accepted(markers, id, had) {
				forgotten = append(forgotten, id)
			}
		}
		slices.Sort(forgotten)
	}
	return own, behind, forgotten, nil
}

// Forgotten gives the ids of other nodes whose opt-outs Redis forgot. Errors
// wrap ErrStoreUnavailable.
func (r *Registry) Forgotten(ctx context.Context) ([]string, error) {
	return bounded(ctx, r, r.opts.Timeout, func(ctx context.Context) ([]string, error) {
		_, _, forgotten, err := r.readMarkers(ctx)
		return forgotten, err
	})
}

// AcceptLoss lets all nodes believe the store again although it forgot what
// another node wrote that is gone for good with its disk, or for as long as
// that takes to come back. An operator's decision: the opt-outs that node took
// since the last backup of Redis are lost, unless it is started again. Errors
// wrap ErrRefused for this node, whose opt-outs are all here, and
// ErrStoreUnavailable.
func (r *Registry) AcceptLoss(ctx context.Context, nodeID string) error {
	if nodeID == r.journal.node {
		return fmt.Errorf("%w: what this node wrote is not lost", ErrRefused)
	}
	_, err := bounded(ctx, r, r.opts.WriteTimeout, func(ctx context.Context) (struct{}, error) {
		expected, _ := r.journal.expected()
		markers, err := parseMarkers(r.rdb.HGetAll(ctx, keyNodes).Result())
		if err != nil || markers[nodeID] >= expected[nodeID] {
			return struct{}{}, err
		}
		return struct{}{}, r.rdb.HSet(ctx, keyNodes, lostPrefix+nodeID, expected[nodeID]).Err()
	})
	return err
}
