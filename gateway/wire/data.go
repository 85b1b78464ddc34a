package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Errors of ReadMessage after which the connection goes on: the message was
// read to its end and thrown away.
var (
	// ErrTooBig says that the message exceeds the limit given.
	ErrTooBig = errors.New("message too big")
	// ErrNoMemory says that the budget was used up.
	ErrNoMemory = errors.New("no memory for the message")
)

// firstBuffer is what a message of unknown size gets first.
const firstBuffer = 16 << 10

// minRead is the room a read should have.
const minRead = 2 << 10

// maxDiscard is how much of an unwanted message is read before giving up.
const maxDiscard = 16 << 20

// Message is one message as it was received: dot-unstuffed, each line with its
// CRLF, no bare CR, LF or NUL anywhere.
type Message struct {
	Raw     []byte // valid until Release
	Longest int    // octets of the longest line without CRLF (RFC 5322 section 2.1.1)

	budget *Budget
	taken  int64
}

// Release gives the memory back. Raw must not be used any more.
func (m *Message) Release() {
	if m == nil || m.Raw == nil {
		return
	}
	putBuffer(m.Raw)
	m.budget.release(m.taken)
	m.Raw, m.taken = nil, 0
}

// Reserve takes memory for a message of the size declared (0: unknown), so
// that a message once begun need not be thrown away. Where there is none it
// waits so long, or until ctx ends, and then gives ErrNoMemory.
func (c *Conn) Reserve(ctx context.Context, wait time.Duration, declared int64) (*Message, error) {
	m := &Message{budget: c.opts.Budget, taken: bufferSize(max(declared+declared/16+minRead, firstBuffer))}
	if b := m.budget; b != nil && m.taken > b.total {
		m.taken = b.total
	}
	if err := m.budget.acquire(ctx, wait, m.taken); err != nil {
		return nil, ErrNoMemory
	}
	return m, nil
}

// SkipMessage lets go-smtp see the end of data though none was read, where
// the DATA command itself is refused.
func (c *Conn) SkipMessage() { c.feed = append(c.feed[:0:0], ".\r\n"...) }

// ReadMessage reads message data up to and including CRLF.CRLF into m, which
// Reserve gave, and lets go-smtp see the end of data. On ErrTooBig and
// ErrNoMemory the session goes on; any other error has ended it, and what was
// read is no message.
func (c *Conn) ReadMessage(m *Message, limit int64) error {
	if c.ended {
		m.Release()
		return io.ErrClosedPipe
	}
	r := dataReader{c: c, m: m, limit: limit, end: c.opts.Now().Add(c.opts.Data)}
	err := r.read()
	if err == nil {
		err = r.unwanted
	} else {
		c.fault(err)
	}
	if !c.ended {
		c.feed = append(c.feed[:0:0], ".\r\n"...)
	}
	if err != nil {
		m.Release()
	}
	return err
}

// dataReader fills m.Raw: [0,w) is clean message, [r,len) is not looked at yet.
type dataReader struct {
	c        *Conn
	m        *Message
	limit    int64
	end      time.Time
	r, w     int
	nul      int   // octets already searched for NUL
	searched int   // octets behind r already searched for LF
	unwanted error // why the rest is thrown away
	thrown   int64
}

func (r *dataReader) read() error {
	c, m := r.c, r.m
	m.Raw = append(getBuffer(max(firstBuffer, c.Buffered())), c.in[c.start:]...)
	c.in, c.start = c.in[:0], 0
	for {
		done, err := r.lines()
		if err != nil {
			return err
		}
		if done {
			c.in = append(c.in, m.Raw[r.r:]...)
			m.Raw = m.Raw[:r.w]
			return nil
		}
		if err := r.room(); err != nil {
			return err
		}
		if err := r.fill(); err != nil {
			return err
		}
	}
}

