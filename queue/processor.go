package queue

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/clock"
	"postern/queue/reply"
)

// Processor says that the gateway is run for another company, which answers
// its own requests (GDPR Art. 28(3)(e), DSR-11).
type Processor struct {
	// BreachWithin is the time agreed for telling that company of a breach, from
	// when it is known here (GDPR Art. 33(2)). Default 24 h.
	BreachWithin time.Duration
	To           string // mail address of that company's privacy contact
	OnObjection  string // "act": opt-outs bind here at once (default); "forward": they are only passed on
}

// FlagProcessor marks a case that is to be passed on, not answered.
const FlagProcessor = "processor"

func checkProcessors(table map[string]Processor) error {
	for id, p := range table {
		if _, err := address.Parse(p.To); err != nil {
			return fmt.Errorf("processor for %q: the contact is no mail address", id)
		}
		if p.OnObjection != "" && p.OnObjection != "act" && p.OnObjection != "forward" {
			return fmt.Errorf("processor for %q: on_objection is act or forward", id)
		}
	}
	return nil
}

// forwardBy gives the time by which a request has to be passed on, where that
// is earlier than the answer's.
func (q *Queue) forwardBy(controller string, p period, in Incoming) period {
	if _, ok := q.rules().Processors[controller]; !ok {
		return p
	}
	rule, ok := clock.ByID("EU-FORWARD")
	if end := rule.End(in.Received, p.calendar, p.loc); ok && end.Before(p.due) {
		p.rule, p.due = rule, end
	}
	return p
}

// FlagNoCustomer marks a request for an agreement or for assistance from a
// domain that is none of a customer.
const FlagNoCustomer = "no-customer"

// assistBy gives the time agreed with a customer for help with a request of
// theirs, where that is earlier (GDPR Art. 28(3)(e)).
func (q *Queue) assistBy(p period, in Incoming) period {
	k, ok := q.customer(in.Controller, in.From)
	if !ok || !in.Result.Has(classifier.AssistanceRequest) {
		return p
	}
	rule, ok := clock.ByID("EU-ASSIST")
	y, m, d := in.Received.In(p.loc).Add(orTime(k.AssistWithin, 5*24*time.Hour)).Date()
	if end := time.Date(y, m, d, 23, 59, 59, 0, p.loc); ok && end.Before(p.due) {
		p.rule, p.due = rule, end
	}
	return p
}

// MailedBy tells which controllers of this installation ever mailed the person
// of a case, as the send record has it: whom a request that names no company
// concerns. The person is told only after they proved the mailbox is theirs
// (FlagIdentified): the list alone tells whose customer they are.
func (q *Queue) MailedBy(ctx context.Context, number string) ([]string, error) {
	c, _, err := q.Show(ctx, number)
	if err != nil || q.d.Mailed == nil || len(c.Mails) == 0 {
		return nil, err
	}
	who := q.person(c.Mails[0])
	if who.IsZero() {
		return nil, nil
	}
	var out []string
	for _, k := range q.d.Streams().Controllers() {
		for _, id := range q.o.Keyring.Identities(k.ID, who) {
			mailed, err := q.d.Mailed(ctx, k.ID, id.ID)
			if err != nil {
				return nil, fmt.Errorf("who mailed the person of case %s: %w", c.Number, err)
			}
			if mailed {
				out = append(out, k.ID)
				break
			}
		}
	}
	return out, nil
}

// ForwardDraft is the letter that passes a case on to the company it concerns:
// what was written, by whom, when. Reply sends it; the case is then forwarded.
func (q *Queue) ForwardDraft(ctx context.Context, number, actor string) (Draft, error) {
	return q.ForwardDraftTo(ctx, number, "", actor)
}

// ForwardDraftTo is ForwardDraft to another controller of this installation,
// where MailedBy shows that the request concerns it; "" takes the case's own.
func (q *Queue) ForwardDraftTo(ctx context.Context, number, controller, actor string) (Draft, error) {
	c, _, err := q.Show(ctx, number)
	if err != nil {
		return Draft{}, err
	}
	to, err := q.forwardTo(&c, controller)
	if err != nil {
		return Draft{}, err
	}
	loc := q.zone(c.Controller)
	w := q.staffWords(cmp.Or(controller, c.Controller), "")
	text := w.Say("forward_lead", "date", staffDay(w, c.Received.In(loc)), "no", c.Number, "rights", q.rights(w.Tag(), c.Labels))
	return Draft{Subject: w.Say("forward_subject", "no", c.Number), Text: reply.Wrap(text, 71) + "\n" + staffLetters(w, c.Mails, loc), Language: w.Tag(),
		To: to, Effect: ActForward, Reason: "processor", Actor: actor}, nil
}

// forwardTo is the privacy contact of the company a case is passed on to.
func (q *Queue) forwardTo(c *Case, controller string) (address.Address, error) {
	contact := ""
	if controller != "" && controller != c.Controller {
		k, ok := q.d.Streams().Controller(controller)
		if !ok {
			return address.Address{}, fmt.Errorf("%w: controller %q is not configured", ErrDraft, controller)
		}
		contact = k.Contact
		if role, ok := q.rules().Processors[controller]; ok {
			contact = role.To
		}
	} else if role, ok := q.rules().Processors[c.Controller]; ok {
		contact = role.To
	} else {
		return address.Address{}, fmt.Errorf("%w: controller %q answers for itself", ErrDraft, c.Controller)
	}
	to, err := address.Parse(contact)
	if err != nil {
		return to, fmt.Errorf("%w: contact of controller %q", ErrDraft, controller)
	}
	return to, nil
}
