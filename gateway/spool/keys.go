package spool

import (
	"encoding/binary"
	"fmt"

	"github.com/oklog/ulid/v2"

	"postern/gateway/node"
)

// Keys of the spool in the node's store; all start with node.SpaceSpool.
//
//	s m <id>        envelope, header, first states of the recipients; written once
//	s b <id>        body; written once
//	s b <id> <n>    pieces of a body over 256 KiB, n in 4 octets, big-endian
//	s p <id>        such a body is being written; its message is not accepted yet
//	s r <id>        frames of changed recipient states, appended by merging
//	s d <due> <id>  index of messages with queued recipients; value: size
//	s h <id>        index of messages with held recipients only; value: size
//	s u <hash>      a mail to be sent once only was accepted; value: time, id
//
// <id> are the 16 octets of the ULID, <due> is 8 octets of Unix nanoseconds,
// big-endian. A message has exactly one entry in d and h together, so that a
// start has to read those alone.
const (
	keyMeta  byte = 'm'
	keyBody  byte = 'b'
	keyState byte = 'r'
	keyDue   byte = 'd'
	keyHeld  byte = 'h'
	keyOnce  byte = 'u'
)

type msgID = ulid.ULID

func idKey(space byte, id msgID) []byte {
	k := make([]byte, 0, 18)
	k = append(k, node.SpaceSpool, space)
	return append(k, id[:]...)
}

func dueKey(due int64, id msgID) []byte {
	k := make([]byte, 0, 26)
	k = append(k, node.SpaceSpool, keyDue)
	k = binary.BigEndian.AppendUint64(k, uint64(max(due, 0)))
	return append(k, id[:]...)
}

// bounds are the limits of one index or table for an iterator.
func bounds(space byte) (lower, upper []byte) {
	return []byte{node.SpaceSpool, space}, []byte{node.SpaceSpool, space + 1}
}

func parseDueKey(k []byte) (due int64, id msgID, err error) {
	if len(k) != 26 {
		return 0, id, fmt.Errorf("%w: due index key of %d octets", ErrDamaged, len(k))
	}
	copy(id[:], k[10:])
	return int64(binary.BigEndian.Uint64(k[2:])), id, nil
}

func parseIDKey(k []byte) (id msgID, err error) {
	if len(k) != 18 {
		return id, fmt.Errorf("%w: key of %d octets", ErrDamaged, len(k))
	}
	copy(id[:], k[2:])
	return id, nil
}
