package ledger

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const kept = 1000

// exported makes an export of 1,000 records and gives its folder and key; the
// anchor was made at 600.
func exported(t *testing.T) (dir, public, anchor string) {
	t.Helper()
	l := open(t, memStore(t), t.TempDir(), Options{})
	for n := range kept {
		if n == 600 {
			require.NoError(t, l.Flush(t.Context()))
			anchor = l.Checkpoint().Signed
		}
		b := l.db.NewBatch()
		require.NoError(t, l.Stage(b, verdict(n)))
		require.NoError(t, b.Commit(nil))
	}
	dir = filepath.Join(t.TempDir(), "export")
	require.NoError(t, l.Export(t.Context(), dir))
	return dir, l.PublicKey(), anchor
}

// bundle reads, changes and writes back the entries of one bundle.
func bundle(t *testing.T, dir string, n int64, count int, change func([][]byte) [][]byte) {
	t.Helper()
	path := filepath.Join(dir, tilePath("entries", n, count))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var list [][]byte
	for len(b) > 0 {
		leaf, rest, ok := cutEntry(b)
		require.True(t, ok)
		list, b = append(list, leaf), rest
	}
	var out []byte
	for _, leaf := range change(list) {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(leaf))), leaf...)
	}
	require.NoError(t, os.WriteFile(path, out, 0o600))
}

func flipBit(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[at] ^= 4
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// ST-6: whatever is done to an export is found and named.
func TestST6_VerifyNamesWhatWasDone(t *testing.T) {
	type want struct {
		what        string
		first, last int64
	}
	for name, c := range map[string]struct {
		do   func(t *testing.T, dir string)
		want []want
	}{
		"nothing": {func(*testing.T, string) {}, nil},
		"one bit of a record flipped": {func(t *testing.T, dir string) {
			bundle(t, dir, 1, 256, func(l [][]byte) [][]byte { l[44][30] ^= 1; return l })
		}, []want{{FaultChanged, 300, 300}}},
		"the first octet of a record": {func(t *testing.T, dir string) {
			bundle(t, dir, 1, 256, func(l [][]byte) [][]byte { l[44][0] ^= 1; return l })
		}, []want{{FaultChanged, 300, 300}}},
		"a length flipped": {func(t *testing.T, dir string) {
			flipBit(t, filepath.Join(dir, tilePath("entries", 0, 256)), 1)
		}, []want{{FaultChanged, 0, 0}}},
		"a high bit of a length flipped": {func(t *testing.T, dir string) {
			flipBit(t, filepath.Join(dir, tilePath("entries", 0, 256)), 0)
		}, []want{{FaultChanged, 0, 0}}},
		"one record cut from the middle": {func(t *testing.T, dir string) {
			bundle(t, dir, 1, 256, func(l [][]byte) [][]byte { return append(l[:44:44], l[45:]...) })
		}, []want{{FaultRemoved, 300, 300}}},
		"three cut, of which two together": {func(t *testing.T, dir string) {
			bundle(t, dir, 2, 256, func(l [][]byte) [][]byte { return append(append(l[:10:10], l[12:50]...), l[51:]...) })
		}, []want{{FaultRemoved, 522, 523}, {FaultRemoved, 562, 562}}},
		"one record put in": {func(t *testing.T, dir string) {
			bundle(t, dir, 1, 256, func(l [][]byte) [][]byte {
				forged := append([]byte(nil), l[0]...)
				forged[40] ^= 1
				return append(append(l[:44:44], forged), l[44:]...)
			})
		}, []want{{FaultInserted, 300, 300}}},
		"one record blanked": {func(t *testing.T, dir string) {
			bundle(t, dir, 1, 256, func(l [][]byte) [][]byte { l[44] = nil; return l })
		}, []want{{FaultRemoved, 300, 300}}},
		"the tail cut off": {func(t *testing.T, dir string) {
			bundle(t, dir, 3, 232, func(l [][]byte) [][]byte { return l[:200] })
		}, []want{{FaultTruncated, 968, 999}}},
		"the last file gone": {func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, tilePath("entries", 3, 232))))
		}, []want{{FaultTruncated, 768, 999}}},
		"a file in the middle gone": {func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, tilePath("entries", 1, 256))))
		}, []want{{FaultRemoved, 256, 511}}},
		"two records exchanged": {func(t *testing.T, dir string) {
			bundle(t, dir, 0, 256, func(l [][]byte) [][]byte { l[3], l[4] = l[4], l[3]; return l })
		}, []want{{FaultRemoved, 3, 3}, {FaultInserted, 5, 5}}},
		"one put behind the last": {func(t *testing.T, dir string) {
			bundle(t, dir, 3, 232, func(l [][]byte) [][]byte { return append(l, l[0]) })
		}, []want{{FaultInserted, 1000, 1000}}},
		"a hash tile damaged": {func(t *testing.T, dir string) {
			flipBit(t, filepath.Join(dir, tilePath("0", 1, 256)), 77)
		}, []want{{FaultTile, -1, -1}}},
		"the last hash tile damaged": {func(t *testing.T, dir string) {
			flipBit(t, filepath.Join(dir, tilePath("0", 3, 232)), 77)
		}, []want{{FaultTile, -1, -1}}},
		"record and its hash tile changed together": {func(t *testing.T, dir string) {
			flipBit(t, filepath.Join(dir, tilePath("0", 1, 256)), 44*32)
			bundle(t, dir, 1, 256, func(l [][]byte) [][]byte { l[44][30] ^= 1; return l })
		}, []want{{FaultChanged, 300, 300}}},
		"the checkpoint damaged": {func(t *testing.T, dir string) {
			flipBit(t, filepath.Join(dir, "checkpoint"), 30)
		}, []want{{FaultCheckpoint, -1, -1}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, public, anchor := exported(t)
			c.do(t, dir)
			rep, err := Verify(t.Context(), dir, public, VerifyOptions{Anchors: []string{anchor}})
			require.NoError(t, err)
			require.Equal(t, len(c.want) == 0, rep.OK(), rep.Faults)
			for _, w := range c.want {
				found := false
				for _, f := range rep.Faults {
					found = found || (f.What == w.what && f.First == w.first && f.Last == w.last)
				}
				require.True(t, found, "want %v, got %v", w, rep.Faults)
			}
			require.LessOrEqual(t, len(rep.Faults), max(3, len(c.want)), rep.Faults)
		})
	}
}

