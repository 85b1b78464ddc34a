package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestConnectionLimits(t *testing.T) {
	s := serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{open("smtp")}, MaxConns: 10, MaxConnsPerIP: 2})
	a, b := dial(t, s), dial(t, s)
	a.script(greeting)
	b.script(greeting)
	dial(t, s).script("S: 421 4.7.0 TOO-MANY closing; ID\nS!")
	require.NoError(t, b.conn.Close())
	require.Eventually(t, func() bool {
		return testutil.ToFloat64(s.metrics.open.WithLabelValues("in")) == 1
	}, 5*time.Second, time.Millisecond)
	dial(t, s).script(greeting)

	s = serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{open("smtp")}, MaxConns: 1})
	dial(t, s).script(greeting)
	dial(t, s).script("S: 421 4.4.5 BUSY too many connections, try later\nS!")
}

func TestConnectionsOfAClient(t *testing.T) {
	opts, trusted := submission(t)
	opts.Accounts[0].Grant.MaxConns = 1
	inside := open("smtp")
	inside.Name, inside.Clients[0].Grant.MaxConns = "relay", 2
	opts.Listeners = append(opts.Listeners, inside)
	s := serve(t, &fakeJudge{}, opts)
	dialRelay := func() *client {
		conn, err := net.Dial("tcp", s.Addrs()["relay"].String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return talk(t, conn)
	}
	a := dialRelay()
	a.script(greeting)
	dialRelay().script(greeting)
	dialRelay().script("S: 421 4.7.0 TOO-MANY closing; ID\nS!")
	a.script("C: QUIT\nS: 221 2.0.0 Bye")
	require.Eventually(t, func() bool {
		s.limits.mu.Lock()
		defer s.limits.mu.Unlock()
		return s.limits.clients["crm"] == 1
	}, 5*time.Second, time.Millisecond)
	dialRelay().script(greeting)

	for _, want := range []string{"235 2.7.0 OK", "421 4.7.0 TOO-MANY closing; ID"} {
		c := dial(t, s)
		c.script(greeting + "C: EHLO x.example\nS: 250-*")
		c.startTLS(trusted).script("C: EHLO x.example\nS: 250-*\nC: AUTH PLAIN " + plain("shop", "open sesame") + "\nS: " + want)
	}
}

func TestStrangersLeaveRoom(t *testing.T) {
	opts, trusted := submission(t)
	opts.MaxConns = 4
	s := serve(t, &fakeJudge{}, opts)
	a, b := dial(t, s), dial(t, s)
	a.script(greeting + "C: EHLO x.example\nS: 250-*")
	b.script(greeting)
	dial(t, s).script("S: 421 4.4.5 BUSY too many connections, try later; ID\nS!")
	a = a.startTLS(trusted)
	a.script("C: EHLO x.example\nS: 250-*\nC: AUTH PLAIN " + plain("shop", "open sesame") + "\nS: 235 2.7.0 OK")
	dial(t, s).script(greeting)
	a.script("C: QUIT\nS: 221 2.0.0 Bye")
	require.NoError(t, b.conn.Close())
	require.Eventually(t, func() bool {
		s.limits.mu.Lock()
		defer s.limits.mu.Unlock()
		return s.limits.strange == 1 && len(s.limits.strangeP) == 1
	}, 5*time.Second, time.Millisecond)
}

func TestReload(t *testing.T) {
	j := &fakeJudge{}
	l := open("smtp")
	l.Clients[0].Grant.MessagesPerMinute = 1
	opts := ServerOptions{Hostname: "relay.example.org", Listeners: []Listener{l}}
	s := serve(t, j, opts)
	mail := "C: EHLO x.example\nS: 250-*\nC: MAIL FROM:<a@example.org>\nS: "
	old := dial(t, s)
	old.script(greeting + mail + "250 2.1.0 OK\nC: RSET\nS: 250 2.0.0 OK")
	next := open("smtp")
	next.Clients = nil
	opts.Listeners = []Listener{next}
	require.NoError(t, s.Reload(opts))
	dial(t, s).script(greeting + mail + "550 5.7.1 RELAY-DENIED this client may not relay; ID")
	old.script("C: MAIL FROM:<a@example.org>\nS: 550 5.7.1 RELAY-DENIED this client may not relay; ID")
	opts.Listeners = []Listener{open("smtp")}
	require.NoError(t, s.Reload(opts))
	old.script("C: MAIL FROM:<a@example.org>\nS: 250 2.1.0 OK\nC: RSET\nS: 250 2.0.0 OK")
	second := dial(t, s)
	second.script(greeting + "C: EHLO x.example\nS: 250-*")
	few := open("smtp")
	few.Clients[0].Grant.MaxConns = 1
	opts.Listeners = []Listener{few}
	require.NoError(t, s.Reload(opts))
	second.script("C: MAIL FROM:<a@example.org>\nS: 421 4.7.0 TOO-MANY closing; ID\nS!")
	opts.Listeners = []Listener{next}
	require.NoError(t, s.Reload(opts))

	for name, change := range map[string]func(*ServerOptions){
		"needs a restart": func(o *ServerOptions) { o.Listeners = []Listener{{Name: "in", Address: "127.0.0.1:1"}} },
		"another number":  func(o *ServerOptions) { o.Listeners = nil },
		"not an argon2id": func(o *ServerOptions) { o.Accounts = []Account{{Name: "a", Hash: "x"}} },
		"neither smtp":    func(o *ServerOptions) { o.Listeners[0].Protocol = "uucp" },
	} {
		bad := ServerOptions{Hostname: "relay.example.org", Listeners: []Listener{open("smtp")}}
		change(&bad)
		require.ErrorContains(t, s.Reload(bad), name)
	}
	dial(t, s).script(greeting + mail + "550 5.7.1 RELAY-DENIED this client may not relay; ID")
}

// TestNothingPersonalIsLogged runs what goes well and what goes wrong, and
// looks for addresses, passwords and content in log and metrics (ST-5).
func TestNothingPersonalIsLogged(t *testing.T) {
	var log syncBuffer
	reg := prometheus.NewRegistry()
	opts, trusted := submission(t)
	inside := open("smtp")
	inside.Name = "relay"
	opts.Listeners = append(opts.Listeners, inside)
	opts.Metrics, opts.Log = reg, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	j := &fakeJudge{rcpt: func(_ context.Context, _ *Envelope, r EnvelopeRecipient) error {
		switch r.Address.Local() {
		case "boom":
			panic("cannot handle " + r.Address.Plain())
		case "no":
			return &Denial{Reason: NoConsent, Detail: "news", Err: fmt.Errorf("asked for %v", r.Address)}
		}
		return nil
	}}
	s, stop := running(t, j, opts)
	c := dial(t, s)
	c.script(greeting + "C: EHLO host.secret.example\nS: 250-*")
	c = c.startTLS(trusted)
	c.script("C: EHLO host.secret.example\nS: 250-*\nC: AUTH PLAIN " + plain("secret-user", "secret-password") + "\nS: 535 *\nC: AUTH PLAIN " +
		plain("shop", "open sesame") + "\nS: 235 2.7.0 OK\nC: MAIL FROM:<secret.sender@secret.example>\nS: 250 2.1.0 OK\nC: RCPT TO:<no@secret.example>\nS: 550 *" +
		"\nC: RCPT TO:<secret@bad address>\nS: 501 *\nC: RCPT TO:<secret@secret.example>\nS: 250 2.1.5 OK\nC: DATA\nS: 354 *\nC: Subject: secret\nC: .\nS: 250 2.0.0 Queued as m1" +
		"\nC: secret@secret.example\nS: 500 *\nC: MAIL FROM:<>\nS: 250 2.1.0 OK\nC: RCPT TO:<boom@secret.example>\nS: 421 *")
	conn, err := net.Dial("tcp", s.Addrs()["relay"].String())
	require.NoError(t, err)
	defer conn.Close()
	bare := talk(t, conn)
	bare.script(begin + "C: DATA\nS: 354 *")
	bare.send("Subject: secret\nsecret@secret.example\r\n.\r\n")
	bare.script("S: 550 5.5.2 BARE-LF lines end with CRLF only; ID")
	require.NoError(t, stop())
	families, err := reg.Gather()
	require.NoError(t, err)
	seen := log.String() + fmt.Sprint(families)
	require.Contains(t, seen, "message accepted")
	require.Contains(t, seen, "panic in a session")
	require.NotContains(t, strings.ToLower(seen), "secret")
	require.NotContains(t, seen, "sesame")
}

// syncBuffer is a buffer that several goroutines may write to.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestPolicyURL(t *testing.T) {
	j := &fakeJudge{rcpt: func(context.Context, *Envelope, EnvelopeRecipient) error { return &Denial{Reason: Suppressed} }}
	s := serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}, PolicyURL: "https://example.org/mail-policy"})
	dial(t, s).script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net>
		S: 550 5.7.1 SUPPRESSED recipient is not to be mailed; see https://example.org/mail-policy; ID
		C: FOO
		S: 500 5.5.2 UNKNOWN command not known; ID`)
}

func TestRateLimits(t *testing.T) {
	var now atomic.Int64
	clock := func() time.Time { return time.Unix(1_000_000+now.Load(), 0) }
	l := open("smtp")
	l.Clients[0].Grant.MessagesPerMinute = 2
	s := serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{l}, RecipientsPerMinute: 3, Now: clock})
	c := dial(t, s)
	c.script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<a@example.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<b@example.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<c@example.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<d@example.net>
		S: 450 4.7.0 RATE-LIMIT retry-after=20 too much mail; ID
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RSET
		S: 250 2.0.0 OK
		C: MAIL FROM:<a@example.org>
		S: 450 4.7.0 RATE-LIMIT retry-after=30 too much mail; ID`)
	now.Add(30)
	c.script("C: MAIL FROM:<a@example.org>\nS: 250 2.1.0 OK\nC: RCPT TO:<d@example.net>\nS: 250 2.1.5 OK")
}

