package consent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"postern/gateway/address"
	"postern/testmail/env"
)

func TestUNS_7_OptOutIsJournalledBeforeRedis(t *testing.T) {
	for cut := range 3 {
		g := newRig(t)
		g.record(t, given(mina))
		require.Empty(t, ask(t, g.Registry, mina).Suppressed)
		hook := &cutter{after: cut}
		g.rdb.AddHook(hook)
		id, err := g.Suppress(context.Background(), unsub(mina))
		hook.off.Store(true)
		require.NotEmpty(t, id)
		if err != nil {
			require.ErrorIs(t, err, ErrStoreUnavailable)
		}
		require.Equal(t, id, ask(t, g.again(t), mina).Evidence, "cut %d", cut)
		require.Equal(t, id, ask(t, g.Registry, mina).Evidence)
	}
}

// TestCON_5_WithdrawalWinsOverAClockAhead: the give came first, from a node
// whose clock runs a minute ahead.
func TestCON_5_WithdrawalWinsOverAClockAhead(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	ahead := &clock{t: g.clock.now().Add(time.Minute)}
	b, err := New(g.rdb, g.ring, memDB(t), nil, Options{Now: ahead.now})
	require.NoError(t, err)
	_, err = b.Record(ctx, given(mina))
	require.NoError(t, err)
	out := Event{Action: Withdrawn, Controller: "acme", Purpose: "news", Address: mina, Method: "page"}
	g.record(t, out)
	ahead.add(time.Second)
	for _, r := range []*Registry{g.Registry, b} {
		require.Equal(t, StatusWithdrawn, ask(t, r, mina).Status)
	}
	_, err = b.Record(ctx, given(mina))
	require.NoError(t, err)
	require.Equal(t, StatusActive, ask(t, b, mina).Status, "a later give counts")
	out.Time = g.clock.now().Add(-time.Hour)
	g.record(t, out)
	require.Equal(t, StatusActive, ask(t, b, mina).Status, "one that was meant for then stays there")
}

func TestFailingLedgerOrJournalFailsTheCall(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	g.trail.err = errors.New("disk full")
	_, err := g.Suppress(ctx, unsub(mina))
	require.ErrorContains(t, err, "disk full")
	_, err = g.Record(ctx, given(mina))
	require.Error(t, err)
	require.Equal(t, StatusNone, ask(t, g.Registry, mina).Status, "what can't be proven is not stored")
	require.Empty(t, g.journal.waiting)
}

// TestOtherNodeNoticesWhatRedisForgot: node B never wrote the opt-out, and yet
// does not believe a Redis that lost it.
func TestOtherNodeNoticesWhatRedisForgot(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	b, err := New(g.rdb, g.ring, memDB(t), &trail{}, Options{Now: g.clock.now})
	require.NoError(t, err)
	g.record(t, given(mina))
	require.Equal(t, StatusActive, ask(t, b, mina).Status)
	backup := g.snapshot(t)
	g.suppress(t, unsub(mina))
	require.Equal(t, Unsubscribed, ask(t, b, mina).Suppressed)
	g.restore(t, backup)
	_, err = b.Lookup(ctx, "acme", "news", 1, []address.Address{mina})
	require.ErrorIs(t, err, ErrStoreUnavailable)
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed, "node A brings it back")
	require.Equal(t, Unsubscribed, ask(t, b, mina).Suppressed)
	g.restore(t, backup)
	require.NoError(t, b.AcceptLoss(ctx, g.Node()), "an operator's decision")
	require.Empty(t, ask(t, b, mina).Suppressed)
}