// ST-6: a forger with the signing key makes a shorter or another log, which
// verifies by itself; the anchors kept outside find it.
func TestST6_AnchorsFindARewrittenLog(t *testing.T) {
	dir, public, _ := exported(t)
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	require.NoError(t, err)

	forger := open(t, memStore(t), t.TempDir(), Options{})
	for n := range 900 {
		b := forger.db.NewBatch()
		require.NoError(t, forger.Stage(b, verdict(n)))
		require.NoError(t, b.Commit(nil))
	}
	short := filepath.Join(t.TempDir(), "short")
	require.NoError(t, forger.Export(t.Context(), short))
	rep, err := Verify(t.Context(), short, public, VerifyOptions{})
	require.NoError(t, err)
	require.True(t, rep.OK())
	rep, err = Verify(t.Context(), short, public, VerifyOptions{Anchors: []string{string(signed)}})
	require.NoError(t, err)
	require.Equal(t, FaultTruncated, rep.Faults[0].What)
	require.EqualValues(t, 900, rep.Faults[0].First)
	require.EqualValues(t, 999, rep.Faults[0].Last)

	for n := range 300 {
		require.NoError(t, forger.Append(t.Context(), verdict(n)))
	}
	long := filepath.Join(t.TempDir(), "long")
	require.NoError(t, forger.Export(t.Context(), long))
	rep, err = Verify(t.Context(), long, public, VerifyOptions{Anchors: []string{string(signed)}})
	require.NoError(t, err)
	require.Len(t, rep.Faults, 1)
	require.Equal(t, FaultCheckpoint, rep.Faults[0].What)
	require.Contains(t, rep.Faults[0].String(), "history was rewritten")
}

func TestVerifyWithForeignKey(t *testing.T) {
	dir, _, _ := exported(t)
	other := testKeys
	other.Signer = []byte(strings.Repeat("x", 32))
	_, public, err := noteKeys(other.Origin, other.Signer)
	require.NoError(t, err)
	rep, err := Verify(t.Context(), dir, public, VerifyOptions{})
	require.Error(t, err)
	require.False(t, rep.OK())
	_, err = Verify(t.Context(), dir, "nonsense", VerifyOptions{})
	require.Error(t, err)
}
