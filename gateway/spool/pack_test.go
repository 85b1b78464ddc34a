package spool

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever the octets, sealed or not, they come back as they were.
func TestPackedValuesComeBack(t *testing.T) {
	noise := make([]byte, 8<<10)
	_, err := rand.Read(noise)
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "piece")
		plain = bytes.Repeat(plain, rapid.IntRange(1, 200).Draw(t, "times"))
		plain = append(plain, noise[:rapid.IntRange(0, len(noise)).Draw(t, "noise")]...)
		var key []byte
		if rapid.Bool().Draw(t, "sealed") {
			key = bytes.Repeat([]byte{7}, 32)
		}
		seal, err := newSealer(key)
		require.NoError(t, err)
		require.NoError(t, withPacked(plain, func(b []byte, packed bool) error {
			require.LessOrEqual(t, len(b), len(plain))
			stored, err := seal.sealAs(nil, msgID{1}, []byte("key"), b, packed)
			require.NoError(t, err)
			got, err := seal.open(msgID{1}, []byte("key"), stored)
			require.NoError(t, err)
			require.True(t, bytes.Equal(plain, got))
			return nil
		}))
	})
}

// A value that claims to be packed and is not is damage, not a panic.
func TestUnpackOfRubbish(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.Byte()).Draw(t, "b")
		if plain, err := unpack(b); err != nil {
			require.ErrorIs(t, err, ErrDamaged)
		} else {
			require.LessOrEqual(t, len(plain), maxPacked)
		}
	})
}

func BenchmarkPack(b *testing.B) {
	body := bytes.Repeat([]byte("<tr><td class=3D\"o\"><a href=3D\"https://shop.example.org/o/1\">Offer</a></td></tr>\r\n"), 50)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		_ = withPacked(body, func([]byte, bool) error { return nil })
	}
}
