package gateway

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeJudge accepts everything unless told otherwise, and keeps what it got.
type fakeJudge struct {
	rcpt func(ctx context.Context, env *Envelope, r EnvelopeRecipient) error
	data func(ctx context.Context, env *Envelope, raw []byte) (Outcome, error)

	mu   sync.Mutex
	got  []string
	envs []Envelope
}

func (f *fakeJudge) Rcpt(ctx context.Context, env *Envelope, r EnvelopeRecipient) error {
	if f.rcpt != nil {
		return f.rcpt(ctx, env, r)
	}
	return nil
}

func (f *fakeJudge) Data(ctx context.Context, env *Envelope, raw []byte) (Outcome, error) {
	f.mu.Lock()
	f.got = append(f.got, string(raw))
	f.envs = append(f.envs, *env)
	f.mu.Unlock()
	if f.data != nil {
		return f.data(ctx, env, raw)
	}
	return Outcome{ID: "m1", Recipients: make([]error, len(env.Recipients))}, nil
}

func (f *fakeJudge) messages() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.got...)
}

func (f *fakeJudge) last(t *testing.T) Envelope {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.NotEmpty(t, f.envs)
	return f.envs[len(f.envs)-1]
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// open is a listener that loopback clients may use.
func open(protocol string) Listener {
	return Listener{Name: "in", Address: "127.0.0.1:0", Protocol: protocol,
		Clients: []ClientNet{{Prefixes: loopback, Grant: Grant{Client: "crm", Streams: []string{"news"}, Default: "news"}}}}
}

// serve starts a server for the test and ends it with it.
func serve(t testing.TB, judge Judge, opts ServerOptions) *Server {
	t.Helper()
	if opts.Hostname == "" {
		opts.Hostname = "relay.example.org"
	}
	if opts.Grace == 0 {
		opts.Grace = 5 * time.Second
	}
	s, err := NewServer(judge, opts)
	require.NoError(t, err)
	require.NoError(t, s.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return s
}

// client speaks raw SMTP.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, s *Server) *client {
	t.Helper()
	a := s.Addrs()["in"]
	conn, err := net.Dial(a.Network(), a.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return talk(t, conn)
}

func talk(t testing.TB, conn net.Conn) *client {
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) send(raw string) {
	c.t.Helper()
	_, err := c.conn.Write([]byte(raw))
	require.NoError(c.t, err)
}

// reply reads one reply, lines joined by "|", with the session id replaced.
func (c *client) reply() string {
	c.t.Helper()
	var lines []string
	for {
		l, err := c.r.ReadString('\n')
		require.NoError(c.t, err, "after %q", lines)
		require.LessOrEqual(c.t, len(l), 512)
		require.True(c.t, strings.HasSuffix(l, "\r\n"), "%q", l)
		l = strings.TrimSuffix(l, "\r\n")
		if i := strings.LastIndex(l, "; "); i >= 0 && len(l)-i == 14 {
			l = l[:i] + "; ID"
		}
		lines = append(lines, l)
		if len(l) < 4 || l[3] == ' ' {
			return strings.Join(lines, "|")
		}
	}
}

// script runs a transcript: "C: " is sent with CRLF, "S: " is expected (a
// trailing "*" matches anything), "S!" is the end of the connection.
func (c *client) script(text string) {
	c.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "C: "):
			c.send(line[3:] + "\r\n")
		case strings.HasPrefix(line, "S: "):
			want, got := line[3:], c.reply()
			if prefix, ok := strings.CutSuffix(want, "*"); ok {
				require.True(c.t, strings.HasPrefix(got, prefix), "want %q, got %q", want, got)
			} else {
				require.Equal(c.t, want, got)
			}
		case line == "S!":
			c.closed()
		case line != "":
			c.t.Fatalf("bad transcript line %q", line)
		}
	}
}

// closed expects the server to have closed the connection.
func (c *client) closed() {
	c.t.Helper()
	_, err := c.r.ReadByte()
	require.Error(c.t, err)
	ne, ok := err.(net.Error)
	require.False(c.t, ok && ne.Timeout(), "still open")
}

// selfSigned gives a certificate for tests and the pool that trusts it.
func selfSigned(t testing.TB) (*tls.Config, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay.example.org"},
		DNSNames: []string{"relay.example.org"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: "relay.example.org"}
}

