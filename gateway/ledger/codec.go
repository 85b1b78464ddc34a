package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"postern/gateway/address"
)

// wire is the stored form of a Record. Numbers are never used again.
type wire struct {
	ID         string            `cbor:"1,keyasint,omitempty"`
	Time       int64             `cbor:"2,keyasint"` // Unix nanoseconds
	Kind       Kind              `cbor:"3,keyasint"`
	Controller string            `cbor:"4,keyasint,omitempty"`
	Subject    []byte            `cbor:"5,keyasint,omitempty"`
	Actor      string            `cbor:"6,keyasint,omitempty"`
	Action     string            `cbor:"7,keyasint,omitempty"`
	Reason     string            `cbor:"8,keyasint,omitempty"`
	Stream     uint16            `cbor:"9,keyasint,omitempty"`
	Ref        string            `cbor:"10,keyasint,omitempty"`
	Message    string            `cbor:"11,keyasint,omitempty"`
	Data       map[string]string `cbor:"12,keyasint,omitempty"`
}

// encoding is deterministic, so that a record has one form (RFC 8949 4.2.1).
var encoding = mustEncMode()

func mustEncMode() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}

// maxRecord is the largest record in octets: an entry of an export has a
// length of 16 bits.
const maxRecord = 60 << 10

// ErrRecord says that a record can't be kept as it is.
var ErrRecord = errors.New("ledger record refused")

// errDamaged says that a stored value can't be read.
var errDamaged = errors.New("ledger value is damaged")

func encodeRecord(r *Record) ([]byte, error) {
	w := wire{
		ID: r.ID, Time: r.Time.UnixNano(), Kind: r.Kind, Controller: r.Controller, Actor: r.Actor, Action: r.Action,
		Reason: r.Reason, Stream: r.Stream, Ref: r.Ref, Message: r.Message, Data: r.Data,
	}
	if !r.Subject.IsZero() {
		w.Subject = r.Subject[:]
	}
	b, err := encoding.Marshal(&w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if len(b) > maxRecord {
		return nil, fmt.Errorf("%w: %d octets, at most %d", ErrRecord, len(b), maxRecord)
	}
	return b, nil
}

func decodeRecord(b []byte) (Record, error) {
	var w wire
	if err := cbor.Unmarshal(b, &w); err != nil {
		return Record{}, fmt.Errorf("%w: record", errDamaged)
	}
	r := Record{
		ID: w.ID, Time: time.Unix(0, w.Time).UTC(), Kind: w.Kind, Controller: w.Controller, Actor: w.Actor, Action: w.Action,
		Reason: w.Reason, Stream: w.Stream, Ref: w.Ref, Message: w.Message, Data: w.Data,
	}
	copy(r.Subject[:], w.Subject)
	return r, nil
}

// staged is what the sequencer needs of a record: a part of wire.
type staged struct {
	ID      string `cbor:"1,keyasint,omitempty"`
	Time    int64  `cbor:"2,keyasint"`
	Kind    Kind   `cbor:"3,keyasint"`
	Subject []byte `cbor:"5,keyasint,omitempty"`
	Ref     string `cbor:"10,keyasint,omitempty"`
	Message string `cbor:"11,keyasint,omitempty"`
}

func (s *staged) subject() (id address.SubjectID) {
	copy(id[:], s.Subject)
	return id
}

func decodeStaged(b []byte) (s staged, err error) {
	if err := cbor.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%w: record", errDamaged)
	}
	return s, nil
}

// head is what the node keeps beside a leaf to find and judge it without
// opening it. It is no part of the tree and never exported.
type head struct {
	time    int64 // Unix nanoseconds
	kind    Kind
	subject address.SubjectID // zero: none, or erased
}

func encodeEntry(h head, leaf []byte) []byte {
	return appendEntry(make([]byte, 0, entrySize(h, leaf)), h, leaf)
}

func entrySize(h head, leaf []byte) int { return 8 + 1 + len(h.kind) + 16 + len(leaf) }

func appendEntry(b []byte, h head, leaf []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(h.time))
	b = append(b, byte(len(h.kind)))
	b = append(b, h.kind...)
	b = append(b, h.subject[:]...)
	return append(b, leaf...)
}

func decodeEntry(b []byte) (h head, leaf []byte, err error) {
	if len(b) < 9 || len(b) < 9+int(b[8])+16 {
		return h, nil, fmt.Errorf("%w: entry", errDamaged)
	}
	h.time = int64(binary.BigEndian.Uint64(b))
	n := int(b[8])
	h.kind = Kind(b[9 : 9+n])
	copy(h.subject[:], b[9+n:])
	return h, b[9+n+16:], nil
}