// lines takes all whole lines; done says that the last was the end of data.
func (r *dataReader) lines() (done bool, err error) {
	m, b := r.m, r.m.Raw
	if bytes.IndexByte(b[r.nul:], 0) >= 0 {
		return false, r.endBare()
	}
	for {
		i := indexLF(b[r.r+r.searched:])
		if i < 0 {
			r.searched = len(b) - r.r
			r.nul = len(b)
			return false, nil
		}
		line := b[r.r : r.r+r.searched+i+1]
		n := len(line) - 2
		if n < 0 || line[n] != '\r' || bytes.IndexByte(line[:n], '\r') >= 0 {
			return false, r.endBare()
		}
		whole := len(line)
		r.r += whole
		r.searched = 0
		if line[0] == '.' {
			if n == 1 {
				return true, nil
			}
			line = line[1:]
			n--
		}
		if n > m.Longest {
			m.Longest = n
		}
		r.keep(line, whole)
	}
}

// keep moves a line, which came as whole octets, to the clean part; most often
// it stands there already.
func (r *dataReader) keep(line []byte, whole int) {
	if r.unwanted != nil {
		r.thrown += int64(whole)
		return
	}
	if int64(r.w+len(line)) > r.limit {
		r.throw(ErrTooBig)
		return
	}
	if r.w != r.r-len(line) {
		copy(r.m.Raw[r.w:], line)
	}
	r.w += len(line)
}

func (r *dataReader) throw(why error) { r.unwanted, r.thrown, r.w = why, int64(r.w), 0 }

func (r *dataReader) endBare() error { return fmt.Errorf("%w in message data", ErrBareLineEnd) }

// room makes place for the next read: in the buffer, or by a larger one.
func (r *dataReader) room() error {
	m := r.m
	if r.unwanted == nil && int64(r.w+len(m.Raw)-r.r) > r.limit+2 {
		r.throw(ErrTooBig)
	}
	if r.unwanted != nil {
		return r.roomUnwanted()
	}
	if cap(m.Raw)-len(m.Raw) >= minRead {
		return nil
	}
	if r.r-r.w >= cap(m.Raw)/4 { // stuffed dots left a gap
		r.shift()
		return nil
	}
	size := 2 * cap(m.Raw)
	if t := int(m.taken); cap(m.Raw) < t && (size > t || size > 256<<10) {
		size = t
	}
	if more := int64(size) - m.taken; more > 0 {
		if !m.budget.try(more) {
			r.throw(ErrNoMemory)
			return r.roomUnwanted()
		}
		m.taken += more
	}
	bigger := append(getBuffer(size), m.Raw...)
	putBuffer(m.Raw)
	m.Raw = bigger
	return nil
}

// roomUnwanted keeps of an unwanted message only the line being read, and of
// an endless line only its last octet.
func (r *dataReader) roomUnwanted() error {
	if r.thrown > maxDiscard {
		r.c.linger = true
		return r.unwanted
	}
	r.shift()
	if b := r.m.Raw; len(b) > cap(b)/2 {
		r.thrown += int64(len(b))
		if bytes.IndexByte(b[:len(b)-1], '\r') >= 0 {
			return r.endBare()
		}
		// The first octet stays, so that a cut line is never taken for a dot.
		b[1] = b[len(b)-1]
		r.m.Raw, r.searched, r.nul = b[:2], 1, 2
		if b[0] == '.' {
			b[0] = ' '
		}
	}
	return nil
}

// shift moves what is not looked at yet behind the clean part.
func (r *dataReader) shift() {
	b := r.m.Raw
	n := copy(b[r.w:], b[r.r:])
	r.m.Raw = b[:r.w+n]
	r.nul = len(r.m.Raw)
	r.r = r.w
}

func (r *dataReader) fill() error {
	c, m := r.c, r.m
	if err := c.Flush(); err != nil {
		return err
	}
	if !c.opts.Now().Before(r.end) {
		return ErrTimeout
	}
	c.extend(c.opts.Block, r.end)
	n, err := c.conn.Read(m.Raw[len(m.Raw):cap(m.Raw)])
	m.Raw = m.Raw[:len(m.Raw)+n]
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return c.readError(err)
}
