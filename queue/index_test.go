package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/testmail/env"
)

func numbersOf(s *Snapshot) []string {
	out := make([]string, len(s.Cases))
	for i, c := range s.Cases {
		out[i] = c.Number
	}
	return out
}

// An index sees every change that was made before it was asked, in the order
// List gives, also those that another process made.
func TestIndex(t *testing.T) {
	srv := env.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer rdb.Close()
	w := newWorldOn(t, rdb)
	other := w.q.NewIndex()
	x := w.q.NewIndex()
	first, changed, err := x.Snapshot(ctx)
	require.NoError(t, err)
	require.Empty(t, first.Cases)
	require.Empty(t, changed)

	var numbers []string
	for i := range 5 {
		in := mailFrom(fmt.Sprintf("p%d@example.com", i), classifier.Access)
		in.Received = in.Received.Add(-time.Duration(i) * 24 * time.Hour)
		ref, err := w.q.Open(ctx, in)
		require.NoError(t, err)
		numbers = append(numbers, ref.Number)
	}
	check := func(x *Index) *Snapshot {
		t.Helper()
		s, _, err := x.Snapshot(ctx)
		require.NoError(t, err)
		want, err := w.q.List(ctx, Filter{})
		require.NoError(t, err)
		require.Len(t, s.Cases, len(want))
		for i := range want {
			require.Equal(t, want[i], *s.Case(want[i].Number))
			require.Equal(t, want[i].Due, s.Cases[i].Due)
		}
		return s
	}
	s := check(x)
	check(other)
	require.Empty(t, first.Cases, "a snapshot does not change")

	_, err = w.q.Move(ctx, numbers[2], Move{Action: ActClose, Actor: "operator:eve", Reason: "done"})
	require.NoError(t, err)
	again, changed, err := x.Snapshot(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{numbers[2]}, changed)
	require.Equal(t, numbers[2], again.Cases[4].Number, "ended ones last")
	require.Greater(t, again.Tick, s.Tick)
	same, changed, err := x.Snapshot(ctx)
	require.NoError(t, err)
	require.Empty(t, changed)
	require.Equal(t, numbersOf(again), numbersOf(same))
	check(other)

	w.clock.Set(w.clock.Now().Add(5 * 366 * 24 * time.Hour))
	swept, err := w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, swept.Cases)
	require.Len(t, check(x).Cases, 4, "deleted ones are gone")

	mails, err := w.q.FirstMails(ctx, append(numbers[:2:2], numbers[2]))
	require.NoError(t, err)
	require.Len(t, mails, 2)
	require.Equal(t, "My secret words", mails[numbers[0]].Text)
}
