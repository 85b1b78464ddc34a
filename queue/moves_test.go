package queue

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway"
	"postern/gateway/address"
	"postern/queue/reply"
)

func (w *world) open(labels ...classifier.Label) string {
	w.t.Helper()
	ref, err := w.q.Open(ctx, mailFrom("alice@example.com", labels...))
	require.NoError(w.t, err)
	w.drain()
	return ref.Number
}

func (w *world) show(no string) Case {
	w.t.Helper()
	c, _, err := w.q.Show(ctx, no)
	require.NoError(w.t, err)
	return c
}

func (w *world) later(d time.Duration) { w.clock.Set(w.clock.Now().Add(d)); w.drain() }

// TestTableIsDrawn keeps the drawing beside the table.
func TestTableIsDrawn(t *testing.T) {
	drawn, err := os.ReadFile("states.md")
	require.NoError(t, err)
	require.Equal(t, Diagram(), string(drawn), "write Diagram() into states.md")
}

func TestEveryStateHasAWayOut(t *testing.T) {
	for _, s := range append(append([]State{}, live...), Answered, Denied, Forwarded, Withdrawn, Closed) {
		out := 0
		for a := range moves {
			if to, err := next(s, a); err == nil && to != s {
				out++
			}
		}
		require.Positive(t, out, s)
	}
	for a := range moves {
		_, err := next(Merged, a)
		require.ErrorIs(t, err, ErrMove, "a merged case lives on in the other")
	}
}

func TestMoves(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	steps := []struct {
		m    Move
		want State
		bad  bool
	}{
		{Move{Action: ActStart, Actor: "operator:eve"}, Opened, false},
		{Move{Action: ActStart, Actor: "operator:eve"}, Opened, true},
		{Move{Action: ActClose, Actor: "operator:eve"}, Opened, true},
		{Move{Action: ActWait, Actor: "operator:eve", Reason: "system"}, Waiting, false},
		{Move{Action: ActClose, Actor: "operator:eve", Reason: "done"}, Waiting, true},
		{Move{Action: ActResume, Actor: "operator:eve"}, Opened, false},
		{Move{Action: ActDeny, Actor: "operator:eve", Reason: "excessive"}, Opened, true},
		{Move{Action: ActAnswer, Actor: "operator:eve", Reason: "whatever"}, Opened, true},
		{Move{Action: ActAssign, Actor: "operator:eve", Owner: "eve"}, Opened, false},
		{Move{Action: ActNote, Actor: "operator:eve", Note: "a secret remark"}, Opened, false},
		{Move{Action: ActLabel, Actor: "operator:eve", Labels: []classifier.Label{classifier.Erasure}}, Opened, false},
		{Move{Action: ActAnswer, Actor: "operator:eve", Reason: "by-post"}, Answered, false},
		{Move{Action: ActClose, Actor: "operator:eve", Reason: "done"}, Closed, false},
		{Move{Action: ActReopen, Actor: "operator:eve", Reason: "something-missing"}, Opened, false},
		{Move{Action: ActWithdraw, Actor: "person", Reason: "asked"}, Withdrawn, false},
		{Move{Action: "fly", Actor: "operator:eve"}, Withdrawn, true},
		{Move{Action: ActNote}, Withdrawn, true},
	}
	for _, s := range steps {
		_, err := w.q.Move(ctx, no, s.m)
		if s.bad {
			require.ErrorIs(t, err, ErrMove, s.m.Action)
		} else {
			require.NoError(t, err, s.m.Action)
		}
		require.Equal(t, s.want, w.show(no).State, s.m.Action)
	}
	w.drain()
	requireSealed(t, w.rdb)
	c, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	require.Equal(t, "eve", c.Owner)
	require.Equal(t, []classifier.Label{classifier.Erasure}, c.Labels)
	require.Equal(t, len(events), len(w.proofs), "every event is proven")
	for _, e := range events {
		if e.Action == ActNote {
			require.Equal(t, "a secret remark", e.Note)
		}
	}
	_, err = w.q.Move(ctx, "PC-1111-1111", Move{Action: ActNote, Actor: "operator:eve"})
	require.ErrorIs(t, err, ErrUnknown)
}

