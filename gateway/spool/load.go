package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"postern/gateway/node"
)

// put stores plain under key, compressed where that saves space and sealed
// where a key is configured.
func (s *Store) put(b *pebble.Batch, key []byte, id msgID, plain []byte) error {
	return withPacked(plain, func(plain []byte, packed bool) error {
		if s.seal.master == nil {
			op := b.SetDeferred(len(key), 1+len(plain))
			copy(op.Key, key)
			if op.Value[0] = storedClear; packed {
				op.Value[0] = storedPacked
			}
			copy(op.Value[1:], plain)
			return op.Finish()
		}
		v, err := s.seal.sealAs(make([]byte, 0, len(plain)+s.seal.overhead()), id, key, plain, packed)
		if err != nil {
			return err
		}
		return b.Set(key, v, nil)
	})
}

// metaBuffers holds room for envelope records.
var metaBuffers = sync.Pool{New: func() any { return new([]byte) }}

// putMeta stores everything of m but its body.
func (s *Store) putMeta(b *pebble.Batch, id msgID, m *Message) error {
	buf := metaBuffers.Get().(*[]byte)
	defer metaBuffers.Put(buf)
	*buf = appendMeta((*buf)[:0], m)
	err := s.put(b, idKey(keyMeta, id), id, *buf)
	if cap(*buf) > maxMetaBuffer {
		*buf = nil
	}
	return err
}

// maxMetaBuffer is what a buffer for envelope records may keep.
const maxMetaBuffer = 64 << 10

// mergeFrames appends frames of states under s r <id>. Each operand carries
// its length, so that operands can be sealed one by one.
func (s *Store) mergeFrames(b *pebble.Batch, id msgID, frames []byte) error {
	key := idKey(keyState, id)
	sealed, err := s.seal.seal(nil, id, key, frames)
	if err != nil {
		return err
	}
	return b.Merge(key, appendString(nil, sealed), nil)
}

// get reads and opens a value. The result is a copy.
func (s *Store) get(id msgID, key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	defer closer.Close()
	return s.seal.open(id, key, bytes.Clone(v))
}

// load reads a message with its present states.
func (s *Store) load(id msgID, body bool) (m *Message, states bool, err error) {
	meta, err := s.get(id, idKey(keyMeta, id))
	if err != nil {
		return nil, false, wrapID(id, err)
	}
	if m, err = decodeMeta(meta); err != nil {
		return nil, false, wrapID(id, err)
	}
	m.ID = id.String()
	if states, err = s.loadStates(id, m); err != nil {
		return nil, false, wrapID(id, err)
	}
	if !body {
		return m, states, nil
	}
	if m.Body, err = s.loadBody(id, m.BodySize); errors.Is(err, ErrNotFound) {
		if _, err := s.get(id, idKey(keyMeta, id)); errors.Is(err, ErrNotFound) { // done meanwhile
			return nil, false, wrapID(id, err)
		}
		err = fmt.Errorf("%w: the body is gone", ErrDamaged)
	}
	if err != nil {
		return nil, false, wrapID(id, err)
	}
	return m, states, nil
}

func wrapID(id msgID, err error) error { return fmt.Errorf("message %s: %w", id, err) }

func (s *Store) loadStates(id msgID, m *Message) (bool, error) {
	key := idKey(keyState, id)
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read states: %w", err)
	}
	defer closer.Close()
	r := &reader{b: v}
	for len(r.b) > 0 {
		sealed := r.take(r.uint("frame"), "frame")
		if r.err != nil {
			return true, r.err
		}
		frames, err := s.seal.open(id, key, sealed)
		if err != nil {
			return true, err
		}
		if err := applyFrames(m, frames); err != nil {
			return true, err
		}
	}
	return true, nil
}

// setIndex writes the index entry of e, dropIndex removes it.
func setIndex(b *pebble.Batch, e *entry) error {
	value := binary.AppendUvarint(nil, uint64(e.size))
	if e.due == heldIndex {
		return b.Set(idKey(keyHeld, e.id), value, nil)
	}
	return b.Set(dueKey(e.due, e.id), value, nil)
}

func dropIndex(b *pebble.Batch, e *entry) error {
	// An index key is never set twice without being removed between, and the
	// other keys of a message once only: so single deletes, which vanish
	// together with what they delete when both are still in memory.
	if e.due == heldIndex {
		return b.Delete(idKey(keyHeld, e.id), nil)
	}
	return b.SingleDelete(dueKey(e.due, e.id), nil)
}

// dropMessage removes a message whose body has the given size.
func dropMessage(b *pebble.Batch, e *entry, bodySize int64) error {
	if err := b.SingleDelete(idKey(keyMeta, e.id), nil); err != nil {
		return err
	}
	if err := dropBody(b, e.id, bodySize); err != nil {
		return err
	}
	if e.states {
		return b.Delete(idKey(keyState, e.id), nil)
	}
	return nil
}

func indexSize(value []byte) int64 {
	n, _ := binary.Uvarint(value)
	return int64(min(n, math.MaxInt64))
}

// recover counts what waits, from the two indexes alone.
func (s *Store) recover() error {
	if err := s.sweepPending(); err != nil {
		return err
	}
	for _, space := range []byte{keyDue, keyHeld} {
		lower, upper := bounds(space)
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return err
		}
		for ok := it.First(); ok; ok = it.Next() {
			s.messages.Add(1)
			s.bytes.Add(indexSize(it.Value()))
			if space == keyHeld {
				s.held.Add(1)
				continue
			}
			if due, _, err := parseDueKey(it.Key()); err == nil {
				s.scanAt = min(s.scanAt, due)
			}
		}
		if err := errors.Join(it.Error(), it.Close()); err != nil {
			return err
		}
	}
	return nil
}

// reportDamage tells of logs that node.Open could read in part only: what was
// accepted last before the damage may be lost.
func (s *Store) reportDamage(dir string) {
	if dir == "" {
		return
	}
	kept, err := filepath.Glob(filepath.Join(dir, node.DamagedFolder, "*.log"))
	if err != nil {
		return
	}
	for _, name := range kept {
		s.damaged.Add(1)
		s.opts.Log.Error("the store's log was damaged, its last messages may be lost; remove the copy when looked into", "copy", name)
	}
}

// lost reports something that can't be read back.
func (s *Store) lost(what string, err error) {
	s.damaged.Add(1)
	s.opts.Log.Error("a spooled record is lost", "what", what, "error", err)
}
