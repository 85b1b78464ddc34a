package consent

import (
	"bytes"
	"context"
	"encoding/csv"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
)

func TestST_1_EvidenceGoesWhenItsRetentionEnds(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		g.record(t, given(mina))
		g.record(t, given(tagMn))
		kept := given(address.MustParse("kept@example.org"))
		g.record(t, kept)
		g.record(t, Event{Action: Withdrawn, Controller: "acme", Purpose: "news", Address: mina, Method: "page"})
		sweep := func() Swept {
			done, err := g.SweepNow(ctx)
			require.NoError(t, err)
			return done
		}
		g.clock.add(3*year - time.Hour)
		require.Zero(t, sweep().Deleted)
		g.clock.add(2 * time.Hour)
		require.Equal(t, 2, sweep().Deleted)
		require.Equal(t, StatusWithdrawn, ask(t, g.Registry, mina).Status, "the no stays")
		require.Equal(t, StatusActive, ask(t, g.Registry, kept.Address).Status, "a consent in force stays")
		rep, err := g.Import(ctx, strings.NewReader("address,time,source,wording,wording_version\nmina@example.org,2027-01-01,x,y,z\n"),
			ImportOptions{Controller: "acme", Purpose: "news"})
		require.NoError(t, err)
		require.Equal(t, 1, rep.Kept)
		require.Equal(t, StatusWithdrawn, ask(t, g.Registry, mina).Status)
	})
}

func TestST_2_SuppressionSurvivesErasure(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		g.record(t, given(mina))
		g.doi(t, tagMn)
		g.suppress(t, unsub(mina))
		got, err := g.Erase(ctx, "acme", mina, "PC-7", "operator:desk")
		require.NoError(t, err)
		require.Equal(t, 2, got.Logs)
		for _, a := range []address.Address{mina, tagMn} {
			answer := ask(t, g.Registry, a)
			require.Equal(t, []any{StatusNone, Erased, ScopeController}, []any{answer.Status, answer.Suppressed, answer.Scope})
		}
		p, err := g.Profile(ctx, "acme", mina)
		require.NoError(t, err)
		require.Empty(t, p.Consents)
		require.Len(t, p.Suppressions, 2)
		fields, err := g.rdb.HKeys(ctx, subjectKey(p.Subjects[0])).Result()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"k", "s"}, fields)

		// Replay, import and what others enter for the person leave it standing.
		_, err = g.Replay(ctx)
		require.NoError(t, err)
		g.record(t, given(mina))
		confirmed := given(mina)
		confirmed.Action, confirmed.Method = Confirmed, "cli"
		g.record(t, confirmed)
		_, err = g.Import(ctx, strings.NewReader("address,time,source,wording,wording_version\nmina@example.org,2026-02-01,x,y,z\n"), ImportOptions{Controller: "acme", Purpose: "news"})
		require.NoError(t, err)
		require.Equal(t, Erased, ask(t, g.Registry, mina).Suppressed)
	})
}

// Who was erased and signs up anew by double opt-in has given a new consent:
// for that purpose and that form of the address the erasure no longer stops
// mail, for all else it does, and so does a second erasure.
func TestST_2_NewDoubleOptInAfterErasure(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		before := given(mina)
		before.Method = "form"
		early := g.record(t, before)
		g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopeController, Reason: ErasurePending, Case: "PC-7", Actor: "rule"})
		g.clock.add(time.Hour)
		g.doi(t, mina)
		require.Equal(t, ErasurePending, ask(t, g.Registry, mina).Suppressed, "a sign-up does not end an erasure that is still open")
		g.clock.add(time.Hour)
		id, err := g.Erase(ctx, "acme", mina, "PC-7", "operator:desk")
		require.NoError(t, err)
		require.ErrorIs(t, g.Undo(ctx, id.Suppression), ErrUndoOver, "no link takes an erasure back")
		_, err = g.Record(ctx, Event{Action: Confirmed, Controller: "acme", Purpose: "news", Method: "link", Ref: early})
		require.ErrorIs(t, err, ErrNotFound, "what was asked before the erasure is gone")

		g.clock.add(time.Hour)
		again := given(mina)
		again.Method = "form"
		ref := g.record(t, again)
		require.NotEmpty(t, ask(t, g.Registry, mina).Suppressed, "typing an address alone is not enough")
		g.record(t, Event{Action: Confirmed, Controller: "acme", Purpose: "news", Method: "link", Ref: ref})
		got := ask(t, g.Registry, mina)
		require.Equal(t, []any{StatusActive, Reason("")}, []any{got.Status, got.Suppressed})
		require.NotEmpty(t, ask(t, g.Registry, tagMn).Suppressed, "only the form that was typed in")
		other, err := g.Lookup(ctx, "acme", "offers", 2, []address.Address{mina})
		require.NoError(t, err)
		require.NotEmpty(t, other[0].Suppressed, "only that purpose")
		p, err := g.Profile(ctx, "acme", mina)
		require.NoError(t, err)
		for _, s := range p.Suppressions {
			require.Equal(t, []string{"news"}, s.SignedUp, "%s", s.Reason)
		}
		_, err = g.Replay(ctx)
		require.NoError(t, err)
		require.Empty(t, ask(t, g.Registry, mina).Suppressed)

		g.clock.add(time.Hour)
		_, err = g.Erase(ctx, "acme", mina, "PC-8", "operator:desk")
		require.NoError(t, err)
		got = ask(t, g.Registry, mina)
		require.Equal(t, []any{StatusNone, Erased}, []any{got.Status, got.Suppressed})
	})
}