// TestPersonsNoHoldsWhateverHappens plays random histories with outages,
// restarts, backups restored and two nodes: whoever said no and neither undid
// it nor signed up again is never told to be mailable.
func TestPersonsNoHoldsWhateverHappens(t *testing.T) {
	ctx := context.Background()
	persons := []address.Address{mina, address.MustParse("tom@example.net")}
	rapid.Check(t, func(rt *rapid.T) {
		g := newRig(rt)
		nodes := []*Registry{g.Registry, nil}
		second := memDB(rt)
		restart := func(i int) {
			db := g.db
			if i == 1 {
				db = second
			}
			r, err := New(g.rdb, g.ring, db, g.trail, Options{Now: g.clock.now})
			require.NoError(rt, err)
			nodes[i] = r
		}
		restart(1)
		said := []map[string]string{{}, {}} // ids of opt-outs in force, per person, and the link they came by
		var backup content
		down := false
		check := func() {
			for p, a := range persons {
				for n, r := range nodes {
					out, err := r.Lookup(ctx, "acme", "news", 1, []address.Address{a})
					if err != nil {
						require.ErrorIs(rt, err, ErrStoreUnavailable)
						continue
					}
					require.False(rt, down)
					if len(said[p]) > 0 {
						require.False(rt, out[0].Status == StatusActive && out[0].Suppressed == "", "node %d mails person %d", n, p)
					}
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { g.clock.add(time.Second); check() },
			"give": func(t *rapid.T) {
				_, _ = nodes[rapid.IntRange(0, 1).Draw(t, "node")].Record(ctx, given(persons[rapid.IntRange(0, 1).Draw(t, "person")]))
			},
			"suppress": func(t *rapid.T) {
				p := rapid.IntRange(0, 1).Draw(t, "person")
				s := unsub(persons[p])
				s.Scope = rapid.SampledFrom([]Scope{ScopePurpose, ScopeController}).Draw(t, "scope")
				s.ID = rapid.SampledFrom([]string{"", "link-1", "link-2"}).Draw(t, "id")
				id, err := nodes[rapid.IntRange(0, 1).Draw(t, "node")].Suppress(ctx, s)
				require.NotEmpty(t, id)
				if err != nil {
					require.ErrorIs(t, err, ErrStoreUnavailable)
					// Only the node that took it is bound so far, the caller was told so.
					if !down {
						said[p][id] = s.ID
					}
					return
				}
				said[p][id] = s.ID
			},
			"undo": func(t *rapid.T) {
				for p := range said {
					for id := range said[p] {
						err := nodes[rapid.IntRange(0, 1).Draw(t, "node")].Undo(ctx, id)
						if err == nil || errors.Is(err, ErrStoreUnavailable) {
							link := said[p][id]
							maps.DeleteFunc(said[p], func(other, by string) bool { // done, or may have been
								return other == id || link != "" && by == link
							})
						}
						return
					}
				}
			},
			"sign up again": func(t *rapid.T) {
				p := rapid.IntRange(0, 1).Draw(t, "person")
				e := given(persons[p])
				e.Method = "form"
				r := nodes[rapid.IntRange(0, 1).Draw(t, "node")]
				if _, err := r.Record(ctx, e); err != nil {
					return
				}
				g.clock.add(time.Second)
				e.Action, e.Method, e.Wording = Confirmed, "link", ""
				_, _ = r.Record(ctx, e)
				said[p] = map[string]string{}
			},
			"redis goes":  func(*rapid.T) { down = true; g.mini.SetError("LOADING gone") },
			"redis comes": func(*rapid.T) { down = false; g.mini.SetError("") },
			"restart":     func(t *rapid.T) { restart(rapid.IntRange(0, 1).Draw(t, "node")) },
			"back up": func(*rapid.T) {
				if !down {
					backup = g.snapshot(rt)
				}
			},
			"restore": func(*rapid.T) {
				if !down && backup.hashes != nil {
					g.restore(rt, backup)
				}
			},
			"the clock is set right": func(t *rapid.T) {
				g.clock.add(-time.Duration(rapid.IntRange(1, 7200).Draw(t, "seconds")) * time.Second)
			},
			"restore with all nodes stopped": func(t *rapid.T) {
				if down || backup.hashes == nil {
					return
				}
				for _, r := range nodes {
					require.NoError(rt, r.journal.keepMarkers(), "as Run does when it ends")
				}
				g.restore(rt, backup)
				restart(0)
				restart(1)
			},
			"restore, and the next is an opt-out": func(t *rapid.T) {
				if down || backup.hashes == nil {
					return
				}
				g.restore(rt, backup)
				p, n := rapid.IntRange(0, 1).Draw(t, "person"), rapid.IntRange(0, 1).Draw(t, "node")
				id, err := nodes[n].Suppress(ctx, unsub(persons[p]))
				if err == nil {
					said[p][id] = ""
				}
			},
		})
	})
}

// TestRunRetriesReplaysAndEnds on a real server that is killed and started.
func TestRunRetriesReplaysAndEnds(t *testing.T) {
	server := env.Redis(t)
	g := &rig{db: memDB(t), trail: &trail{}, clock: &clock{t: day0}, rdb: client(t, server.Addr)}
	var err error
	g.Registry, err = New(g.rdb, ringOf(t, "1"), g.db, g.trail, Options{Now: g.clock.now, Tick: 20 * time.Millisecond, Timeout: time.Second})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	require.NoError(t, g.Check(ctx))
	g.record(t, given(mina))
	g.suppress(t, unsub(person(1)))
	server.Kill()
	id, err := g.Suppress(ctx, unsub(mina))
	require.ErrorIs(t, err, ErrStoreUnavailable)
	_, err = g.Lookup(ctx, "acme", "news", 1, []address.Address{mina})
	require.ErrorIs(t, err, ErrStoreUnavailable)
	server.Start()
	env.Eventually(t, 10*time.Second, "the waiting opt-out in Redis", func() bool { return len(g.journal.stuckAll()) == 0 })
	other, err := New(client(t, server.Addr), ringOf(t, "1"), memDB(t), nil, Options{Now: g.clock.now})
	require.NoError(t, err)
	require.Equal(t, id, ask(t, other, mina).Evidence, "another node knows it")
	require.Equal(t, Unsubscribed, ask(t, other, person(1)).Suppressed, "nothing was lost by the kill")

	// A node with another key is noticed, and nobody is mailed any more.
	require.NoError(t, g.rdb.HSet(ctx, keyFingerprints, "2", "feed").Err())
	env.Eventually(t, 10*time.Second, "the foreign key to block look-ups", func() bool {
		_, err := g.Lookup(ctx, "acme", "news", 1, []address.Address{person(2)})
		return errors.Is(err, ErrForeignKey) && errors.Is(err, ErrStoreUnavailable)
	})
	require.NoError(t, g.rdb.HDel(ctx, keyFingerprints, "2").Err())
	env.Eventually(t, 10*time.Second, "look-ups again", func() bool {
		_, err := g.Lookup(ctx, "acme", "news", 1, []address.Address{person(2)})
		return err == nil
	})
	cancel()
	require.NoError(t, <-ended)
}

// TestLongReplayGoesOnWhereItWasCut: a Redis that lost everything is brought
// up to a journal longer than one flight, although each attempt is cut short.
func TestLongReplayGoesOnWhereItWasCut(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	const n = 8*applyBatch + 17
	var in strings.Builder
	in.WriteString("address,time,action\n")
	for i := range n {
		fmt.Fprintf(&in, "person%d@example.org,2026-01-03,unsubscribed\n", i)
	}
	_, err := g.Import(ctx, strings.NewReader(in.String()), list("x.csv"))
	require.NoError(t, err)
	g.mini.FlushAll()
	for attempt := 0; ; attempt++ {
		require.Less(t, attempt, 9, "each attempt gets further")
		hook := &cutter{after: 12} // the connection's own take a few
		rdb := client(t, g.mini.Addr())
		rdb.AddHook(hook)
		r, err := New(rdb, g.ring, g.db, nil, Options{Now: g.clock.now, Timeout: 10 * time.Second}) // cut by the hook, not by a busy machine
		require.NoError(t, err)
		if _, err = r.Lookup(ctx, "acme", "news", 1, []address.Address{person(n - 1)}); err == nil {
			require.Positive(t, attempt)
			break
		}
		require.ErrorIs(t, err, ErrStoreUnavailable)
		at, _ := g.rdb.HGet(ctx, keyNodes, g.journal.node).Result()
		t.Logf("attempt %d: marker %q after %d commands", attempt, at, hook.seen.Load())
	}
	for _, i := range []int{0, applyBatch, n - 1} {
		require.Equal(t, Unsubscribed, ask(t, g.Registry, person(i)).Suppressed)
	}
}

func TestConcurrentOptOutsAndLookups(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		const n = 40
		for i := range n {
			g.record(t, given(person(i)))
		}
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				s := unsub(person(i))
				if _, err := g.Suppress(context.Background(), s); err != nil {
					t.Errorf("suppress: %v", err)
					return
				}
				out, err := g.Lookup(context.Background(), "acme", "news", 1, []address.Address{person(i)})
				if err != nil || out[0].Suppressed != Unsubscribed {
					t.Errorf("person %d after the answer: %v %v", i, out, err)
				}
			})
		}
		wg.Wait()
		require.Empty(t, g.journal.stuckAll())
		g.mark(context.Background())
		marker, err := g.rdb.HGet(context.Background(), keyNodes, g.journal.node).Result()
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(n), marker)
	})
}

var _ redis.Hook = (*cutter)(nil)
