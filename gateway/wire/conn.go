package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Errors that end a connection; Handler.Fault gets them, wrapped or bare.
var (
	// ErrBareLineEnd is a CR or LF that stands alone, or a NUL (SMTP-5).
	ErrBareLineEnd = errors.New("bare CR, LF or NUL")
	// ErrLineTooLong is a command line over MaxCommand or MaxAuth.
	ErrLineTooLong = errors.New("command line too long")
	// ErrStopping says that the server is going down.
	ErrStopping = errors.New("server is stopping")
	// ErrTimeout says that the client was silent for too long.
	ErrTimeout = errors.New("client timed out")
	// ErrHandshake wraps a failed TLS handshake.
	ErrHandshake = errors.New("TLS handshake failed")
)

// Handler decides what go-smtp sees and what the client sees. All methods are
// called by the one goroutine that serves the connection.
type Handler interface {
	// Open is called before the greeting, after TLS where that is implicit.
	// False closes the connection after what Open replied.
	Open(c *Conn) bool
	// Command gets one command line without its CRLF, valid until it returns.
	// What it gives back goes to go-smtp as the command; "" says that the
	// handler replied itself.
	Command(c *Conn, line []byte) string
	// Continue gets a line the client sent in answer to a 334, likewise.
	Continue(c *Conn, line []byte) string
	// Reply gets a whole reply of go-smtp and writes what the client gets
	// instead. The first one is the greeting.
	Reply(c *Conn, code int, lines []string)
	// Fault gets the error after which the connection ends, and may reply.
	Fault(c *Conn, err error)
	// Panicked gets what a Handler method panicked with. The connection ends.
	Panicked(c *Conn, value any)
	// Closed is called once, last.
	Closed(c *Conn)
}

// Conn is the net.Conn given to go-smtp. Besides Kill and Stop, its methods
// belong to the goroutine that serves the connection.
type Conn struct {
	raw     net.Conn // the socket: never replaced, so that Kill may use it
	conn    net.Conn // what is read and written: raw or TLS over it
	opts    *Options
	handler Handler

	in        []byte // received and not yet used: in[start:]
	start     int
	out       []byte // replies not yet written
	feed      []byte // for go-smtp to read
	reply     []string
	partial   []byte // of a reply line go-smtp writes
	opened    bool
	continues bool // the next line answers a 334
	ended     bool // nothing is read or answered any more
	linger    bool // the client is sending: read on a little before closing
	deadline  time.Time

	waiting  atomic.Bool
	stopping atomic.Bool
	closing  sync.Once
	remote   net.Addr // overrides the socket's, after XCLIENT
}

var _ net.Conn = (*Conn)(nil)

// New wraps raw, on which nothing was read or written yet.
func New(raw net.Conn, h Handler, opts *Options) *Conn {
	return &Conn{raw: raw, conn: raw, opts: opts.withDefaults(), handler: h}
}

// Handler is the one given to New.
func (c *Conn) Handler() Handler { return c.handler }

// Read gives go-smtp its next command. It only returns io.EOF as an error.
func (c *Conn) Read(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.handler.Panicked(c, v)
			c.End()
			n, err = 0, io.EOF
		}
	}()
	for len(c.feed) == 0 {
		if c.ended {
			return 0, io.EOF
		}
		c.next()
	}
	n = copy(p, c.feed)
	c.feed = c.feed[n:]
	return n, nil
}

// next reads one line and has it handled.
func (c *Conn) next() {
	limit := MaxCommand
	if c.continues {
		limit = MaxAuth
	}
	line, err := c.readLine(limit)
	if err != nil {
		c.fault(err)
		return
	}
	var pass string
	if c.continues {
		c.continues = false
		pass = c.handler.Continue(c, line)
	} else {
		pass = c.handler.Command(c, line)
	}
	if pass != "" {
		c.feed = append(append(c.feed[:0:0], pass...), '\r', '\n')
	}
}

func (c *Conn) fault(err error) {
	c.linger = c.linger || errors.Is(err, ErrBareLineEnd) || errors.Is(err, ErrLineTooLong)
	c.handler.Fault(c, err)
	c.End()
}

