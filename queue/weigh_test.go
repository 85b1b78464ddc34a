package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// DSR-9, DSR-12: an objection that is not to advertising restricts the data
// while it is weighed, and ends with an outcome told to the person.
func TestObjectionToOtherProcessingIsWeighed(t *testing.T) {
	w, s := connected(t, fulfil.Restrict)
	no := w.open(classifier.Objection)
	require.Len(t, w.bound, 1, "advertising stops at once all the same")
	weigh := func(actor, note string) error { _, err := w.q.Weigh(ctx, no, actor, note); return err }
	require.ErrorIs(t, weigh("rule", "profiling"), ErrOrder)
	require.ErrorIs(t, weigh(eve, " "), ErrOrder, "to what?")
	require.ErrorContains(t, weigh(eve, "profiling"), "identity", "who is not known may restrict nobody's data")
	require.NotContains(t, w.show(no).Flags, FlagWeighed, "nothing half done")
	w.waive(no)
	require.NoError(t, weigh(eve, "the scoring of her orders"))
	require.ErrorIs(t, weigh(eve, "again"), ErrOrder)
	w.drain()
	s.mu.Lock()
	require.Contains(t, s.order, fulfil.Restrict)
	s.mu.Unlock()
	k := w.show(no)
	require.Contains(t, k.Flags, FlagWeighed)
	l, err := w.q.Preview(ctx, no, Draft{Step: reply.Restricted, Actor: eve, Effect: ActSent})
	require.NoError(t, err)
	require.Contains(t, l.Text, "crm", "the person is told that and where")
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.ErrorIs(t, err, ErrOrder)
	require.ErrorContains(t, err, "Art. 21(1)")
	require.True(t, w.show(no).State.Live())

	n, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Denied, Effect: ActDeny, Reason: "compelling-grounds", Actor: eve})
	require.NoError(t, err)
	w.later(w.q.rules().SendHold * 2)
	letters, _, err := w.q.Letters(ctx, no)
	require.NoError(t, err)
	text := unfolded(letters[n].Text)
	require.Contains(t, text, "because our compelling legitimate grounds override your interests, rights and freedoms")
	require.Contains(t, text, "the data protection authority", "Art. 12(4)")
	require.Equal(t, Denied, w.show(no).State)
	_, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	noted := false
	for _, e := range events {
		noted = noted || e.Reason == reasonOtherObjection && e.Note == "the scoring of her orders" && e.Actor == eve
	}
	require.True(t, noted, "who decided it, and why")
	requireSealed(t, w.rdb)
}

// Without a system to tell, the case is kept open all the same; an upheld
// objection ends it by its answer.
func TestWeighedWithoutSystems(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Objection)
	tasks, err := w.q.Weigh(ctx, no, eve, "the scoring of her orders")
	require.NoError(t, err)
	require.Empty(t, tasks)
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.ErrorIs(t, err, ErrOrder)
	_, _, err = w.q.Reply(ctx, no, Draft{Step: reply.Stopped, Effect: ActAnswer, Actor: eve})
	require.NoError(t, err)
	w.later(w.q.rules().SendHold * 2)
	require.Equal(t, Answered, w.show(no).State)
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)
	other := w.open(classifier.Access)
	_, err = w.q.Weigh(ctx, other, eve, "x")
	require.ErrorIs(t, err, ErrOrder, "no objection")
}
