package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/pires/go-proxyproto"

	"postern/gateway/wire"
)

// Server takes mail by SMTP and LMTP on all listeners and gives it to a Judge.
type Server struct {
	opts    ServerOptions
	judge   Judge
	limits  *limits
	access  atomic.Pointer[access]
	metrics *serverMetrics
	budget  *wire.Budget
	hard    context.Context // ends when connections are cut
	cut     context.CancelFunc

	mu       sync.Mutex
	bound    []*listener
	sessions map[*session]struct{}
	stopping bool
	open     sync.WaitGroup
}

// NewServer checks the options; all their faults are reported at once.
func NewServer(judge Judge, opts ServerOptions) (*Server, error) {
	opts = opts.withDefaults()
	s := &Server{opts: opts, judge: judge, sessions: map[*session]struct{}{}, budget: wire.NewBudget(opts.Memory)}
	a, err := newAccess(&s.opts)
	if err = errors.Join(opts.validate(), err); err != nil {
		return nil, fmt.Errorf("configure mail listeners: %w", err)
	}
	s.access.Store(a)
	s.metrics, err = newServerMetrics(opts.Metrics, func() float64 { return float64(s.budget.Used()) })
	if err != nil {
		return nil, fmt.Errorf("register metrics of the mail listeners: %w", err)
	}
	s.limits = newLimits(&s.opts)
	s.hard, s.cut = context.WithCancel(context.Background())
	return s, nil
}

// Listen binds all listeners, or none. Run does it where it was not done.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound != nil {
		return nil
	}
	for i := range s.opts.Listeners {
		l, err := s.bind(&s.opts.Listeners[i])
		if err != nil {
			for _, b := range s.bound {
				_ = b.Close()
			}
			s.bound = nil
			return err
		}
		s.bound = append(s.bound, l)
	}
	return nil
}

func (s *Server) bind(on *Listener) (*listener, error) {
	if on.Network == "unix" {
		removeStale(on.Address)
	}
	l, err := net.Listen(on.Network, on.Address)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", on.Name, err)
	}
	if on.Network == "unix" {
		if err := os.Chmod(on.Address, on.Mode); err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("listener %q: %w", on.Name, err)
		}
	}
	return &listener{Listener: l, srv: s, on: on}, nil
}

// removeStale removes a socket that a dead process left; one that somebody
// listens on stays, and binding fails.
func removeStale(path string) {
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path)
	}
}

// Addrs gives the address of each listener by name, after Listen.
func (s *Server) Addrs() map[string]net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]net.Addr{}
	for _, b := range s.bound {
		out[b.on.Name] = b.Addr()
	}
	return out
}

// Run serves all listeners until ctx ends. Then it takes no new mail, answers
// the messages in hand within Grace, cuts what is left and returns nil.
func (s *Server) Run(ctx context.Context) error {
	defer s.cut()
	if err := s.Listen(); err != nil {
		return err
	}
	faults := make(chan error, len(s.bound))
	servers := make([]*smtp.Server, len(s.bound))
	for i, b := range s.bound {
		servers[i] = s.protocol(b.on)
		go func() { faults <- servers[i].Serve(b) }()
		s.opts.Log.Info("listening", "listener", b.on.Name, "address", b.Addr().String(), "protocol", b.on.Protocol)
	}
	var err error
	left := len(s.bound)
	select {
	case <-ctx.Done():
	case err = <-faults:
		left--
		err = fmt.Errorf("serve mail: %w", err)
	}
	return errors.Join(err, s.shutdown(servers, faults, left))
}

// protocol sets up go-smtp for one listener. Its own limits are off: the wire
// and the session have them.
func (s *Server) protocol(on *Listener) *smtp.Server {
	p := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return c.Conn().(*wire.Conn).Handler().(*session), nil
	}))
	p.Domain = s.opts.Hostname
	p.LMTP = on.Protocol == "lmtp"
	p.EnableSMTPUTF8, p.EnableDSN = true, true
	p.AllowInsecureAuth = true // TLS is the wire's; session.auth asks for it
	p.MaxLineLength = 0
	p.ErrorLog = protocolLog{s.opts.Log.With("listener", on.Name)}
	return p
}

