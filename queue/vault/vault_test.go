package vault

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

func TestSealOpen(t *testing.T) {
	keys, err := New(key(1))
	require.NoError(t, err)
	k, wrapped, err := keys.Make("PC-1")
	require.NoError(t, err)
	again, err := keys.Unwrap("PC-1", wrapped)
	require.NoError(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain")
		place := rapid.String().Draw(rt, "place")
		sealed := k.Seal(plain, place)
		if len(plain) > 3 {
			require.NotContains(rt, sealed, string(plain))
		}
		got, err := again.Open(sealed, place)
		require.NoError(rt, err)
		require.True(rt, bytes.Equal(plain, got))
		_, err = again.Open(sealed, place+"x")
		require.ErrorIs(rt, err, ErrSealed)
	})
}

func TestWrongKeyAndPlace(t *testing.T) {
	one, err := New(key(1))
	require.NoError(t, err)
	two, err := New(key(2))
	require.NoError(t, err)
	_, wrapped, err := one.Make("PC-1")
	require.NoError(t, err)
	_, err = one.Unwrap("PC-2", wrapped)
	require.ErrorIs(t, err, ErrSealed, "a key does not move to another case")
	_, err = two.Unwrap("PC-1", wrapped)
	require.ErrorIs(t, err, ErrSealed)
	_, err = one.Unwrap("PC-1", "nonsense")
	require.ErrorIs(t, err, ErrSealed)

	rotated, err := New(key(2), key(1))
	require.NoError(t, err)
	_, err = rotated.Unwrap("PC-1", wrapped)
	require.NoError(t, err, "an older master key still opens")
	require.Equal(t, one.Lookups("mid", "a")[0], rotated.Lookups("mid", "a")[1])
	require.NotEqual(t, one.Lookups("mid", "a"), one.Lookups("uid", "a"))
}

func TestKeyFaults(t *testing.T) {
	_, err := New()
	require.Error(t, err)
	_, err = New([]byte("short"))
	require.Error(t, err)
}
