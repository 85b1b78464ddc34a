package queue

import (
	"context"
	"fmt"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/clock"
)

// Processor says that the gateway is run for another company, which answers
// its own requests (GDPR Art. 28(3)(e), DSR-11).
type Processor struct {
	To          string // mail address of that company's privacy contact
	OnObjection string // "act": opt-outs bind here at once (default); "forward": they are only passed on
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
	if _, ok := q.o.Processors[controller]; !ok {
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

// ForwardDraft is the letter that passes a case on to the company it concerns:
// what was written, by whom, when. Reply sends it; the case is then forwarded.
func (q *Queue) ForwardDraft(ctx context.Context, number, actor string) (Draft, error) {
	c, _, err := q.Show(ctx, number)
	if err != nil {
		return Draft{}, err
	}
	role, ok := q.o.Processors[c.Controller]
	if !ok {
		return Draft{}, fmt.Errorf("%w: controller %q answers for itself", ErrDraft, c.Controller)
	}
	to, err := address.Parse(role.To)
	if err != nil {
		return Draft{}, fmt.Errorf("%w: contact of controller %q", ErrDraft, c.Controller)
	}
	_, loc := q.seat(q.controller(c.Controller))
	var b strings.Builder
	fmt.Fprintf(&b, "A request concerning you reached us on %s (case %s). It asks for: %s. We pass it on as your processor; the time to answer runs since that day.\n",
		q.texts.Date("en", c.Received.In(loc)), c.Number, q.rights("en", c.Labels))
	for _, in := range c.Mails {
		fmt.Fprintf(&b, "\nFrom: %s\nReceived: %s\nSubject: %s\n\n%s\n", in.From.Plain(), in.Received.In(loc).Format("2006-01-02 15:04 MST"), in.Subject, in.Text)
	}
	return Draft{Subject: "Request of a data subject, case " + c.Number, Text: b.String(), Language: "en", To: to, Effect: ActForward, Reason: "processor", Actor: actor}, nil
}
