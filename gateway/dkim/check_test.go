package dkim

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCoversUnsubscribe(t *testing.T) {
	s, _ := newSigner(t)
	ours := string(signedMessage(t, s, sample, ""))
	require.NoError(t, CoversUnsubscribe([]byte(ours)))
	for name, hdr := range map[string]string{
		"unsigned":      sample,
		"one missing":   "DKIM-Signature: v=1; h=from:list-unsubscribe; b=x\r\n",
		"other missing": "DKIM-Signature: v=1; h=from:list-unsubscribe-post; b=x\r\n",
		"with l=":       "DKIM-Signature: v=1; l=5; h=list-unsubscribe:list-unsubscribe-post; b=x\r\n",
		"split in two":  "DKIM-Signature: h=list-unsubscribe\r\nDKIM-Signature: h=list-unsubscribe-post\r\n",
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, CoversUnsubscribe([]byte(hdr)), ErrUncovered) })
	}
	require.NoError(t, CoversUnsubscribe([]byte("DKIM-Signature: h = From : List-Unsubscribe\r\n\t: LIST-UNSUBSCRIBE-POST; b=\r\n")))
}

func TestCheckDNS(t *testing.T) {
	_, keys := newSigner(t)
	for _, k := range keys {
		name, txt, err := DNS(k)
		require.NoError(t, err)
		check := func(records ...string) error {
			return CheckDNS(t.Context(), k, func(_ context.Context, n string) ([]string, error) {
				require.Equal(t, name, n)
				return records, nil
			})
		}
		require.NoError(t, check(txt))
		require.NoError(t, check(strings.Replace(txt, "p=", "t=s; p= ", 1)))
		require.ErrorIs(t, check(), ErrNotPublished)
		require.ErrorIs(t, check(txt, txt), ErrNotPublished)
		require.ErrorIs(t, check("v=DKIM1; k="+string(k.Algorithm())+"; p="), ErrNotPublished)
		require.ErrorIs(t, check(strings.Replace(txt, "k=", "k=x", 1)), ErrNotPublished)
	}
	away := errors.New("away")
	err := CheckDNS(t.Context(), keys[0], func(context.Context, string) ([]string, error) { return nil, away })
	require.ErrorIs(t, err, away)
}
