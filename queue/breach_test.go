package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/clock"
)

// kinds are the notices told since they were last asked for.
func (w *world) kinds() (out []string) {
	w.set(func() {
		for _, n := range w.notices {
			if strings.HasPrefix(n.Kind, breachPrefix) {
				out = append(out, n.Kind)
			}
		}
		w.notices = nil
	})
	return out
}

// BR-1, BR-2: the 72 hours run from awareness and not from the report, through
// weekend and holidays; operators are reminded in hours, and again and again
// once they are over, also after the case was answered.
func TestBR2_HoursRunFromAwareness(t *testing.T) {
	w := newWorld(t)
	fri := time.Date(2026, 12, 25, 13, 5, 0, 0, time.UTC) // Christmas, then a weekend
	w.clock.Set(time.Date(2026, 12, 24, 9, 0, 0, 0, time.UTC))
	no := w.open(classifier.BreachReport)
	w.drain()
	_, known, err := w.q.BreachOf(ctx, no)
	require.NoError(t, err)
	require.False(t, known, "a report starts no hours")
	_, err = w.q.EndBreach(ctx, no, BreachStep{Outcome: BreachTold, Actor: eve})
	require.ErrorIs(t, err, ErrOrder)
	w.kinds()

	w.clock.Set(fri.Add(30 * time.Minute))
	for _, bad := range []Awareness{{At: fri, Actor: "rule"}, {Actor: eve}, {At: fri.Add(time.Hour), Actor: eve}} {
		_, err = w.q.Aware(ctx, no, bad)
		require.ErrorIs(t, err, ErrOrder)
	}
	b, err := w.q.Aware(ctx, no, Awareness{At: fri, Actor: eve, Note: "logs show the download"})
	require.NoError(t, err)
	require.Equal(t, "EU-BREACH", b.Rule)
	require.Equal(t, "authority", b.Duty)
	require.Equal(t, time.Date(2026, 12, 28, 13, 5, 0, 0, time.UTC), b.Due.UTC(), "no holiday moves an end in hours")
	require.True(t, b.Reported.Before(b.Aware), "kept apart")
	require.Equal(t, []string{breachAware}, w.kinds())
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.ErrorIs(t, err, ErrOrder, "not while the hours run")

	_, err = w.q.Move(ctx, no, Move{Action: ActAnswer, Actor: eve, Reason: onPaper[0]})
	require.NoError(t, err)
	require.False(t, w.show(no).State.Live())
	for _, step := range []struct {
		after time.Duration
		want  []string
	}{
		{35 * time.Hour, nil}, {36 * time.Hour, []string{RemindBreachHalf}}, {54 * time.Hour, []string{RemindBreachQuarters}}, {66 * time.Hour, []string{RemindBreachLast}},
		{72 * time.Hour, nil}, {72*time.Hour + time.Second, []string{RemindBreachOverdue}}, {79 * time.Hour, []string{RemindBreachOverdue}}, {86 * time.Hour, []string{RemindBreachOverdue}},
	} {
		w.clock.Set(fri.Add(step.after))
		w.drain()
		require.Equal(t, step.want, w.kinds(), step.after.String())
	}
	w.clock.Set(fri.Add(90 * time.Hour))
	w.drain()
	w.kinds()
	b, err = w.q.EndBreach(ctx, no, BreachStep{Outcome: BreachTold, Actor: eve}) // without reasons: it is recorded all the same (BR-3)
	require.NoError(t, err)
	require.True(t, b.Late(w.clock.Now()))
	require.False(t, b.Open())
	_, err = w.q.EndBreach(ctx, no, BreachStep{Outcome: BreachNoRisk, Actor: eve, Note: "second thought"})
	require.ErrorIs(t, err, ErrOrder)
	_, err = w.q.Aware(ctx, no, Awareness{At: fri, Actor: eve, Note: "earlier"})
	require.ErrorIs(t, err, ErrOrder)
	b, err = w.q.EndBreach(ctx, no, BreachStep{Outcome: BreachPersons, Actor: eve})
	require.NoError(t, err)
	require.Equal(t, w.clock.Now().UnixMilli(), b.Persons.UnixMilli())
	w.later(100 * time.Hour)
	require.Empty(t, w.kinds(), "told is told")

	_, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	var reasons []string
	for _, e := range events {
		if e.Action == ActNote && strings.HasPrefix(e.Reason, breachPrefix) {
			reasons = append(reasons, e.Reason+" "+e.Data["late"])
		}
	}
	require.Equal(t, []string{"breach-aware ", "breach-told true", "breach-persons-told "}, reasons)
}