func (s *Server) shutdown(servers []*smtp.Server, faults <-chan error, left int) error {
	s.mu.Lock()
	s.stopping = true
	for c := range s.sessions {
		c.conn.Stop()
	}
	s.mu.Unlock()
	closed, cancel := context.WithCancel(context.Background())
	cancel()
	for _, p := range servers {
		_ = p.Shutdown(closed) // closes the listener; our own list holds the connections
	}
	for range left {
		<-faults
	}
	if s.drained(s.opts.Grace) {
		return nil
	}
	s.cut()
	s.mu.Lock()
	n := len(s.sessions)
	for c := range s.sessions {
		c.conn.Kill()
	}
	s.mu.Unlock()
	s.opts.Log.Warn("connections cut at the end of the grace time", "connections", n)
	if !s.drained(5 * time.Second) {
		return fmt.Errorf("stop mail listeners: %d connections did not end", n)
	}
	return nil
}

// drained waits until no connection is open.
func (s *Server) drained(d time.Duration) bool {
	done := make(chan struct{})
	go func() { s.open.Wait(); close(done) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

func (s *Server) wireOptions(on *Listener) *wire.Options {
	return &wire.Options{TLS: on.TLS, Implicit: on.Implicit, Idle: s.opts.Idle, Block: s.opts.Block,
		Data: s.opts.Data, Budget: s.budget}
}

// entered lists a session, unless the server is stopping.
func (s *Server) entered(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.sessions[c] = struct{}{}
	s.open.Add(1)
	return true
}

func (s *Server) left(c *session) {
	s.mu.Lock()
	delete(s.sessions, c)
	s.mu.Unlock()
	s.limits.leave()
	s.open.Done()
}

// listener gives go-smtp wrapped connections.
type listener struct {
	net.Listener
	srv *Server
	on  *Listener
}

// Accept gives the next connection the server has room for. It waits a little
// where the system has no descriptors left.
func (l *listener) Accept() (net.Conn, error) {
	pause := 5 * time.Millisecond
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) && !errors.Is(err, syscall.ECONNABORTED) {
				return nil, err
			}
			l.srv.opts.Log.Warn("connection can't be accepted", "listener", l.on.Name, "err", err)
			if !l.srv.pause(pause) {
				return nil, net.ErrClosed
			}
			pause = min(2*pause, time.Second)
			continue
		}
		if c := l.admit(raw); c != nil {
			return c, nil
		}
	}
}

// admit wraps a connection, or sends it away where the server is full.
func (l *listener) admit(raw net.Conn) net.Conn {
	if !l.srv.limits.enter() {
		l.srv.metrics.conns.WithLabelValues(l.on.Name, "busy").Inc()
		if !l.on.Implicit {
			r := serverBusy.reply("", "")
			_ = raw.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = fmt.Fprintf(raw, "%d %s %s\r\n", r.Code, r.Status, r.Text)
		}
		_ = raw.Close()
		return nil
	}
	a := l.srv.access.Load()
	on := a.listeners[l.on.Name]
	if contains(on.Proxy, addrOf(raw.RemoteAddr())) {
		raw = proxyproto.NewConn(raw, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(10*time.Second))
	}
	s := newSession(l.srv, a, on, raw)
	if !l.srv.entered(s) {
		s.cancel()
		l.srv.limits.leave()
		_ = raw.Close()
		return nil
	}
	return s.conn
}

func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.hard.Done():
		return false
	}
}

// protocolLog takes what go-smtp logs. It may hold what clients sent, so only
// the fact is kept.
type protocolLog struct{ log *slog.Logger }

// Printf notes that go-smtp had something to say.
func (l protocolLog) Printf(format string, _ ...any) { l.log.Debug("smtp library", "message", format) }

// Println is Printf without a format.
func (l protocolLog) Println(...any) { l.log.Debug("smtp library") }
