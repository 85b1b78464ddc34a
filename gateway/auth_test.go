package gateway

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// quickHash is an argon2id hash with parameters that cost nothing.
func quickHash(password string) string {
	h := passwordHash{memory: 64, time: 1, threads: 1, salt: []byte("saltsalt"), sum: make([]byte, 32)}
	h.sum = h.of(password)
	enc := base64.RawStdEncoding
	return "$argon2id$v=19$m=64,t=1,p=1$" + enc.EncodeToString(h.salt) + "$" + enc.EncodeToString(h.sum)
}

// submission is a listener for accounts; "shop" has the password "open sesame".
func submission(t testing.TB) (ServerOptions, *tls.Config) {
	server, trusted := selfSigned(t)
	return ServerOptions{
		Listeners: []Listener{{Name: "in", Address: "127.0.0.1:0", TLS: server, RequireAuth: true,
			Clients: []ClientNet{{Prefixes: loopback, Grant: Grant{Client: "crm"}}}}},
		Accounts: []Account{{Name: "shop", Hash: quickHash("open sesame"), Grant: Grant{Client: "shop", Streams: []string{"orders"}, MaxSize: 5000}}},
	}, trusted
}

// startTLS upgrades a client that has said EHLO.
func (c *client) startTLS(trusted *tls.Config) *client {
	c.t.Helper()
	c.script("C: STARTTLS\nS: 220 2.0.0 Ready to start TLS")
	conn := tls.Client(c.conn, trusted)
	require.NoError(c.t, conn.Handshake())
	return talk(c.t, conn)
}

func plain(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
}

func TestTLS_1_AuthOnlyInsideTLS(t *testing.T) {
	opts, trusted := submission(t)
	j := &fakeJudge{}
	s := serve(t, j, opts)
	c := dial(t, s)
	c.script(greeting + `
		C: EHLO x.example
		S: 250-relay.example.org|250-PIPELINING|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-SMTPUTF8|250-DSN|250-SIZE 37748736|250 STARTTLS
		C: AUTH PLAIN ` + plain("shop", "open sesame") + `
		S: 530 5.7.0 TLS-REQUIRED start TLS first; ID
		C: MAIL FROM:<a@example.org>
		S: 530 5.7.0 TLS-REQUIRED start TLS first; ID`)
	c = c.startTLS(trusted)
	c.script(`
		C: MAIL FROM:<a@example.org>
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: EHLO x.example
		S: 250-relay.example.org|250-PIPELINING|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-SMTPUTF8|250-DSN|250-SIZE 37748736|250 AUTH PLAIN LOGIN
		C: STARTTLS
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: MAIL FROM:<a@example.org>
		S: 530 5.7.0 AUTH-REQUIRED authenticate first; ID
		C: AUTH PLAIN ` + plain("shop", "wrong") + `
		S: 535 5.7.8 AUTH-FAILED user name or password wrong; ID
		C: AUTH PLAIN ` + plain("shop", "open sesame") + `
		S: 235 2.7.0 OK
		C: AUTH PLAIN ` + plain("shop", "open sesame") + `
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: MAIL FROM:<a@example.org> SIZE=5001
		S: 552 5.3.4 TOO-BIG limit=5000 message too big; ID
		C: MAIL FROM:<a@example.org> AUTH=<>
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1
		C: QUIT
		S: 221 2.0.0 Bye`)
	env := j.last(t)
	require.Equal(t, "shop", env.Auth)
	require.Equal(t, []string{"orders"}, env.Grant.Streams)
	require.True(t, strings.HasPrefix(env.TLS, "TLS1.3 TLS_"), env.TLS)
}

