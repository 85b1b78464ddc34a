// Package mailbox is an IMAP server kept in memory, for unit tests and the
// demo. It speaks IMAP4rev1 and rev2 with IDLE, MOVE and UIDPLUS; nothing is
// kept when it closes.
package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// Options describe the one account; the zero value works.
type Options struct {
	User     string   // default "privacy@example.org"
	Password string   // default "secret"
	Folders  []string // default INBOX, Junk, Done
	Listen   string   // default "127.0.0.1:0"
	// Caps replaces what the server advertises; default IMAP4rev1 and rev2
	// with IDLE, MOVE, UIDPLUS and LITERAL+.
	Caps imap.CapSet
}

// Server is a running IMAP server with one account.
type Server struct {
	opts   Options
	user   *imapmemserver.User
	server *imapserver.Server
	listen net.Listener
	done   chan struct{}
}

// New starts a server on a free loopback port. It fails if the port can't be
// had or a folder is named twice.
func New(opts Options) (*Server, error) {
	opts = opts.withDefaults()
	user := imapmemserver.NewUser(opts.User, opts.Password)
	for _, name := range opts.Folders {
		if err := user.Create(name, nil); err != nil {
			return nil, fmt.Errorf("create folder %s: %w", name, err)
		}
	}
	mem := imapmemserver.New()
	mem.AddUser(user)
	l, err := net.Listen("tcp", opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for IMAP: %w", err)
	}
	s := &Server{opts: opts, user: user, listen: l, done: make(chan struct{})}
	s.server = imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		},
		Caps:         opts.Caps,
		InsecureAuth: true,
		Logger:       log.New(io.Discard, "", 0),
	})
	go func() {
		defer close(s.done)
		_ = s.server.Serve(l) // ends with Close; its error says no more
	}()
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.User == "" {
		o.User = "privacy@example.org"
	}
	if o.Password == "" {
		o.Password = "secret"
	}
	if len(o.Folders) == 0 {
		o.Folders = []string{"INBOX", "Junk", "Done"}
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Caps == nil {
		o.Caps = imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIMAP4rev2: {}, imap.CapIdle: {}, imap.CapMove: {}, imap.CapUIDPlus: {}, imap.CapLiteralPlus: {}}
	}
	return o
}

// Addr is where the server listens, as host:port, IMAP in clear.
func (s *Server) Addr() string { return s.listen.Addr().String() }

// Deliver puts raw into folder with the given receipt date (INTERNALDATE, now
// if zero) and tells clients that wait in IDLE at once.
func (s *Server) Deliver(folder string, raw []byte, at time.Time) error {
	_, err := s.user.Append(folder, literal{bytes.NewReader(raw)}, &imap.AppendOptions{Time: at})
	if err != nil {
		return fmt.Errorf("deliver to %s: %w", folder, err)
	}
	return nil
}

// Rebuild deletes the folder and creates it empty with a new UIDVALIDITY, as
// a server does after a restore.
func (s *Server) Rebuild(folder string) error {
	if err := s.user.Delete(folder); err != nil {
		return fmt.Errorf("delete %s: %w", folder, err)
	}
	if err := s.user.Create(folder, nil); err != nil {
		return fmt.Errorf("create %s: %w", folder, err)
	}
	return nil
}

// Folder gives the messages of a folder, oldest first, or nil if it can't be
// read.
func (s *Server) Folder(name string) [][]byte {
	out, err := s.read(name)
	if err != nil {
		return nil
	}
	return out
}

func (s *Server) read(name string) ([][]byte, error) {
	c, err := imapclient.DialInsecure(s.Addr(), nil)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Login(s.opts.User, s.opts.Password).Wait(); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	sel, err := c.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return nil, fmt.Errorf("select %s: %w", name, err)
	}
	if sel.NumMessages == 0 {
		return [][]byte{}, nil
	}
	section := &imap.FetchItemBodySection{Peek: true}
	msgs, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", name, err)
	}
	out := make([][]byte, 0, len(msgs))
	for _, m := range msgs {
		out = append(out, m.FindBodySection(section))
	}
	return out, nil
}

// Flags gives the flags of each message of a folder, oldest first.
func (s *Server) Flags(name string) ([][]imap.Flag, error) {
	c, err := imapclient.DialInsecure(s.Addr(), nil)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Login(s.opts.User, s.opts.Password).Wait(); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	sel, err := c.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil || sel.NumMessages == 0 {
		return nil, err
	}
	msgs, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{Flags: true}).Collect()
	if err != nil {
		return nil, fmt.Errorf("fetch flags of %s: %w", name, err)
	}
	var out [][]imap.Flag
	for _, m := range msgs {
		out = append(out, m.Flags)
	}
	return out, nil
}

// Close ends the server and all its connections and waits for it.
func (s *Server) Close() error {
	err := s.server.Close()
	_ = s.listen.Close() // where Serve had not begun, the server doesn't know it
	<-s.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// literal is a message as the memory server takes it.
type literal struct{ *bytes.Reader }

// Size is the length in bytes, as imap.LiteralReader wants it.
func (l literal) Size() int64 { return int64(l.Reader.Len()) }
