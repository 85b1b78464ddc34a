package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// relay starts a server with one plain SMTP listener and dials it.
func relay(t *testing.T, j *fakeJudge) *client {
	t.Helper()
	return dial(t, serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}}))
}

func TestSMTP_1_StrangersMayNotRelay(t *testing.T) {
	l := open("smtp")
	l.Clients = nil
	c := dial(t, serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{l}}))
	c.script(greeting + `
		C: EHLO client.example.com
		S: 250-*
		C: MAIL FROM:<news@example.org>
		S: 550 5.7.1 RELAY-DENIED this client may not relay; ID
		C: RCPT TO:<ann@example.net>
		S: 503 5.5.1 SEQUENCE bad order of commands; ID`)
}

func TestSMTP_4_VerdictAtRCPT(t *testing.T) {
	j := &fakeJudge{rcpt: func(_ context.Context, env *Envelope, r EnvelopeRecipient) error {
		if r.Address.Local() == "no" {
			return &Denial{Reason: ConsentWithdrawn, Detail: "news"}
		}
		return nil
	}}
	c := relay(t, j)
	c.script(begin + `
		C: RCPT TO:<no@example.net>
		S: 550 5.7.1 CONSENT-WITHDRAWN purpose=news consent was withdrawn; ID
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
	require.Len(t, j.last(t).Recipients, 1)
}

// TestSMTP_3 shows that every failure of the judge is 4yz or 5yz, never 250.
func TestSMTP_3_NoSilentDrop(t *testing.T) {
	for name, tc := range map[string]struct {
		out  func(env *Envelope) (Outcome, error)
		want string
	}{
		"plain error": {func(*Envelope) (Outcome, error) { return Outcome{}, errors.New("redis 10.0.0.1") }, "451 4.3.0 INTERNAL try later; ID"},
		"all denied": {func(*Envelope) (Outcome, error) {
			return Outcome{Recipients: []error{&Denial{Reason: Suppressed}}}, nil
		}, "550 5.7.1 SUPPRESSED recipient is not to be mailed; ID"},
		"no verdicts":   {func(*Envelope) (Outcome, error) { return Outcome{ID: "x"}, nil }, "451 4.3.0 INTERNAL try later; ID"},
		"too many":      {func(*Envelope) (Outcome, error) { return Outcome{Recipients: make([]error, 9)}, nil }, "451 4.3.0 INTERNAL try later; ID"},
		"whole message": {func(*Envelope) (Outcome, error) { return Outcome{}, &Denial{Reason: SplitRecipients} }, "550 5.7.1 SPLIT-RECIPIENTS send to each recipient alone; ID"},
		"spool full":    {func(*Envelope) (Outcome, error) { return Outcome{}, &Denial{Reason: SpoolFull, Defer: true} }, "452 4.3.1 SPOOL-FULL no room, try later; ID"},
	} {
		t.Run(name, func(t *testing.T) {
			j := &fakeJudge{data: func(_ context.Context, env *Envelope, _ []byte) (Outcome, error) { return tc.out(env) }}
			c := relay(t, j)
			c.script(begin + "C: DATA\nS: 354 *\nC: .\nS: " + tc.want + "\nC: MAIL FROM:<a@example.org>\nS: 250 2.1.0 OK")
		})
	}
}

func TestMixedRecipientsOverSMTPAreTaken(t *testing.T) {
	j := &fakeJudge{data: func(context.Context, *Envelope, []byte) (Outcome, error) {
		return Outcome{ID: "m2", Recipients: []error{&Denial{Reason: NoConsent}, nil}}, nil
	}}
	relay(t, j).script(begin + `
		C: RCPT TO:<bob@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m2`)
}

func TestStoppingVerdictClosesSMTPOnly(t *testing.T) {
	j := &fakeJudge{data: func(context.Context, *Envelope, []byte) (Outcome, error) {
		return Outcome{}, &Denial{Reason: Stopping, Defer: true}
	}}
	relay(t, j).script(begin + "C: DATA\nS: 354 *\nC: .\nS: 421 4.3.2 SHUTDOWN going down, try later; ID\nS!")
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{open("lmtp")}}))
	c.script(`
		S: 220 *
		C: LHLO x.example
		S: 250-*
		C: MAIL FROM:<>
		S: 250 2.1.0 OK
		C: RCPT TO:<a@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 451 4.3.2 SHUTDOWN going down, try later; ID
		C: QUIT
		S: 221 2.0.0 Bye`)
}

func TestPanicInTheJudgeLosesNothing(t *testing.T) {
	j := &fakeJudge{data: func(context.Context, *Envelope, []byte) (Outcome, error) { panic("boom") }}
	relay(t, j).script(begin + "C: DATA\nS: 354 *\nC: .\nS: 421 4.3.0 INTERNAL try later; ID\nS!")
	j.rcpt = func(context.Context, *Envelope, EnvelopeRecipient) error { panic("boom") }
	relay(t, j).script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net>
		S: 421 4.3.0 INTERNAL try later; ID
		S!`)
}