func TestReplyLeavesAfterHold(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	d := Draft{Step: reply.Nothing, Effect: ActAnswer, Actor: "operator:eve"}
	l, err := w.q.Preview(ctx, no, d)
	require.NoError(t, err)
	require.Contains(t, l.Text, "we hold no data about you")
	require.Contains(t, l.Text, "Marktplatz 1")
	n, _, err := w.q.Reply(ctx, no, d)
	require.NoError(t, err)
	ref := "case:" + no + ":out:0"
	w.drain()
	require.NotContains(t, w.sent, ref)
	require.Equal(t, Received, w.show(no).State, "not answered before it left")

	require.NoError(t, w.q.TakeBack(ctx, no, n, "operator:eve"))
	w.later(time.Minute)
	require.NotContains(t, w.sent, ref)

	d.Text, d.Step, d.Subject = "Everything is attached to nothing.", "", "Your request"
	_, _, err = w.q.Reply(ctx, no, d)
	require.NoError(t, err)
	w.later(time.Minute)
	m := w.sent["case:"+no+":out:1"]
	require.Equal(t, "alice@example.com", m.To.Plain())
	require.False(t, m.NotifyNever)
	require.Equal(t, no, w.q.ParseCaseToken(m.ReversePath.Local()[len("case+"):]))
	require.Equal(t, "bounce.shop.example.org", m.ReversePath.Domain())
	require.NotContains(t, string(m.Header), "Auto-Submitted")
	require.Contains(t, string(m.Header), no)
	require.Equal(t, Answered, w.show(no).State)
	require.ErrorIs(t, w.q.TakeBack(ctx, no, 1, "operator:eve"), ErrMove)
	letters, status, err := w.q.Letters(ctx, no)
	require.NoError(t, err)
	require.Equal(t, []string{"taken", "sent"}, status)
	require.Equal(t, "alice@example.com", letters[1].To.Plain())
	requireSealed(t, w.rdb)

	require.NoError(t, w.q.Undeliverable(ctx, no, "5.1.1"))
	c := w.show(no)
	require.Equal(t, Opened, c.State, "an answer that bounced is not done")
	require.Contains(t, c.Flags, FlagUndeliverable)
	live, err := w.q.List(ctx, Filter{Live: true})
	require.NoError(t, err)
	require.Len(t, live, 1)
}

func TestCaseTokenIsKeyed(t *testing.T) {
	w := newWorld(t)
	token := w.q.CaseToken("PC-7K3Q-X9MD")
	require.Empty(t, w.q.ParseCaseToken(token[:8]+"000000000000"))
	require.Empty(t, w.q.ParseCaseToken(""))
	no, err := newNumber()
	require.NoError(t, err)
	require.Equal(t, no, w.q.ParseCaseToken(w.q.CaseToken(no)))
	require.LessOrEqual(t, len("case+"+w.q.CaseToken(no)), address.MaxLocal)
}

func TestLetterRefusedOrUnsure(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	d := Draft{Step: reply.Nothing, Effect: ActAnswer, Actor: "operator:eve"}
	w.set(func() { w.sendErr = errors.Join(errDown, &gateway.Denial{Reason: gateway.Malformed}) })
	_, _, err := w.q.Reply(ctx, no, d)
	require.NoError(t, err)
	w.later(time.Minute)
	require.Contains(t, w.show(no).Flags, FlagUndeliverable)
	require.Equal(t, Received, w.show(no).State)

	w.set(func() { w.sendErr = nil })
	_, _, err = w.q.Reply(ctx, no, d)
	require.NoError(t, err)
	_, status, err := w.q.takeUp(ctx, no, "1") // a process that dies right here
	require.NoError(t, err)
	require.Equal(t, "waiting", status)
	w.later(time.Minute)
	require.NotContains(t, w.sent, "case:"+no+":out:1", "not sent a second time")
	_, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	require.Contains(t, actions(events), ActUnsure)
	require.Equal(t, "letter-unsure", w.notices[len(w.notices)-1].Reason)
	require.Equal(t, "shop", w.notices[len(w.notices)-1].Controller, "its operators get the mail")
	require.True(t, w.show(no).State.Live(), "the clock runs on")
}