func TestAuthExchanges(t *testing.T) {
	opts, trusted := submission(t)
	opts.AuthFailuresPerMinute = 1000
	s := serve(t, &fakeJudge{}, opts)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, dialog := range map[string]string{
		"LOGIN": `C: AUTH LOGIN
			S: 334 VXNlcm5hbWU6
			C: ` + b64("shop") + `
			S: 334 UGFzc3dvcmQ6
			C: ` + b64("open sesame") + `
			S: 235 2.7.0 OK`,
		"LOGIN with a name": `C: AUTH LOGIN ` + b64("shop") + `
			S: 334 UGFzc3dvcmQ6
			C: ` + b64("open sesame") + `
			S: 235 2.7.0 OK`,
		"LOGIN wrong": `C: AUTH login ` + b64("shop") + `
			S: 334 UGFzc3dvcmQ6
			C: ` + b64("nope") + `
			S: 535 5.7.8 AUTH-FAILED user name or password wrong; ID`,
		"PLAIN in two steps": `C: AUTH PLAIN
			S: 334 *
			C: ` + plain("shop", "open sesame") + `
			S: 235 2.7.0 OK`,
		"PLAIN for another": `C: AUTH PLAIN ` + b64("boss\x00shop\x00open sesame") + `
			S: 535 5.7.8 AUTH-FAILED user name or password wrong; ID`,
		"PLAIN for itself": `C: AUTH PLAIN ` + b64("shop\x00shop\x00open sesame") + `
			S: 235 2.7.0 OK`,
		"unknown name": `C: AUTH PLAIN ` + plain("nobody", "x") + `
			S: 535 5.7.8 AUTH-FAILED user name or password wrong; ID`,
		"cancelled": `C: AUTH LOGIN
			S: 334 VXNlcm5hbWU6
			C: *
			S: 501 5.7.0 AUTH-CANCELLED as asked; ID`,
		"not base64": `C: AUTH PLAIN !!!
			S: 501 5.5.2 ARGUMENT credentials can't be read; ID`,
		"answer not base64": `C: AUTH LOGIN
			S: 334 VXNlcm5hbWU6
			C: MAIL FROM:<a@example.org>
			S: 501 5.5.2 ARGUMENT credentials can't be read; ID`,
		"other mechanism": `C: AUTH CRAM-MD5
			S: 504 5.5.4 ARGUMENT mechanism not offered; ID`,
		"no mechanism": `C: AUTH
			S: 501 5.5.4 ARGUMENT malformed argument; ID`,
		"broken PLAIN": `C: AUTH PLAIN ` + b64("no zeros") + `
			S: 501 5.5.2 ARGUMENT credentials can't be read; ID`,
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s)
			c.script(greeting + "C: EHLO x.example\nS: 250-*")
			c = c.startTLS(trusted)
			c.script("C: EHLO x.example\nS: 250-*\n" + dialog + "\nC: NOOP\nS: 250 2.0.0 OK")
		})
	}
}

func TestPasswordGuessersAreSentAway(t *testing.T) {
	opts, trusted := submission(t)
	opts.AuthFailuresPerMinute = 4
	s := serve(t, &fakeJudge{}, opts)
	bad := "C: AUTH PLAIN " + plain("shop", "wrong") + "\n"
	failed := "S: 535 5.7.8 AUTH-FAILED user name or password wrong; ID\n"
	c := dial(t, s)
	c.script(greeting + "C: EHLO x.example\nS: 250-*")
	c = c.startTLS(trusted)
	c.script("C: EHLO x.example\nS: 250-*\n" + bad + failed + bad + failed + bad + failed + bad + "S: 421 4.7.0 TOO-MANY closing; ID\nS!")
	c = dial(t, s)
	c.script(greeting + "C: EHLO x.example\nS: 250-*")
	c = c.startTLS(trusted)
	c.script("C: EHLO x.example\nS: 250-*\nC: AUTH PLAIN " + plain("shop", "open sesame") +
		"\nS: 454 4.7.0 AUTH-UNAVAILABLE can't check passwords now; ID")
	require.EqualValues(t, 4, testutil.ToFloat64(s.metrics.auth.WithLabelValues("failed")))
	require.EqualValues(t, 1, testutil.ToFloat64(s.metrics.auth.WithLabelValues("limited")))
}

func TestTLS_2_PlaintextBehindSTARTTLSIsThrownAway(t *testing.T) {
	opts, trusted := submission(t)
	c := dial(t, serve(t, &fakeJudge{}, opts))
	c.script(greeting + "C: EHLO x.example\nS: 250-*")
	c.send("STARTTLS\r\nEHLO evil.example\r\nAUTH PLAIN AAAA\r\n")
	c.script("S: 220 2.0.0 Ready to start TLS")
	conn := tls.Client(c.conn, trusted)
	require.NoError(t, conn.Handshake())
	c = talk(t, conn)
	c.script("C: NOOP\nS: 250 2.0.0 OK\nC: AUTH PLAIN AAAA\nS: 503 5.5.1 SEQUENCE bad order of commands; ID")
}