func TestSMTP_5_CommandsEndWithCRLFOnly(t *testing.T) {
	for name, line := range map[string]string{
		"LF":     "NOOP\nNOOP\r\n",
		"CR":     "NOOP\rNOOP\r\n",
		"CRCRLF": "NOOP\r\r\n",
		"NUL":    "NO\x00OP\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := relay(t, &fakeJudge{})
			c.script(greeting)
			c.send(line)
			c.script("S: 550 5.5.2 BARE-LF lines end with CRLF only; ID\nS!")
		})
	}
}

// TestSMTP_5_Smuggling sends each known way to hide a second message behind
// a fake end of data (CVE-2023-51764 and its kin).
func TestSMTP_5_Smuggling(t *testing.T) {
	ends := []string{"\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r\r\n.\r\n", "\r\n.\r\r\n", "\r\n\x00.\r\n",
		"\r\n.\x00\r\n", "\n\r\n.\r\n", "\r\n\r.\r\n", "\r\n.\n\r\n", "\n.\r", "\r.\n", "\r\n.\r\r", "\x00\r\n.\r\n"}
	for _, end := range ends {
		for _, delayed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q delayed %v", end, delayed), func(t *testing.T) {
				j := &fakeJudge{}
				c := relay(t, j)
				c.script(begin + "C: DATA\nS: 354 *")
				inner := "MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
				c.send("Subject: a\r\n\r\nbody" + end)
				if delayed && !strings.HasSuffix(end, "\r") { // a last CR waits for its LF
					c.script("S: 550 5.5.2 BARE-LF lines end with CRLF only; ID")
					_, _ = c.conn.Write([]byte(inner))
					c.closed()
					require.Empty(t, j.messages())
					return
				}
				c.send(inner)
				c.script("S: 550 5.5.2 BARE-LF lines end with CRLF only; ID\nS!")
				require.Empty(t, j.messages())
			})
		}
	}
}

// TestSMTP_5_EndInsideALine shows what is no end of data at all.
func TestSMTP_5_EndInsideALine(t *testing.T) {
	j := &fakeJudge{}
	c := relay(t, j)
	c.script(begin + "C: DATA\nS: 354 *")
	body := "x.\r\n.. \r\n.x\r\n...\r\n"
	c.send(body + ".\r\n")
	c.script("S: 250 2.0.0 Queued as m1")
	require.Equal(t, []string{"x.\r\n. \r\nx\r\n..\r\n"}, j.messages())
}