// TestST_4_ErasureInOrder cuts the way to Redis after each step of an erasure:
// at no moment is the person mailable, and calling it again ends it.
func TestST_4_ErasureInOrder(t *testing.T) {
	for cut := range 12 {
		g := newRig(t)
		ctx := context.Background()
		g.record(t, given(mina))
		require.Empty(t, ask(t, g.Registry, mina).Suppressed)
		hook := &cutter{after: cut}
		g.rdb.AddHook(hook)
		_, err := g.Erase(ctx, "acme", mina, "PC-7", "operator:desk")
		hook.off.Store(true)
		for _, r := range []*Registry{g.Registry, g.again(t)} {
			require.Equal(t, Erased, ask(t, r, mina).Suppressed, "cut %d", cut)
		}
		if err != nil {
			require.ErrorIs(t, err, ErrStoreUnavailable)
			_, err = g.again(t).Erase(ctx, "acme", mina, "PC-7", "operator:desk")
			require.NoError(t, err)
		}
		require.Equal(t, StatusNone, ask(t, g.Registry, mina).Status)
		require.Equal(t, "suppress", g.trail.actions()[1])
		require.Contains(t, g.trail.actions(), "erase")
	}
}

func TestST_5_NothingToldHoldsAnAddress(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	var told bytes.Buffer
	g.opts.Log = slog.New(slog.NewTextHandler(&told, nil))
	note := func(err error) {
		if err != nil {
			told.WriteString(err.Error() + "\n")
		}
	}
	bad := given(mina)
	bad.Wording = ""
	_, err := g.Record(ctx, bad)
	note(err)
	g.record(t, given(mina))
	rep, err := g.Import(ctx, strings.NewReader("address,time,action\nmina@example.org,never,given\nmina @example.org,,given\nmina@example.org,,\"sideways\"\n"), ImportOptions{Controller: "acme", Purpose: "news"})
	note(err)
	require.Equal(t, 3, rep.RefusedRows)
	for _, r := range rep.Refused {
		told.WriteString(r.Reason + "\n")
	}
	key := subjectKey(g.ring.Identify("acme", mina).ID)
	g.mini.HSet(key, fieldSuppression, "\xff\xff\xff")
	_, err = g.Lookup(ctx, "acme", "news", 1, []address.Address{mina})
	require.ErrorIs(t, err, ErrDamaged)
	note(err)
	g.mini.HDel(key, fieldSuppression)
	g.mini.SetError("LOADING")
	_, err = g.Suppress(ctx, unsub(mina))
	note(err)
	_, err = g.Lookup(ctx, "acme", "news", 1, []address.Address{mina})
	note(err)
	note(g.Undo(ctx, "mina@example.org"))
	require.NotEmpty(t, told.String())
	require.NotContains(t, strings.ToLower(told.String()), "mina")
	for _, rec := range g.trail.recs {
		for _, v := range rec.Data {
			require.NotContains(t, v, "mina")
		}
	}
	for _, k := range g.mini.Keys() {
		require.NotContains(t, k, "mina")
	}
}

