package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/queue/fulfil"
)

// A restriction ends in two steps: the person is told from when their data is
// used again (GDPR Art. 18(3)), and on that day the systems that restricted it
// are asked to lift it. A notice that did not leave or came back lifts nothing.

const (
	remindLift = "lift"   // the clock that rings when a restriction ends
	liftAt     = "lift"   // field of a case: when the restriction ends, "" where that is not announced
	liftedAt   = "lifted" // field of a case: when the last one ended
)

// LiftFrom is the day a restriction ends on if it is announced now and no other
// day is named.
func (q *Queue) LiftFrom(controller string) time.Time {
	_, loc := q.seat(q.controller(controller))
	return dayAfter(q.o.Now(), max(1, int(q.rules().LiftNotice/(24*time.Hour))), loc)
}

// DayOf is the beginning of a day ("2026-12-24") where the controller of a case
// sits. It fails where the case is unknown or the day is none.
func (q *Queue) DayOf(ctx context.Context, number, day string) (time.Time, error) {
	c, _, _, err := q.load(ctx, FindCaseNo(number))
	if err != nil {
		return time.Time{}, err
	}
	_, loc := q.seat(q.controller(c.Controller))
	return time.ParseInLocation(time.DateOnly, day, loc)
}

func dayAfter(t time.Time, days int, loc *time.Location) time.Time {
	y, m, d := t.In(loc).Date()
	return time.Date(y, m, d+days, 0, 0, 0, 0, loc)
}

// Restricting lists the systems that only store the person's data because of
// this case, with those that said so only for a time that is over left out.
func (q *Queue) Restricting(ctx context.Context, number string) ([]string, error) {
	_, f, _, err := q.load(ctx, FindCaseNo(number))
	if err != nil {
		return nil, err
	}
	list, err := restricting(f)
	var out []string
	for _, t := range list {
		if !slices.Contains(out, t.System) {
			out = append(out, t.System)
		}
	}
	return out, err
}

// restricting are the restrictions in force, as ordered.
func restricting(fields map[string]string) ([]Task, error) {
	tasks, err := tasksOf(fields)
	over := fromMillis(fields[liftedAt])
	return slices.DeleteFunc(tasks, func(t Task) bool {
		did := t.Status == fulfil.Restricted || t.Status == fulfil.Done
		return t.Verb != fulfil.Restrict || t.DryRun || !did || !t.Asked.After(over)
	}), err
}

// mayLift refuses a notice that a restriction ends where there is none, where
// its outcome is not told yet, or where it would come too late to be read.
// Errors wrap ErrDraft.
func (q *Queue) mayLift(ctx context.Context, c *Case, d *Draft) error {
	_, f, _, err := q.load(ctx, c.Number)
	if err != nil {
		return err
	}
	list, err := restricting(f)
	if err != nil {
		return err
	}
	_, loc := q.seat(q.controller(c.Controller))
	if d.From.IsZero() {
		d.From = q.LiftFrom(c.Controller)
	}
	weighed := slices.Contains(c.Flags, FlagWeighed)
	switch {
	case !strings.HasPrefix(d.Actor, "operator:"):
		return fmt.Errorf("%w: an operator has to lift a restriction", ErrDraft)
	case len(list) == 0 && !weighed && !slices.Contains(c.Labels, classifier.Restriction):
		return fmt.Errorf("%w: nothing is restricted in case %s", ErrDraft, c.Number)
	case weighed && c.State.Live():
		return fmt.Errorf("%w: the objection of case %s is being weighed: tell the outcome first (GDPR Art. 18(1)(d))", ErrDraft, c.Number)
	case d.From.Before(dayAfter(q.o.Now(), 1, loc)):
		return fmt.Errorf("%w: the person is told before the restriction ends (GDPR Art. 18(3)): tomorrow is the first day it may", ErrDraft)
	}
	return nil
}

// announceLift starts the clock once the person was told.
func announceLift(c *Case, ch *changing, l Letter, data map[string]string) {
	ch.extra[liftAt], data["until"] = millis(l.From), millis(l.From)
	ch.remind = append(ch.remind, [2]string{c.Number + " " + remindLift, millis(l.From)})
}

// lift asks the systems that restricted to use the data again; one that can't be
// asked fails, which an operator sees.
func (q *Queue) lift(ctx context.Context, no string) error {
	_, f, key, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	at := fromMillis(f[liftAt])
	if at.IsZero() || q.o.Now().Before(at) {
		return nil // called off, or announced anew for later
	}
	list, err := restricting(f)
	if err != nil {
		return err
	}
	of := map[string][]string{} // by address
	var systems []string
	for _, t := range list {
		o, err := openOrder(key, f, no, t.Index)
		if err != nil {
			return err
		}
		if !slices.Contains(of[o.Address], t.System) {
			of[o.Address], systems = append(of[o.Address], t.System), append(systems, t.System)
			once := fmt.Sprintf("lifted:%s:%d", f[liftAt], t.Index)
			if _, err := q.ask(ctx, no, Order{Verb: fulfil.Lift, Actor: "rule", of: t.System}, parsedOrZero(o.Address), once); err != nil {
				return err
			}
		}
	}
	_, _, err = q.change(ctx, no, "", func(_ *Case, ch *changing) error {
		if ch.before[liftAt] != f[liftAt] {
			return nil
		}
		ch.extra[liftAt], ch.extra[liftedAt] = "", millis(q.o.Now())
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActLift, Reason: "ended", Data: map[string]string{"systems": strings.Join(systems, ", ")}})
		return nil
	})
	return err
}

// named is the connection of a system that restricted; one that is connected no
// longer, or can't lift, stands for itself and fails.
func named(list []Connection, name string) []Connection {
	at := slices.IndexFunc(list, func(s Connection) bool { return s.Connector.Name() == name })
	if at < 0 {
		return []Connection{{Connector: absent(name)}}
	}
	return list[at : at+1]
}

// absent is a system that can't be asked.
type absent string

// Name is what it was called.
func (a absent) Name() string { return string(a) }

// Do fails: a person has to see to it.
func (absent) Do(context.Context, fulfil.Request) (fulfil.Outcome, error) {
	return fulfil.Outcome{Status: fulfil.Failed}, nil
}
