package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/classifier"
	"postern/gateway/consent"
)

// Stop is what becomes of the stop to advertising that a request for erasure
// placed at once (design D13), when the case ends without an erasure.
type Stop string

const (
	// StopKeep is the default: advertising never restarts because a request was
	// refused or taken back. Who wants all data gone wants no advertising
	// (GDPR Art. 17(1)(b), (c)): the stop lasts as a withdrawal, which the
	// person alone ends, by signing up anew.
	StopKeep Stop = "keep"
	// StopLift ends it by an operator's decision, with a reason: nobody asked
	// for an erasure, or the person says that advertising is welcome. Consent
	// is what it was before; what else the person said no to stands.
	StopLift Stop = "lift"
)

// Ending is an operator's decision about the stop; the zero value is StopKeep.
type Ending struct {
	Stop Stop
	Why  string // needed for StopLift; free words, sealed at rest
}

func (e Ending) check(actor string) error {
	switch e.Stop {
	case "", StopKeep:
		return nil
	case StopLift:
		if strings.TrimSpace(e.Why) == "" || !strings.HasPrefix(actor, "operator:") {
			return fmt.Errorf("%w: to lift the stop to advertising takes an operator and a reason", ErrMove)
		}
		return nil
	}
	return fmt.Errorf("%w: the stop to advertising is to %s or to %s, not %q", ErrMove, StopKeep, StopLift, e.Stop)
}

// Fields of the case: ids of stops that wait for the erasure, of those that took
// their place, and of those that were there when somebody decided: a request
// that comes in afterwards is not lifted with them.
const (
	fieldPending = "pending"
	fieldLasting = "lasting"
	fieldDecided = "stop-of"
)

func stopIDs(f map[string]string) []string {
	return append(splitWords(f[fieldPending]), splitWords(f[fieldLasting])...)
}

// ends are the states in which a case ends without saying what was done.
var ends = []State{Denied, Withdrawn, Closed}

// endStop notes what becomes of the stop when a case ends; a worker does it.
func (q *Queue) endStop(c *Case, ch *changing, actor string, e Ending) {
	if !slices.Contains(ends, c.State) || ch.before[fieldPending] == "" || erased(ch.before) {
		return
	}
	q.settleStop(ch, actor, e)
}

func (q *Queue) settleStop(ch *changing, actor string, e Ending) {
	if e.Stop == "" {
		e.Stop = StopKeep
	}
	ch.extra["stop"], ch.extra["stop-by"] = string(e.Stop), actor
	ch.extra[fieldDecided] = strings.Join(stopIDs(ch.before), ",")
	ch.events = append(ch.events, Event{Actor: actor, Action: ActNote, Reason: "marketing-" + string(e.Stop), Note: e.Why})
	ch.jobs = append(ch.jobs, [3]string{"stop", "", millis(q.o.Now())})
}

// erased tells whether the person was erased in this case: that stop lasts.
func erased(f map[string]string) bool { return f["erased-suppressed"] != "" }

// StopState is where the stop to advertising stands that a case's request for
// erasure placed.
type StopState string

const (
	StopNone    StopState = ""        // the case placed none
	StopPlaced  StopState = "placed"  // until the case ends, or somebody decides
	StopLasting StopState = "lasting" // as a withdrawal: the person alone ends it
	StopLifting StopState = "lifting" // decided, a worker is at it
	StopLifted  StopState = "lifted"
	StopErased  StopState = "erased" // the person was erased: it lasts for good
)

// StopOf tells where the stop of a case stands, and why it can't be lifted now:
// that error wraps ErrMove and is nil where an operator may lift it. Errors of
// the store come as the last value.
func (q *Queue) StopOf(ctx context.Context, number string) (state StopState, fixed, err error) {
	c, f, _, err := q.load(ctx, FindCaseNo(number))
	if err != nil {
		return StopNone, nil, err
	}
	return stopState(f), mayDecide(c, f, StopLift), nil
}

func stopState(f map[string]string) StopState {
	ids := stopIDs(f)
	fresh := slices.ContainsFunc(splitWords(f[fieldPending]), func(id string) bool { return !slices.Contains(splitWords(f[fieldDecided]), id) })
	lift := Stop(f["stop"]) == StopLift
	switch {
	case erased(f):
		return StopErased
	case fresh:
		return StopPlaced
	case len(ids) > 0 && lift && !slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(splitWords(f[fieldDecided]), id) }):
		return StopLifting
	case len(ids) > 0:
		return StopLasting
	case lift:
		return StopLifted
	}
	return StopNone
}

