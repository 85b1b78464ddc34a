package gateway

import (
	"context"
	"fmt"
	"net/smtp"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// postfixThrough starts a real Postfix that relays everything to us by LMTP.
func postfixThrough(t *testing.T, s *Server) *env.PostfixServer {
	t.Helper()
	return env.Postfix(t, env.PostfixOptions{Main: map[string]string{
		"default_transport":               "lmtp:inet:" + s.Addrs()["in"].String(),
		"relay_transport":                 "lmtp:inet:" + s.Addrs()["in"].String(),
		"lmtp_send_xforward_command":      "yes",
		"smtpd_authorized_xforward_hosts": "127.0.0.0/8",
		"message_size_limit":              "40000000",
	}})
}

func lmtpListener() Listener {
	l := open("lmtp")
	l.XForward = loopback
	return l
}

// waitFor waits until the judge has got n messages.
func (f *fakeJudge) waitFor(t *testing.T, n int) []Envelope {
	t.Helper()
	require.Eventually(t, func() bool { return len(f.messages()) >= n }, 30*time.Second, 10*time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Envelope(nil), f.envs...)
}

func TestPostfixAsClient(t *testing.T) {
	j := &fakeJudge{data: func(_ context.Context, env *Envelope, _ []byte) (Outcome, error) {
		out := Outcome{ID: "m1", Recipients: make([]error, len(env.Recipients))}
		for i, r := range env.Recipients {
			if r.Address.Local() == "refused" {
				out.Recipients[i] = &Denial{Reason: NoConsent, Detail: "news"}
			}
		}
		return out, nil
	}}
	s := serve(t, j, ServerOptions{Listeners: []Listener{lmtpListener()}})
	p := postfixThrough(t, s)
	t.Run("one refused recipient", func(t *testing.T) { postfixRefused(t, j, p) })
	t.Run("100 recipients and 25 MB", func(t *testing.T) { postfixMuch(t, j, p) })
}

// postfixRefused: UTF-8 and DSN parameters, XFORWARD, and an answer per
// recipient that Postfix turns into a bounce for the refused one alone.
func postfixRefused(t *testing.T, j *fakeJudge, p *env.PostfixServer) {
	c, err := smtp.Dial(p.Addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Hello("crm.example.com"))
	for _, step := range []struct {
		code int
		line string
	}{
		{250, "MAIL FROM:<grüße@example.org> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=run+2B1"},
		{250, "RCPT TO:<ünal@example.net> NOTIFY=FAILURE"},
		{250, "RCPT TO:<refused@example.net> NOTIFY=FAILURE"},
		{354, "DATA"},
		{250, "From: grüße@example.org\r\nTo: ünal@example.net\r\nSubject: Grüße\r\n\r\n.hidden dot\r\n."},
	} {
		_, err := c.Text.Cmd("%s", step.line)
		require.NoError(t, err)
		_, _, err = c.Text.ReadResponse(step.code)
		require.NoError(t, err, step.line)
	}
	envs := j.waitFor(t, 2) // the second is Postfix's bounce
	env := envs[0]
	require.True(t, env.UTF8)
	require.True(t, env.EightBit)
	require.Equal(t, "run+1", env.EnvID)
	require.Equal(t, "HDRS", env.Ret)
	require.Len(t, env.Recipients, 2)
	i := slices.IndexFunc(env.Recipients, func(r EnvelopeRecipient) bool { return r.Address.Plain() == "ünal@example.net" })
	require.GreaterOrEqual(t, i, 0)
	require.Equal(t, "utf-8;ünal@example.net", env.Recipients[i].ORcpt)
	require.Equal(t, "FAILURE", env.Recipients[i].Notify)
	require.NotNil(t, env.Forward)
	require.Equal(t, "127.0.0.1", env.Forward.Addr)
	require.Equal(t, "crm.example.com", env.Forward.Helo)
	require.Contains(t, j.messages()[0], "\r\nhidden dot\r\n")
	require.True(t, envs[1].ReversePath.IsZero())
	require.Equal(t, "grüße@example.org", envs[1].Recipients[0].Address.Plain())
	bounce := j.messages()[1]
	require.Contains(t, bounce, "550 5.7.1 NO-CONSENT purpose=news")
	require.Contains(t, bounce, "Status: 5.7.1")
	require.NotContains(t, bounce, "Final-Recipient: rfc822;ünal")
}

func postfixMuch(t *testing.T, j *fakeJudge, p *env.PostfixServer) {
	before := len(j.messages())
	var to []string
	for i := range 100 {
		to = append(to, fmt.Sprintf("r%d@example.net", i))
	}
	require.NoError(t, smtp.SendMail(p.Addr, nil, "a@example.org", to, []byte("Subject: many\r\n\r\nx\r\n")))
	require.Eventually(t, func() bool {
		n := 0
		for _, e := range j.waitFor(t, before+1)[before:] {
			n += len(e.Recipients)
		}
		return n == 100
	}, 30*time.Second, 10*time.Millisecond)

	before = len(j.messages())
	big := []byte("Subject: big\r\n\r\n" + strings.Repeat(strings.Repeat("b", 76)+"\r\n", 25_000_000/78))
	require.NoError(t, smtp.SendMail(p.Addr, nil, "a@example.org", to[:1], big))
	j.waitFor(t, before+1)
	got := j.messages()[before]
	require.True(t, strings.HasSuffix(got, string(big[16:])), "the body came through unchanged: %d octets", len(got))
}

// TestKnownClients drives a listener with what administrators use.
func TestKnownClients(t *testing.T) {
	j := &fakeJudge{}
	s := serve(t, j, ServerOptions{Listeners: []Listener{open("smtp")}})
	addr := s.Addrs()["in"].String()
	run := func(name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	out := run("swaks", "--server", addr, "--from", "a@example.org", "--to", "ann@example.net,bob@example.net",
		"--ehlo", "client.example.com", "--pipeline")
	require.Contains(t, out, "250 2.0.0 Queued as m1")
	require.Len(t, j.last(t).Recipients, 2)
	run("/usr/sbin/smtp-source", "-s", "20", "-m", "300", "-l", "4096", "-f", "a@example.org", "-t", "ann@example.net", addr)
	require.Len(t, j.messages(), 301)
}