func TestIPv6PeersCountBy64Bits(t *testing.T) {
	require.Equal(t, source(netip.MustParseAddr("2001:db8::1")), source(netip.MustParseAddr("2001:db8::2")))
	require.NotEqual(t, source(netip.MustParseAddr("192.0.2.1")), source(netip.MustParseAddr("192.0.2.2")))
	require.Equal(t, source(netip.MustParseAddr("192.0.2.1")), source(netip.MustParseAddr("::ffff:192.0.2.1")))
	require.False(t, source(netip.Addr{}).IsValid())
}

func TestFailedPasswordsAreForgotten(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newLimits(&ServerOptions{AuthFailuresPerMinute: 2, Now: func() time.Time { return now }})
	for i := range 10_000 {
		l.failed(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32))
	}
	l.failed(netip.MustParsePrefix("198.51.100.1/32"))
	require.Less(t, len(l.failures), 10_000, "bounded, whoever comes")
	now = now.Add(time.Minute)
	for i := range 10_000 - len(l.failures) {
		l.failed(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32))
	}
	now = now.Add(time.Minute)
	p := netip.MustParsePrefix("192.0.2.1/32")
	l.failed(p)
	require.Len(t, l.failures, 1)
	require.True(t, l.mayTry(p))
	l.failed(p)
	require.False(t, l.mayTry(p))
	now = now.Add(30 * time.Second)
	require.True(t, l.mayTry(p))
}

