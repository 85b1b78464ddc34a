package keys_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/keys"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestInitThenLoadGivesTheSameKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.toml")
	made, err := keys.Init(path, now)
	require.NoError(t, err)
	got, err := keys.Load(path)
	require.NoError(t, err)
	require.Equal(t, made, got)
	require.Len(t, got.Keys, len(keys.Kinds()))

	_, err = keys.Init(path, now)
	require.ErrorIs(t, err, keys.ErrExists)
	again, err := keys.Load(path)
	require.NoError(t, err)
	require.Equal(t, made, again, "a second init changes nothing")
}

func TestRotationKeepsTheOldKeyBehindTheNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.toml")
	r, err := keys.Init(path, now)
	require.NoError(t, err)
	old := r.Newest(keys.Token)
	require.NoError(t, r.Add(keys.Token, now.Add(time.Hour)))
	require.NoError(t, r.Save(path))
	r, err = keys.Load(path)
	require.NoError(t, err)
	require.Equal(t, []string{"2", "1"}, []string{r.Of(keys.Token)[0].ID, r.Of(keys.Token)[1].ID})
	require.Equal(t, old, r.Of(keys.Token)[1])
	require.NotEqual(t, r.Of(keys.Token)[0].Fingerprint(), old.Fingerprint())
}

func TestLoadNamesTheFaultButNoSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.toml")
	_, err := keys.Load(path)
	require.ErrorContains(t, err, "postern keys init")

	r, err := keys.Init(path, now)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = keys.Load(path)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(path, 0o600))

	secret := r.Keys[0].Secret
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(raw), secret, secret[:20], 1)), 0o600))
	_, err = keys.Load(path)
	require.ErrorContains(t, err, "subject/1")
	require.NotContains(t, err.Error(), secret[:20])
}

func TestKeysDoNotPrintTheirSecret(t *testing.T) {
	r, err := keys.Generate(now)
	require.NoError(t, err)
	k := r.Keys[0]
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(format, k), k.Secret)
	}
}