// The start may be corrected with a reason, and the hours with it; a decision to
// tell nobody has reasons (BR-5).
func TestBR5_CorrectedAndDecided(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.BreachReport)
	w.drain()
	now := w.clock.Now()
	_, err := w.q.Aware(ctx, no, Awareness{At: now, Actor: eve})
	require.NoError(t, err)
	_, err = w.q.Aware(ctx, no, Awareness{At: now.Add(-50 * time.Hour), Actor: eve})
	require.ErrorIs(t, err, ErrOrder, "say why")
	b, err := w.q.Aware(ctx, no, Awareness{At: now.Add(-50 * time.Hour), Actor: eve, Note: "the provider had told us on Sunday"})
	require.NoError(t, err)
	require.Equal(t, now.Add(22*time.Hour).UnixMilli(), b.Due.UnixMilli())
	w.kinds()
	w.later(17 * time.Hour)
	require.Equal(t, []string{RemindBreachQuarters, RemindBreachLast}, w.kinds(), "by the corrected start alone")
	for _, outcome := range []string{BreachNoRisk, BreachFalse, "lunch"} {
		_, err = w.q.EndBreach(ctx, no, BreachStep{Outcome: outcome, Actor: eve})
		require.ErrorIs(t, err, ErrOrder, outcome)
	}
	_, err = w.q.EndBreach(ctx, no, BreachStep{Outcome: BreachNoRisk, At: now.Add(-60 * time.Hour), Actor: eve, Note: "encrypted"})
	require.ErrorIs(t, err, ErrOrder, "not before awareness")
	b, err = w.q.EndBreach(ctx, no, BreachStep{Outcome: BreachNoRisk, Actor: eve, Note: "encrypted"})
	require.NoError(t, err)
	require.False(t, b.Late(w.clock.Now()))
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)
}

// Table 2 and BR-4: what each law says of a breach, and the hours agreed with
// the company a processor works for.
func TestBR4_PeriodsOfABreach(t *testing.T) {
	w := newWorld(t)
	aware := time.Date(2026, 10, 23, 20, 0, 0, 0, time.UTC) // Friday; clocks go back on Sunday in Europe
	for _, c := range []struct {
		regime clock.Regime
		rule   string
		want   string
	}{
		{clock.EU, "EU-BREACH", "2026-10-26 20:00:00"}, {clock.UK, "UK-BREACH", "2026-10-26 20:00:00"},
		{clock.CH, "CH-BREACH", ""}, {clock.BR, "BR-BREACH", "2026-10-28 22:59:59"}, {clock.CA, "", ""},
	} {
		w.q.o.Handling = map[string]Handling{"shop": {Regime: c.regime}}
		b := w.q.breachClock(&Case{Controller: "shop"}, Awareness{At: aware})
		require.Equal(t, c.rule, b.Rule)
		if c.want == "" {
			require.True(t, b.Due.IsZero(), c.regime)
			continue
		}
		require.Equal(t, c.want, b.Due.UTC().Format(time.DateTime), c.regime)
	}
	w.q.o.Handling = nil
	w.q.o.Processors = map[string]Processor{"shop": {To: "dpo@customer.example.net"}}
	b := w.q.breachClock(&Case{Controller: "shop"}, Awareness{At: aware})
	require.Equal(t, Breach{Aware: aware, Duty: "controller", Rule: "EU-BREACH-CONTROLLER", Due: b.Due}, b)
	require.Equal(t, aware.Add(24*time.Hour), b.Due.UTC())
	w.q.o.Processors = map[string]Processor{"shop": {To: "dpo@customer.example.net", BreachWithin: 8 * time.Hour}}
	require.Equal(t, aware.Add(8*time.Hour), w.q.breachClock(&Case{Controller: "shop"}, Awareness{At: aware}).Due)

	// Where the law names no number operators hear of it every day.
	w.q.o.Processors, w.q.o.Handling = nil, map[string]Handling{"shop": {Regime: clock.CH}}
	no := w.open(classifier.BreachReport)
	w.drain()
	_, err := w.q.Aware(ctx, no, Awareness{At: w.clock.Now(), Actor: eve})
	require.NoError(t, err)
	w.kinds()
	for range 3 {
		w.later(24*time.Hour + time.Minute)
		require.Equal(t, []string{RemindBreachOpen}, w.kinds())
	}
}
