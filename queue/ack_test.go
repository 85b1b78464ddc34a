package queue

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
)

func TestNoReceipt(t *testing.T) {
	cases := []struct {
		name  string
		alter func(*Incoming)
		why   string
	}{
		{"forbidden by the mail", func(in *Incoming) { in.MayReply, in.NoReplyWhy = false, "list" }, "list"},
		{"null reverse-path", func(in *Incoming) { in.ReturnPath = "<>" }, "no-return-path"},
		{"no reverse-path", func(in *Incoming) { in.ReturnPath = "" }, "no-return-path"},
		{"own address", func(in *Incoming) { in.ReturnPath = "privacy@shop.example.org" }, "own-address"},
		{"no person", func(in *Incoming) { in.ReturnPath = "owner-list@example.com" }, "no-person"},
		{"forged", func(in *Incoming) { in.Grade = Contradicted }, "contradicted"},
		{"unproven other domain", func(in *Incoming) { in.Grade, in.ReturnPath = Unknown, "x@example.net" }, "unproven-return-path"},
		{"authority", func(in *Incoming) { in.Result.Decided = []classifier.Label{classifier.AuthorityLetter} }, "person-answers"},
		{"police", func(in *Incoming) { in.Result.Asker = "authority" }, "person-answers"},
		{"breach report", func(in *Incoming) { in.Result.Decided = []classifier.Label{classifier.BreachReport} }, "person-answers"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			in := mailFrom("alice@example.com", classifier.Access)
			c.alter(&in)
			ref, err := w.q.Open(ctx, in)
			require.NoError(t, err)
			w.drain()
			require.Empty(t, w.sent)
			_, events, err := w.q.Show(ctx, ref.Number)
			require.NoError(t, err)
			last := events[len(events)-1]
			require.Equal(t, ActSilent, last.Action, "the case stays, the rule is recorded (AR-7)")
			require.Equal(t, c.why, last.Reason)
		})
	}
}

func TestAlertAtOnce(t *testing.T) {
	w := newWorld(t)
	_, err := w.q.Open(ctx, mailFrom("office@authority.example.com", classifier.AuthorityLetter))
	require.NoError(t, err)
	w.drain()
	require.Len(t, w.notices, 1)
	require.Equal(t, "alert", w.notices[0].Kind)
	require.Equal(t, "authority_letter", w.notices[0].Reason)

	police := mailFrom("unit12@police.example.com", classifier.Access)
	police.Result.Asker = "authority"
	_, err = w.q.Open(ctx, police)
	require.NoError(t, err)
	w.drain()
	require.Len(t, w.notices, 2)
	require.Equal(t, "authority_letter", w.notices[1].Reason)
	require.Empty(t, w.sent, "a person answers")
}

func TestReceiptLimits(t *testing.T) {
	w := newWorld(t)
	var refs []Ref
	for range 5 {
		ref, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Access))
		require.NoError(t, err)
		refs = append(refs, ref)
		w.drain()
	}
	require.Len(t, w.sent, 3, "three new cases a day and sender")
	follow := mailFrom("alice@example.com", classifier.Access)
	follow.CaseNo = refs[0].Number
	_, err := w.q.Open(ctx, follow)
	require.NoError(t, err)
	w.drain()
	require.Len(t, w.sent, 3, "an addition within seven days is not confirmed")
}

func TestReceiptHourCap(t *testing.T) {
	w := newWorld(t)
	w.q.o.AcksPerHour = 2
	for _, who := range []string{"a@example.com", "b@example.com", "c@example.com"} {
		_, err := w.q.Open(ctx, mailFrom(who, classifier.Access))
		require.NoError(t, err)
	}
	w.drain()
	require.Len(t, w.sent, 2)
}