// mayDecide refuses a decision that is not an operator's to take.
func mayDecide(c *Case, f map[string]string, s Stop) error {
	switch {
	case erased(f):
		return fmt.Errorf("%w: case %s erased the person, that stop lasts", ErrMove, c.Number)
	case len(stopIDs(f)) == 0:
		return fmt.Errorf("%w: case %s stopped no advertising for an erasure", ErrMove, c.Number)
	case c.State == Merged:
		return fmt.Errorf("%w: case %s lives on in another, which decides on both", ErrMove, c.Number)
	case s == StopLift && c.State.Live() && slices.Contains(c.Labels, classifier.Erasure):
		return fmt.Errorf("%w: case %s still asks for erasure: answer it, or correct what it asks", ErrMove, c.Number)
	}
	return nil
}

// DecideStop decides it apart from the end of the case, also anew after
// StopKeep. Errors wrap ErrMove where there is none, where the person was
// erased, where the case was merged into another, or where it still asks for an
// erasure and StopLift is wanted.
func (q *Queue) DecideStop(ctx context.Context, number string, e Ending, actor string) error {
	if err := e.check(actor); err != nil {
		return err
	}
	_, _, err := q.change(ctx, FindCaseNo(number), "", func(c *Case, ch *changing) error {
		if err := mayDecide(c, ch.before, e.Stop); err != nil {
			return err
		}
		c.acted(actor)
		q.settleStop(ch, actor, e)
		return nil
	})
	return err
}

// stop does what was decided. It may be repeated.
func (q *Queue) stop(ctx context.Context, no string) error {
	c, f, _, err := q.load(ctx, no)
	if err != nil || erased(f) {
		return err
	}
	actor := f["stop-by"]
	if Stop(f["stop"]) == StopLift {
		return q.liftStop(ctx, c, f, actor)
	}
	exchanger, ok := q.d.Optout.(Exchanger)
	if !ok {
		return nil
	}
	for _, old := range splitWords(f[fieldPending]) {
		id, err := exchanger.Exchange(ctx, old, consent.Suppression{
			ID: "case:" + no + ":kept:" + old, Time: q.o.Now(), Controller: c.Controller, Scope: consent.ScopeController,
			Reason: consent.WithdrawnBy, Source: "privacy-mail", Case: no, Actor: actor,
		})
		if err != nil && !errors.Is(err, consent.ErrNotFound) { // an operator released it meanwhile
			return fmt.Errorf("keep the stop of case %s: %w", no, err)
		}
		_, _, changed := q.change(ctx, no, "", func(_ *Case, ch *changing) error {
			if !ch.leave(fieldPending, old) || err != nil {
				return nil
			}
			ch.add(fieldLasting, id)
			ch.events = append(ch.events, Event{Actor: actor, Action: ActSuppress, Reason: string(consent.WithdrawnBy), Data: map[string]string{"event": id, "instead": old}})
			return nil
		})
		if changed != nil {
			return changed
		}
	}
	return nil
}

// liftStop releases what the request for erasure had placed when it was decided,
// and nothing else.
func (q *Queue) liftStop(ctx context.Context, c *Case, f map[string]string, actor string) error {
	releaser, ok := q.d.Optout.(Releaser)
	if !ok {
		return errors.New("lift a stop: the registry can't release")
	}
	for _, field := range []string{fieldPending, fieldLasting} {
		for _, id := range splitWords(f[field]) {
			if !slices.Contains(splitWords(f[fieldDecided]), id) {
				continue // asked for since
			}
			err := releaser.Release(ctx, consent.Release{ID: id, Controller: c.Controller, Actor: actor, Reason: "no erasure in case " + c.Number})
			if err != nil && !errors.Is(err, consent.ErrNotFound) {
				return fmt.Errorf("lift the stop of case %s: %w", c.Number, err)
			}
			_, _, changed := q.change(ctx, c.Number, "", func(_ *Case, ch *changing) error {
				if ch.leave(field, id) && err == nil {
					ch.events = append(ch.events, Event{Actor: actor, Action: ActRelease, Reason: string(consent.ErasurePending), Data: map[string]string{"event": id}})
				}
				return nil
			})
			if changed != nil {
				return changed
			}
		}
	}
	return nil
}

// add puts words into a list of the case that is no part of Case.
func (ch *changing) add(field string, words ...string) {
	list, ok := ch.extra[field]
	if !ok {
		list = ch.before[field]
	}
	ch.extra[field] = strings.Join(append(splitWords(list), words...), ",")
}

// leave takes a word out of such a list; false where it was not there.
func (ch *changing) leave(field, word string) bool {
	list := splitWords(ch.before[field])
	i := slices.Index(list, word)
	if i < 0 {
		return false
	}
	ch.extra[field] = strings.Join(slices.Delete(list, i, i+1), ",")
	return true
}
