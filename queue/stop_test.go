package queue

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/node"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// registered is a world whose opt-outs bind in the real registry.
func registered(t *testing.T) (*world, *consent.Registry) {
	t.Helper()
	w := newWorld(t)
	dir := t.TempDir()
	db, err := node.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	trail, err := ledger.Open(db, dir+"/ledger", ledger.Keys{Origin: "relay.example.org/postern", Signer: bytes.Repeat([]byte{1}, 32), Master: bytes.Repeat([]byte{2}, 32)}, ledger.Options{})
	require.NoError(t, err)
	reg, err := consent.New(w.rdb, w.q.o.Keyring, db, trail, consent.Options{Now: w.clock.Now})
	require.NoError(t, err)
	require.NoError(t, reg.Check(ctx))
	w.q.d.Optout = reg
	return w, reg
}

var alice = address.MustParse("alice@example.com")

// subscribe gives alice an active consent to news.
func subscribe(t *testing.T, w *world, reg *consent.Registry) {
	t.Helper()
	ref, err := reg.Record(ctx, consent.Event{Time: w.clock.Now().AddDate(0, 0, -9), Action: consent.Given, Controller: "shop", Purpose: "news", Address: alice, Basis: consent.Express,
		Method: "form", Source: "https://shop.example.org/", Wording: "Yes", WordingVer: "1", Actor: "link"})
	require.NoError(t, err)
	_, err = reg.Record(ctx, consent.Event{Time: w.clock.Now().AddDate(0, 0, -9), Action: consent.Confirmed, Controller: "shop", Purpose: "news", Method: "link", Ref: ref})
	require.NoError(t, err)
}

func suppressed(t *testing.T, reg *consent.Registry) (consent.Status, consent.Reason) {
	t.Helper()
	a, err := reg.Lookup(ctx, "shop", "news", 2, []address.Address{alice})
	require.NoError(t, err)
	return a[0].Status, a[0].Suppressed
}

func acts(w *world, no string, a Action, reason string) (n int) {
	_, events, err := w.q.Show(ctx, no)
	require.NoError(w.t, err)
	for _, e := range events {
		if e.Action == a && e.Reason == reason {
			n++
		}
	}
	return n
}

// TestRefusedErasureRestartsNothing: a request for erasure that is refused,
// taken back or closed leaves the stop standing, as one that the person may end
// by signing up anew; an operator may lift it with a reason, and then consent is
// what it was and every other no stands.
func TestRefusedErasureRestartsNothing(t *testing.T) {
	deny := func(w *world, no string, e Ending) error {
		_, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Denied, Effect: ActDeny, Reason: "law", Actor: eve, Ending: e})
		if err == nil {
			w.later(0)
			w.later(w.q.o.SendHold * 2)
			require.Equal(w.t, Denied, w.state(no))
		}
		return err
	}
	ends := map[string]func(*world, string, Ending) error{
		"refused": deny,
		"withdrawn": func(w *world, no string, e Ending) error {
			_, err := w.q.Move(ctx, no, Move{Action: ActWithdraw, Actor: eve, Reason: "by-mail", Ending: e})
			return err
		},
		"closed": func(w *world, no string, e Ending) error {
			_, err := w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "no-request", Ending: e})
			return err
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w, reg := registered(t)
			subscribe(t, w, reg)
			no := w.open(classifier.Erasure)
			_, why := suppressed(t, reg)
			require.Equal(t, consent.ErasurePending, why)
			where, fixed, err := w.q.StopOf(ctx, no)
			require.NoError(t, err)
			require.Equal(t, StopPlaced, where)
			require.ErrorIs(t, fixed, ErrMove)
			require.ErrorIs(t, w.q.DecideStop(ctx, no, Ending{Stop: StopLift, Why: "x"}, eve), ErrMove, "it still asks for erasure")

			require.NoError(t, end(w, no, Ending{}))
			w.drain()
			status, why := suppressed(t, reg)
			require.Equal(t, consent.WithdrawnBy, why, "nothing restarts by itself")
			require.Equal(t, consent.StatusActive, status, "consent is not rewritten")
			require.Equal(t, 1, acts(w, no, ActSuppress, "withdrawn"))
			where, fixed, err = w.q.StopOf(ctx, no)
			require.NoError(t, err)
			require.Equal(t, StopLasting, where, "it is decided")
			require.NoError(t, fixed, "and may be lifted")

			// The person alone ends it, by a new double opt-in.
			w.clock.Set(w.clock.Now().AddDate(0, 0, 20))
			subscribe(t, w, reg)
			_, why = suppressed(t, reg)
			require.Empty(t, why)
		})
		t.Run(name+" and lifted", func(t *testing.T) {
			w, reg := registered(t)
			subscribe(t, w, reg)
			no := w.open(classifier.Erasure, classifier.Objection)
			require.Error(t, end(w, no, Ending{Stop: StopLift}), "a reason is needed")
			require.Error(t, end(w, no, Ending{Stop: "maybe"}))
			require.True(t, w.state(no).Live())
			require.NoError(t, end(w, no, Ending{Stop: StopLift, Why: "They like the newsletter."}))
			w.drain()
			require.Equal(t, 1, acts(w, no, ActRelease, "erasure-pending"))
			require.Equal(t, 1, acts(w, no, ActNote, "marketing-lift"))
			_, why := suppressed(t, reg)
			require.Equal(t, consent.ObjectedTo, why, "an objection stands")
		})
	}
}