func TestReceiptRetriesAndGivesUp(t *testing.T) {
	w := newWorld(t)
	w.failSend = true
	ref, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Access))
	require.NoError(t, err)
	w.drain()
	require.Empty(t, w.sent)
	w.set(func() { w.failSend = false })
	w.clock.Set(w.clock.Now().Add(time.Minute))
	w.drain()
	require.Contains(t, w.sent, "case:"+ref.Number+":ack:0", "the same mail, with what was decided before")

	w.set(func() { w.failSend = true })
	_, err = w.q.Open(ctx, mailFrom("bob@example.com", classifier.Access))
	require.NoError(t, err)
	for range w.q.o.Attempts {
		w.clock.Set(w.clock.Now().Add(2 * time.Hour))
		w.drain()
	}
	dead, err := w.rdb.XLen(ctx, keyDead).Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, dead)
	require.Equal(t, "dead", w.notices[len(w.notices)-1].Kind)
	w.set(func() { w.failSend = false })
	list, err := w.q.Dead(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "mail", list[0].Do)
	require.Contains(t, w.show(list[0].Case).Flags, FlagTrouble)
	require.NoError(t, w.q.RetryDead(ctx, list[0].ID))
	require.ErrorIs(t, w.q.RetryDead(ctx, list[0].ID), ErrUnknown)
	w.drain()
	require.Contains(t, w.sent, "case:"+list[0].Case+":ack:0")
}

func TestReminders(t *testing.T) {
	w := newWorld(t)
	ref, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Access))
	require.NoError(t, err)
	kinds := func() []string {
		var out []string
		for _, n := range w.notices {
			require.Equal(t, ref.Number, n.Case)
			out = append(out, n.Kind)
		}
		return out
	}
	steps := []struct {
		at   string
		want []string
	}{
		{"2026-12-08T00:00:00Z", nil},
		{"2026-12-10T00:00:00Z", []string{RemindHalf}},
		{"2026-12-17T12:00:00Z", []string{RemindHalf, RemindQuarters}},
		{"2026-12-22T00:00:00Z", []string{RemindHalf, RemindQuarters, RemindDays}},
		{"2026-12-25T00:00:00Z", []string{RemindHalf, RemindQuarters, RemindDays, RemindOverdue}},
	}
	for _, s := range steps {
		at, err := time.Parse(time.RFC3339, s.at)
		require.NoError(t, err)
		w.clock.Set(at)
		w.drain()
		require.Equal(t, s.want, kinds(), s.at)
	}
}

func TestOptOutNoticeOfForwardedWish(t *testing.T) {
	for name, mailed := range map[string]bool{"mailed before": true, "a stranger": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.q.d.Mailed = func(context.Context, string, address.SubjectID) (bool, error) { return mailed, nil }
			for range 2 {
				in := mailFrom("desk@shop.example.org", classifier.Objection)
				in.Forwarded = address.MustParse("carol@example.com")
				_, err := w.q.Open(ctx, in)
				require.NoError(t, err)
			}
			w.drain()
			var to []string
			for ref, m := range w.sent {
				require.Contains(t, ref, ":notice:0")
				require.True(t, m.ReversePath.IsZero())
				to = append(to, m.To.Plain())
			}
			if mailed {
				require.Equal(t, []string{"carol@example.com"}, to, "once in 30 days")
			} else {
				require.Empty(t, to, "who never got mail from us gets none now (AR-8)")
			}
		})
	}
}

// TestOptOutIsNeverGivenUp: however long the registry is away, the worker goes
// on trying, and operators are told.
func TestOptOutIsNeverGivenUp(t *testing.T) {
	w := newWorld(t)
	w.failBind = true
	_, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Objection))
	require.NoError(t, err)
	for range w.q.o.Attempts + 5 {
		w.later(2 * time.Minute)
	}
	dead, err := w.q.Dead(ctx)
	require.NoError(t, err)
	require.Empty(t, dead)
	require.Equal(t, "opt-out-not-bound", w.notices[0].Reason)
	w.set(func() { w.failBind = false })
	w.later(2 * time.Minute)
	require.Len(t, w.bound, 1)
}
