package unsubscribe

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"postern/gateway/address"
)

func key(id byte) TokenKey {
	s := sha256.Sum256([]byte{id, 'k'})
	return TokenKey{ID: id, Secret: s[:]}
}

func newCodec(t testing.TB, ids ...byte) *Codec {
	t.Helper()
	var keys []TokenKey
	for _, id := range ids {
		keys = append(keys, key(id))
	}
	c, err := NewCodec(keys...)
	require.NoError(t, err)
	return c
}

var when = time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC)

func TestTokenRoundTrip(t *testing.T) {
	c := newCodec(t, 1)
	rapid.Check(t, func(rt *rapid.T) {
		var subject address.SubjectID
		copy(subject[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "subject"))
		stream := rapid.Uint16().Draw(rt, "stream")
		at := time.Unix(rapid.Int64Range(0, 5_000_000_000).Draw(rt, "at"), 0)
		text := c.Seal(subject, stream, at)
		require.Len(rt, text, TokenLen)
		require.Equal(rt, strings.ToLower(text), text)
		for _, form := range []string{text, strings.ToUpper(text)} {
			got, err := c.Open(form)
			require.NoError(rt, err)
			require.Equal(rt, subject, got.Subject)
			require.Equal(rt, stream, got.Stream)
			require.Equal(rt, at.UTC().Truncate(day), got.Time())
		}
	})
}

// UNS-3: opaque, hard to forge. Every changed or cut text is refused.
func TestUNS3_EveryChangedTokenIsRefused(t *testing.T) {
	c := newCodec(t, 1)
	text := c.Seal(address.SubjectID{1, 2, 3}, 7, when)
	for i := range text {
		for _, r := range "abcdefghijklmnopqrstuvwxyz234567" {
			if byte(r) == text[i] {
				continue
			}
			_, err := c.Open(text[:i] + string(r) + text[i+1:])
			require.ErrorIs(t, err, ErrToken, "position %d", i)
		}
	}
	for i := range text {
		_, err := c.Open(text[:i])
		require.ErrorIs(t, err, ErrToken)
	}
	for _, bad := range []string{"", text + "a", " " + text[1:], text[:59] + "=", text[:59] + "\x00", strings.Repeat("a", 60), strings.Repeat("ä", 30)} {
		_, err := c.Open(bad)
		require.ErrorIs(t, err, ErrToken)
	}
}

// UNS-3: the same subject in two streams shares no visible part.
func TestUNS3_TokenShowsNothing(t *testing.T) {
	c := newCodec(t, 1)
	a, _ := decodeText(c.Seal(address.SubjectID{1}, 1, when))
	b, _ := decodeText(c.Seal(address.SubjectID{1}, 2, when))
	same := 0
	for i := 1; i < rawLen; i++ {
		if a[i] == b[i] {
			same++
		}
	}
	require.Less(t, same, 4)
	require.False(t, bytes.Contains(a[:], []byte{1, 0, 0, 0}))
}

// UNS-6: keys rotate, old tokens open for ever; a foreign key's do not.
func TestUNS6_OldKeysOpen(t *testing.T) {
	old, both, foreign := newCodec(t, 1), newCodec(t, 2, 1), newCodec(t, 3)
	text := old.Seal(address.SubjectID{9}, 4, when)
	got, err := both.Open(text)
	require.NoError(t, err)
	require.EqualValues(t, 4, got.Stream)
	require.NotEqual(t, text, both.Seal(address.SubjectID{9}, 4, when), "the newest key seals")
	_, err = foreign.Open(text)
	require.ErrorIs(t, err, ErrToken)
}

func TestNewCodecRefuses(t *testing.T) {
	for name, keys := range map[string][]TokenKey{
		"none": {}, "zero id": {{ID: 0, Secret: make([]byte, 32)}}, "short": {{ID: 1, Secret: make([]byte, 31)}},
		"twice": {key(1), key(1)},
	} {
		_, err := NewCodec(keys...)
		require.Error(t, err, name)
	}
}

func TestLinkKindsDoNotMix(t *testing.T) {
	c := newCodec(t, 2, 1)
	tok := Token{Subject: address.SubjectID{5}, Stream: 3, Day: dayOf(when)}
	text := c.SealUndo("01J", tok, when)
	l, expired, ok := c.openLink(linkUndo, text, when)
	require.True(t, ok)
	require.False(t, expired)
	got, ok := l.token()
	require.True(t, ok)
	require.Equal(t, tok, got)
	_, expired, ok = c.openLink(linkUndo, text, when.Add(time.Second))
	require.True(t, ok && expired)
	_, _, ok = c.openLink("confirm", text, when)
	require.False(t, ok)
	for i := range text {
		_, _, ok := c.openLink(linkUndo, text[:i], when)
		require.False(t, ok)
	}
}

func FuzzOpen(f *testing.F) {
	c := newCodec(f, 1)
	f.Add(c.Seal(address.SubjectID{1}, 1, when))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := c.Open(text)
		if err != nil {
			require.ErrorIs(t, err, ErrToken)
			return
		}
		require.Equal(t, strings.ToLower(text), c.Seal(tok.Subject, tok.Stream, tok.Time()))
	})
}

func BenchmarkSeal(b *testing.B) {
	c := newCodec(b, 1)
	for b.Loop() {
		c.Seal(address.SubjectID{1}, 1, when)
	}
}

func BenchmarkOpen(b *testing.B) {
	c := newCodec(b, 1)
	text := c.Seal(address.SubjectID{1}, 1, when)
	for b.Loop() {
		_, _ = c.Open(text)
	}
}
