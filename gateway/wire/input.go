package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// inputSize is the room for commands; it grows for AUTH and pipelining only.
const inputSize = 4 << 10

// readLine gives the next line without its CRLF, valid until the next call. It
// writes the waiting replies before it waits for the client.
func (c *Conn) readLine(limit int) ([]byte, error) {
	if c.stopping.Load() {
		return nil, ErrStopping
	}
	searched := 0
	for {
		rest := c.in[c.start:]
		if i := indexLF(rest[searched:]); i >= 0 {
			i += searched
			if i >= limit {
				return nil, ErrLineTooLong
			}
			c.start += i + 1
			return checkLine(rest[:i+1])
		}
		searched = len(rest)
		if searched >= limit {
			return nil, ErrLineTooLong
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// checkLine wants CRLF at the end and no other line end or NUL before it.
func checkLine(line []byte) ([]byte, error) {
	n := len(line) - 2
	if n < 0 || line[n] != '\r' {
		return nil, fmt.Errorf("%w in a command", ErrBareLineEnd)
	}
	line = line[:n]
	if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, fmt.Errorf("%w in a command", ErrBareLineEnd)
	}
	return line, nil
}

func indexLF(b []byte) int { return bytes.IndexByte(b, '\n') }

// fill reads more input, after writing what the client waits for.
func (c *Conn) fill() error {
	if err := c.Flush(); err != nil {
		return err
	}
	c.makeRoom()
	c.waiting.Store(true)
	c.extend(c.opts.Idle, time.Time{})
	if c.stopping.Load() {
		c.waiting.Store(false)
		return ErrStopping
	}
	n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
	c.waiting.Store(false)
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	return c.readError(err)
}

// makeRoom moves what is left to the front, or doubles the buffer.
func (c *Conn) makeRoom() {
	if c.start == len(c.in) && cap(c.in) > 4*inputSize { // a burst is over
		c.in, c.start = nil, 0
	}
	if c.start > 0 {
		n := copy(c.in, c.in[c.start:])
		c.in, c.start = c.in[:n], 0
	}
	if len(c.in) == cap(c.in) {
		c.in = append(make([]byte, 0, max(inputSize, 2*cap(c.in))), c.in...)
	}
}

// extend moves the read deadline to a little over d from now, but not behind
// end. It leaves one alone that is nearly as far away, for each move costs a
// timer.
func (c *Conn) extend(d time.Duration, end time.Time) {
	at := time.Now().Add(d + d/32)
	if !end.IsZero() && at.After(end) {
		at = end
	}
	if gap := at.Sub(c.deadline); gap < 0 || gap > d/32 {
		c.deadline = at
		_ = c.conn.SetReadDeadline(at)
	}
}

func (c *Conn) readError(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && c.stopping.Load():
		return ErrStopping
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}
