package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/fulfil"
)

// FlagWeighed marks a case whose objection is to another processing than
// advertising (GDPR Art. 21(1)): it is weighed whether compelling grounds
// override, and until the person is told the outcome their data is restricted
// (Art. 18(1)(d)) and the case can't be closed.
const FlagWeighed = "weighed"

// reasonOtherObjection is why a case is weighed, in its record.
const reasonOtherObjection = "objection-other"

// Weigh records that an objection is to another processing than advertising:
// note says to which and why it has to be weighed. The systems that can are told
// to restrict the person's data, for which identity has to be clear; who is
// connected to none gets no tasks. It ends with the answer, or with a refusal
// that names the grounds. Advertising was stopped when the mail came. Errors
// wrap ErrOrder.
func (q *Queue) Weigh(ctx context.Context, number, actor, note string) ([]Task, error) {
	no := FindCaseNo(number)
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return nil, err
	}
	switch {
	case !strings.HasPrefix(actor, "operator:"):
		return nil, fmt.Errorf("case %s: %w: an operator has to weigh an objection", no, ErrOrder)
	case strings.TrimSpace(note) == "":
		return nil, fmt.Errorf("case %s: %w: say which processing the person objects to", no, ErrOrder)
	case !c.State.Live():
		return nil, fmt.Errorf("case %s: %w: it has ended", no, ErrOrder)
	case !slices.Contains(c.Labels, classifier.Objection):
		return nil, fmt.Errorf("case %s: %w: it is no objection", no, ErrOrder)
	case slices.Contains(c.Flags, FlagWeighed):
		return nil, fmt.Errorf("case %s: %w: it is being weighed already", no, ErrOrder)
	}
	var who address.Address
	if len(c.Mails) > 0 {
		who = q.person(c.Mails[0])
	}
	restrict := Order{Verb: fulfil.Restrict, Actor: actor}
	connected := len(q.systems(&c, fulfil.Restrict)) > 0
	if connected {
		if err := q.mayOrder(&c, restrict, who); err != nil {
			return nil, fmt.Errorf("restrict while case %s is weighed: %w", no, err)
		}
	}
	_, _, err = q.change(ctx, no, "", func(c *Case, ch *changing) error {
		if slices.Contains(c.Flags, FlagWeighed) {
			return fmt.Errorf("case %s: %w: it is being weighed already", no, ErrOrder)
		}
		c.addFlag(FlagWeighed)
		c.acted(actor)
		ch.events = append(ch.events, Event{Actor: actor, Action: ActNote, Reason: reasonOtherObjection, Note: note})
		return nil
	})
	if err != nil || !connected {
		return nil, err
	}
	return q.ask(ctx, no, restrict, who, "")
}

// mayClose refuses to end a case whose objection is still being weighed.
func (c *Case) mayClose(m Move) error {
	if c.State.Live() && m.Action == ActClose && slices.Contains(c.Flags, FlagWeighed) {
		return fmt.Errorf("case %s: %w: its objection is being weighed; answer it, or refuse it with the grounds (GDPR Art. 21(1))", c.Number, ErrOrder)
	}
	return nil
}