func TestSlowClients(t *testing.T) {
	timeout := "S: 421 4.4.2 TIMEOUT nothing came for too long; ID\nS!"
	j := &fakeJudge{}
	idle := serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}, Idle: 300 * time.Millisecond})
	t.Run("silent", func(t *testing.T) { dial(t, idle).script(greeting + timeout) })
	t.Run("in a command", func(t *testing.T) {
		c := dial(t, idle)
		c.script(greeting)
		c.send("EHLO x.exa")
		c.script(timeout)
	})
	slow := serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}, Block: 50 * time.Millisecond, Data: 200 * time.Millisecond})
	t.Run("in data", func(t *testing.T) {
		c := dial(t, slow)
		c.script(begin + "C: DATA\nS: 354 *")
		c.send("Subject: half\r\n\r\nQUIT\r\n")
		c.script(timeout)
	})
	t.Run("octet by octet", func(t *testing.T) {
		c := dial(t, slow)
		c.script(begin + "C: DATA\nS: 354 *")
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		begun := time.Now()
		for {
			<-tick.C
			if _, err := c.conn.Write([]byte("a")); err != nil {
				break
			}
			require.Less(t, time.Since(begun), 10*time.Second)
		}
	})
	require.Empty(t, j.messages())
}

// TestLostConnectionIsNoMessage: without the final dot nothing was sent.
func TestLostConnectionIsNoMessage(t *testing.T) {
	j := &fakeJudge{}
	s := serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}})
	c := dial(t, s)
	c.script(begin + "C: DATA\nS: 354 *")
	c.send("Subject: half\r\n\r\nbody\r\n")
	require.NoError(t, c.conn.Close())
	require.Eventually(t, func() bool {
		return testutil.ToFloat64(s.metrics.messages.WithLabelValues("in", "aborted")) == 1
	}, 5*time.Second, time.Millisecond)
	require.Empty(t, j.messages())
}

