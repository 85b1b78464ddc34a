package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
	"postern/testmail/smarthost"
)

const oneClickBody = "List-Unsubscribe=One-Click"

var unsubscribeLink = regexp.MustCompile(`(?is)List-Unsubscribe:\s*<https://mail\.example\.org(/[^>]+)>`)

// company is a site between two real Postfix servers and a real Dovecot: one
// Postfix hands its mail over by LMTP as deploy/docs/postfix.md says, the
// other by SMTP.
type company struct {
	*site
	lmtp, smtp *env.PostfixServer
	dovecot    *env.DovecotServer
}

func newCompany(t *testing.T, change func(*siteConfig)) *company {
	d := env.Dovecot(t)
	s := newSite(t, func(c *siteConfig) {
		c.Dovecot = d
		if change != nil {
			change(c)
		}
	})
	return &company{
		site: s, dovecot: d,
		lmtp: env.Postfix(t, env.PostfixOptions{Main: map[string]string{
			"default_transport":          "lmtp:inet:[127.0.0.1]:" + port(s.LMTP),
			"lmtp_send_xforward_command": "yes",
		}}),
		smtp: env.Postfix(t, env.PostfixOptions{Main: map[string]string{"relayhost": "[127.0.0.1]:" + port(s.SMTP)}}),
	}
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// news sends a newsletter through one of the Postfix servers.
func (c *company) news(via *env.PostfixServer, subject string, to ...string) {
	c.t.Helper()
	args := []string{"--from", "news@example.org", "--to", strings.Join(to, ","), "--h-Subject", subject,
		"--header", "X-Postern-Stream: newsletter", "--body", "Fresh bread and warm socks."}
	out, code := swaks(c.t, via.Addr, args...)
	require.Zero(c.t, code, out)
}

// logged waits until a Postfix has logged both words for a recipient in one line.
func logged(t *testing.T, p *env.PostfixServer, rcpt string, words ...string) {
	t.Helper()
	env.Eventually(t, 60*time.Second, fmt.Sprintf("Postfix to log %q", words), func() bool {
		for _, line := range strings.Split(p.LogText(), "\n") {
			found := strings.Contains(line, "to=<"+rcpt+">")
			for _, w := range words {
				found = found && strings.Contains(line, w)
			}
			if found {
				return true
			}
		}
		return false
	})
}

// letter is a mail of a person to privacy@.
func letter(from, subject, text string) []byte {
	return fmt.Appendf(nil, "Return-Path: <%[1]s>\r\nReceived: from mail.example.net by mx.example.org; %[4]s\r\nFrom: <%[1]s>\r\nTo: privacy@example.org\r\nSubject: %[2]s\r\nMessage-ID: <%[5]d@example.net>\r\nDate: %[4]s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%[3]s\r\n",
		from, subject, text, time.Now().Format(time.RFC1123Z), time.Now().UnixNano())
}

func TestRelayUnsubscribeAndLoopOnRealServers(t *testing.T) {
	t.Parallel()
	c := newCompany(t, nil)
	for _, who := range []string{"anna@example.net", "bert@example.net", "dora@example.net"} {
		c.grant(who)
	}

	// Over LMTP each recipient has its own answer: one refused, two delivered.
	c.news(c.lmtp, "first", "anna@example.net", "bert@example.net", "carla@example.net")
	c.wait("anna@example.net", 1)
	c.wait("bert@example.net", 1)
	logged(t, c.lmtp, "carla@example.net", "550 5.7.1 NO-CONSENT", "status=bounced")
	require.Zero(t, c.to("carla@example.net"))
	tokens := map[string]bool{}
	for _, who := range []string{"anna@example.net", "bert@example.net"} {
		head, _, _ := strings.Cut(c.data(who), "\r\n\r\n")
		require.Equal(t, 1, strings.Count(head, "List-Unsubscribe:"), head)
		require.Equal(t, 1, strings.Count(head, "List-Unsubscribe-Post: List-Unsubscribe=One-Click"), head)
		require.Contains(t, head, "<news.example.org>")
		require.NotContains(t, head, "X-Postern-Stream")
		m := unsubscribeLink.FindStringSubmatch(head)
		require.NotNil(t, m, head)
		tokens[m[1]] = true
	}
	require.Len(t, tokens, 2, "each recipient has a token of its own")

	// The same by SMTP, one reply for the message.
	c.news(c.smtp, "by SMTP", "anna@example.net")
	c.wait("anna@example.net", 2)
	c.news(c.smtp, "by SMTP, refused", "carla@example.net")
	logged(t, c.smtp, "carla@example.net", "550 5.7.1 NO-CONSENT", "status=bounced")

	// One click: GET changes nothing, POST does.
	link := unsubscribeLink.FindStringSubmatch(c.data("bert@example.net"))[1]
	resp, err := http.Get("http://" + c.Public + link)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	c.news(c.lmtp, "after GET", "bert@example.net")
	c.wait("bert@example.net", 2)
	status, _ := c.post(link, "application/x-www-form-urlencoded", oneClickBody)
	require.Equal(t, http.StatusOK, status)
	c.news(c.lmtp, "after POST", "bert@example.net")
	logged(t, c.lmtp, "bert@example.net", "550 5.7.1 SUPPRESSED", "status=bounced")
	require.Equal(t, 2, c.to("bert@example.net"))

	// A password reset still reaches him.
	out, code := swaks(t, c.lmtp.Addr, "--from", "orders@example.org", "--to", "bert@example.net",
		"--header", "X-Postern-Stream: orders", "--h-Subject", "Your password", "--body", "Reset it here.")
	require.Zero(t, code, out)
	c.wait("bert@example.net", 3)

	// Redis away: 451, Postfix keeps the mail; back again: it is delivered, and
	// still nobody without consent gets anything.
	c.Redis.Kill()
	c.news(c.lmtp, "while Redis is away", "dora@example.net")
	c.news(c.lmtp, "while Redis is away", "carla@example.net")
	logged(t, c.lmtp, "dora@example.net", "451 4.3.0 STORE-UNAVAILABLE", "status=deferred")
	require.Zero(t, c.to("dora@example.net"))
	c.Redis.Start()
	c.wait("dora@example.net", 1)
	env.Eventually(t, 60*time.Second, "Postfix to bounce the one without consent", func() bool {
		return strings.Count(c.lmtp.LogText(), "550 5.7.1 NO-CONSENT") == 2
	})
	require.Zero(t, c.to("carla@example.net"))
}

func TestClosedLoopFromDovecot(t *testing.T) {
	t.Parallel()
	busy := make(chan struct{})
	d := env.Dovecot(t)
	slow, err := smarthost.New(smarthost.Options{Script: func(e smarthost.Event) smarthost.Answer {
		select {
		case <-busy:
			return smarthost.Answer{}
		default:
		}
		if e.Verb == "RCPT" && e.Msg != nil && strings.Contains(e.Arg, "anna") && strings.HasPrefix(e.Msg.From, "late") {
			return smarthost.Answer{Reply: "451 4.3.2 busy"}
		}
		return smarthost.Answer{}
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = slow.Close() })
	s := newSite(t, func(c *siteConfig) { c.Dovecot, c.Smarthost = d, slow.Addr() })
	s.Sink = slow
	s.grant("anna@example.net")

	mail := func(from string) (string, int) {
		return swaks(t, s.SMTP, "--from", from, "--to", "anna@example.net", "--h-From", "<"+from+">", "--h-Subject", "Offers", "--body", "sent by "+from)
	}
	out, code := mail("news@example.org")
	require.Zero(t, code, out)
	s.wait("anna@example.net", 1)
	out, code = mail("late@example.org") // taken, but the next hop is busy
	require.Zero(t, code, out)
	env.Eventually(t, 20*time.Second, "the late one to wait in the spool", func() bool {
		return strings.Contains(s.run("spool", "list"), "busy")
	})

	d.Deliver(letter("anna@example.net", "Your newsletter", "Hello,\r\nplease stop sending me advertising.\r\nAnna"))
	env.Eventually(t, 30*time.Second, "the relay to refuse the next newsletter", func() bool {
		out, code = mail("news@example.org")
		return code != 0
	})
	require.Contains(t, out, "550 5.7.1 SUPPRESSED")
	close(busy)
	env.Eventually(t, 30*time.Second, "the spool to be done with the late one", func() bool {
		return !strings.Contains(s.run("spool", "list"), "newsletter")
	})
	for _, m := range slow.Messages() {
		require.False(t, strings.HasPrefix(m.From, "late"), "the spooled newsletter left after the objection")
	}

	// The case, its due date, its receipt; the mail is in the done folder.
	cases := s.cases()
	require.Len(t, cases, 1)
	require.Contains(t, cases[0]["labels"], "objection")
	number := cases[0]["number"].(string)
	env.Eventually(t, 30*time.Second, "the receipt", func() bool {
		for _, m := range slow.Messages() {
			if strings.Contains(string(m.Data), number) && m.From == "" {
				head := string(m.Data)
				return strings.Contains(head, "Auto-Submitted: auto-replied") && m.To[0] == "anna@example.net"
			}
		}
		return false
	})
	show := s.run("cases", "show", number)
	require.Contains(t, show, "please stop sending me advertising")
	env.Eventually(t, 20*time.Second, "the mail to be moved", func() bool {
		inbox, err := exec.Command("find", d.Dir+"/mail/cur", d.Dir+"/mail/new", "-type", "f").Output()
		return err == nil && len(inbox) == 0
	})
	require.Contains(t, s.run("suppress", "list"), "objected")
	require.Contains(t, s.run("consent", "show", "anna@example.net"), "Yes, send me Example News by e-mail.")
}
