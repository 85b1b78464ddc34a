package queue

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/consent"
)

// Release makes the recording world a Releaser.
func (w *world) Release(_ context.Context, r consent.Release) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.bound[r.ID]; !ok {
		return consent.ErrNotFound
	}
	delete(w.bound, r.ID)
	return nil
}

func TestForgedOptOuts(t *testing.T) {
	w := newWorld(t)
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