func TestExtension(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	d := Draft{Step: reply.Extension, Effect: ActExtend, Actor: "operator:eve", Values: reply.Values{"reason": "there are many files"}}
	_, _, err := w.q.Reply(ctx, no, d)
	require.ErrorIs(t, err, ErrDraft, "an extension needs its reason")
	d.Reason = "complex"
	_, l, err := w.q.Reply(ctx, no, d)
	require.NoError(t, err)
	require.Contains(t, l.Text, "24 February 2027")
	require.Contains(t, unfolded(l.Text), "the data protection authority")
	before := w.show(no).Due
	w.later(time.Minute)
	c := w.show(no)
	require.True(t, c.Extended)
	require.True(t, c.Due.After(before))
	require.Equal(t, "2027-02-24", c.Due.Format(time.DateOnly))
	_, _, err = w.q.Reply(ctx, no, d)
	require.ErrorIs(t, err, ErrMove, "only once")
	w.set(func() { w.notices = nil })
	w.clock.Set(time.Date(2027, 2, 25, 1, 0, 0, 0, time.UTC))
	w.drain()
	var kinds []string
	for _, n := range w.notices {
		kinds = append(kinds, n.Kind)
	}
	require.ElementsMatch(t, []string{RemindHalf, RemindQuarters, RemindDays, RemindOverdue}, kinds)
	w.set(func() { w.notices = nil })
	w.later(25 * time.Hour)
	require.Len(t, w.notices, 1, "an overdue case is told of every day")

	late := w.open(classifier.Access)
	w.clock.Set(w.show(late).Due.Add(time.Hour))
	_, _, err = w.q.Reply(ctx, late, d)
	require.ErrorIs(t, err, ErrMove, "not after the first period")
}

func TestMerge(t *testing.T) {
	w := newWorld(t)
	first := w.open(classifier.Access)
	w.clock.Set(w.clock.Now().AddDate(0, 0, 3))
	in := mailFrom("alice@example.com", classifier.Erasure)
	in.Received = w.clock.Now()
	second, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	w.drain()
	_, err = w.q.Move(ctx, first, Move{Action: ActMerge, Actor: "operator:eve", Reason: "duplicate", Into: second.Number})
	require.NoError(t, err)
	c := w.show(second.Number)
	require.Equal(t, w.show(first).Received, c.Received, "the earliest receipt counts")
	require.Equal(t, w.show(first).Due, c.Due)
	require.Equal(t, []classifier.Label{classifier.Erasure, classifier.Access}, c.Labels)
	require.Equal(t, []string{first}, c.Linked)
	require.Equal(t, Merged, w.show(first).State)
	more := mailFrom("alice@example.com", classifier.Access)
	more.CaseNo = first
	got, err := w.q.Open(ctx, more)
	require.NoError(t, err)
	require.Equal(t, Ref{second.Number, false}, got, "a mail to the merged case reaches the one that lives on")
	_, err = w.q.Move(ctx, second.Number, Move{Action: ActMerge, Actor: "operator:eve", Reason: "duplicate", Into: second.Number})
	require.ErrorIs(t, err, ErrMove)
}

func TestWaitUntil(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	_, err := w.q.Move(ctx, no, Move{Action: ActWait, Actor: "operator:eve", Reason: "archive", Until: w.clock.Now().AddDate(0, 0, 2)})
	require.NoError(t, err)
	w.later(24 * time.Hour)
	require.Equal(t, Waiting, w.show(no).State)
	w.later(25 * time.Hour)
	require.Equal(t, Opened, w.show(no).State)
	require.Equal(t, RemindUntil, w.notices[len(w.notices)-1].Kind)
}

func TestPolicy(t *testing.T) {
	w := newWorld(t)
	w.q.o.Policy = map[classifier.Label]Policy{classifier.Objection: Propose, classifier.Unsubscribe: Off}
	w.open(classifier.Objection)
	require.Len(t, w.bound, 1)
	for _, s := range w.bound {
		require.EqualValues(t, "hold", s.Reason)
	}
	w2 := newWorld(t)
	w2.q.o.Policy = map[classifier.Label]Policy{classifier.Unsubscribe: Off}
	no := w2.open(classifier.Unsubscribe)
	require.Empty(t, w2.bound)
	require.Equal(t, Received, w2.show(no).State, "what did not bind does not close")
	require.Error(t, CheckPolicy(map[classifier.Label]Policy{classifier.Access: Automatic}))
	require.Error(t, CheckPolicy(map[classifier.Label]Policy{classifier.Erasure: "maybe"}))
}
