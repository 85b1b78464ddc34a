package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
	"postern/testmail/load"
	"postern/testmail/smarthost"
)

func TestRepliesBySwaks(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.grant("anna@example.net")
	mail := func(to string) string {
		out, _ := swaks(t, s.SMTP, "--from", "news@example.org", "--to", to, "--h-Subject", "Offers")
		return out
	}
	require.Contains(t, mail("anna@example.net"), "<-  250 2.0.0 Queued as ")
	require.Contains(t, mail("carla@example.net"), "<** 550 5.7.1 NO-CONSENT ")
	s.Redis.Kill()
	require.Contains(t, mail("anna@example.net"), "<** 451 4.3.0 STORE-UNAVAILABLE ")
	s.Redis.Start()
	env.Eventually(t, 20*time.Second, "mail to pass again", func() bool {
		return strings.Contains(mail("anna@example.net"), "<-  250 2.0.0 Queued as ")
	})
}

func TestObserveRefusesNobodyButWhoSaidNo(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *siteConfig) { c.Mode = "observe" })
	send := func(to string) int {
		_, code := swaks(t, s.SMTP, "--from", "news@example.org", "--to", to, "--h-Subject", "Offers")
		return code
	}
	require.Zero(t, send("carla@example.net"), "observe refuses nobody for want of consent")
	s.wait("carla@example.net", 1)
	require.Contains(t, s.run("report", "would-block"), "no-consent")

	s.run("suppress", "add", "carla@example.net", "--controller", "example", "--reason", "objected")
	require.NotZero(t, send("carla@example.net"), "an objection binds in every mode")

	s.run("stream", "mode", "newsletter", "enforce")
	require.NotZero(t, send("emil@example.net"))
	require.Contains(t, s.run("stream", "list"), "enforce")
}

func TestOwnBouncesAndPersonalMailPassUntouched(t *testing.T) {
	t.Parallel()
	c := newCompany(t, nil)
	body := "Dear Dora,\r\n\r\nsee you on Monday.  \r\n.dots\r\n"
	file := filepath.Join(t.TempDir(), "personal.eml")
	head := "Date: Tue, 24 Nov 2026 10:00:00 +0100\r\nfrom:   Emil  <emil@example.org>\r\nTO: dora@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <p1@example.org>\r\nX-Odd-Field:a\r\n\t b\r\n"
	require.NoError(t, os.WriteFile(file, []byte(head+"\r\n"+body), 0o600))
	out, code := swaks(t, c.LMTP, "--protocol", "LMTP", "--from", "emil@example.org", "--to", "dora@example.net", "--data", "@"+file, "--no-strip-from")
	require.Zero(t, code, out)
	c.wait("dora@example.net", 1)
	got := c.data("dora@example.net")
	require.Contains(t, got, head, "header fields that are not ours keep their bytes and order")
	require.NotContains(t, got, "List-Unsubscribe")

	// A bounce of the company's own mail server, from the null reverse-path.
	bounce := filepath.Join(t.TempDir(), "bounce.eml")
	require.NoError(t, os.WriteFile(bounce, []byte("From: MAILER-DAEMON@example.org\r\nTo: someone@example.net\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\nMessage-ID: <b1@example.org>\r\nSubject: Undelivered Mail\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n--x\r\n\r\nIt could not be delivered.\r\n--x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.example.org\r\n\r\nFinal-Recipient: rfc822; nobody@example.org\r\nAction: failed\r\nStatus: 5.1.1\r\n--x--\r\n"), 0o600))
	out, code = swaks(t, c.LMTP, "--protocol", "LMTP", "--from", "<>", "--to", "someone@example.net", "--data", "@"+bounce)
	require.Zero(t, code, out)
	c.wait("someone@example.net", 1)
	require.Contains(t, c.data("someone@example.net"), "Final-Recipient: rfc822; nobody@example.org")
}

func TestOnePostfixOnBothSidesDoesNotLoop(t *testing.T) {
	t.Parallel()
	reinject := env.FreePort(t)
	s := newSite(t, func(c *siteConfig) { c.Smarthost = "127.0.0.1:" + itoa(reinject) })
	p := env.Postfix(t, env.PostfixOptions{
		Main: map[string]string{"default_transport": "lmtp:inet:[127.0.0.1]:" + port(s.LMTP)},
		Master: []string{
			"127.0.0.1:" + itoa(reinject) + " inet n - n - - smtpd -o content_filter=smtp:[127.0.0.1]:" + port(s.Sink.Addr()) +
				" -o receive_override_options=no_address_mappings -o smtpd_relay_restrictions=permit_mynetworks,reject",
		},
	})
	s.grant("anna@example.net")
	c := &company{site: s, lmtp: p}
	c.news(p, "round trip", "anna@example.net")
	s.wait("anna@example.net", 1)
	require.Contains(t, s.data("anna@example.net"), "List-Unsubscribe-Post:")
}

func TestKillDuringLoadLosesNothing(t *testing.T) {
	t.Parallel()
	seen := &tally{}
	sink, err := smarthost.New(smarthost.Options{Discard: true, OnMessage: seen.add})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	s := newSite(t, func(c *siteConfig) {
		c.Smarthost, c.SMTPStreams, c.SMTPDefault = sink.Addr(), `"orders"`, "orders"
	})
	accepted := &tally{}
	done := make(chan error, 1)
	go func() {
		_, err := load.Source{Addr: s.SMTP, Messages: 1000, Sessions: 10, Size: 4096, Recipients: 1, From: "orders@example.org", Accepted: accepted.addID}.Run(t.Context())
		done <- err
	}()
	env.Eventually(t, 60*time.Second, "half of the messages to be accepted", func() bool { return accepted.len() >= 500 })
	s.proc.Kill()
	<-done // the sessions end with the server
	s.start()
	_, err = load.Source{Addr: s.SMTP, Messages: 1000 - accepted.len(), Sessions: 10, Size: 4096, Recipients: 1, From: "orders@example.org", First: 1000, Accepted: accepted.addID}.Run(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, accepted.len(), 1000)
	env.Eventually(t, 60*time.Second, "the sink to have every accepted message", func() bool { return len(accepted.without(seen)) == 0 })
	t.Logf("accepted %d, at the sink %d different, %d of them twice", accepted.len(), seen.len(), seen.twice())
}

// tally counts message numbers.
type tally struct {
	mu sync.Mutex
	n  map[int]int
}

func (c *tally) add(m *smarthost.Message) { c.addID(load.ID(m.Data)) }

func (c *tally) addID(id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[int]int{}
	}
	c.n[id]++
}

func (c *tally) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.n)
}

func (c *tally) twice() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.n {
		if k > 1 {
			n++
		}
	}
	return n
}

// without lists the numbers that the other lacks.
func (c *tally) without(other *tally) (missing []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	other.mu.Lock()
	defer other.mu.Unlock()
	for id := range c.n {
		if other.n[id] == 0 {
			missing = append(missing, id)
		}
	}
	return missing
}

func itoa(n int) string { return strconv.Itoa(n) }
