package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/queue"
)

// breachCase starts, shows or ends the breach clock of a case: From is a time,
// Status what was done.
func (n *node) breachCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	var b queue.Breach
	var err error
	switch {
	case r.Status == "aware":
		b, err = n.queue.Aware(ctx, r.Number, queue.Awareness{At: r.From, Actor: r.Actor, Note: r.Note})
	case r.Status != "":
		b, err = n.queue.EndBreach(ctx, r.Number, queue.BreachStep{Outcome: r.Status, At: r.From, Actor: r.Actor, Note: r.Note})
	default:
		var known bool
		if b, known, err = n.queue.BreachOf(ctx, r.Number); err == nil && !known {
			return said("No breach is recorded in case %s. The hours begin with `cases breach %s --aware TIME`.", r.Number, r.Number), nil
		}
	}
	if err != nil {
		return caseAnswer{}, err
	}
	a, err := n.about(ctx, r.Number, said("%s", strings.Join(breachLines(b, time.Now()), "\n")))
	a.Data = b
	return a, err
}

// breachLines tell how a breach clock stands.
func breachLines(b queue.Breach, now time.Time) []string {
	out := []string{"Reported " + stamp(b.Reported) + ", aware " + stamp(b.Aware) + " (" + b.By + ")"}
	law := b.Rule
	if law == "" {
		law = "no period known for this law"
	}
	switch {
	case b.Open() && b.Due.IsZero():
		out = append(out, fmt.Sprintf("Tell the %s without undue delay (%s)", b.Duty, law))
	case b.Open() && b.Late(now):
		out = append(out, fmt.Sprintf("Tell the %s: overdue for %s, was due %s (%s)", b.Duty, hoursOf(now.Sub(b.Due)), stamp(b.Due), law))
	case b.Open():
		out = append(out, fmt.Sprintf("Tell the %s within %s, by %s (%s)", b.Duty, hoursOf(b.Due.Sub(now)), stamp(b.Due), law))
	}
	if !b.Ended.IsZero() {
		line := "Ended " + stamp(b.Ended) + ": " + b.Outcome
		if b.Late(now) {
			line += ", late"
		}
		out = append(out, line)
	}
	if !b.Persons.IsZero() {
		out = append(out, "Persons told "+stamp(b.Persons))
	}
	return out
}

// hoursOf writes a span in hours and minutes: days would hide a weekend.
func hoursOf(d time.Duration) string {
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}