func TestBodyAfterRefusedDATAIsNotRun(t *testing.T) {
	c := relay(t, &fakeJudge{})
	c.script(greeting + "C: EHLO x.example\nS: 250-*")
	c.send("DATA\r\nMAIL FROM:<evil@example.org>\r\n")
	c.script("S: 503 5.5.1 SEQUENCE bad order of commands; ID\nS!")

	c = relay(t, &fakeJudge{})
	c.script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: DATA
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: Subject: hello
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		S!`)
}

func TestSMTP_8_Sizes(t *testing.T) {
	local, domain := strings.Repeat("l", 64), strings.Repeat(strings.Repeat("d", 59)+".", 3)+"example"
	s := serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{open("smtp")}, MaxRecipients: 100})
	c := dial(t, s)
	c.script(greeting + "C: EHLO x.example\nS: 250-*\nC: MAIL FROM:<" + local + "@example.org>\nS: 250 2.1.0 OK")
	c.script("C: RCPT TO:<a@" + domain + ">\nS: 250 2.1.5 OK")
	for i := range 99 {
		c.script(fmt.Sprintf("C: RCPT TO:<a%d@example.net>\nS: 250 2.1.5 OK", i))
	}
	c.script("C: RCPT TO:<late@example.net>\nS: 452 4.5.3 TOO-MANY-RCPT send the rest separately; ID")
	c.script("C: DATA\nS: 354 *")
	c.send(strings.Repeat("t", 998) + "\r\n" + strings.Repeat(strings.Repeat("c", 62)+"\r\n", 1024) + ".\r\n")
	c.script("S: 250 2.0.0 Queued as m1")
	c.script("C: NOOP " + strings.Repeat("x", 505) + "\nS: 250 2.0.0 OK")
	c.send("NOOP " + strings.Repeat("x", 3000) + "\r\n")
	c.script("S: 500 5.5.2 TOO-LONG command line too long; ID\nS!")
}

func TestSMTP_12_NullReversePath(t *testing.T) {
	j := &fakeJudge{}
	relay(t, j).script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<>
		S: 250 2.1.0 OK
		C: RCPT TO:<>
		S: 501 5.1.3 BAD-ADDRESS recipient address syntax; ID
		C: RCPT TO:<ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
	require.True(t, j.last(t).ReversePath.IsZero())
}

func TestSMTP_15_Size(t *testing.T) {
	l := open("smtp")
	l.Clients[0].Grant.MaxSize = 2000
	c := dial(t, serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{l}}))
	c.script(greeting + `
		C: EHLO x.example
		S: 250-relay.example.org|250-PIPELINING|250-8BITMIME|250-ENHANCEDSTATUSCODES|250-SMTPUTF8|250-DSN|250 SIZE 2000
		C: MAIL FROM:<a@example.org> SIZE=2001
		S: 552 5.3.4 TOO-BIG limit=2000 message too big; ID
		C: MAIL FROM:<a@example.org> SIZE=99999999999999999999999
		S: 501 5.5.4 ARGUMENT malformed argument; ID
		C: MAIL FROM:<a@example.org> SIZE=-1
		S: 501 5.5.4 ARGUMENT malformed argument; ID
		C: MAIL FROM:<a@example.org> SIZE=5
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *`)
	c.send(strings.Repeat("0123456789\r\n", 200) + ".\r\n")
	c.script(`
		S: 552 5.3.4 TOO-BIG limit=2000 message too big; ID
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
}

func TestSMTP_15_TooBigOverLMTP(t *testing.T) {
	c := dial(t, serve(t, &fakeJudge{}, ServerOptions{Listeners: []Listener{open("lmtp")}, MaxMessageBytes: 1000}))
	c.script(`
		S: 220 *
		C: LHLO x.example
		S: 250-*
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<a@example.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<b@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *`)
	c.send(strings.Repeat("0123456789\r\n", 200) + ".\r\n")
	c.script(`
		S: 552 5.3.4 TOO-BIG limit=1000 message too big; ID
		S: 552 5.3.4 TOO-BIG limit=1000 message too big; ID
		C: QUIT
		S: 221 2.0.0 Bye`)
}