func TestST_7_RestoredRedisGetsLaterOptOutsBeforeAnySend(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		g.record(t, given(mina))
		g.suppress(t, unsub(address.MustParse("first@example.org")))
		backup := g.snapshot(t)
		g.suppress(t, unsub(mina))
		g.record(t, Event{Action: Withdrawn, Controller: "acme", Purpose: "news", Address: tagMn, Method: "page"})
		g.restore(t, backup)
		require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed, "the running node")
		require.Equal(t, StatusWithdrawn, ask(t, g.Registry, tagMn).Status)
		g.restore(t, backup)
		require.Equal(t, Unsubscribed, ask(t, g.again(t), mina).Suppressed, "a restarted one")
		require.NoError(t, g.rdb.FlushAll(ctx).Err())
		require.NoError(t, g.again(t).Check(ctx))
		require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
	})
}

func TestST_10_ExportAndDeletePerPerson(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		g.doi(t, mina)
		id := g.suppress(t, unsub(mina))
		require.NoError(t, g.Release(ctx, Release{ID: id, Actor: "operator:desk", Reason: "a misread letter"}))
		p, err := g.Profile(ctx, "acme", tagMn)
		require.NoError(t, err)
		var out bytes.Buffer
		require.NoError(t, p.WriteJSON(&out))
		for _, part := range []string{"Yes, send me the newsletter.", "a misread letter", `"ended_by": "release"`, `"status": "active"`, "operator:desk"} {
			require.Contains(t, out.String(), part)
		}
		out.Reset()
		n, err := g.Export(ctx, ExportOptions{Controller: "acme"}, &out)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		rows, err := csv.NewReader(&out).ReadAll()
		require.NoError(t, err)
		require.Len(t, rows, 4)
		_, err = g.Export(ctx, ExportOptions{Controller: "globex"}, &out)
		require.NoError(t, err)
		require.Len(t, strings.Split(strings.TrimSpace(out.String()), "\n"), 1, "only the header")
		_, err = g.ProfileSubject(ctx, "globex", p.Subjects[0])
		require.ErrorIs(t, err, ErrNotFound)
	})
}

func TestUTF8_3_OptOutFindsEveryWritingConsentOnlyItsOwn(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		forms := []string{"Grüße@bücher.example", "GRÜSSE@xn--bcher-kva.example", "gru\u0308ße+x@BÜCHER.example"}
		g.record(t, given(address.MustParse(forms[0])))
		for i, f := range forms {
			want := StatusNone
			if i == 0 {
				want = StatusActive
			}
			require.Equal(t, want, ask(t, g.Registry, address.MustParse(f)).Status)
		}
		g.suppress(t, unsub(address.MustParse(forms[1])))
		for _, f := range forms {
			require.Equal(t, Unsubscribed, ask(t, g.Registry, address.MustParse(f)).Suppressed)
		}
	})
}

func TestReleaseIsAnOperatorsWithAReason(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		s := unsub(mina)
		s.Reason, s.Scope = Complained, ScopeController
		id := g.suppress(t, s)
		require.NoError(t, g.Bounce(ctx, "acme", mina, true, "msg-1"))
		for _, rel := range []Release{
			{ID: id, Actor: "import", Reason: "x"}, {ID: id, Actor: "operator:", Reason: "x"}, {ID: id, Reason: "x"}, {ID: id, Actor: "operator:desk", Reason: " "},
		} {
			require.ErrorIs(t, g.Release(ctx, rel), ErrRefused)
		}
		require.ErrorIs(t, g.Undo(ctx, id), ErrUndoOver, "a complaint has no undo")
		require.NoError(t, g.Release(ctx, Release{Controller: "acme", Address: tagMn, Only: Bounced, Actor: "operator:desk", Reason: "mailbox was moved"}))
		require.Equal(t, Complained, ask(t, g.Registry, mina).Suppressed)
		require.NoError(t, g.Release(ctx, Release{ID: id, Actor: "operator:desk", Reason: "report was about another mail"}))
		require.Empty(t, ask(t, g.Registry, mina).Suppressed)
		require.ErrorIs(t, g.Release(ctx, Release{ID: "nonsense", Actor: "operator:desk", Reason: "x"}), ErrNotFound)
		require.ErrorIs(t, g.Release(ctx, Release{Controller: "acme", Address: address.MustParse("nobody@example.org"), Actor: "operator:desk", Reason: "x"}), ErrNotFound)
	})
}

