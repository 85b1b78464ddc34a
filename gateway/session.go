package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
	"github.com/pires/go-proxyproto"

	"postern/gateway/address"
	"postern/gateway/wire"
)

// Bounds on a client that does not get on.
const (
	maxFaults = 20   // wrong commands since the last message
	maxIdlers = 1000 // EHLO, NOOP, RSET and VRFY since the last message; a tenth for strangers
)

// session is one connection: the wire's Handler and go-smtp's Session in one.
// All but Stop and Kill of its conn happens in the connection's goroutine.
type session struct {
	srv    *Server
	access *access
	on     *Listener
	id     string
	tail   string // of refusals: where to read more, and the id
	log    *slog.Logger
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	conn   *wire.Conn

	peer    netip.Addr // of the socket, or as PROXY told; zero on a unix socket
	remote  netip.Addr // the same, or as XCLIENT told
	from    netip.Prefix
	counted bool // from is counted in the limits
	strange bool // counted there among those without rights
	grant   *Grant
	account string
	trusted trust
	forward *Forward

	cipher  string // for Received, "" in clear
	helo    string
	esmtp   bool
	verb    string       // of the command go-smtp has in hand
	answers []wire.Reply // in place of go-smtp's next replies
	given   *command     // MAIL or RCPT being handled
	msg     *transaction // from MAIL on
	faults  int
	idlers  int
	refused bool // the last DATA was refused: what follows may be a body
}

// transaction is one mail transaction (RFC 5321 section 3.3).
type transaction struct {
	env      Envelope
	declared int64                   // SIZE, 0 if not given
	order    []int                   // for each RCPT accepted its index in env.Recipients
	seen     map[address.Address]int // index in env.Recipients; nil while they are few
}

var (
	_ wire.Handler     = (*session)(nil)
	_ smtp.AuthSession = (*session)(nil)
)

var sessionIDs = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

func newSession(srv *Server, a *access, on *Listener, raw net.Conn) *session {
	var b [8]byte
	_, _ = rand.Read(b[:])
	s := &session{srv: srv, access: a, on: on, id: sessionIDs.EncodeToString(b[:])[:12]}
	if s.tail = s.id; srv.opts.PolicyURL != "" {
		s.tail = "see " + srv.opts.PolicyURL + "; " + s.id
	}
	s.log = srv.opts.Log.With("session", s.id, "listener", on.Name)
	s.ctx, s.cancel = context.WithCancel(srv.hard)
	s.conn = wire.New(raw, s, srv.wireOptions(on))
	return s
}

// Open learns who the client is and whether it may stay.
func (s *session) Open(c *wire.Conn) bool {
	metric := s.srv.metrics.conns
	if !s.learnPeer(c) {
		metric.WithLabelValues(s.on.Name, "not_proxied").Inc()
		return false
	}
	s.from = source(s.remote)
	if !s.srv.limits.enterFrom(s.from) {
		metric.WithLabelValues(s.on.Name, "too_many").Inc()
		s.say(tooMany, "")
		return false
	}
	s.counted = true
	s.srv.metrics.open.WithLabelValues(s.on.Name).Inc()
	if !s.become(s.on.grantOf(s.remote), "") {
		metric.WithLabelValues(s.on.Name, "too_many").Inc()
		s.say(tooMany, "")
		return false
	}
	if s.grant == nil && !s.trusted.xclient && !s.enterStranger() {
		metric.WithLabelValues(s.on.Name, "busy").Inc()
		s.say(serverBusy, "")
		return false
	}
	metric.WithLabelValues(s.on.Name, "accepted").Inc()
	return true
}

// refresh takes over what a reload changed in the client's rights. False: the
// client has too many connections now, and this one ends.
func (s *session) refresh() bool {
	now := s.srv.access.Load()
	if now == s.access {
		return true
	}
	s.access, s.on = now, now.listeners[s.on.Name]
	s.trusted = s.on.trustOf(s.peer)
	g := s.on.grantOf(s.remote)
	if s.account != "" {
		g = nil
		if a := now.passwords.accounts[s.account]; a != nil {
			g = &a.Grant
		}
	}
	if s.become(g, s.account) {
		return true
	}
	s.say(tooMany, "")
	s.conn.EndLingering()
	return false
}

// become gives the session rights, nil for none. False: that client has as
// many connections as it may; the session then has no rights.
func (s *session) become(g *Grant, account string) bool {
	if s.grant != nil {
		s.srv.limits.leaveClient(s.grant)
	}
	s.grant, s.account = nil, account
	if g == nil {
		return true
	}
	if !s.srv.limits.enterClient(g) {
		return false
	}
	s.grant = g
	return true
}

