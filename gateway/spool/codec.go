package spool

import (
	"encoding/binary"
	"fmt"
	"time"

	"postern/gateway/address"
)

// formatMeta is the first octet of an envelope record; frames of states carry
// none, they follow the format of their message.
const formatMeta = 1

const (
	flagUTF8 = 1 << iota
	flagEightBit
	flagRequireTLS
	flagShared
	flagMarketing
)

// states in storage; the position is the stored number, so only append.
var stateCodes = [...]State{Queued, Held, Delivered, Failed, Expired, Denied, Dropped}

func stateCode(s State) byte {
	for i, c := range stateCodes {
		if c == s {
			return byte(i)
		}
	}
	return 0
}

func appendString[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, 0)
	}
	return binary.AppendVarint(b, t.UnixNano())
}

// appendMeta encodes everything of m but id and body.
func appendMeta(b []byte, m *Message) []byte {
	b = append(b, formatMeta)
	b = appendTime(b, m.Received)
	b = appendTime(b, m.Expires)
	b = binary.AppendUvarint(b, uint64(m.Stream))
	var flags byte
	if m.UTF8 {
		flags |= flagUTF8
	}
	if m.EightBit {
		flags |= flagEightBit
	}
	if m.RequireTLS {
		flags |= flagRequireTLS
	}
	if m.Shared {
		flags |= flagShared
	}
	if m.Marketing {
		flags |= flagMarketing
	}
	b = append(b, flags)
	b = appendString(b, m.Client)
	b = appendString(b, m.ReversePath.Plain())
	b = appendString(b, m.Ret)
	b = appendString(b, m.EnvID)
	b = appendString(b, m.MessageID)
	b = binary.AppendUvarint(b, uint64(m.BodySize))
	b = appendString(b, m.Header)
	b = binary.AppendUvarint(b, uint64(len(m.Recipients)))
	for i := range m.Recipients {
		r := &m.Recipients[i]
		b = appendString(b, r.Address.Plain())
		if r.Subject.IsZero() {
			b = append(b, 0)
		} else {
			b = append(append(b, 1), r.Subject[:]...)
		}
		b = appendString(b, r.Notify)
		b = appendString(b, r.ORcpt)
		b = appendState(b, r)
	}
	return b
}

func appendState(b []byte, r *Recipient) []byte {
	code := stateCode(r.State)
	if r.Warned {
		code |= 0x80
	}
	b = append(b, code)
	b = binary.AppendUvarint(b, uint64(r.Attempts))
	b = appendTime(b, r.Next)
	b = binary.AppendUvarint(b, uint64(r.Code))
	b = appendString(b, r.Status)
	b = appendString(b, r.Reply)
	return appendString(b, r.Host)
}

// appendFrame encodes the state of recipient i as it is merged into s r <id>.
func appendFrame(b []byte, i int, r *Recipient) []byte {
	b = binary.AppendUvarint(b, uint64(i))
	return appendState(b, r)
}

// reader decodes; after the first fault all results are zero and err is set.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrDamaged, what)
	}
	r.b = nil
}

func (r *reader) uint(what string) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(what)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) time(what string) time.Time {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(what)
		return time.Time{}
	}
	r.b = r.b[n:]
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, v).UTC()
}

func (r *reader) octet(what string) byte {
	if len(r.b) == 0 {
		r.fail(what)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) take(n uint64, what string) []byte {
	if n > uint64(len(r.b)) {
		r.fail(what)
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) string(what string) string { return string(r.take(r.uint(what), what)) }

func (r *reader) address(what string) address.Address {
	s := r.string(what)
	if s == "" || r.err != nil {
		return address.Address{}
	}
	a, err := address.Parse(s)
	if err != nil {
		r.fail(what)
	}
	return a
}

// decodeMeta reads what appendMeta wrote. The result aliases b in Header.
func decodeMeta(b []byte) (*Message, error) {
	r := &reader{b: b}
	if f := r.octet("format"); r.err == nil && f != formatMeta {
		return nil, fmt.Errorf("%w: unknown format %d", ErrDamaged, f)
	}
	m := &Message{Received: r.time("received"), Expires: r.time("expires"), Stream: uint16(r.uint("stream"))}
	flags := r.octet("flags")
	m.UTF8, m.EightBit, m.RequireTLS = flags&flagUTF8 != 0, flags&flagEightBit != 0, flags&flagRequireTLS != 0
	m.Shared, m.Marketing = flags&flagShared != 0, flags&flagMarketing != 0
	m.Client = r.string("client")
	m.ReversePath = r.address("reverse-path")
	m.Ret, m.EnvID, m.MessageID = r.string("ret"), r.string("envid"), r.string("message-id")
	m.BodySize = int64(r.uint("body size"))
	n := r.uint("header")
	m.Header = r.take(n, "header")
	count := r.uint("recipients")
	if r.err != nil || count > uint64(len(r.b)) {
		r.fail("recipients")
		return nil, r.err
	}
	m.Recipients = make([]Recipient, count)
	for i := range m.Recipients {
		rc := &m.Recipients[i]
		rc.Address = r.address("forward-path")
		if r.octet("subject") != 0 {
			copy(rc.Subject[:], r.take(uint64(len(rc.Subject)), "subject"))
		}
		rc.Notify, rc.ORcpt = r.string("notify"), r.string("orcpt")
		r.state(rc)
	}
	if r.err == nil && len(r.b) != 0 {
		r.fail("octets behind the record")
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

func (r *reader) state(rc *Recipient) {
	code := r.octet("state")
	rc.Warned = code&0x80 != 0
	if code &= 0x7f; int(code) < len(stateCodes) {
		rc.State = stateCodes[code]
	} else {
		r.fail("state")
	}
	rc.Attempts = int(r.uint("attempts"))
	rc.Next = r.time("next")
	rc.Code = int(r.uint("code"))
	rc.Status, rc.Reply, rc.Host = r.string("status"), r.string("reply"), r.string("host")
}

// applyFrames lays merged state frames over m, oldest first.
func applyFrames(m *Message, b []byte) error {
	r := &reader{b: b}
	for len(r.b) > 0 && r.err == nil {
		i := r.uint("recipient index")
		if r.err == nil && i >= uint64(len(m.Recipients)) {
			r.fail("recipient index")
		}
		if r.err != nil {
			break
		}
		var next Recipient
		r.state(&next)
		if r.err != nil {
			break
		}
		rc := &m.Recipients[i]
		rc.State, rc.Attempts, rc.Next, rc.Warned = next.State, next.Attempts, next.Next, next.Warned
		rc.Code, rc.Status, rc.Reply, rc.Host = next.Code, next.Status, next.Reply, next.Host
	}
	return r.err
}
