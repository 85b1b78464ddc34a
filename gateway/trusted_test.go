package gateway

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/require"
)

// behind is a listener for one remote network, reached through loopback.
func behind(set func(*Listener)) Listener {
	l := Listener{Name: "in", Address: "127.0.0.1:0", Clients: []ClientNet{
		{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
			Grant: Grant{Client: "office", Streams: []string{"news"}}}}}
	set(&l)
	return l
}

const mailFrom = "C: EHLO x.example\nS: 250-*\nC: MAIL FROM:<a@example.org>\n"

func TestXCLIENT(t *testing.T) {
	j := &fakeJudge{}
	s := serve(t, j, ServerOptions{Listeners: []Listener{behind(func(l *Listener) { l.XClient = loopback })},
		Accounts: []Account{{Name: "shop", Hash: quickHash("x"), Grant: Grant{Client: "shop", Streams: []string{"orders"}}}}})
	c := dial(t, s)
	c.script(greeting + mailFrom + `S: 550 5.7.1 RELAY-DENIED this client may not relay; ID
		C: XCLIENT ADDR=192.0.2.7 NAME=host.example.com PORT=4711 PROTO=ESMTP HELO=host.example.com
		S: 220 relay.example.org ESMTP Postern
		C: MAIL FROM:<a@example.org>
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: EHLO x.example
		S: 250-relay.example.org|250-PIPELINING|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-SMTPUTF8|250-DSN|250-SIZE 37748736|250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: XCLIENT ADDR=192.0.2.8
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: RCPT TO:<ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
	require.Equal(t, netip.MustParseAddr("192.0.2.7"), j.last(t).Remote)
	require.Equal(t, "office", j.last(t).Grant.Client)

	c.script("C: XCLIENT ADDR=IPV6:2001:db8::1\nS: 220 *\n" + mailFrom + "S: 250 2.1.0 OK\nC: RSET\nS: 250 2.0.0 OK")
	c.script("C: XCLIENT ADDR=198.51.100.1\nS: 220 *\n" + mailFrom + "S: 550 5.7.1 RELAY-DENIED this client may not relay; ID")
	c.script("C: XCLIENT ADDR=198.51.100.1 LOGIN=shop\nS: 220 *\n" + mailFrom + "S: 250 2.1.0 OK\nC: RSET\nS: 250 2.0.0 OK")
	c.script("C: XCLIENT LOGIN=nobody\nS: 550 5.7.1 RELAY-DENIED this client may not relay; ID")
	for _, bad := range []string{"", " ADDR", " ADDR=not.an.address", " ADDR=192.0.2.1 ADDR=192.0.2.2", " COLOUR=red",
		" ADDR=192.0.2.1 PORT=99999", " NAME=a+0D+0Ab", " ADDR=fe80::1+25eth0"} {
		c.script("C: XCLIENT" + bad + "\nS: 501 5.5.4 ARGUMENT malformed argument; ID")
	}
}

func TestXFORWARD(t *testing.T) {
	j := &fakeJudge{}
	l := open("smtp")
	l.XForward = loopback
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{l}}))
	deliver := `
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: XFORWARD NAME=late
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: RCPT TO:<ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`
	c.script(greeting + `
		C: EHLO x.example
		S: 250-relay.example.org|250-PIPELINING|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-SMTPUTF8|250-DSN|250-SIZE 37748736|250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE
		C: XFORWARD NAME=crm.example.com ADDR=192.0.2.9 PORT=5000
		S: 250 2.0.0 OK
		C: XFORWARD PROTO=ESMTP HELO=crm IDENT=4fQ SOURCE=REMOTE
		S: 250 2.0.0 OK` + deliver)
	require.Equal(t, &Forward{Name: "crm.example.com", Addr: "192.0.2.9", Port: "5000", Proto: "ESMTP", Helo: "crm", Ident: "4fQ",
		Source: "REMOTE"}, j.last(t).Forward)
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), j.last(t).Remote, "it gives no rights")
	c.script(deliver)
	require.Nil(t, j.last(t).Forward, "it holds for one message")
	c.script("C: XFORWARD NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL]\nS: 250 2.0.0 OK\nC: XFORWARD LOGIN=shop\nS: 501 5.5.4 ARGUMENT malformed argument; ID")
	c.script(deliver)
	require.Equal(t, &Forward{}, j.last(t).Forward)
}

func TestPROXYProtocol(t *testing.T) {
	src, dst := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 30), Port: 999}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 31), Port: 25}
	server, trusted := selfSigned(t)
	for _, version := range []byte{1, 2} {
		j := &fakeJudge{}
		c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{behind(func(l *Listener) { l.Proxy, l.TLS = loopback, server })}}))
		_, err := proxyproto.HeaderProxyFromAddrs(version, src, dst).WriteTo(c.conn)
		require.NoError(t, err)
		c.script(greeting + "C: EHLO x.example\nS: 250-*")
		c = c.startTLS(trusted)
		c.script(mailFrom + "S: 250 2.1.0 OK\nC: RCPT TO:<ann@example.net>\nS: 250 2.1.5 OK\nC: DATA\nS: 354 *\nC: .\nS: 250 2.0.0 Queued as m1")
		require.Equal(t, netip.MustParseAddr("192.0.2.30"), j.last(t).Remote)
	}
}

func TestPROXYProtocolBeforeImplicitTLS(t *testing.T) {
	server, trusted := selfSigned(t)
	j := &fakeJudge{}
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{behind(func(l *Listener) { l.Proxy, l.TLS, l.Implicit = loopback, server, true })}}))
	header := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.ParseIP("2001:db8::9"), Port: 1}, &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 465})
	_, err := header.WriteTo(c.conn)
	require.NoError(t, err)
	conn := tls.Client(c.conn, trusted)
	require.NoError(t, conn.Handshake())
	talk(t, conn).script(greeting + mailFrom + "S: 250 2.1.0 OK\nC: RCPT TO:<ann@example.net>\nS: 250 2.1.5 OK\nC: DATA\nS: 354 *\nC: .\nS: 250 2.0.0 Queued as m1")
	require.Equal(t, netip.MustParseAddr("2001:db8::9"), j.last(t).Remote)
}

func TestPROXYProtocolIsDemanded(t *testing.T) {
	s := serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{behind(func(l *Listener) { l.Proxy = loopback })}})
	c := dial(t, s)
	c.send("EHLO x.example\r\n")
	c.closed()
}

func TestPROXYHeaderFromOthersIsNoneOfOurs(t *testing.T) {
	c := dial(t, serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{open("smtp")}}))
	c.script(greeting + "C: PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nS: 500 5.5.2 UNKNOWN command not known; ID")
}