func TestSMTP_16_NoChunking(t *testing.T) {
	c := relay(t, &fakeJudge{})
	c.script(begin)
	c.send("BDAT 10 LAST\r\nRSET\r\nQUIT")
	c.script("S: 502 5.5.1 UNKNOWN command not offered; ID\nS!")
	relay(t, &fakeJudge{}).script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<a@example.org> BODY=BINARYMIME
		S: 501 5.5.4 ARGUMENT malformed argument; ID`)
}

func TestSMTP_17_PipeliningInOrder(t *testing.T) {
	j := &fakeJudge{rcpt: func(_ context.Context, _ *Envelope, r EnvelopeRecipient) error {
		if r.Address.Local() == "no" {
			return &Denial{Reason: NoConsent}
		}
		return nil
	}}
	c := relay(t, j)
	c.script(greeting + "C: EHLO x.example\nS: 250-*")
	c.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<no@example.net>\r\nRCPT TO:<bad>\r\nRCPT TO:<yes@example.net>\r\nFOO\r\nRSET\r\nNOOP\r\nDATA\r\n")
	c.script(`
		S: 250 2.1.0 OK
		S: 550 5.7.1 NO-CONSENT no consent on record; ID
		S: 501 5.1.3 BAD-ADDRESS recipient address syntax; ID
		S: 250 2.1.5 OK
		S: 500 5.5.2 UNKNOWN command not known; ID
		S: 250 2.0.0 OK
		S: 250 2.0.0 OK
		S: 503 5.5.1 SEQUENCE bad order of commands; ID`)
}

func TestPipelinedRecipientsAreToldAhead(t *testing.T) {
	var ahead [][]string
	j := &fakeJudge{rcpt: func(_ context.Context, env *Envelope, _ EnvelopeRecipient) error {
		names := []string{}
		for _, a := range env.Ahead() {
			names = append(names, a.Local())
		}
		ahead = append(ahead, names)
		return nil
	}}
	c := relay(t, j)
	c.script(greeting + "C: EHLO x.example\nS: 250-*")
	c.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<one@example.net>\r\nrcpt to:<two@example.net> NOTIFY=NEVER\r\nRCPT TO:<bad>\r\nRCPT TO:<three@example.net>\r\nRSET\r\n")
	c.script(`
		S: 250 2.1.0 OK
		S: 250 2.1.5 OK
		S: 250 2.1.5 OK
		S: 501 5.1.3 BAD-ADDRESS recipient address syntax; ID
		S: 250 2.1.5 OK
		S: 250 2.0.0 OK`)
	require.Equal(t, [][]string{{"two"}, {}, {}}, ahead, "up to the first that is not a plain recipient")
}

func TestSMTP_18_PostmasterWithoutDomain(t *testing.T) {
	j := &fakeJudge{}
	relay(t, j).script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<Postmaster>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
	require.Equal(t, "Postmaster@relay.example.org", j.last(t).Recipients[0].Address.Plain())
}

// TestESC_1 walks through replies that go-smtp would give without a code, with
// a wrong one, or with the client's own words.
func TestESC_1_EveryReplyHasItsCode(t *testing.T) {
	relay(t, &fakeJudge{}).script(greeting + `
		C: MAIL FROM:<a@example.org>
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: HELO
		S: 501 5.5.4 ARGUMENT malformed argument; ID
		C: HELO Büro-PC(1)
		S: 250 relay.example.org
		C: LHLO x.example
		S: 500 5.5.1 UNKNOWN wrong greeting for this protocol; ID
		C: HELO x_y.example
		S: 250 relay.example.org
		C: MAIL FROM:<a@example.org> SIZE=10
		S: 555 5.5.4 ARGUMENT parameter not offered; ID
		C: EHLO [192.0.2.1]
		S: 250-*
		C: EHLO [IPv6:2001:db8::1]
		S: 250-*
		C: VRFY ann
		S: 252 2.5.0 Send mail to find out
		C: EXPN list
		S: 502 5.5.1 UNKNOWN command not offered; ID
		C: HELP
		S: 502 5.5.1 UNKNOWN command not offered; ID
		C: STARTTLS
		S: 502 5.5.1 UNKNOWN command not offered; ID
		C: AUTH PLAIN AGEAYg==
		S: 502 5.5.1 UNKNOWN command not offered; ID
		C: XCLIENT ADDR=192.0.2.1
		S: 500 5.5.2 UNKNOWN command not known; ID
		C: XFORWARD ADDR=192.0.2.1
		S: 500 5.5.2 UNKNOWN command not known; ID
		C: F
		S: 500 5.5.2 UNKNOWN command not known; ID
		C: RCPT TO:<ann@example.net>
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: MAIL FROM:<b@example.org>
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: DATA
		S: 503 5.5.1 SEQUENCE bad order of commands; ID
		C: RSET
		S: 250 2.0.0 OK
		C: QUIT
		S: 221 2.0.0 Bye
		S!`)
}

func TestUselessClientsAreSentAway(t *testing.T) {
	c := relay(t, &fakeJudge{})
	c.script(greeting)
	for range maxFaults {
		c.script("C: FOO\nS: 500 5.5.2 UNKNOWN command not known; ID")
	}
	c.script("C: FOO\nS: 500 5.5.2 UNKNOWN command not known; ID\nS: 421 4.7.0 TOO-MANY closing; ID\nS!")

	c = relay(t, &fakeJudge{})
	c.script(greeting)
	for range maxIdlers {
		c.script("C: NOOP\nS: 250 2.0.0 OK")
	}
	c.script("C: NOOP\nS: 421 4.7.0 TOO-MANY closing; ID\nS!")

	c = relay(t, &fakeJudge{rcpt: func(context.Context, *Envelope, EnvelopeRecipient) error { return &Denial{Reason: NoConsent} }})
	c.script(greeting + "C: EHLO x.example\nS: 250-*")
	for range 3 * maxFaults { // a bulk sender whose recipients are all refused is no nuisance
		c.send("MAIL FROM:<a@example.org>\r\nRCPT TO:<bad>\r\nRCPT TO:<a@example.net>\r\nDATA\r\n")
		c.script("S: 250 2.1.0 OK\nS: 501 *\nS: 550 *\nS: 503 *\nC: RSET\nS: 250 2.0.0 OK")
	}

	c = relay(t, &fakeJudge{})
	c.script(greeting)
	c.send("POST / HTTP/1.1\r\nHost: relay.example.org\r\n\r\nMAIL FROM:<a@example.org>\r\n")
	c.script("S: 500 5.5.2 UNKNOWN command not known; ID\nS!")
}

func TestJudgeGetsADeadline(t *testing.T) {
	j := &fakeJudge{
		rcpt: func(ctx context.Context, _ *Envelope, _ EnvelopeRecipient) error {
			<-ctx.Done()
			return fmt.Errorf("ask: %w", ctx.Err())
		},
	}
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}, Lookup: 20 * time.Millisecond}))
	c.script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net>
		S: 451 4.3.0 STORE-UNAVAILABLE consent can't be looked up now; ID`)
}

