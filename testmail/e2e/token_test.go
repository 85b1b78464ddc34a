package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// TestTokensInAddressesStopMail: with bounce = "verp" the outbound server's
// report comes back to a token of ours, and a mailbox that is gone for good is
// not mailed again; a report to anybody else's token counts for nothing. A mail
// to the unsubscribe address needs neither words nor the subscriber's From.
// Both come to the domain of the public pages, which is not the mailbox's own.
func TestTokensInAddressesStopMail(t *testing.T) {
	t.Parallel()
	d := env.Dovecot(t)
	s := newSite(t, func(c *siteConfig) { c.Dovecot, c.Bounce = d, "verp" })
	s.grant("anna@example.net")
	s.grant("bert@example.net")
	s.grant("cleo@example.net")
	send := func(to string) (string, int) {
		return swaks(t, s.SMTP, "--from", "news@example.org", "--to", to, "--h-Subject", "Offers")
	}
	path := map[string]string{}
	for _, who := range []string{"anna@example.net", "bert@example.net", "cleo@example.net"} {
		out, code := send(who)
		require.Zero(t, code, out)
		s.wait(who, 1)
		for _, m := range s.Sink.Messages() {
			if m.To[0] == who {
				path[who] = m.From
			}
		}
		require.Regexp(t, `^b\+[a-z2-7]{60}@mail\.example\.org$`, path[who])
	}
	require.NotEqual(t, path["anna@example.net"], path["bert@example.net"])

	report := func(token, about string) []byte {
		return []byte(strings.ReplaceAll(fmt.Sprintf(`Return-Path: <>
Received: from mx.example.net by mx.example.org; %[3]s
From: MAILER-DAEMON@mx.example.net
To: %[1]s
Delivered-To: %[1]s
Subject: Undelivered Mail Returned to Sender
Message-ID: <%[4]d@mx.example.net>
Date: %[3]s
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

The mailbox does not exist.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; %[2]s
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such mailbox

--b--
`, token, about, time.Now().Format(time.RFC1123Z), time.Now().UnixNano()), "\n", "\r\n"))
	}
	d.Deliver(report(path["anna@example.net"], "bert@example.net")) // not whom that token names
	d.Deliver(report(path["anna@example.net"], "anna@example.net"))
	env.Eventually(t, 30*time.Second, "mail to anna to be refused", func() bool {
		_, code := send("anna@example.net")
		return code != 0
	})
	out, _ := send("anna@example.net")
	require.Contains(t, out, "550 5.7.1 SUPPRESSED")
	out, code := send("bert@example.net")
	require.Zero(t, code, out)

	// The mailto form of the link: an empty mail, from whatever address.
	link := mailtoLink.FindStringSubmatch(s.data("bert@example.net"))
	require.NotNil(t, link)
	d.Deliver([]byte(strings.Replace(string(letter("b.other@example.com", "", "")), "To: privacy@example.org", "To: "+link[1], 1)))
	env.Eventually(t, 30*time.Second, "mail to bert to be refused", func() bool {
		out, code = send("bert@example.net")
		return code != 0
	})
	require.Contains(t, out, "550 5.7.1 SUPPRESSED")

	// A provider reports that the person called the mail spam (RFC 5965).
	sent := s.data("cleo@example.net")
	d.Deliver([]byte(strings.ReplaceAll(fmt.Sprintf(`Return-Path: <fbl@example.com>
Received: from mx.example.com by mx.example.org; %[1]s
From: Feedback Loop <fbl@example.com>
To: privacy@example.org
Subject: Complaint
Message-ID: <fbl-1@mx.example.com>
Date: %[1]s
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: text/plain

This is a report about a mail of yours.

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: ExampleReporter/1.0
Version: 1

--b
Content-Type: message/rfc822

`, time.Now().Format(time.RFC1123Z)), "\n", "\r\n") + sent + "\r\n--b--\r\n"))
	env.Eventually(t, 30*time.Second, "mail to cleo to be refused", func() bool {
		out, code = send("cleo@example.net")
		return code != 0
	})
	require.Contains(t, out, "550 5.7.1 SUPPRESSED")
}

// mailtoLink finds the address that unsubscribes by mail (UNS-8).
var mailtoLink = regexp.MustCompile(`(?s)List-Unsubscribe:.*?<mailto:(u\+[a-z2-7]{60}@mail\.example\.org)>`)
