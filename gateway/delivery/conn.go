package delivery

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// conn is one SMTP connection to a smarthost. It is used by one goroutine at
// a time. After an error from any method it is out of step: close it.
type conn struct {
	host    *host
	net     net.Conn
	r       *bufio.Reader
	ext     map[string]string // EHLO keywords and their parameters
	secure  bool
	dirty   bool // a transaction was left open: RSET before the next
	sent    int
	usedAt  time.Time
	scratch []byte
}

// errRefused says that the hop does not serve us at all at the moment; it is
// the hop's trouble, not the message's.
type errRefused struct {
	verb  string
	reply reply
}

func (e *errRefused) Error() string {
	return fmt.Sprintf("smarthost refused %s with %d %s", e.verb, e.reply.code, e.reply.status)
}

// dial opens a connection and brings it to where MAIL may be sent.
func (h *host) dial(ctx context.Context) (*conn, error) {
	t := h.opts.Timeouts
	dialCtx, cancel := context.WithTimeout(ctx, t.Connect)
	defer cancel()
	nc, err := h.dialer(dialCtx, "tcp", h.opts.Address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &conn{host: h, net: nc}
	release := c.guard(ctx)
	err = c.open(ctx)
	release()
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.usedAt = h.now()
	return c, nil
}

// guard lets the end of ctx break off any read or write; the result undoes it.
func (c *conn) guard(ctx context.Context) (release func() bool) {
	nc := c.net
	return context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
}

func (c *conn) open(ctx context.Context) error {
	t := c.host.opts.Timeouts
	if c.host.opts.TLS == TLSImplicit {
		if err := c.handshake(ctx); err != nil {
			return err
		}
	}
	c.r = bufio.NewReaderSize(c.net, maxReplyLine)
	if err := c.expect("greeting", 220, t.Greeting); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	return c.auth()
}

// expect reads one reply and demands its code.
func (c *conn) expect(verb string, code int, wait time.Duration) error {
	rep, err := c.read(wait)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if rep.code != code {
		return &errRefused{verb, rep}
	}
	return nil
}

// read reads one reply. A deadline is set only where it may have to wait.
func (c *conn) read(wait time.Duration) (reply, error) {
	if b, _ := c.r.Peek(c.r.Buffered()); bytes.IndexByte(b, '\n') < 0 {
		if err := c.net.SetReadDeadline(time.Now().Add(wait)); err != nil {
			return reply{}, err
		}
	}
	return readReply(c.r)
}

// joined is the size up to which parts are copied into one write, and block
// what is written under one deadline (RFC 5321 section 4.5.3.2.5).
const (
	joined = 32 << 10
	block  = 256 << 10
)

// write sends parts in as few system calls as can be.
func (c *conn) write(parts ...[]byte) error {
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	if total == 0 {
		return nil
	}
	_, plain := c.net.(*net.TCPConn)
	if total < joined || !plain && total <= block { // one TLS record or one copy beats many small writes
		c.scratch = c.scratch[:0]
		for _, p := range parts {
			c.scratch = append(c.scratch, p...)
		}
		err := c.writeBlock([][]byte{c.scratch})
		if cap(c.scratch) > 2*joined { // many idle connections would keep much
			c.scratch = nil
		}
		return err
	}
	if total <= block {
		return c.writeBlock(parts)
	}
	for _, p := range parts {
		for len(p) > 0 {
			n := min(len(p), block)
			if err := c.writeBlock([][]byte{p[:n]}); err != nil {
				return err
			}
			p = p[n:]
		}
	}
	return nil
}

func (c *conn) writeBlock(parts net.Buffers) error {
	if err := c.net.SetWriteDeadline(time.Now().Add(c.host.opts.Timeouts.Block)); err != nil {
		return err
	}
	_, err := parts.WriteTo(c.net)
	return err
}

func (c *conn) command(line string, wait time.Duration) (reply, error) {
	if err := c.write([]byte(line + "\r\n")); err != nil {
		return reply{}, err
	}
	return c.read(wait)
}

// hello sends EHLO, and HELO to a hop that knows none (RFC 5321 section 3.2).
func (c *conn) hello() error {
	t := c.host.opts.Timeouts
	if err := c.write([]byte("EHLO " + c.host.helo + "\r\n")); err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	if err := c.net.SetReadDeadline(time.Now().Add(t.Greeting)); err != nil {
		return err
	}
	code, lines, err := readLines(c.r)
	if err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	c.ext = map[string]string{}
	if code == 250 {
		for _, l := range lines[1:] {
			word, params, _ := strings.Cut(l, " ")
			c.ext[strings.ToUpper(word)] = params
		}
		return nil
	}
	if code != 500 && code != 502 {
		return &errRefused{"EHLO", reply{code: code}}
	}
	if err := c.write([]byte("HELO " + c.host.helo + "\r\n")); err != nil {
		return fmt.Errorf("HELO: %w", err)
	}
	return c.expect("HELO", 250, t.Greeting)
}

// readLines reads a reply whose lines matter one by one.
func readLines(r *bufio.Reader) (code int, lines []string, err error) {
	for len(lines) < maxReplyLines {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				err = fmt.Errorf("%w: overlong line", errRubbish)
			}
			return 0, nil, err
		}
		n, more, text, err := parseLine(line)
		if err != nil {
			return 0, nil, err
		}
		lines = append(lines, text)
		if !more {
			return n, lines, nil
		}
	}
	return 0, nil, fmt.Errorf("%w: the reply has no end", errRubbish)
}

func (c *conn) has(keyword string) bool { _, ok := c.ext[keyword]; return ok }

// startTLS goes to TLS as the mode demands (RFC 3207).
func (c *conn) startTLS(ctx context.Context) error {
	mode := c.host.opts.TLS
	if mode == TLSNone || mode == TLSImplicit {
		return nil
	}
	if !c.has("STARTTLS") {
		if mode == TLSRequired {
			return errors.New("smarthost offers no STARTTLS, and TLS is required")
		}
		return nil
	}
	rep, err := c.command("STARTTLS", c.host.opts.Timeouts.Greeting)
	if err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if rep.code != 220 {
		if mode == TLSRequired {
			return &errRefused{"STARTTLS", rep}
		}
		return nil
	}
	if c.r.Buffered() > 0 { // plaintext behind the reply would be injected (TLS-2)
		return fmt.Errorf("%w: octets behind the STARTTLS reply", errRubbish)
	}
	if err := c.handshake(ctx); err != nil {
		return err
	}
	c.r.Reset(c.net)
	return c.hello() // all earlier knowledge is void
}

func (c *conn) handshake(ctx context.Context) error {
	tc := tls.Client(c.net, c.host.tls)
	ctx, cancel := context.WithTimeout(ctx, c.host.opts.Timeouts.Greeting)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.net, c.secure = tc, true
	return nil
}

// maxSize is the hop's limit in octets, 0 for none (RFC 1870).
func (c *conn) maxSize() int64 {
	n, err := strconv.ParseInt(c.ext["SIZE"], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// quit says goodbye without waiting for the answer.
func (c *conn) quit() {
	c.net.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.net.Write([]byte("QUIT\r\n"))
	c.net.Close()
}

// alive tells whether an idle connection can be used again: nothing may have
// come in, neither a 421 nor the end.
func (c *conn) alive() bool {
	if c.r.Buffered() > 0 {
		return false
	}
	if c.secure {
		return true // records may be pending; a dead one shows at the first command
	}
	return !readable(c.net)
}
