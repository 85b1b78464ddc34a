package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// configure changes the configuration file.
func (s *site) configure(change func(*siteConfig)) {
	s.t.Helper()
	change(&s.tmpl)
	var b bytes.Buffer
	require.NoError(s.t, configTemplate.Execute(&b, s.tmpl))
	require.NoError(s.t, os.WriteFile(s.Config, b.Bytes(), 0o600))
}

// reconfigure changes the configuration file and has the server read it; it
// returns what the server says.
func (s *site) reconfigure(change func(*siteConfig)) string {
	s.t.Helper()
	s.configure(change)
	answers := func() int {
		return strings.Count(s.proc.Output(), "configuration reloaded") + strings.Count(s.proc.Output(), "reload refused")
	}
	before := answers()
	s.proc.Signal(syscall.SIGHUP)
	env.Eventually(s.t, 30*time.Second, "an answer to SIGHUP", func() bool { return answers() > before })
	out := s.proc.Output()
	return out[max(strings.LastIndex(out, "configuration reloaded"), strings.LastIndex(out, "reload refused")):]
}

// TestHangupTakesConfigurationAnew: clients, streams and DKIM keys change
// while the server runs; a file with a fault changes nothing.
func TestHangupTakesConfigurationAnew(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	send := func() int {
		_, code := swaks(t, s.SMTP, "--from", "news@example.org", "--to", "anna@example.net", "--h-Subject", "hello")
		return code
	}
	require.NotZero(t, send(), "no consent")

	key := func(selector string) string {
		file := filepath.Join(s.Dir, selector+".pem")
		out, err := exec.Command(binary, "dkim", "keygen", "example.org", selector, "--out", file).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return "[[dkim]]\ndomain = \"example.org\"\nselector = \"" + selector + "\"\nkey = \"" + file + "\"\n"
	}
	old, next := key("old1"), key("new2")
	signed := func(selectors ...string) {
		t.Helper()
		n := s.to("anna@example.net")
		require.Zero(t, send())
		s.wait("anna@example.net", n+1)
		got := s.data("anna@example.net")
		require.Equal(t, len(selectors), strings.Count(got, "DKIM-Signature:"))
		for _, sel := range selectors {
			require.Contains(t, strings.ReplaceAll(got, "\r\n", ""), "s="+sel+";")
		}
	}
	require.Contains(t, s.reconfigure(func(c *siteConfig) { c.Mode = "observe" }), "configuration reloaded")
	signed()
	require.Contains(t, s.reconfigure(func(c *siteConfig) { c.Sign, c.Extra = "dkim", old }), "configuration reloaded")
	signed("old1")
	require.Contains(t, s.reconfigure(func(c *siteConfig) { c.Extra = next }), "configuration reloaded")
	signed("new2")

	require.Contains(t, s.reconfigure(func(c *siteConfig) { c.Mode, c.Extra = "enforce", "" }), "no DKIM key", "a stream that signs needs a key")
	signed("new2")
	require.Contains(t, s.reconfigure(func(c *siteConfig) { c.Extra = next + "colour = \"red\"\n" }), "reload refused")
	require.Contains(t, s.reconfigure(func(c *siteConfig) { c.SMTP, c.Extra = "127.0.0.1:1", next }), "needs a restart")
	signed("new2")

	require.Contains(t, s.reconfigure(func(c *siteConfig) { c.SMTP = s.SMTP }), "configuration reloaded")
	require.NotZero(t, send(), "enforced from now on")
	require.Contains(t, s.reconfigure(func(c *siteConfig) { c.SMTPStreams, c.SMTPDefault = `"orders"`, "orders" }), "configuration reloaded")
	signed()
}
