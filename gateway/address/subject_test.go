package address

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func testRing(t require.TestingT, ids ...byte) *Keyring {
	var keys []Key
	for _, id := range ids {
		keys = append(keys, Key{ID: string(rune('0' + id)), Secret: bytes.Repeat([]byte{id}, 32)})
	}
	ring, err := NewKeyring(keys...)
	require.NoError(t, err)
	return ring
}

func TestST_3_SubjectIDIsKeyedPerControllerAndNormalised(t *testing.T) {
	ring, other := testRing(t, 1), testRing(t, 2)
	a := MustParse("Mina+news@Example.org")
	id := ring.Identify("acme", a)
	require.Equal(t, id.ID, ring.Identify("acme", MustParse("mina@example.org")).ID)
	require.NotEqual(t, id.Exact, ring.Identify("acme", MustParse("mina@example.org")).Exact, "consent is by exact form")
	require.NotEqual(t, id.ID, ring.Identify("globex", a).ID, "customers of a processor can't be linked")
	require.NotEqual(t, id.Exact, ring.Identify("globex", a).Exact)
	require.NotEqual(t, id.ID, other.Identify("acme", a).ID, "without the key it can't be guessed")
	require.Equal(t, "hnhnwvms5hcbh5nsaetbs63rpi", id.ID.String(), "stored ids depend on it: it never changes")
}

func TestSeveralKeysAreTriedNewestFirst(t *testing.T) {
	ring := testRing(t, 2, 1)
	a := MustParse("mina@example.org")
	ids := ring.Identities("acme", a)
	require.Len(t, ids, 2)
	require.Equal(t, "2", ids[0].KeyID)
	require.Equal(t, ids[0], ring.Identify("acme", a))
	require.Equal(t, ids[1], testRing(t, 1).Identify("acme", a))
	require.Len(t, ring.Fingerprints(), 2)
	require.NotEqual(t, ring.Fingerprints()[0][2:], ring.Fingerprints()[1][2:])
}

func TestNewKeyringRefuses(t *testing.T) {
	long := bytes.Repeat([]byte{1}, 32)
	for name, keys := range map[string][]Key{
		"none": nil, "short": {{ID: "1", Secret: long[:31]}}, "no id": {{Secret: long}},
		"twice": {{ID: "1", Secret: long}, {ID: "1", Secret: long}},
	} {
		_, err := NewKeyring(keys...)
		require.Error(t, err, name)
	}
}

func TestSubjectIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s SubjectID
		copy(s[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		back, err := ParseSubjectID(s.String())
		require.NoError(t, err)
		require.Equal(t, s, back)
		require.Len(t, s.String(), 26)
	})
	for _, bad := range []string{"", "abc", "qxlgtsnyocxb7dcosx2wrjo2hqq", "QXLGTSNYOCXB7DCOSX2WRJO2HQ", "qxlgtsnyocxb7dcosx2wrjo2h1", "qxlgtsnyocxb7dcosx2wrjo2h7"} {
		_, err := ParseSubjectID(bad)
		require.Error(t, err, bad)
	}
}
