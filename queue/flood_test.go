package queue

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/consent"
	"postern/testmail/env"
)

// Release makes the recording world a Releaser.
func (w *world) Release(_ context.Context, r consent.Release) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := false
	for id, s := range w.bound {
		if id == r.ID || r.ID == "" && s.Address.Wide() == r.Address.Wide() && (r.Only == "" || s.Reason == r.Only) {
			delete(w.bound, id)
			found = true
		}
	}
	if !found {
		return consent.ErrNotFound
	}
	return nil
}

func TestForgedOptOuts(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: env.Redis(t, "--appendfsync", "no").Addr})
	defer rdb.Close()
	w := newWorldOn(t, rdb)
	w.q.o.AckStream = nil
	honest := mailFrom("person@example.com", classifier.Objection)
	honest.Source = "192.0.2.1"
	_, err := w.q.Open(ctx, honest)
	require.NoError(t, err)
	start := w.clock.Now()
	for i := range 500 {
		in := mailFrom(fmt.Sprintf("victim%d@example.com", i), classifier.Unsubscribe, classifier.Objection)
		in.Source = "192.0.2.66"
		_, err := w.q.Open(ctx, in)
		require.NoError(t, err)
	}
	require.Len(t, w.bound, 1001, "all bind at once")
	w.drain()
	require.Len(t, w.notices, 1, "the alarm rings once")
	require.Equal(t, "optout-flood", w.notices[0].Kind)
	source := w.notices[0].Reason
	require.NotContains(t, source, "192.0.2")
	requireSealed(t, w.rdb)

	r := Revert{Source: source, From: start, Till: start.Add(time.Hour), Actor: "operator:eve", Reason: "forged by one host", DryRun: true}
	would, err := w.q.RevertOptOuts(ctx, r)
	require.NoError(t, err)
	require.Len(t, would.Cases, 500)
	require.Equal(t, 1000, would.Released)
	require.Len(t, w.bound, 1001)
	r.DryRun = false
	done, err := w.q.RevertOptOuts(ctx, r)
	require.NoError(t, err)
	require.Equal(t, 1000, done.Released)
	require.Len(t, w.bound, 1, "the honest one stands")
	for _, no := range done.Cases {
		require.NoError(t, w.q.handleMail(ctx, no, 0))
	}
	require.Len(t, w.bound, 1, "a late worker does not bind again what was reverted")
	again, err := w.q.RevertOptOuts(ctx, r)
	require.NoError(t, err)
	require.Equal(t, 1000, again.Gone)
	_, err = w.q.RevertOptOuts(ctx, Revert{From: start, Till: start, Actor: "rule", Reason: "x"})
	require.Error(t, err, "only a person reverts")
}

func TestHoldIsDecided(t *testing.T) {
	for name, confirm := range map[string]bool{"confirmed": true, "released": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			in := mailFrom("alice@example.com", classifier.Objection)
			in.Text = "The same for my old address dave@example.net please."
			ref, err := w.q.Open(ctx, in)
			require.NoError(t, err)
			holds, err := w.q.Holds(ctx, ref.Number)
			require.NoError(t, err)
			require.Len(t, holds, 1)
			require.Equal(t, "dave@example.net", holds[0].Address.Plain())
			require.Error(t, w.q.DecideHold(ctx, ref.Number, holds[0], confirm, "rule", "x"))
			require.NoError(t, w.q.DecideHold(ctx, ref.Number, holds[0], confirm, "operator:eve", "same person"))
			got := map[consent.Reason]bool{}
			for _, s := range w.bound {
				if s.Address.Plain() == "dave@example.net" {
					got[s.Reason] = true
				}
			}
			require.False(t, got[consent.Held])
			require.Equal(t, confirm, got[consent.ObjectedTo])
			holds, err = w.q.Holds(ctx, ref.Number)
			require.NoError(t, err)
			require.Equal(t, name, holds[0].Decided)
		})
	}
}

func TestProposedOptOutIsDecided(t *testing.T) {
	w := newWorld(t)
	w.q.o.Policy = map[classifier.Label]Policy{classifier.Objection: Propose}
	no := w.open(classifier.Objection)
	holds, err := w.q.Holds(ctx, no)
	require.NoError(t, err)
	require.Len(t, holds, 1)
	require.Equal(t, -1, holds[0].Index)
	require.NoError(t, w.q.DecideHold(ctx, no, holds[0], true, "operator:eve", "clear words"))
	require.Equal(t, []consent.Reason{consent.ObjectedTo}, w.boundReasons())
}