func TestMemoryIsBounded(t *testing.T) {
	gate := make(chan struct{})
	j := &fakeJudge{data: func(_ context.Context, env *Envelope, _ []byte) (Outcome, error) {
		<-gate
		return Outcome{ID: "m1", Recipients: make([]error, len(env.Recipients))}, nil
	}}
	opts := ServerOptions{Listeners: []Listener{open("smtp")}, MaxMessageBytes: 100_000, Memory: 150_000, MemoryWait: 30 * time.Millisecond}
	s := serve(t, j, opts)
	size := "C: MAIL FROM:<a@example.org> SIZE=100000\nS: 250 2.1.0 OK\nC: RCPT TO:<ann@example.net>\nS: 250 2.1.5 OK\n"
	first, second := dial(t, s), dial(t, s)
	first.script(greeting + "C: EHLO x.example\nS: 250-*\n" + size + "C: DATA\nS: 354 *")
	first.send(strings.Repeat(strings.Repeat("a", 98)+"\r\n", 990) + ".\r\n")
	second.script(greeting + "C: EHLO x.example\nS: 250-*\n" + size + "C: DATA\nS: 451 4.4.5 BUSY too much mail at once, try later; ID")

	// One of unknown size may begin, but not grow over what is left.
	second.script("C: MAIL FROM:<a@example.org>\nS: 250 2.1.0 OK\nC: RCPT TO:<ann@example.net>\nS: 250 2.1.5 OK\nC: DATA\nS: 354 *")
	second.send(strings.Repeat(strings.Repeat("a", 98)+"\r\n", 900) + ".\r\n")
	second.script("S: 452 4.3.1 SPOOL-FULL no room, try later; ID")
	require.LessOrEqual(t, s.budget.Used(), int64(150_000))
	close(gate)
	first.script("S: 250 2.0.0 Queued as m1")
	require.Eventually(t, func() bool { return s.budget.Used() == 0 }, 5*time.Second, time.Millisecond)
	second.script(size + "C: DATA\nS: 354 *\nC: .\nS: 250 2.0.0 Queued as m1")
}

func TestBusyLMTPAnswersDATAOnce(t *testing.T) {
	j := &fakeJudge{}
	s := serve(t, j, ServerOptions{Listeners: []Listener{open("lmtp")}, MaxMessageBytes: 100_000, Memory: 150_000, MemoryWait: time.Millisecond})
	taken, err := (&session{srv: s, ctx: context.Background(), conn: newSession(s, s.access.Load(), &s.opts.Listeners[0], nopConn{}).conn}).reserve(120_000)
	require.NoError(t, err)
	require.NotNil(t, taken)
	c := dial(t, s)
	c.script(`
		S: 220 *
		C: LHLO x.example
		S: 250-*
		C: MAIL FROM:<a@example.org> SIZE=90000
		S: 250 2.1.0 OK
		C: RCPT TO:<a@example.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<b@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 451 4.4.5 BUSY too much mail at once, try later; ID
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK`)
}

// nopConn is a socket nobody uses.
type nopConn struct{ net.Conn }

