package ledger

import (
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"
)

// A tree whose first hashes were stored one by one goes on in runs: every
// hash is found, and the export of it verifies.
func TestTreeOfSingleHashesGoesOnInRuns(t *testing.T) {
	db := memStore(t)
	l := open(t, db, t.TempDir(), Options{Batch: 7})
	for n := range 300 {
		require.NoError(t, l.Append(t.Context(), verdict(n)))
	}
	require.NoError(t, l.Flush(t.Context()))
	require.NoError(t, eachHash(db, tlog.StoredHashCount(300), func(index int64, h []byte) error {
		return db.Set(numberKey(tabHash, uint64(index)), append([]byte(nil), h...), nil)
	}))
	require.NoError(t, db.DeleteRange(prefix(tabHashes), after(prefix(tabHashes)), pebble.Sync))

	l = open(t, db, t.TempDir(), Options{})
	for n := range 1000 {
		require.NoError(t, l.Append(t.Context(), verdict(300+n)))
	}
	require.NoError(t, l.Flush(t.Context()))
	next := int64(0)
	require.NoError(t, eachHash(db, tlog.StoredHashCount(1300), func(index int64, h []byte) error {
		require.Equal(t, next, index)
		got, err := readHash(db, index)
		require.NoError(t, err)
		require.Equal(t, h, got[:])
		next++
		return nil
	}))
	require.Equal(t, tlog.StoredHashCount(1300), next)
	_, err := readHash(db, next)
	require.Error(t, err)

	dir := filepath.Join(t.TempDir(), "export")
	require.NoError(t, l.Export(t.Context(), dir))
	_, err = Verify(t.Context(), dir, l.PublicKey(), VerifyOptions{})
	require.NoError(t, err)
}
