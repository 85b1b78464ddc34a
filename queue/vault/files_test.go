package vault

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFiles(t *testing.T) {
	keys, err := New(key(1))
	require.NoError(t, err)
	k, _, err := keys.Make("PC-1")
	require.NoError(t, err)
	other, _, err := keys.Make("PC-2")
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "vault")
	f, err := NewFiles(dir)
	require.NoError(t, err)
	data := bytes.Repeat([]byte("plain words "), 1000)
	id, err := f.Put(k, "PC-1", data)
	require.NoError(t, err)
	got, err := f.Get(k, "PC-1", id)
	require.NoError(t, err)
	require.Equal(t, data, got)
	_, err = f.Get(other, "PC-1", id)
	require.ErrorIs(t, err, ErrSealed)
	_, err = f.Get(k, "PC-2", id)
	require.ErrorIs(t, err, ErrSealed)
	_, err = f.Get(k, "PC-1", "../../etc/passwd")
	require.ErrorIs(t, err, os.ErrNotExist)
	raw, err := os.ReadFile(filepath.Join(dir, id))
	require.NoError(t, err)
	require.NotContains(t, string(raw), "plain words")
	info, err := os.Stat(filepath.Join(dir, id))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	require.NoError(t, f.Delete(id))
	require.NoError(t, f.Delete(id))
	_, err = f.Get(k, "PC-1", id)
	require.ErrorIs(t, err, os.ErrNotExist)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}
