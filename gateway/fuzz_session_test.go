package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// taped is a socket whose input is known beforehand, read in steps.
type taped struct {
	in   []byte
	step int
	out  bytes.Buffer
}

func (c *taped) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.step)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *taped) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *taped) Close() error                     { return nil }
func (c *taped) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *taped) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (c *taped) SetDeadline(time.Time) error      { return nil }
func (c *taped) SetReadDeadline(time.Time) error  { return nil }
func (c *taped) SetWriteDeadline(time.Time) error { return nil }

// one is a listener that gives one connection.
type one struct {
	conn net.Conn
	done chan struct{}
}

func (l *one) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}
func (l *one) Close() error   { close(l.done); return nil }
func (l *one) Addr() net.Addr { return &net.TCPAddr{} }

// tape runs one session over the input and gives what the client would see.
func tape(t testing.TB, j Judge, protocol string, in []byte, step int) (out string, s *Server) {
	l := open(protocol)
	l.XClient, l.XForward = loopback, loopback
	s, err := NewServer(j, ServerOptions{Hostname: "relay.example.org", Listeners: []Listener{l}, MaxMessageBytes: 64 << 10, MaxRecipients: 100})
	require.NoError(t, err)
	defer s.cut()
	conn := &taped{in: in, step: step}
	single := &one{conn, make(chan struct{})}
	served := make(chan error, 1)
	on := &s.opts.Listeners[0]
	wrapped := &listener{Listener: single, srv: s, on: on}
	go func() { served <- s.protocol(on).Serve(&handOver{wrapped, single}) }()
	<-single.done
	require.Eventually(t, func() bool { return s.drained(time.Second) }, 10*time.Second, time.Millisecond)
	<-served
	return conn.out.String(), s
}

// handOver closes the listener once the connection was taken.
type handOver struct {
	*listener
	single *one
}

func (h *handOver) Accept() (net.Conn, error) {
	c, err := h.listener.Accept()
	if err == nil {
		_ = h.single.Close()
	}
	return c, err
}

var (
	replyLineForm = regexp.MustCompile(`^[2-5][0-9][0-9][ -][ -~]*$`)
	enhancedForm  = regexp.MustCompile(`^([245])[0-9][0-9][ -]([245])\.[0-9]\.[0-9]{1,2}( |$)`)
)

// wellFormed checks all replies of a session (RFC 5321 section 4.2, RFC 2034).
func wellFormed(t testing.TB, out string) (queued int) {
	require.True(t, strings.HasSuffix(out, "\r\n"), "%q", out)
	hello := false
	for i, l := range strings.Split(strings.TrimSuffix(out, "\r\n"), "\r\n") {
		require.LessOrEqual(t, len(l), 510)
		require.Regexp(t, replyLineForm, l)
		require.NotContains(t, l, "@", "an address was echoed")
		switch {
		case i == 0 || l[:3] == "354" || l[:3] == "334" || strings.HasPrefix(l, "220 relay.example.org"):
		case hello || l == "250 relay.example.org" || strings.HasPrefix(l, "250-relay.example.org"):
			hello = l[3] == '-'
		default:
			m := enhancedForm.FindStringSubmatch(l)
			require.NotNil(t, m, "%q lacks its code", l)
			require.Equal(t, m[1], m[2], "%q", l)
		}
		if strings.HasPrefix(l, "250 2.0.0 Queued as") {
			queued++
		}
	}
	return queued
}

func FuzzSession(f *testing.F) {
	envelope := "EHLO c.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n"
	for _, seed := range []string{
		envelope + "Subject: x\r\n\r\n..y\r\n.\r\nQUIT\r\n",
		envelope + "x\n.\nMAIL FROM:<a@example.org>\r\n.\r\nQUIT\r\n",
		envelope + "x\r\n.\r\n" + strings.TrimPrefix(envelope, "EHLO c.example\r\n") + "y\r\n.\r\n",
		"LHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n.\r\n",
		"HELO c\r\nMAIL FROM:<\"a b\"@example.org> SMTPUTF8\r\nRSET\r\nVRFY x\r\nNOOP\r\nHELP\r\n",
		"XCLIENT ADDR=127.0.0.2 LOGIN=x\r\nXFORWARD NAME=a HELO=b\r\nEHLO c\r\nAUTH PLAIN AAAA\r\nSTARTTLS\r\nBDAT 3 LAST\r\nabc",
		"EHLO c\r\nMAIL FROM:<a@example.org> SIZE=9 RET=FULL ENVID=x+2By BODY=8BITMIME\r\nRCPT TO:<@r:b@example.net> NOTIFY=NEVER ORCPT=rfc822;b+C3+BC\r\nDATA\r\n\r\n.\r\n",
		"GET / HTTP/1.1\r\n\r\n", "DATA\r\nMAIL\r\n", "\x00\r\n", "\r\n\r\n", "EHLO \xff\r\nMAIL FROM:<\xff@x>\r\n",
	} {
		f.Add([]byte(seed), 4096, false)
		f.Add([]byte(seed), 1, true)
	}
	f.Fuzz(func(t *testing.T, in []byte, step int, lmtp bool) {
		if step < 1 || len(in) > 32<<10 {
			return
		}
		protocol := "smtp"
		if lmtp {
			protocol = "lmtp"
		}
		j := &fakeJudge{}
		out, s := tape(t, j, protocol, bytes.Clone(in), step)
		require.Zero(t, testutil.ToFloat64(s.metrics.panics))
		require.Zero(t, s.budget.Used())
		queued := wellFormed(t, out)
		require.LessOrEqual(t, len(j.messages()), bytes.Count(append([]byte("\r\n"), in...), []byte("\r\n.\r\n")))
		if !lmtp {
			require.Equal(t, len(j.messages()), queued)
		}
		for _, m := range j.messages() {
			rest := strings.ReplaceAll(m, "\r\n", "")
			require.False(t, strings.ContainsAny(rest, "\r\n\x00"), "%q", m)
		}
	})
}

// TestSessionIsTheSameHoweverItArrives compares one write with single octets.
func TestSessionIsTheSameHoweverItArrives(t *testing.T) {
	in := "EHLO c.example\r\nFOO\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n" +
		"Subject: x\r\n\r\n" + strings.Repeat("..line\r\n", 3000) + ".\r\nMAIL FROM:<>\r\nRCPT TO:<d@example.net>\r\nDATA\r\n.\r\nQUIT\r\nNOOP\r\n"
	id := regexp.MustCompile(`; [a-z0-9]{12}\r\n`)
	var want string
	for _, step := range []int{1, 2, 3, 5, 100, 4095, 4096, 4097, 1 << 20} {
		j := &fakeJudge{}
		out, _ := tape(t, j, "smtp", []byte(in), step)
		require.Equal(t, 2, wellFormed(t, out))
		out = id.ReplaceAllString(out, "; ID\r\n")
		got := fmt.Sprintf("%s%q", out, j.messages())
		if want == "" {
			want = got
		}
		require.Equal(t, want, got)
	}
	require.Contains(t, want, "221 2.0.0 Bye")
}
