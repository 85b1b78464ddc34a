package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// TestSmuggling sends every line-ending variant that made some server see a
// second message in the body of the first (CVE-2023-51764 and its kin). The
// listener refuses it, or what leaves is one message and nothing else.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *siteConfig) { c.SMTPStreams, c.SMTPDefault = `"orders"`, "orders" })
	endings := map[string]string{
		"LF.LF": "\n.\n", "LF.CRLF": "\n.\r\n", "CRLF.LF": "\r\n.\n", "CR.CR": "\r.\r", "CR.CRLF": "\r.\r\n",
		"CRLF.CR": "\r\n.\r", "LF.CR": "\n.\r", "CR.LF": "\r.\n", "CRLF.NUL CRLF": "\r\n.\x00\r\n", "NUL": "\r\n\x00.\r\n",
		"CRLF.CRCRLF": "\r\n.\r\r\n", "CRCRLF.CRLF": "\r\r\n.\r\n", "LFCRLF.CRLF": "\n\r\n.\r\n\n", "VT": "\x0b.\x0b", "NEL": "\u0085.\u0085", "LS": "\u2028.\u2028",
	}
	sent := 0
	for name, ending := range endings {
		inner := "MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nFrom: <evil@example.org>\r\nSubject: smuggled\r\n\r\nsmuggled\r\n"
		message := fmt.Sprintf("From: <orders@example.org>\r\nTo: <anna@example.net>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0100\r\nMessage-ID: <s%d@example.org>\r\nSubject: outer\r\n\r\nfirst%s%s\r\n.\r\n", sent, ending, inner)
		reply := rawData(t, s.SMTP, message)
		if strings.HasPrefix(reply, "250") {
			sent++
		} else {
			require.Regexp(t, `^5\d\d 5\.`, reply, name)
		}
	}
	out, code := swaks(t, s.SMTP, "--from", "orders@example.org", "--to", "last@example.net", "--h-Subject", "last")
	require.Zero(t, code, out)
	s.wait("last@example.net", 1)
	env.Eventually(t, 30*time.Second, "what was taken to leave", func() bool { return s.to("anna@example.net") == sent })
	require.Zero(t, s.to("victim@example.net"))
	for _, m := range s.Sink.Messages() {
		require.NotContains(t, m.From, "evil")
		require.NotRegexp(t, "[^\r]\n", string(m.Data), "a bare LF left")
		require.NotRegexp(t, "\r[^\n]", string(m.Data), "a bare CR left")
		require.NotContains(t, string(m.Data), "\x00")
	}
	t.Logf("%d of %d variants taken as text of one message, the others refused", sent, len(endings))
}

// rawData sends a message byte for byte after DATA and gives the first reply
// to it.
func rawData(t *testing.T, addr, message string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	r := bufio.NewReader(conn)
	last := ""
	read := func() {
		for {
			line, err := r.ReadString('\n')
			if err == io.EOF {
				return
			}
			require.NoError(t, err)
			if last = strings.TrimSpace(line); len(line) < 4 || line[3] != '-' {
				return
			}
		}
	}
	read()
	for _, command := range []string{"EHLO x.example.org", "MAIL FROM:<orders@example.org>", "RCPT TO:<anna@example.net>", "DATA"} {
		_, err := conn.Write([]byte(command + "\r\n"))
		require.NoError(t, err)
		read()
	}
	require.True(t, strings.HasPrefix(last, "354"), last)
	_, err = conn.Write([]byte(message))
	require.NoError(t, err)
	read()
	return last
}