func TestOptionsFaultsAreAllReported(t *testing.T) {
	_, err := NewServer(&fakeJudge{}, ServerOptions{Hostname: "no host", MaxRecipients: 5,
		Accounts: []Account{{Name: "a", Hash: "$2y$"}},
		Listeners: []Listener{{Name: "a", Network: "udp"}, {Name: "a", Protocol: "x", Address: ":0", Implicit: true, RequireAuth: true},
			{Name: "b", Network: "unix", Address: "/nowhere"}}})
	require.Error(t, err)
	for _, want := range []string{"host name", "at least 100", "argon2id", "given twice", "udp", "neither smtp nor lmtp",
		"implicit TLS", "AUTH needs TLS", "address is empty", "unix socket needs"} {
		require.ErrorContains(t, err, want)
	}
}

func TestUnixSocket(t *testing.T) {
	j := &fakeJudge{}
	path := t.TempDir() + "/in.sock"
	l := Listener{Name: "in", Network: "unix", Address: path, Protocol: "lmtp", Unix: Grant{Client: "local", Streams: []string{"news"}}}
	c := dial(t, serve(t, j, ServerOptions{Listeners: []Listener{l}}))
	c.script(`
		S: 220 relay.example.org LMTP Postern
		C: LHLO x.example
		S: 250-*
		C: XFORWARD ADDR=192.0.2.7 HELO=crm.example.com
		S: 250 2.0.0 OK
		C: MAIL FROM:<a@example.org>
		S: 250 2.1.0 OK
		C: RCPT TO:<ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
	env := j.last(t)
	require.Equal(t, "local", env.Grant.Client)
	require.Equal(t, netip.Addr{}, env.Remote)
	require.Equal(t, "192.0.2.7", env.Forward.Addr)
}
