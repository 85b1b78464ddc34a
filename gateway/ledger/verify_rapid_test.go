package ledger

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever is done to the octets of a bundle, Verify ends with a report, and
// calls only the true bundle whole.
func TestST6_VerifyOfAnyBundle(t *testing.T) {
	l := open(t, memStore(t), t.TempDir(), Options{})
	for n := range 9 {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
	}
	dir := filepath.Join(t.TempDir(), "x")
	require.NoError(t, l.Export(t.Context(), dir))
	path := filepath.Join(dir, tilePath("entries", 0, 9))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		b := append([]byte(nil), whole...)
		for range rapid.IntRange(0, 4).Draw(rt, "changes") {
			at := rapid.IntRange(0, len(b)).Draw(rt, "at")
			cut := rapid.IntRange(0, min(60, len(b)-at)).Draw(rt, "cut")
			put := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(rt, "put")
			b = append(append(append([]byte(nil), b[:at]...), put...), b[at+cut:]...)
		}
		require.NoError(rt, os.WriteFile(path, b, 0o600))
		rep, err := Verify(t.Context(), dir, l.PublicKey(), VerifyOptions{MaxFaults: 20})
		require.NoError(rt, err)
		require.Equal(rt, string(b) == string(whole), rep.OK())
	})
}
