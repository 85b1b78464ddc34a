package console

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"postern/classifier"
	"postern/queue"
)

// breachView is the clock of a data breach on the page of its case.
type breachView struct {
	queue.Breach
	Known bool   // awareness is recorded
	Left  string // hours and minutes to the end, or since it
	Late  bool
	Now   string // for the fields of a form, in the controller's zone
	Zone  string
}

const minuteForm = "2006-01-02T15:04"

// breachOf is the breach clock of a case; nil where it tells of none.
func (v *visit) breachOf(k *queue.Case, loc *time.Location) (*breachView, error) {
	b, known, err := v.c.d.Cases.BreachOf(v.ctx(), k.Number)
	if err != nil || !known && !slices.Contains(k.Labels, classifier.BreachReport) {
		return nil, err
	}
	now := v.now()
	out := &breachView{Breach: b, Known: known, Late: b.Late(now), Now: now.In(loc).Format(minuteForm), Zone: loc.String()}
	out.Reported, out.Aware, out.Due, out.Ended, out.Persons = inZone(b.Reported, loc), inZone(b.Aware, loc), inZone(b.Due, loc), inZone(b.Ended, loc), inZone(b.Persons, loc)
	if b.Open() && !b.Due.IsZero() {
		left := b.Due.Sub(now).Abs().Round(time.Minute)
		key := "breach.left"
		if out.Late {
			key = "breach.over"
		}
		out.Left = v.say(key, "hours", strconv.Itoa(int(left.Hours())), "minutes", fmt.Sprintf("%02d", int(left.Minutes())%60))
	}
	return out, nil
}

// breach records awareness, or what was done about a breach.
func (c *Console) breach(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	at, err := time.ParseInLocation(minuteForm, v.field("at"), c.d.Cases.NewPacer().Zone(k.Controller))
	if err != nil {
		return errForm
	}
	if now := v.now(); at.After(now) && at.Sub(now) < time.Minute {
		at = now // the field knows no seconds
	}
	return v.act(func(ctx context.Context, no string) error {
		if v.field("what") == "aware" {
			_, err := c.d.Cases.Aware(ctx, no, queue.Awareness{At: at, Actor: v.user.Actor(), Note: v.field("note")})
			return err
		}
		_, err := c.d.Cases.EndBreach(ctx, no, queue.BreachStep{Outcome: v.field("what"), At: at, Actor: v.user.Actor(), Note: v.field("note")})
		return err
	}, "breach")
}