func TestTLS_2_StateIsForgotten(t *testing.T) {
	server, trusted := selfSigned(t)
	l := open("smtp")
	l.TLS = server
	j := &fakeJudge{}
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{l}}))
	c.script(begin)
	c = c.startTLS(trusted)
	c.script(`
		C: RCPT TO:<bob@example.net>
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: DATA
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<b@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<bob@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
	require.Len(t, j.last(t).Recipients, 1)
	require.Equal(t, "b@example.org", j.last(t).ReversePath.Plain())
}

func TestTLSHandshakeFailureCloses(t *testing.T) {
	opts, _ := submission(t)
	s := serve(t, &fakeJudge{}, opts)
	c := dial(t, s)
	c.script(greeting + "C: EHLO x.example\nS: 250-*\nC: STARTTLS\nS: 220 2.0.0 Ready to start TLS")
	c.send("this is no handshake\r\n")
	_, err := c.r.Discard(1 << 20)
	require.Error(t, err)
	require.Eventually(t, func() bool {
		return testutil.ToFloat64(s.metrics.conns.WithLabelValues("in", "tls_failed")) == 1
	}, 5*time.Second, time.Millisecond)
}

// TestTLS_1_OldVersionsAreRefused, also where the configuration of TLS says
// nothing of versions (RFC 8997).
func TestTLS_1_OldVersionsAreRefused(t *testing.T) {
	opts, trusted := submission(t)
	opts.Listeners[0].Implicit = true
	s := serve(t, &fakeJudge{}, opts)
	for version, fine := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		old := trusted.Clone()
		old.MinVersion, old.MaxVersion = version, version
		conn, err := tls.Dial("tcp", s.Addrs()["in"].String(), old)
		if !fine {
			require.Error(t, err, tls.VersionName(version))
			continue
		}
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	opts.Listeners[0].TLS.MinVersion = tls.VersionTLS11
	_, err := NewServer(&fakeJudge{}, opts)
	require.ErrorContains(t, err, "TLS below 1.2")
}

func TestImplicitTLS(t *testing.T) {
	opts, trusted := submission(t)
	opts.Listeners[0].Implicit = true
	opts.RequireTLS = true
	j := &fakeJudge{}
	s := serve(t, j, opts)
	conn, err := tls.Dial("tcp", s.Addrs()["in"].String(), trusted)
	require.NoError(t, err)
	defer conn.Close()
	c := talk(t, conn)
	c.script(greeting + `
		C: EHLO x.example
		S: 250-relay.example.org|250-PIPELINING|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-SMTPUTF8|250-DSN|250-SIZE 37748736|250-AUTH PLAIN LOGIN|250 REQUIRETLS
		C: AUTH PLAIN ` + plain("shop", "open sesame") + `
		S: 235 2.7.0 OK
		C: MAIL FROM:<a@example.org> REQUIRETLS
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *`)
	c.send(strings.Repeat("0123456789\r\n", 300) + ".\r\n")
	c.script("S: 250 2.0.0 Queued as m1\nC: QUIT\nS: 221 2.0.0 Bye")
	require.True(t, j.last(t).RequireTLS)
}

func TestHashes(t *testing.T) {
	h, err := parseHash(HashPassword("secret"))
	require.NoError(t, err)
	require.EqualValues(t, 19<<10, h.memory)
	require.Equal(t, h.sum, h.of("secret"))
	require.NotEqual(t, h.sum, h.of("Secret"))
	for name, s := range map[string]string{
		"empty":       "",
		"bcrypt":      "$2y$10$abcdefghijklmnopqrstuv",
		"argon2i":     "$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43),
		"no salt":     "$argon2id$v=19$m=64,t=1,p=1$$" + strings.Repeat("A", 43),
		"huge memory": "$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43),
		"no time":     "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$" + strings.Repeat("A", 43),
		"not base64":  "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$" + strings.Repeat("!", 43),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseHash(s)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "c2FsdHNhbHQ")
		})
	}
}

func TestPasswordsAreHashedAFewAtATime(t *testing.T) {
	now := time.Unix(1000, 0)
	o := ServerOptions{AuthParallel: 1, AuthRemember: time.Minute, Now: func() time.Time { return now },
		Accounts: []Account{{Name: "shop", Hash: quickHash("open sesame")}}}
	p, err := newPasswords(&o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	a, remembered, err := p.check(ctx, "shop", "open sesame")
	require.NoError(t, err)
	require.False(t, remembered)
	require.Equal(t, "shop", a.Name)

	p.slots <- struct{}{} // somebody else is hashing
	cancel()
	_, remembered, err = p.check(ctx, "shop", "open sesame")
	require.NoError(t, err)
	require.True(t, remembered, "a known password needs no slot")
	for _, try := range [][2]string{{"shop", "wrong"}, {"nobody", "open sesame"}, {"sho", "popen sesame"}} {
		_, _, err = p.check(ctx, try[0], try[1])
		require.ErrorIs(t, err, errAuthBusy)
	}
	now = now.Add(2 * time.Minute)
	_, _, err = p.check(ctx, "shop", "open sesame")
	require.ErrorIs(t, err, errAuthBusy, "forgotten after its time")
}

func TestRightsOfUnixSocketAndNetworks(t *testing.T) {
	l := open("smtp")
	l.Clients = append([]ClientNet{{Grant: Grant{Client: "none"}}}, l.Clients...)
	require.Equal(t, "crm", l.grantOf(addrOf(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)})).Client)
	require.Equal(t, "crm", l.grantOf(addrOf(&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1")})).Client)
	require.Nil(t, l.grantOf(addrOf(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)})))
	require.Nil(t, l.grantOf(addrOf(&net.UnixAddr{})), "a TCP listener has no unix peers")
	l.RequireAuth = true
	require.Nil(t, l.grantOf(addrOf(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)})))
}
