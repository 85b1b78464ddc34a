package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// TestST6_AnchorsLeaveTheHouse has the ledger's checkpoint added to a file and
// mailed outside, verifies an export against both, and shows that a log cut
// short behind the anchor is found (ST-6).
func TestST6_AnchorsLeaveTheHouse(t *testing.T) {
	t.Parallel()
	const keeper = "ledger@example.net"
	var file string
	s := newSite(t, func(c *siteConfig) {
		file = filepath.Join(c.Dir, "anchors.txt")
		c.Extra = fmt.Sprintf("[ledger]\nanchor_file = %q\nanchor_mail = [%q]\n", file, keeper)
	})
	s.grant("anna@example.net")
	s.wait(keeper, 1)
	env.Eventually(t, 30*time.Second, "the metric of the anchor", func() bool {
		resp, err := http.Get("http://" + s.Operator + "/metrics")
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return strings.Contains(string(b), "postern_ledger_anchor_timestamp_seconds 1.") && strings.Contains(string(b), "postern_ledger_anchors_waiting 0")
	})
	letter := filepath.Join(s.Dir, "anchor.eml")
	require.NoError(t, os.WriteFile(letter, []byte(s.data(keeper)), 0o600))
	require.Contains(t, s.data(keeper), "Auto-Submitted: auto-generated")

	before, after := filepath.Join(s.Dir, "before"), filepath.Join(s.Dir, "after")
	s.run("ledger", "export", before)
	s.run("suppress", "add", "anna@example.net")
	s.run("ledger", "export", after)
	key := filepath.Join(after, "key.txt")
	var rep struct {
		Anchors int
		Faults  []struct{ What string }
	}
	require.NoError(t, json.Unmarshal([]byte(s.run("ledger", "verify", "--json", "--key", key, "--anchor", file, "--anchor", letter, after)), &rep))
	require.Empty(t, rep.Faults)
	require.GreaterOrEqual(t, rep.Anchors, 3, "that of the export, of the file and of the mail")

	// Whoever shows an older log is found out by a newer checkpoint.
	out, err := s.command("ledger", "verify", "--key", key, "--anchor", filepath.Join(after, "checkpoint"), before).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "truncated")
	out, err = s.command("ledger", "verify", "--key", key, "--anchor", key, after).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "no checkpoint of")
}
