package spool

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// bodyChunk is the size in octets above which a body is stored in pieces of
// that size, so that no write, flush or read has to hold it twice. It is part
// of the storage format: never changed.
const bodyChunk = 256 << 10

// keyPending marks a body whose pieces are being written: s p <id>. A start
// that finds one removes the pieces, for their message was never accepted.
const keyPending byte = 'p'

func chunked(size int64) bool { return size > bodyChunk }

func chunkKey(id msgID, n int) []byte {
	return binary.BigEndian.AppendUint32(idKey(keyBody, id), uint32(n))
}

// putChunks writes a large body ahead of its message. The pieces become
// durable with the commit of the message, which follows them in the log.
func (s *Store) putChunks(id msgID, body []byte) error {
	if err := s.db.Set(idKey(keyPending, id), nil, pebble.NoSync); err != nil {
		return err
	}
	for n := 0; n*bodyChunk < len(body); n++ {
		b := s.db.NewBatch()
		err := s.put(b, chunkKey(id, n), id, body[n*bodyChunk:min(len(body), (n+1)*bodyChunk)])
		if err == nil {
			err = b.Commit(pebble.NoSync)
		}
		if err = errors.Join(err, b.Close()); err != nil {
			return errors.Join(err, s.sweep(id))
		}
	}
	return nil
}

// sweep removes the pieces of a body that belong to no message.
func (s *Store) sweep(id msgID) error {
	b := s.db.NewBatch()
	defer b.Close()
	return errors.Join(dropBodyRange(b, id), b.Delete(idKey(keyPending, id), nil), b.Commit(pebble.NoSync))
}

// dropBodyRange removes a body whose size is not known.
func dropBodyRange(b *pebble.Batch, id msgID) error {
	end := append(idKey(keyBody, id), 0xff, 0xff, 0xff, 0xff, 0xff)
	return b.DeleteRange(idKey(keyBody, id), end, nil)
}

// loadBody reads a body of the given size.
func (s *Store) loadBody(id msgID, size int64) ([]byte, error) {
	if !chunked(size) {
		body, err := s.get(id, idKey(keyBody, id))
		if err == nil && int64(len(body)) != size {
			err = fmt.Errorf("%w: body of %d octets, %d were accepted", ErrDamaged, len(body), size)
		}
		return body, err
	}
	var body []byte
	for n := 0; int64(len(body)) < size; n++ {
		piece, err := s.get(id, chunkKey(id, n))
		if err != nil {
			return nil, err
		}
		want := min(size-int64(len(body)), bodyChunk)
		if int64(len(piece)) != want {
			return nil, fmt.Errorf("%w: piece %d of the body has %d octets", ErrDamaged, n, len(piece))
		}
		if body == nil { // only once the first piece shows that the size may be true
			body = make([]byte, 0, size)
		}
		body = append(body, piece...)
	}
	return body, nil
}

// dropBody removes a body of the given size.
func dropBody(b *pebble.Batch, id msgID, size int64) error {
	if !chunked(size) {
		return b.SingleDelete(idKey(keyBody, id), nil)
	}
	for n := 0; int64(n)*bodyChunk < size; n++ {
		if err := b.SingleDelete(chunkKey(id, n), nil); err != nil {
			return err
		}
	}
	return nil
}

// sweepPending removes what a crash left of bodies that were being written.
func (s *Store) sweepPending() error {
	lower, upper := bounds(keyPending)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var id msgID
		if id, err = parseIDKey(it.Key()); err == nil {
			err = s.sweep(id)
		}
	}
	return errors.Join(err, it.Error(), it.Close())
}