// Write takes replies of go-smtp apart and has them handled.
func (c *Conn) Write(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.handler.Panicked(c, v)
			c.End()
			n, err = 0, io.ErrClosedPipe
		}
	}()
	if c.ended {
		return 0, io.ErrClosedPipe
	}
	if !c.opened {
		if err := c.open(); err != nil {
			return 0, err
		}
	}
	c.partial = append(c.partial, p...)
	for {
		i := indexLF(c.partial)
		if i < 0 {
			return len(p), nil
		}
		c.takeReply(string(c.partial[:i+1]))
		c.partial = append(c.partial[:0], c.partial[i+1:]...)
	}
}

func (c *Conn) takeReply(line string) {
	code, last, text, ok := replyLine(line)
	if !ok {
		code, last, text = 451, true, ""
	}
	c.reply = append(c.reply, text)
	if last {
		lines := c.reply
		c.reply = nil
		c.continues = code == 334
		c.handler.Reply(c, code, lines)
	}
}

func (c *Conn) open() error {
	c.opened = true
	if c.opts.Implicit {
		if err := c.handshake(); err != nil {
			c.fault(err)
			return err
		}
	}
	if !c.handler.Open(c) {
		c.End()
		return io.ErrClosedPipe
	}
	return nil
}

// Send puts a reply behind those that wait to be written.
func (c *Conn) Send(r Reply) {
	if c.ended {
		return
	}
	c.out = r.append(c.out)
	if len(c.out) > 16<<10 {
		_ = c.Flush()
	}
}

// End says that nothing more is read: what was sent is written, the
// connection closes when go-smtp notices.
func (c *Conn) End() {
	if !c.ended {
		_ = c.Flush()
		c.ended = true
		c.feed = nil
	}
}

// EndLingering is End for a client that may still be sending: what comes is
// read for a moment, for a reset would take our last reply away from it.
func (c *Conn) EndLingering() {
	c.linger = true
	c.End()
}

// Flush writes the waiting replies.
func (c *Conn) Flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.opts.Write))
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	if err != nil {
		c.ended, c.feed = true, nil
		return fmt.Errorf("write replies: %w", err)
	}
	return nil
}

// Ahead gives yield each complete line that the client has already sent behind
// the command in hand (RFC 2920), without taking it, until yield says false.
// The line is valid during the call only. To be called from a command's
// handler.
func (c *Conn) Ahead(yield func(line []byte) bool) {
	rest := c.in[c.start:]
	for {
		i := indexLF(rest)
		if i < 0 || !yield(bytes.TrimSuffix(rest[:i], []byte("\r"))) {
			return
		}
		rest = rest[i+1:]
	}
}

// Buffered tells how many octets came in that no command has used yet.
func (c *Conn) Buffered() int { return len(c.in) - c.start }

// StartTLS throws away what came in clear and does the handshake. The caller
// has sent the 220 before. An error is handled: the connection has ended.
func (c *Conn) StartTLS() error {
	if err := c.Flush(); err != nil {
		return err
	}
	c.in, c.start = c.in[:0], 0
	err := c.handshake()
	if err != nil {
		c.fault(err)
	}
	return err
}

func (c *Conn) handshake() error {
	if c.opts.TLS == nil {
		return fmt.Errorf("%w: no certificate", ErrHandshake)
	}
	_ = c.conn.SetDeadline(time.Now().Add(c.opts.Handshake))
	t := tls.Server(c.conn, c.opts.TLS)
	if err := t.Handshake(); err != nil {
		return fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	c.deadline = time.Time{}
	_ = c.conn.SetDeadline(time.Time{})
	c.conn = t
	return nil
}

// InTLS tells whether the connection is encrypted.
func (c *Conn) InTLS() bool {
	_, ok := c.conn.(*tls.Conn)
	return ok
}

// TLS gives the state of the connection's TLS, nil in clear.
func (c *Conn) TLS() *tls.ConnectionState {
	t, ok := c.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	s := t.ConnectionState()
	return &s
}

// SetRemote lets RemoteAddr tell what a trusted proxy said (XCLIENT).
func (c *Conn) SetRemote(a net.Addr) { c.remote = a }

// RemoteAddr is the client's address, as the proxy tells it if there is one.
func (c *Conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.raw.RemoteAddr()
}

// LocalAddr is the listener's side.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// SetDeadline does nothing: deadlines roll, see Options.
func (c *Conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, see SetDeadline.
func (c *Conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, see SetDeadline.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// Raw is the socket, or the PROXY protocol's reader over it.
func (c *Conn) Raw() net.Conn { return c.raw }
