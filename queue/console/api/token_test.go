package api

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
)

// A token is shown once, kept as a hash, ends when revoked or expired, and who
// made and ended it is on record.
func TestTokens(t *testing.T) {
	w := newWorld(t)
	ctx, now := t.Context(), time.Now()
	s := NewTokens(w.rdb, w.trail, func() time.Time { return now })
	text, made, err := s.Create(ctx, "crm", []Scope{ConsentRead, StatusRead}, time.Hour, "operator:anna", "anna")
	require.NoError(t, err)
	require.Regexp(t, `^postern_[0-9a-f]{10}_[0-9a-f]{40}$`, text)
	secret := text[strings.LastIndex(text, "_")+1:]
	for _, key := range w.rdb.Keys(ctx, prefix+"*").Val() {
		if w.rdb.Type(ctx, key).Val() == "hash" {
			for _, v := range w.rdb.HGetAll(ctx, key).Val() {
				require.NotContains(t, v, secret)
			}
		}
	}
	got, err := s.Find(ctx, text)
	require.NoError(t, err)
	require.Equal(t, "operator:api:crm", got.Actor())
	require.True(t, got.Has(ConsentRead))
	require.False(t, got.Has(ConsentWrite))
	list, err := s.List(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, now.Unix(), list[0].Used.Unix())
	require.Equal(t, made.Expires, list[0].Expires)

	for _, wrong := range []string{"", "postern_", text[:len(text)-1], text[:len(text)-1] + "!", "postern_" + made.ID + "_" + strings.Repeat("0", 40)} {
		_, err := s.Find(ctx, wrong)
		require.ErrorIs(t, err, ErrNone, wrong)
	}
	_, _, err = s.Create(ctx, "crm", []Scope{StatusRead}, 0, "operator:anna", "anna")
	require.ErrorIs(t, err, ErrInput, "the name is taken")
	_, _, err = s.Create(ctx, "x@example.com", []Scope{StatusRead}, 0, "operator:anna", "anna")
	require.ErrorIs(t, err, ErrInput)
	_, err = ParseScopes([]string{"cases:everything"})
	require.ErrorIs(t, err, ErrInput)

	now = now.Add(time.Hour + time.Second)
	_, err = s.Find(ctx, text)
	require.ErrorIs(t, err, ErrNone, "expired")
	now = now.Add(-time.Hour)
	require.NoError(t, s.Revoke(ctx, "crm", "operator:bob"))
	_, err = s.Find(ctx, text)
	require.ErrorIs(t, err, ErrNone, "revoked")
	require.ErrorIs(t, s.Revoke(ctx, "crm", "operator:bob"), ErrNone)

	var acts []string
	require.NoError(t, w.trail.Query(ctx, ledger.Filter{Kind: ledger.KindConfig}, func(e ledger.Entry) error {
		acts = append(acts, e.Actor+" "+e.Action+" "+e.Data["name"])
		return nil
	}))
	require.Equal(t, []string{"operator:anna token-created crm", "operator:bob token-revoked crm"}, acts)
}
