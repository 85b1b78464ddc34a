package wire

import (
	"io"
	"net"
	"time"
)

// maxLinger bounds what is read from a refused client before closing.
const maxLinger = 1 << 20

// Close writes what waits and closes the socket. Only the first call acts.
func (c *Conn) Close() error {
	var err error
	c.closing.Do(func() {
		c.End()
		if c.linger {
			c.drain()
		}
		err = c.conn.Close()
		c.handler.Closed(c)
	})
	return err
}

// drain tells the client that we are done and reads what it still sends.
func (c *Conn) drain() {
	_ = c.conn.SetReadDeadline(time.Now().Add(c.opts.Linger))
	if w, ok := c.conn.(interface{ CloseWrite() error }); ok {
		if w.CloseWrite() != nil {
			return
		}
	}
	_, _ = io.CopyN(io.Discard, c.conn, maxLinger)
}

// Stop asks the connection to end: at once where it waits for a command, else
// when the message in hand has been answered. Any goroutine may call it.
func (c *Conn) Stop() {
	c.stopping.Store(true)
	if c.waiting.Load() {
		_ = c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// Stopping tells whether Stop was called.
func (c *Conn) Stopping() bool { return c.stopping.Load() }

// Kill closes the socket under whatever is going on. Any goroutine may call it.
func (c *Conn) Kill() {
	if t, ok := c.raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.raw.Close()
}
