package queue

import (
	"time"

	"postern/gateway/stream"
	"postern/queue/clock"
)

// Reminder kinds, in the order they come (DSR-18).
const (
	RemindHalf     = "half"
	RemindQuarters = "three-quarters"
	RemindDays     = "three-days"
	RemindOverdue  = "overdue"
	RemindUntil    = "until"    // the date an operator chose to wait for
	RemindProof    = "no-proof" // the person did not confirm who they are
)

// period is the clock of a case: which rule, and its last second.
type period struct {
	rule     clock.Rule
	due      time.Time
	calendar *clock.Calendar
	loc      *time.Location
}

// seat gives calendar and zone of a controller. What is not configured falls
// back to weekends only and UTC, so that a period ends early rather than late.
func (q *Queue) seat(c stream.Controller) (*clock.Calendar, *time.Location) {
	calendar := q.rules().calendars[c.ID]
	if calendar == nil {
		var err error
		if calendar, err = clock.For(c.Country); err != nil {
			calendar = clock.Plain()
		}
	}
	loc, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		loc = time.UTC
	}
	return calendar, loc
}

// periodOf takes the earliest end among the law of the seat and the law the
// person named: answering under the stricter one satisfies both (DSR-3, DSR-14,
// DSR-15).
func (q *Queue) periodOf(c stream.Controller, named string, received time.Time) period {
	calendar, loc := q.seat(c)
	home := q.rules().Handling[c.ID].Regime
	if home == "" {
		home = clock.OfCountry(c.Country)
	}
	best := period{calendar: calendar, loc: loc}
	for _, regime := range []clock.Regime{home, clock.Regime(named)} {
		rule, ok := clock.Find(regime, clock.Answer, received)
		if !ok {
			continue
		}
		end := rule.End(received, calendar, loc)
		if best.due.IsZero() || end.Before(best.due) {
			best.rule, best.due = rule, end
		}
	}
	if best.due.IsZero() { // receipt before any rule: the oldest European one
		best.rule, _ = clock.ByID("EU-ANSWER")
		best.due = best.rule.End(received, calendar, loc)
	}
	return best
}

// periodByRule is the clock of a stored case.
func (q *Queue) periodByRule(c *Case) period {
	calendar, loc := q.seat(q.controller(c.Controller))
	rule, _ := clock.ByID(c.Rule)
	return period{rule: rule, due: c.Due, calendar: calendar, loc: loc}
}

// reminders gives when operators are reminded of a case: at half and three
// quarters of the time, three working days before, and once it is overdue.
func (p period) reminders(received time.Time) map[string]time.Time {
	span := p.due.Sub(received)
	return map[string]time.Time{
		RemindHalf:     received.Add(span / 2),
		RemindQuarters: received.Add(span / 4 * 3),
		RemindDays:     p.daysBefore(3),
		RemindOverdue:  p.due.Add(time.Second),
	}
}

// daysBefore is eight in the morning of the day after which n working days are
// left, that of the due date among them.
func (p period) daysBefore(n int) time.Time {
	last := p.due.In(p.loc)
	for !p.calendar.Working(last) {
		last = last.AddDate(0, 0, -1)
	}
	y, m, d := p.calendar.Add(last, -n).Date()
	return time.Date(y, m, d, 8, 0, 0, 0, p.loc)
}

// remindMembers are the members of the reminder set for one case; those
// already past are left out, but never the last.
func remindMembers(no string, at map[string]time.Time, now time.Time) [][2]string {
	out := [][2]string{}
	for _, kind := range []string{RemindHalf, RemindQuarters, RemindDays, RemindOverdue} {
		if t, ok := at[kind]; ok && (t.After(now) || kind == RemindOverdue || kind == RemindDays) {
			out = append(out, [2]string{no + " " + kind, millis(t)})
		}
	}
	return out
}

func allReminders(no string) []string {
	return append(clockReminders(no), no+" "+RemindUntil, no+" "+RemindProof)
}

// clockReminders are those that hang on the due date.
func clockReminders(no string) []string {
	return []string{no + " " + RemindHalf, no + " " + RemindQuarters, no + " " + RemindDays, no + " " + RemindOverdue}
}