const greeting = "S: 220 relay.example.org ESMTP Postern\n"

// begin greets and gives an envelope with one recipient.
const begin = greeting + `
	C: EHLO client.example.com
	S: 250-relay.example.org*
	C: MAIL FROM:<news@example.org>
	S: 250 2.1.0 OK
	C: RCPT TO:<ann@example.net>
	S: 250 2.1.5 OK
`

func TestAcceptsMail(t *testing.T) {
	j := &fakeJudge{}
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}}))
	c.script(greeting + `
		C: EHLO client.example.com
		S: 250-relay.example.org|250-PIPELINING|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-SMTPUTF8|250-DSN|250 SIZE 37748736
		C: MAIL FROM:<news@example.org> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=a+2Bb
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net> NOTIFY=FAILURE,DELAY ORCPT=rfc822;ann+40example.net
		S: 250 2.1.5 OK
		C: DATA
		S: 354 End data with <CR><LF>.<CR><LF>
	`)
	c.send("Subject: hello\r\n\r\n..dot\r\nend\r\n.\r\nNOOP\r\n")
	c.script(`
		S: 250 2.0.0 Queued as m1
		S: 250 2.0.0 OK
		C: QUIT
		S: 221 2.0.0 Bye
		S!`)
	require.Equal(t, []string{"Subject: hello\r\n\r\n.dot\r\nend\r\n"}, j.messages())
	env := j.last(t)
	require.Equal(t, "crm", env.Grant.Client)
	require.Equal(t, "client.example.com", env.Helo)
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), env.Remote)
	require.Equal(t, "a+b", env.EnvID)
	require.Equal(t, "HDRS", env.Ret)
	require.True(t, env.EightBit)
	require.False(t, env.LMTP)
	require.Equal(t, 14, env.LongestLine)
	require.Equal(t, "FAILURE,DELAY", env.Recipients[0].Notify)
	require.Equal(t, "rfc822;ann@example.net", env.Recipients[0].ORcpt)
}

func TestPipelinedRepliesComeInOneWrite(t *testing.T) {
	j := &fakeJudge{}
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}}))
	c.script(greeting)
	c.send("EHLO client.example.com\r\n")
	c.reply()
	c.send("MAIL FROM:<news@example.org>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
	c.reply()
	require.Equal(t, len("250 2.1.5 OK\r\n")*2+len("354 End data with <CR><LF>.<CR><LF>\r\n"), c.r.Buffered())
	c.script("S: 250 2.1.5 OK\nS: 250 2.1.5 OK\nS: 354*")
	c.send("x: y\r\n\r\n.\r\nMAIL FROM:<news@example.org>\r\nRCPT TO:<c@example.net>\r\nQUIT\r\n")
	c.script("S: 250 2.0.0 Queued as m1\nS: 250 2.1.0 OK\nS: 250 2.1.5 OK\nS: 221 2.0.0 Bye\nS!")
}

func TestLMTPAnswersEachRecipient(t *testing.T) {
	j := &fakeJudge{data: func(_ context.Context, env *Envelope, _ []byte) (Outcome, error) {
		require.True(t, env.LMTP)
		require.Len(t, env.Recipients, 3)
		return Outcome{ID: "m7", Recipients: []error{nil, &Denial{Reason: NoConsent, Detail: "news"},
			fmt.Errorf("ask: %w", &Denial{Reason: StoreUnavailable, Defer: true})}}, nil
	}}
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{open("lmtp")}}))
	c.script(`
		S: 220 relay.example.org LMTP Postern
		C: EHLO client.example.com
		S: 500 5.5.1 UNKNOWN wrong greeting for this protocol; ID
		C: LHLO client.example.com
		S: 250-relay.example.org*
		C: MAIL FROM:<news@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<a@example.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<b@example.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<c@example.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<a@EXAMPLE.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354*
		C: .
		S: 250 2.0.0 Queued as m7
		S: 550 5.7.1 NO-CONSENT purpose=news no consent on record; ID
		S: 451 4.3.0 STORE-UNAVAILABLE consent can't be looked up now; ID
		S: 250 2.0.0 Queued as m7
		C: QUIT
		S: 221 2.0.0 Bye
		S!`)
}