func TestUndoHasItsTime(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	old := g.suppress(t, unsub(mina))
	g.clock.add(25 * time.Hour)
	young := g.suppress(t, unsub(mina))
	require.ErrorIs(t, g.Undo(ctx, old), ErrUndoOver)
	require.NoError(t, g.Undo(ctx, young))
	require.NoError(t, g.Undo(ctx, young), "twice is once")
	require.Equal(t, old, ask(t, g.Registry, mina).Evidence, "the state before is restored, not more")
	require.ErrorIs(t, g.Undo(ctx, young[:27]+"aaaaaaaaaaaaa"), ErrNotFound)
}

func TestBouncesCountPerMessage(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		g.opts.HardBounces = 3
		bounce := func(hard bool, ref string) {
			require.NoError(t, g.Bounce(ctx, "acme", mina, hard, ref))
			g.clock.add(time.Minute)
		}
		bounce(true, "m1")
		bounce(true, "m1")
		bounce(false, "m2")
		bounce(false, "m3")
		bounce(true, "m4")
		require.Empty(t, ask(t, g.Registry, mina).Suppressed)
		g.clock.add(91 * 24 * time.Hour)
		bounce(true, "m5")
		bounce(true, "m6")
		require.Empty(t, ask(t, g.Registry, mina).Suppressed, "old ones do not count")
		bounce(true, "m7")
		require.Equal(t, Bounced, ask(t, g.Registry, mina).Suppressed)
		require.NoError(t, g.Release(ctx, Release{Controller: "acme", Address: mina, Actor: "operator:desk", Reason: "the server was misconfigured"}))
		g.clock.add(time.Minute)
		bounce(true, "m8")
		require.Empty(t, ask(t, g.Registry, mina).Suppressed, "counting begins anew")
	})
}

func TestRevertTakesBackAFlood(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		from := g.clock.now()
		for i := range 20 {
			s := unsub(person(i))
			s.Source = "one-click"
			g.suppress(t, s)
		}
		g.suppress(t, unsub(mina)) // another source
		n, err := g.Revert(ctx, "acme", "one-click", from, from.Add(10*time.Second), "operator:desk", "a scanner posted the links")
		require.NoError(t, err)
		require.Equal(t, 10, n)
		require.Empty(t, ask(t, g.Registry, person(3)).Suppressed)
		require.Equal(t, Unsubscribed, ask(t, g.Registry, person(15)).Suppressed)
		require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
		standing := 0
		require.NoError(t, g.Suppressions(ctx, "acme", func(s SuppressionRecord) error {
			if s.Stands() {
				standing++
			}
			return nil
		}))
		require.Equal(t, 11, standing)
		_, err = g.Revert(ctx, "acme", "", from, from.Add(time.Hour), "operator:desk", "x")
		require.ErrorIs(t, err, ErrRefused)
	})
}

// ST-9: times are kept in UTC whatever zone they are told in, also in the hour
// that summer time doubles.
func TestST_9_TimesAreUTC(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		berlin, err := time.LoadLocation("Europe/Berlin")
		require.NoError(t, err)
		first := time.Date(2025, 10, 26, 0, 30, 0, 0, time.UTC).In(berlin) // 02:30 summer time
		second := first.Add(time.Hour)                                     // 02:30 again
		require.Equal(t, first.Format("15:04"), second.Format("15:04"))
		e := given(mina)
		e.Time = first
		g.record(t, e)
		g.record(t, Event{Time: second, Action: Withdrawn, Controller: "acme", Purpose: "news", Address: mina, Method: "page"})
		p, err := g.Profile(context.Background(), "acme", mina)
		require.NoError(t, err)
		var times []time.Time
		for _, c := range p.Consents {
			require.Equal(t, StatusWithdrawn, c.Status, "the later of two equal clock times counts")
			for _, h := range c.History {
				require.Equal(t, time.UTC, h.Time.Location())
				times = append(times, h.Time)
			}
		}
		require.Contains(t, times, first.UTC())
		require.Contains(t, times, second.UTC())
	})
}
