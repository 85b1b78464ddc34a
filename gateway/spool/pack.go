package spool

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
)

// Values from minPacked octets on are compressed where that saves an eighth:
// mail is text, and what is not written need not be synced. maxPacked bounds
// what a damaged value can claim to hold.
const (
	minPacked = 1 << 10
	maxPacked = 64 << 20
)

// packBuffers holds room for compressed values.
var packBuffers = sync.Pool{New: func() any { return new([]byte) }}

// withPacked calls f with the shorter form of plain. The slice is f's until it
// returns.
func withPacked(plain []byte, f func(b []byte, packed bool) error) error {
	if len(plain) < minPacked || len(plain) > maxPacked {
		return f(plain, false)
	}
	buf := packBuffers.Get().(*[]byte)
	defer packBuffers.Put(buf)
	if n := s2.MaxEncodedLen(len(plain)); cap(*buf) < n {
		*buf = make([]byte, n)
	}
	b := s2.Encode((*buf)[:cap(*buf)], plain)
	if len(b) > len(plain)-len(plain)/8 {
		return f(plain, false)
	}
	return f(b, true)
}

// unpack is the reverse.
func unpack(b []byte) ([]byte, error) {
	if n, err := s2.DecodedLen(b); err != nil || n > maxPacked {
		return nil, fmt.Errorf("%w: it does not decompress", ErrDamaged)
	}
	plain, err := s2.Decode(nil, b)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not decompress", ErrDamaged)
	}
	return plain, nil
}
