package consent

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
)

// TestD11_OptOutAfterTheLossHidesNothing: Redis falls back, and the first that
// reaches it then is another opt-out. Its marker must not cover what was lost.
func TestD11_OptOutAfterTheLossHidesNothing(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		g.record(t, given(mina))
		g.record(t, given(person(2)))
		require.Equal(t, StatusActive, ask(t, g.Registry, mina).Status)
		backup := g.snapshot(t)
		g.suppress(t, unsub(mina))
		other, err := New(g.rdb, g.ring, memDB(t), nil, Options{Now: g.clock.now})
		require.NoError(t, err)
		require.Equal(t, Unsubscribed, ask(t, other, mina).Suppressed)
		for _, lost := range []func(){
			func() { g.restore(t, backup) },
			func() { require.NoError(t, g.rdb.FlushAll(ctx).Err()) },
		} {
			lost()
			g.suppress(t, unsub(person(2)))
			require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed, "the node that wrote it")
			require.Equal(t, Unsubscribed, ask(t, other, mina).Suppressed, "another one")
			require.Equal(t, Unsubscribed, ask(t, g.again(t), mina).Suppressed, "after a restart")
		}
	})
}

// TestD11_RestartedNodeKnowsHowFarOthersWere: all nodes are stopped, a backup
// of Redis is restored, and one of them is started before the one that took
// the opt-outs since.
func TestD11_RestartedNodeKnowsHowFarOthersWere(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		second := memDB(t)
		start := func() *Registry {
			b, err := New(g.rdb, g.ring, second, nil, Options{Now: g.clock.now})
			require.NoError(t, err)
			return b
		}
		require.NoError(t, g.Check(ctx))
		g.record(t, given(mina))
		b := start()
		require.NoError(t, b.Check(ctx))
		backup := g.snapshot(t)
		g.suppress(t, unsub(mina))
		require.Equal(t, Unsubscribed, ask(t, b, mina).Suppressed)
		require.NoError(t, b.tidy(ctx), "as Run does each second")

		g.restore(t, backup)
		b = start()
		_, err := b.Lookup(ctx, "acme", "news", 1, []address.Address{mina})
		require.ErrorIs(t, err, ErrStoreUnavailable, "what the other node took is missing")
		require.ErrorIs(t, b.Check(ctx), ErrForgotten)
		require.Equal(t, Unsubscribed, ask(t, g.again(t), mina).Suppressed, "that node brings it back")
		require.Equal(t, Unsubscribed, ask(t, b, mina).Suppressed)

		g.restore(t, backup)
		b = start()
		require.NoError(t, b.AcceptLoss(ctx, g.Node()), "an operator's decision")
		require.Empty(t, ask(t, b, mina).Suppressed)
		b = start()
		require.Empty(t, ask(t, b, mina).Suppressed, "it lasts")
	})
}

// TestCON_5_OptOutWinsOverASignUpAhead: the person signed up again while the
// clock ran ahead, by a node's fault or until it was set right, and says no.
func TestCON_5_OptOutWinsOverASignUpAhead(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	signUp := func() {
		e := given(mina)
		e.Method = "form"
		g.record(t, e)
		e.Action, e.Method, e.Wording = Confirmed, "link", ""
		g.record(t, e)
		require.Equal(t, Answer{Subject: ask(t, g.Registry, mina).Subject, Status: StatusActive, Basis: Express, Evidence: ask(t, g.Registry, mina).Evidence}, ask(t, g.Registry, mina))
	}
	stop := unsub(mina)
	stop.ID, stop.Time = "link:stream:1", g.clock.now()
	withdraw := Event{Action: Withdrawn, Controller: "acme", Purpose: "news", Address: mina, Method: "page"}
	first := g.suppress(t, stop)
	g.clock.add(time.Hour)
	signUp()
	g.clock.add(-time.Hour / 2)

	stop.Time = g.clock.now()
	id := g.suppress(t, stop)
	require.NotEqual(t, first, id)
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed, "it was said after the sign-up")
	require.Equal(t, id, g.suppress(t, stop), "the same link is the same opt-out")
	require.NoError(t, g.Undo(ctx, id))
	require.Empty(t, ask(t, g.Registry, mina).Suppressed, "an undo brings back what was before")

	ids, err := g.SuppressAll(ctx, []Suppression{unsub(mina), unsub(person(2))})
	require.NoError(t, err)
	require.Len(t, ids, 2)
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
	require.NoError(t, g.Release(ctx, Release{Controller: "acme", Address: mina, Actor: "operator:desk", Reason: "test"}))
	require.Empty(t, ask(t, g.Registry, mina).Suppressed)

	g.record(t, withdraw)
	require.Equal(t, StatusWithdrawn, ask(t, g.Registry, mina).Status)

	g.clock.add(time.Hour)
	signUp()
	old := unsub(mina)
	old.Time = g.clock.now().Add(-time.Hour)
	g.suppress(t, old)
	require.Empty(t, ask(t, g.Registry, mina).Suppressed, "one that was meant for then stays there")
}

// TestD11_JournalOlderThanRedis: a node's data folder was put back from a
// backup. What it takes from then on is as safe as ever.
func TestD11_JournalOlderThanRedis(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	require.NoError(t, g.Check(ctx))
	g.record(t, given(mina))
	for i := range 3 {
		g.suppress(t, unsub(person(i)))
	}
	old := memDB(t)
	require.NoError(t, old.Set(journalNode, []byte(g.Node()), nil))
	r, err := New(g.rdb, g.ring, old, nil, Options{Now: g.clock.now})
	require.NoError(t, err)
	require.NoError(t, r.Check(ctx))
	backup := g.snapshot(t)
	_, err = r.Suppress(ctx, unsub(mina))
	require.NoError(t, err)
	g.restore(t, backup)
	require.Equal(t, Unsubscribed, ask(t, r, mina).Suppressed)
}
