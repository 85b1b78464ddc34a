package vault

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOrphans: a file that nobody names is deleted a week after it was found,
// unless it is named again; nothing is touched where nearly all are unnamed.
func TestOrphans(t *testing.T) {
	keys, err := New(key(1))
	require.NoError(t, err)
	k, _, err := keys.Make("PC-1")
	require.NoError(t, err)
	dir := t.TempDir()
	f, err := NewFiles(dir)
	require.NoError(t, err)
	old := time.Now().Add(-48 * time.Hour)
	put := func(at time.Time) string {
		id, err := f.Put(k, "PC-1", []byte("words"))
		require.NoError(t, err)
		require.NoError(t, os.Chtimes(filepath.Join(dir, id), at, at))
		return id
	}
	named, lost, back, fresh := put(old), put(old), put(old), put(time.Now())
	half := filepath.Join(dir, newPrefix+"123")
	require.NoError(t, os.WriteFile(half, []byte("half"), 0o600))
	require.NoError(t, os.Chtimes(half, old, old))
	known := map[string]bool{named: true}
	run := func() Stale {
		t.Helper()
		s, err := f.Orphans(7*24*time.Hour, func(ids []string) (map[string]bool, error) {
			require.NotContains(t, ids, fresh, "its case may be about to name it")
			return known, nil
		})
		require.NoError(t, err)
		return s
	}
	require.Equal(t, Stale{Files: 4, Found: 2}, run())
	require.NoFileExists(t, half)
	require.Equal(t, Stale{Files: 4}, run(), "found, not deleted yet")
	for _, id := range []string{lost, back} {
		require.NoError(t, os.Chtimes(filepath.Join(dir, orphanPrefix+id), old.AddDate(0, 0, -7), old.AddDate(0, 0, -7)))
	}
	known[back] = true // the store was mended
	require.Equal(t, Stale{Files: 4, Deleted: 1}, run())
	for _, id := range []string{named, back, fresh} {
		_, err := f.Get(k, "PC-1", id)
		require.NoError(t, err)
	}
	_, err = f.Get(k, "PC-1", lost)
	require.ErrorIs(t, err, os.ErrNotExist)
	left, err := filepath.Glob(filepath.Join(dir, orphanPrefix+"*"))
	require.NoError(t, err)
	require.Empty(t, left)

	// The store can't be read, or is another one: nothing is marked.
	away := errors.New("away")
	_, err = f.Orphans(0, func([]string) (map[string]bool, error) { return nil, away })
	require.ErrorIs(t, err, away)
	for range plausible {
		put(old)
	}
	_, err = f.Orphans(0, func([]string) (map[string]bool, error) { return nil, nil })
	require.ErrorIs(t, err, ErrImplausible)
	left, err = filepath.Glob(filepath.Join(dir, orphanPrefix+"*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