// lifting is a closed case whose stop an operator lifts, before a worker came to it.
func lifting(t *testing.T) (*world, *consent.Registry, string) {
	t.Helper()
	w, reg := registered(t)
	subscribe(t, w, reg)
	no := w.open(classifier.Erasure)
	_, err := w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "no-request"})
	require.NoError(t, err)
	w.drain()
	require.NoError(t, w.q.DecideStop(ctx, no, Ending{Stop: StopLift, Why: "They were asked."}, eve))
	return w, reg, no
}

// TestStopIsDecidedLater: what was kept may be lifted later, and what was read
// wrongly is lifted before the case ends; after an erasure nothing is.
func TestStopIsDecidedLater(t *testing.T) {
	w, reg, no := lifting(t)
	where, _, err := w.q.StopOf(ctx, no)
	require.NoError(t, err)
	require.Equal(t, StopLifting, where)
	w.drain()
	where, fixed, err := w.q.StopOf(ctx, no)
	require.NoError(t, err)
	require.Equal(t, StopLifted, where)
	require.ErrorIs(t, fixed, ErrMove)
	status, why := suppressed(t, reg)
	require.Equal(t, consent.StatusActive, status)
	require.Empty(t, why)
	require.ErrorIs(t, w.q.DecideStop(ctx, no, Ending{}, eve), ErrMove, "there is none any more")

	misread := w.open(classifier.Erasure)
	_, err = w.q.Move(ctx, misread, Move{Action: ActLabel, Actor: eve, Labels: []classifier.Label{classifier.Information}})
	require.NoError(t, err)
	require.NoError(t, w.q.DecideStop(ctx, misread, Ending{Stop: StopLift, Why: "A question only."}, eve))
	w.drain()
	_, why = suppressed(t, reg)
	require.Empty(t, why)

	done := w.open(classifier.Erasure)
	w.q.o.Connections = []Connection{{Verbs: []fulfil.Verb{fulfil.Erase}, Connector: &system{name: "crm", known: map[string]string{}, seen: map[string]int{}}}}
	w.waive(done)
	_, err = w.q.Fulfil(ctx, done, Order{Verb: fulfil.Erase, Actor: eve, Approve: done})
	require.NoError(t, err)
	w.drain()
	_, err = w.q.Move(ctx, done, Move{Action: ActClose, Actor: eve, Reason: "done", Ending: Ending{Stop: StopLift, Why: "x"}})
	require.NoError(t, err)
	w.drain()
	_, why = suppressed(t, reg)
	require.NotEmpty(t, why)
	require.Zero(t, acts(w, done, ActRelease, "erasure-pending"), "who was erased stays stopped")
	require.ErrorIs(t, w.q.DecideStop(ctx, done, Ending{Stop: StopLift, Why: "x"}, eve), ErrMove)
	where, _, err = w.q.StopOf(ctx, done)
	require.NoError(t, err)
	require.Equal(t, StopErased, where)
}

// TestLaterRequestIsNotLifted: a request for erasure that joins the case after
// an operator decided, and before a worker came to it, keeps its own stop.
func TestLaterRequestIsNotLifted(t *testing.T) {
	w, reg, no := lifting(t)
	again, err := reg.Suppress(ctx, consent.Suppression{ID: "case:" + no + ":again", Time: w.clock.Now(), Controller: "shop", Address: alice, Scope: consent.ScopeController, Reason: consent.ErasurePending, Case: no, Actor: "rule"})
	require.NoError(t, err)
	_, _, err = w.q.change(ctx, no, "", func(_ *Case, ch *changing) error { ch.add(fieldPending, again); return nil })
	require.NoError(t, err)
	w.drain()
	_, why := suppressed(t, reg)
	require.Equal(t, consent.ErasurePending, why)
	where, _, err := w.q.StopOf(ctx, no)
	require.NoError(t, err)
	require.Equal(t, StopPlaced, where)
}

// TestMergedStopIsDecidedByTheOther: the case that lives on ends both.
func TestMergedStopIsDecidedByTheOther(t *testing.T) {
	w, reg := registered(t)
	subscribe(t, w, reg)
	one, two := w.open(classifier.Erasure), w.open(classifier.Erasure)
	_, err := w.q.Move(ctx, one, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: two})
	require.NoError(t, err)
	require.ErrorIs(t, w.q.DecideStop(ctx, one, Ending{Stop: StopLift, Why: "By the back door."}, eve), ErrMove, "the other case still asks for erasure")
	_, err = w.q.Move(ctx, two, Move{Action: ActWithdraw, Actor: eve, Reason: "by-mail", Ending: Ending{Stop: StopLift, Why: "They say so."}})
	require.NoError(t, err)
	w.drain()
	_, why := suppressed(t, reg)
	require.Empty(t, why)
	require.Equal(t, 2, acts(w, two, ActRelease, "erasure-pending"))
}
