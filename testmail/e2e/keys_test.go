package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRotatedAndForeignKeys rotates the subject-id key with `keys admit`, and
// shows that a node with keys of another installation neither starts nor writes
// an opt-out that nobody would see (design D8).
func TestRotatedAndForeignKeys(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.grant("anna@example.net")
	s.run("suppress", "add", "bert@example.net")
	s.grant("bert@example.net")
	s.proc.Stop()

	s.run("keys", "rotate", "subject")
	out, err := s.command("suppress", "add", "carla@example.net").CombinedOutput()
	require.Error(t, err, "the store does not know the new key yet")
	require.Contains(t, string(out), "keys")
	s.run("keys", "admit")
	s.start()
	mail := func(to string) int {
		_, code := swaks(t, s.SMTP, "--from", "news@example.org", "--to", to, "--h-Subject", "Offers")
		return code
	}
	require.Zero(t, mail("anna@example.net"), "consent under the old key is found")
	require.NotZero(t, mail("bert@example.net"), "an opt-out under the old key binds")
	s.proc.Stop()

	require.NoError(t, os.Remove(filepath.Join(s.Dir, "data", "keys.toml")))
	s.run("keys", "init")
	out, err = s.command("suppress", "add", "dora@example.net").CombinedOutput()
	require.Error(t, err, "%s", out)
	out, err = s.command("serve").CombinedOutput()
	require.Error(t, err, "%s", out)
}
