package consent

import (
	"encoding/binary"
	"fmt"
)

// A log is a field's value: entries one after the other, each with its length
// before it (one octet below 128, else two) and its 8-octet id first. The
// append script of scripts.go walks the same shape. Entries are only added, so
// two logs merge by union.

// maxEntry is the longest entry a frame can hold. checkEvent and putShort keep
// all entries far below it.
const maxEntry = 1<<15 - 1

func appendFrame(log, entry []byte) []byte {
	if n := len(entry); n < 128 {
		log = append(log, byte(n))
	} else {
		log = append(log, 128|byte(n>>8), byte(n))
	}
	return append(log, entry...)
}

// eachFrame calls yield for every entry. A cut or impossible length wraps ErrDamaged.
func eachFrame(log string, yield func(entry string) error) error {
	for len(log) > 0 {
		n, skip := int(log[0]), 1
		if n >= 128 {
			if len(log) < 2 {
				return fmt.Errorf("%w: cut length", ErrDamaged)
			}
			n, skip = (n-128)<<8|int(log[1]), 2
		}
		if n < 8 || n > maxEntry || len(log) < skip+n {
			return fmt.Errorf("%w: cut entry", ErrDamaged)
		}
		if err := yield(log[skip : skip+n]); err != nil {
			return err
		}
		log = log[skip+n:]
	}
	return nil
}

// putMillis writes Unix milliseconds in 6 octets (until the year 10889).
func putMillis(b []byte, ms int64) []byte {
	var x [8]byte
	binary.BigEndian.PutUint64(x[:], uint64(ms))
	return append(b, x[2:]...)
}

// reader takes fixed and length-prefixed parts off an entry; after the first
// fault everything it gives is empty and bad is set.
type reader struct {
	s   string
	bad bool
}

func (r *reader) take(n int) string {
	if r.bad || len(r.s) < n {
		r.bad = true
		return ""
	}
	part := r.s[:n]
	r.s = r.s[n:]
	return part
}

func (r *reader) octet() byte {
	if p := r.take(1); p != "" {
		return p[0]
	}
	return 0
}

func (r *reader) number(n int) int64 {
	var v int64
	for _, c := range []byte(r.take(n)) {
		v = v<<8 | int64(c)
	}
	return v
}

func (r *reader) text() string  { return r.take(int(r.number(2))) }
func (r *reader) short() string { return r.take(int(r.octet())) }

func putText(b []byte, s string) []byte {
	b = append(b, byte(len(s)>>8), byte(len(s)))
	return append(b, s...)
}

// putShort writes at most 255 octets of s.
func putShort(b []byte, s string) []byte {
	if len(s) > 255 {
		s = s[:255]
	}
	return append(append(b, byte(len(s))), s...)
}
