// Package smarthost is a scriptable SMTP next hop for tests, the demo and the
// load tool: it keeps or counts what it gets and answers as told, per verb
// and per recipient.
package smarthost

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Message is one received transaction.
type Message struct {
	From       string   // reverse-path without brackets
	FromParams string   // parameters of MAIL, as sent
	To         []string // accepted forward-paths
	ToParams   []string // their parameters, as sent
	Data       []byte   // octets after dot-unstuffing
	At         time.Time
	TLS        bool
	User       string // AUTH identity, "" if none
	Conn       int64  // number of the connection, from 1
}

// Event is what a Script is asked about: a command or the end of data.
type Event struct {
	Verb string // CONNECT, EHLO, AUTH, STARTTLS, MAIL, RCPT, DATA, BDAT, RSET, QUIT or "." for the end of data
	Arg  string // the command's argument; the path without brackets at MAIL and RCPT
	Conn int64
	Msg  *Message // the transaction so far
}

// Answer tells the server what to do about an Event. The zero value means the
// usual reply.
type Answer struct {
	Reply string        // full reply line(s) without CRLF at the end; "" is the usual one
	Delay time.Duration // waited before anything is sent
	Drop  bool          // close the connection without a reply
	Keep  bool          // at ".": the message counts as taken although the reply is not 2yz or is dropped
}

// Options of a Server. The zero value listens on a free loopback port, offers
// PIPELINING, 8BITMIME, SMTPUTF8, DSN, ENHANCEDSTATUSCODES and SIZE, takes
// everything and keeps it.
type Options struct {
	// Addr to listen on. Default "127.0.0.1:0".
	Addr string
	// Hide takes these keywords out of the EHLO reply.
	Hide []string
	// Offer adds these lines to it, such as "CHUNKING" or "REQUIRETLS".
	Offer []string
	// TLS offers STARTTLS with this configuration.
	TLS *tls.Config
	// Implicit starts TLS with the first octet instead (RFC 8314).
	Implicit bool
	// Users maps names to passwords; not empty offers AUTH PLAIN LOGIN and
	// demands it before MAIL.
	Users map[string]string
	// Script answers events; nil or a zero Answer means the usual.
	Script func(Event) Answer
	// Discard keeps no data: Messages stays empty, Count goes on.
	Discard bool
	// OnMessage is called with each message that was taken, before the reply
	// is sent; Data is valid during the call only if Discard is set.
	OnMessage func(*Message)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Server is a running next hop.
type Server struct {
	opts     Options
	hide     map[string]bool
	listener net.Listener
	conns    sync.WaitGroup
	count    atomic.Int64
	opened   atomic.Int64
	stop     chan struct{}

	mu       sync.Mutex
	open     map[net.Conn]struct{}
	messages []Message
	closed   bool
}

// New starts a server; Close ends it.
func New(opts Options) (*Server, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	l, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("start smarthost: %w", err)
	}
	s := &Server{opts: opts, listener: l, hide: map[string]bool{}, open: map[net.Conn]struct{}{}, stop: make(chan struct{})}
	for _, k := range opts.Hide {
		s.hide[k] = true
	}
	s.conns.Add(1)
	go s.accept()
	return s, nil
}

// Addr is host:port of the listener.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Messages is a copy of what was taken so far, in order of arrival.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// Count is how many messages were taken.
func (s *Server) Count() int64 { return s.count.Load() }

// Connections is how many connections were opened so far.
func (s *Server) Connections() int64 { return s.opened.Load() }

// Open is how many connections are open now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Hangup closes all open connections but goes on listening.
func (s *Server) Hangup() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

// Close stops listening, cuts all connections and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	err := s.listener.Close()
	s.Hangup()
	s.conns.Wait()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

func (s *Server) accept() {
	defer s.conns.Done()
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.open[c] = struct{}{}
		s.mu.Unlock()
		s.conns.Add(1)
		go s.serve(c, s.opened.Add(1))
	}
}

func (s *Server) serve(c net.Conn, number int64) {
	defer s.conns.Done()
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	x := newSession(s, c, number)
	if s.opts.Implicit && s.opts.TLS != nil {
		if x.handshake() != nil {
			return
		}
	}
	x.run()
}

func (s *Server) taken(m *Message) {
	if s.opts.OnMessage != nil {
		s.opts.OnMessage(m)
	}
	s.count.Add(1)
	if s.opts.Discard {
		return
	}
	keep := *m
	keep.Data = append([]byte(nil), m.Data...)
	keep.To = append([]string(nil), m.To...)
	keep.ToParams = append([]string(nil), m.ToParams...)
	s.mu.Lock()
	s.messages = append(s.messages, keep)
	s.mu.Unlock()
}