// running starts a server that the test stops itself.
func running(t *testing.T, j Judge, opts ServerOptions) (s *Server, stop func() error) {
	t.Helper()
	opts.Hostname = "relay.example.org"
	s, err := NewServer(j, opts)
	require.NoError(t, err)
	require.NoError(t, s.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(cancel)
	return s, func() error { cancel(); return <-done }
}

func TestShutdownAnswersWhatIsInHand(t *testing.T) {
	begun, gate := make(chan struct{}), make(chan struct{})
	j := &fakeJudge{data: func(context.Context, *Envelope, []byte) (Outcome, error) {
		close(begun)
		<-gate
		return Outcome{ID: "m1", Recipients: make([]error, 1)}, nil
	}}
	server, trusted := selfSigned(t)
	l := open("smtp")
	l.TLS = server
	s, stop := running(t, j, ServerOptions{Listeners: []Listener{l}, Grace: 10 * time.Second})
	idle, inTLS, inMail, inHand := dial(t, s), dial(t, s), dial(t, s), dial(t, s)
	idle.script(greeting)
	inTLS.script(greeting + "C: EHLO x.example\nS: 250-*")
	inTLS = inTLS.startTLS(trusted)
	inTLS.script("C: NOOP\nS: 250 2.0.0 OK")
	inMail.script(begin)
	inHand.script(begin + "C: DATA\nS: 354 *\nC: .")
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	idle.script("S: 421 4.3.2 SHUTDOWN going down, try later; ID\nS!")
	inTLS.script("S: 421 4.3.2 SHUTDOWN going down, try later; ID\nS!")
	inMail.script("S: 421 4.3.2 SHUTDOWN going down, try later; ID\nS!")
	_, err := net.Dial("tcp", s.Addrs()["in"].String())
	require.Error(t, err, "no new connections")
	close(gate)
	inHand.script("S: 250 2.0.0 Queued as m1\nS: 421 4.3.2 SHUTDOWN going down, try later; ID\nS!")
	require.NoError(t, <-ended)
}

func TestShutdownCutsAtTheDeadline(t *testing.T) {
	j := &fakeJudge{data: func(ctx context.Context, _ *Envelope, _ []byte) (Outcome, error) {
		<-ctx.Done()
		return Outcome{}, fmt.Errorf("spool: %w", ctx.Err())
	}}
	s, stop := running(t, j, ServerOptions{Listeners: []Listener{open("smtp")}, Grace: 50 * time.Millisecond})
	inData, inHand := dial(t, s), dial(t, s)
	inData.script(begin + "C: DATA\nS: 354 *\nC: half a message")
	inHand.script(begin + "C: DATA\nS: 354 *\nC: .")
	require.Eventually(t, func() bool { return len(j.messages()) == 1 }, 5*time.Second, time.Millisecond)
	require.NoError(t, stop())
	require.Len(t, j.messages(), 1)
}

func TestListenersAreBoundAllOrNone(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	a, b := open("smtp"), open("smtp")
	b.Name, b.Address = "other", taken.Addr().String()
	s, err := NewServer(&fakeJudge{}, ServerOptions{Hostname: "relay.example.org", Listeners: []Listener{a, b}})
	require.NoError(t, err)
	require.ErrorContains(t, s.Run(context.Background()), `listener "other"`)
	require.Empty(t, s.Addrs())
}

func TestStaleSocketIsReplacedLiveOneIsNot(t *testing.T) {
	path := t.TempDir() + "/in.sock"
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	dead.SetUnlinkOnClose(false)
	require.NoError(t, dead.Close())
	l := Listener{Name: "in", Network: "unix", Address: path, Unix: Grant{Client: "local"}}
	s := serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{l}})
	dial(t, s).script(greeting)
	second, err := NewServer(&fakeJudge{}, ServerOptions{Hostname: "relay.example.org", Listeners: []Listener{l}})
	require.NoError(t, err)
	require.Error(t, second.Listen())
	dial(t, s).script(greeting)
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	opts := ServerOptions{Hostname: "relay.example.org", Metrics: reg}
	s := serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{open("smtp")}, Metrics: reg})
	dial(t, s).script(begin + "C: DATA\nS: 354 *\nC: .\nS: 250 2.0.0 Queued as m1\nC: FOO\nS: 500 *")
	require.EqualValues(t, 1, testutil.ToFloat64(s.metrics.messages.WithLabelValues("in", "accepted")))
	require.EqualValues(t, 1, testutil.ToFloat64(s.metrics.replies.WithLabelValues("UNKNOWN")))
	n, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	require.Positive(t, n)
	_, err = NewServer(&fakeJudge{}, opts)
	require.True(t, errors.As(err, &prometheus.AlreadyRegisteredError{}))
}
