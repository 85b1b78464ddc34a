package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// restrictedCase is one whose data the system only stores.
func restrictedCase(t *testing.T, verbs ...fulfil.Verb) (*world, *system, string) {
	w, s := connected(t, append(verbs, fulfil.Restrict)...)
	no := w.open(classifier.Restriction)
	lift := Draft{Step: reply.Lifting, Effect: ActLift, Reason: "accurate", Actor: eve}
	_, _, err := w.q.Reply(ctx, no, lift)
	require.NoError(t, err, "an operator may have seen to it by hand")
	require.NoError(t, w.q.TakeBack(ctx, no, 0, eve))
	w.waive(no)
	_, err = w.q.Fulfil(ctx, no, Order{Verb: fulfil.Restrict, Actor: eve})
	require.NoError(t, err)
	w.drain()
	systems, err := w.q.Restricting(ctx, no)
	require.NoError(t, err)
	require.Equal(t, []string{"crm"}, systems)
	return w, s, no
}

func (w *world) liftOrders(s *system) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.order {
		if v == fulfil.Lift {
			n++
		}
	}
	return n
}

// GDPR Art. 18(3): the person is told before the restriction ends, and only then
// are the systems asked, also in a case that is closed by then.
func TestRestrictionEndsAfterThePersonWasTold(t *testing.T) {
	w, s, no := restrictedCase(t, fulfil.Lift)
	lift := Draft{Step: reply.Lifting, Effect: ActLift, Reason: "accurate", Actor: eve}
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Lift, Actor: eve})
	require.ErrorContains(t, err, "told before", "no way around the notice")
	for name, wrong := range map[string]func(*Draft){
		"no reason": func(d *Draft) { d.Reason = "" }, "a rule": func(d *Draft) { d.Actor = "rule" }, "today": func(d *Draft) { d.From = w.clock.Now() },
	} {
		d := lift
		wrong(&d)
		_, _, err := w.q.Reply(ctx, no, d)
		require.ErrorIs(t, err, ErrDraft, name)
	}
	_, _, err = w.q.Reply(ctx, no, Draft{Step: reply.Restricted, Effect: ActAnswer, Actor: eve})
	require.NoError(t, err)
	w.later(w.q.rules().SendHold * 2)
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)

	n, letter, err := w.q.Reply(ctx, no, lift)
	require.NoError(t, err)
	require.Equal(t, w.q.LiftFrom("shop"), letter.From, "a week")
	w.later(time.Second)
	require.NoError(t, w.q.TakeBack(ctx, no, n, eve))
	w.later(8 * 24 * time.Hour)
	require.Zero(t, w.liftOrders(s), "taken back")

	_, letter, err = w.q.Reply(ctx, no, lift)
	require.NoError(t, err)
	require.Contains(t, unfolded(letter.Text), "we will use your data again, because we checked the data and it is accurate. Until then we only store it.")
	require.Contains(t, unfolded(letter.Text), "or go to court")
	w.later(w.q.rules().SendHold * 2)
	w.later(6 * 24 * time.Hour)
	require.Zero(t, w.liftOrders(s), "told, but not over")
	w.later(2 * 24 * time.Hour)
	require.Equal(t, 1, w.liftOrders(s))
	require.Equal(t, Closed, w.show(no).State)
	systems, err := w.q.Restricting(ctx, no)
	require.NoError(t, err)
	require.Empty(t, systems)
	_, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	var lifts []string
	for _, e := range events {
		if e.Action == ActLift {
			lifts = append(lifts, e.Actor+" "+e.Reason+" "+e.Data["systems"])
		}
	}
	require.Equal(t, []string{eve + " accurate ", "rule ended crm"}, lifts)
	requireSealed(t, w.rdb)
}

// A notice that came back told nobody, and a restriction ordered anew goes on.
func TestEndOfRestrictionIsCalledOff(t *testing.T) {
	for name, off := range map[string]func(w *world, no string){
		"bounced": func(w *world, no string) { require.NoError(w.t, w.q.Undeliverable(ctx, no, "5.1.1")) },
		"restricted anew": func(w *world, no string) {
			_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Restrict, Actor: eve})
			require.NoError(w.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, no := restrictedCase(t, fulfil.Lift)
			_, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Lifting, Effect: ActLift, Reason: "accurate", Actor: eve})
			require.NoError(t, err)
			w.later(w.q.rules().SendHold * 2)
			off(w, no)
			w.later(9 * 24 * time.Hour)
			require.Zero(t, w.liftOrders(s))
			systems, err := w.q.Restricting(ctx, no)
			require.NoError(t, err)
			require.Equal(t, []string{"crm"}, systems, "it is restricted still")
		})
	}
}

// A system that can't be asked to lift is shown to a person, who does it.
func TestSystemThatCannotLift(t *testing.T) {
	w, s, no := restrictedCase(t)
	_, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Lifting, Effect: ActLift, Reason: "accurate", Actor: eve})
	require.NoError(t, err)
	w.later(w.q.rules().SendHold * 2)
	w.later(8 * 24 * time.Hour)
	require.Zero(t, w.liftOrders(s))
	require.Contains(t, w.show(no).Flags, FlagFailed)
	tasks, err := w.q.Tasks(ctx, no)
	require.NoError(t, err)
	last := tasks[len(tasks)-1]
	require.Equal(t, Task{System: "crm", Verb: fulfil.Lift, Status: fulfil.Failed}, Task{System: last.System, Verb: last.Verb, Status: last.Status})
	require.NoError(t, w.q.Result(ctx, no, last.Key, fulfil.Outcome{Status: fulfil.Done}, eve))
}