// enterStranger keeps clients without rights from taking all places.
func (s *session) enterStranger() bool {
	s.strange = s.srv.limits.enterStranger(s.from)
	return s.strange
}

// noStranger counts the client among those with rights from now on.
func (s *session) noStranger() {
	if s.strange {
		s.strange = false
		s.srv.limits.leaveStranger(s.from)
	}
}

// learnPeer finds the client's address, behind a proxy where one is trusted.
func (s *session) learnPeer(c *wire.Conn) bool {
	if p, ok := c.Raw().(*proxyproto.Conn); ok {
		if p.ProxyHeader() == nil {
			s.log.Info("connection without PROXY header closed")
			return false
		}
	}
	s.peer = addrOf(c.RemoteAddr())
	s.remote = s.peer
	s.trusted = s.on.trustOf(s.peer)
	return true
}

// addrOf gives the IP address of a socket's end, zero for unix sockets.
func addrOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(t.IP)
	return ip.Unmap()
}

// Fault says why the connection ends.
func (s *session) Fault(c *wire.Conn, err error) {
	if s.msg != nil {
		s.srv.metrics.messages.WithLabelValues(s.on.Name, "aborted").Inc()
	}
	switch {
	case errors.Is(err, wire.ErrBareLineEnd):
		s.say(bareLineEnd, "")
		s.log.Warn("bare line end refused", "client", s.client())
	case errors.Is(err, wire.ErrLineTooLong):
		s.say(lineTooLong, "")
	case errors.Is(err, wire.ErrStopping):
		s.say(stopping, "")
	case errors.Is(err, wire.ErrTimeout):
		s.say(idleTimeout, "")
		s.log.Info("client timed out", "client", s.client(), "in_message", s.msg != nil)
	case errors.Is(err, wire.ErrTooBig), errors.Is(err, wire.ErrNoMemory): // and no end of it
		s.say(denials[TooBig], strconv.FormatInt(s.maxSize(), 10))
	case errors.Is(err, wire.ErrHandshake):
		s.srv.metrics.conns.WithLabelValues(s.on.Name, "tls_failed").Inc()
		s.log.Info("TLS handshake failed", "err", err)
	default:
		s.log.Debug("connection ended", "err", err)
	}
}

// Panicked counts and logs a fault of ours; the client may try again.
func (s *session) Panicked(c *wire.Conn, value any) {
	s.srv.metrics.panics.Inc()
	s.log.Error("panic in a session", "value", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
	s.conn.Send(wire.Reply{Code: 421, Status: "4.3.0", Text: denials[Internal].tag + " try later; " + s.id})
}

// Closed gives back what the connection held.
func (s *session) Closed(c *wire.Conn) {
	s.cancel()
	s.noStranger()
	s.become(nil, "")
	if s.counted {
		s.srv.limits.leaveFrom(s.from)
		s.srv.metrics.open.WithLabelValues(s.on.Name).Dec()
	}
	s.srv.left(s)
}

// say replies by the table. The result is for Command: go-smtp gets nothing.
func (s *session) say(a answer, detail string) string {
	s.send(a.reply(detail, s.id))
	return ""
}

func (s *session) send(r wire.Reply) {
	if r.Code >= 400 {
		s.srv.metrics.replies.WithLabelValues(tagOf(r)).Inc()
	}
	s.conn.Send(r)
}

// refuse is say for a command that was wrong; a client that goes on being
// wrong is sent away.
func (s *session) refuse(a answer, detail string) string {
	s.say(a, detail)
	if s.faults++; s.faults > maxFaults {
		s.say(tooMany, "")
		s.conn.EndLingering()
	}
	return ""
}

// client names the peer for logs by its configured name or account.
func (s *session) client() string {
	switch {
	case s.account != "":
		return s.account
	case s.grant != nil:
		return s.grant.Client
	}
	return "unknown"
}

// tlsName is version and cipher for Received (RFC 8314 section 4.3).
func (s *session) tlsName() string {
	if s.cipher != "" || !s.conn.InTLS() {
		return s.cipher
	}
	t := s.conn.TLS()
	s.cipher = strings.ReplaceAll(tls.VersionName(t.Version), " ", "") + " " + tls.CipherSuiteName(t.CipherSuite)
	return s.cipher
}

// grantOf gives the rights of an unauthenticated client, nil for none.
func (l *Listener) grantOf(a netip.Addr) *Grant {
	if l.RequireAuth {
		return nil
	}
	if l.Network == "unix" && !a.IsValid() {
		return &l.Unix
	}
	for i := range l.Clients {
		if contains(l.Clients[i].Prefixes, a) {
			return &l.Clients[i].Grant
		}
	}
	return nil
}

func contains(ps []netip.Prefix, a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	for _, p := range ps {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
