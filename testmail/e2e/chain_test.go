package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/textproto"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
	"postern/testmail/smarthost"
)

// chain is Postfix → Postern → Postfix → sink.
type chain struct {
	*site
	in, out *env.PostfixServer
}

func newChain(t *testing.T) *chain {
	sink, err := smarthost.New(smarthost.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	out := env.Postfix(t, env.PostfixOptions{Main: map[string]string{"relayhost": "[127.0.0.1]:" + port(sink.Addr()), "message_size_limit": "60000000"}})
	s := newSite(t, func(c *siteConfig) { c.Smarthost = out.Addr })
	s.Sink = sink
	in := env.Postfix(t, env.PostfixOptions{Main: map[string]string{
		"default_transport": "lmtp:inet:[127.0.0.1]:" + port(s.LMTP), "message_size_limit": "60000000",
	}})
	return &chain{s, in, out}
}

// smtpDialog sends raw commands, and a message after DATA, and fails on any
// refusal.
func smtpDialog(t *testing.T, addr string, message []byte, commands ...string) {
	t.Helper()
	c, err := textproto.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, _, err = c.ReadResponse(220)
	require.NoError(t, err)
	for _, line := range commands {
		require.NoError(t, c.PrintfLine("%s", line))
		code, msg, err := c.ReadResponse(0)
		require.NoError(t, err, line)
		require.Less(t, code, 400, "%s: %d %s", line, code, msg)
	}
	w := c.DotWriter()
	_, err = w.Write(message)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, msg, err := c.ReadResponse(250)
	require.NoError(t, err, msg)
}

func TestChainKeepsUTF8And8Bit(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	msg := "From: \"Ärger GmbH\" <orders@example.org>\r\nTo: <grüße@bücher.example>\r\nSubject: Größe ändern\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\nMessage-ID: <u1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nÄÖÜ, ohne Umwege.\r\n"
	smtpDialog(t, c.in.Addr, []byte(msg), "EHLO client.example.org",
		"MAIL FROM:<orders@example.org> SMTPUTF8 BODY=8BITMIME", "RCPT TO:<grüße@bücher.example>", "DATA")
	env.Eventually(t, 30*time.Second, "the message at the sink", func() bool { return len(c.Sink.Messages()) == 1 })
	got := c.Sink.Messages()[0]
	require.Contains(t, got.FromParams, "SMTPUTF8")
	require.True(t, strings.HasPrefix(got.To[0], "grüße@"), "the local-part is never rewritten")
	require.Contains(t, string(got.Data), "Subject: Größe ändern\r\n")
	require.Contains(t, string(got.Data), "ÄÖÜ, ohne Umwege.\r\n")
}

func TestChainCarriesDSNParameters(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	msg := "From: <orders@example.org>\r\nTo: <dora@example.net>\r\nSubject: x\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\nMessage-ID: <d1@example.org>\r\n\r\nbody\r\n"
	smtpDialog(t, c.in.Addr, []byte(msg), "EHLO client.example.org",
		"MAIL FROM:<orders@example.org> RET=HDRS ENVID=order+2B4711", "RCPT TO:<dora@example.net> NOTIFY=FAILURE,DELAY ORCPT=rfc822;dora+2Bx@example.net", "DATA")
	env.Eventually(t, 30*time.Second, "the message at the sink", func() bool { return len(c.Sink.Messages()) == 1 })
	got := c.Sink.Messages()[0]
	require.Contains(t, got.FromParams, "RET=HDRS")
	require.Contains(t, got.FromParams, "ENVID=order+2B4711")
	require.Contains(t, got.ToParams[0], "NOTIFY=FAILURE,DELAY")
	require.Contains(t, strings.ToLower(got.ToParams[0]), "orcpt=rfc822;dora+2bx@example.net")
}

func TestChainTakes100RecipientsAnd25MB(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	commands := []string{"EHLO client.example.org", "MAIL FROM:<orders@example.org>"}
	for i := range 100 {
		commands = append(commands, fmt.Sprintf("RCPT TO:<r%d@example.net>", i))
	}
	line := strings.Repeat("0123456789", 7) + "\r\n"
	body := []byte(strings.Repeat(line, (25<<20-4096)/len(line)))
	head := "From: <orders@example.org>\r\nTo: undisclosed-recipients:;\r\nSubject: large\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\nMessage-ID: <l1@example.org>\r\n\r\n"
	smtpDialog(t, c.in.Addr, append([]byte(head), body...), append(commands, "DATA")...)
	count := func() (n int) {
		for _, m := range c.Sink.Messages() {
			n += len(m.To)
		}
		return n
	}
	env.Eventually(t, 2*time.Minute, "all recipients at the sink", func() bool { return count() == 100 })
	for _, m := range c.Sink.Messages() {
		_, got, _ := bytes.Cut(m.Data, []byte("\r\n\r\n"))
		require.Equal(t, sha256.Sum256(body), sha256.Sum256(got), "the body arrives octet by octet")
	}
}

func TestPostfixSmtpSourceAsClient(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *siteConfig) { c.SMTPStreams, c.SMTPDefault = `"orders"`, "orders" })
	for _, args := range [][]string{
		{"-s", "10", "-m", "200", "-l", "4096", "-r", "1", "-f", "orders@example.org", "-t", "u@example.net", s.SMTP},
		{"-L", "-s", "5", "-m", "50", "-l", "60000", "-r", "5", "-f", "emil@example.org", "-t", "v@example.net", s.LMTP},
	} {
		cmd := exec.Command("/usr/sbin/smtp-source", args...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	env.Eventually(t, time.Minute, "all of it at the sink", func() bool {
		n := 0
		for _, m := range s.Sink.Messages() {
			n += len(m.To)
		}
		return n == 200+50*5
	})
}
