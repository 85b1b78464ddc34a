package wording

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
	"postern/testmail/env"
)

type trail struct{ records []ledger.Record }

func (t *trail) Append(_ context.Context, r ...ledger.Record) error {
	t.records = append(t.records, r...)
	return nil
}

func TestVersionsAndApproval(t *testing.T) {
	ctx, tr := t.Context(), &trail{}
	rdb := redis.NewClient(&redis.Options{Addr: env.Redis(t).Addr})
	t.Cleanup(func() { _ = rdb.Close() })
	now := func() time.Time { return time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC) }
	s, other := New(rdb, tr, now, nil), New(rdb, tr, now, nil)
	const name = "reply/de/receipt"

	_, ok := s.Current(name)
	require.False(t, ok, "the built-in text is in force")
	_, err := s.Propose(ctx, name, "Eingang", "Erste Fassung", "operator:anna", false)
	require.NoError(t, err)
	v, ok := s.Current(name)
	require.True(t, ok)
	require.Equal(t, "Erste Fassung", v.Text)

	p, err := s.Propose(ctx, name, "", "Zweite Fassung", "operator:anna", true)
	require.NoError(t, err)
	require.Equal(t, Proposed, p.State)
	v, _ = s.Current(name)
	require.Equal(t, 1, v.N, "a proposal changes nothing")
	require.ErrorIs(t, s.Decide(ctx, name, p.N, true, "operator:anna"), ErrSame)
	require.NoError(t, s.Decide(ctx, name, p.N, true, "operator:otto"))
	require.ErrorIs(t, s.Decide(ctx, name, p.N, true, "operator:otto"), ErrUnknown)
	require.NoError(t, other.Load(ctx))
	v, _ = other.Current(name)
	require.Equal(t, "Zweite Fassung", v.Text, "other nodes see it")

	p, err = s.Propose(ctx, name, "", "Dritte Fassung", "operator:anna", true)
	require.NoError(t, err)
	require.NoError(t, s.Decide(ctx, name, p.N, false, "operator:otto"))
	require.NoError(t, s.Reset(ctx, name, "operator:anna"))
	_, ok = s.Current(name)
	require.False(t, ok)
	list, err := s.Versions(ctx, name)
	require.NoError(t, err)
	var states []State
	for _, v := range list {
		states = append(states, v.State)
	}
	require.Equal(t, []State{Former, Former, Refused}, states, "no version is ever lost")
	require.Len(t, tr.records, 6)
	require.Equal(t, "operator:otto", tr.records[2].Actor)

	_, err = s.Propose(ctx, name, "", " ", "operator:anna", false)
	require.ErrorIs(t, err, ErrLength)
	_, err = s.Propose(ctx, name, "", "Text", "rule", false)
	require.Error(t, err)
}
