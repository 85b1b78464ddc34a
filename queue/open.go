package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/classifier"
	"postern/gateway/address"
)

// errTaken says that a freshly drawn number is in use.
var errTaken = errors.New("case number taken")

// Open makes a case of a mail, or attaches it to the one it belongs to, and
// binds the opt-outs in it. When it returns without error the mail is durable
// (DSR-17) and the mailbox may be touched. It is idempotent on the message's
// place in the mailbox and on its bytes; the same Message-ID with other bytes
// from the same person is attached, never dropped.
func (q *Queue) Open(ctx context.Context, in Incoming) (Ref, error) {
	refs, err := q.OpenAll(ctx, []Incoming{in})
	if err != nil {
		return Ref{}, err
	}
	return refs[0], nil
}

// storeOne finds or makes the case of one mail, of whose thread the earlier
// mails are stored.
func (q *Queue) storeOne(ctx context.Context, o *opening, byMID bool) (err error) {
	if to := o.answers; to != nil {
		if o.parent = to.ref.Number; to.index < 0 { // stored before: much may have happened to it since
			if o.parent, err = q.living(ctx, to.ref.Number, o.in.Controller); err != nil {
				return err
			}
		}
	}
	if o.parent != "" {
		o.ref, o.index, err = q.attach(ctx, o.parent, o.in)
		return err
	}
	for range 8 {
		other, err := q.create(ctx, o, byMID)
		switch {
		case errors.Is(err, errTaken):
			continue
		case err != nil:
			return err
		case other == "":
			return nil
		}
		same, err := q.samePerson(ctx, other, o.in)
		if err != nil {
			return err
		}
		if same {
			o.ref, o.index, err = q.attach(ctx, other, o.in)
			return err
		}
		byMID = false // a reused Message-ID of someone else: a case of its own
	}
	return errors.New("no free case number after 8 draws")
}

// living follows a merged case to the one that lives on; "" if the case is
// gone or another controller's.
func (q *Queue) living(ctx context.Context, no, controller string) (string, error) {
	for range 16 {
		f, err := q.rdb.HMGet(ctx, keyCase(no), "controller", "state", "into").Result()
		if err != nil {
			return "", fmt.Errorf("look up case %s: %w", no, err)
		}
		if text(f[0]) != controller {
			return "", nil
		}
		if State(text(f[1])) != Merged || text(f[2]) == "" {
			return no, nil
		}
		no = text(f[2])
	}
	return "", nil
}

// samePerson tells whether the mail comes from the person of a case; where
// either is unreadable it may, and an operator sees both.
func (q *Queue) samePerson(ctx context.Context, no string, in Incoming) (bool, error) {
	subject, err := q.rdb.HGet(ctx, keyCase(no), "subject").Result()
	if isNil(err) {
		return false, nil // deleted at the end of its time: what comes now is new
	}
	if err != nil {
		return false, fmt.Errorf("look up case %s: %w", no, err)
	}
	person := q.person(in)
	return subject == "" || person.IsZero() || slices.Contains(q.subjectIDs(in.Controller, person), subject), nil
}

// create stores a new case. other is the case that has the same Message-ID.
func (q *Queue) create(ctx context.Context, o *opening, byMID bool) (other string, err error) {
	d, err := q.draft(o.in, byMID)
	if err != nil {
		return "", err
	}
	if err := q.file(ctx, []*draft{d}); err != nil {
		return "", err
	}
	switch d.word {
	case "new", "dup":
		o.filed(d)
		return "", nil
	case "attach":
		return d.value, nil
	}
	return "", errTaken
}

// filed notes where a mail is after its draft was filed; false where that is
// not said yet.
func (o *opening) filed(d *draft) bool {
	switch {
	case d.word == "new" || d.word == "dup" && d.value == d.c.Number: // stored, and the client asked twice because no answer came
		o.ref, o.new = Ref{d.c.Number, true}, d
	case d.word == "dup":
		o.ref, o.index = refOf(d.value), -1
	default:
		return false
	}
	return true
}

// newCase is a mail's case before it is stored.
func (q *Queue) newCase(no string, in Incoming) (*Case, period) {
	p := q.assistBy(q.forwardBy(in.Controller, q.periodOf(q.controller(in.Controller), in.Result.Regime, in.Received), in), in)
	c := &Case{
		Number: no, Controller: in.Controller, State: Received, Kind: in.Result.Kind,
		Labels: slices.Clone(in.Result.Decided), Abstain: in.Result.Abstain, Language: in.Result.Language,
		Regime: string(p.rule.Regime), Rule: p.rule.ID, Asker: in.Result.Asker,
		Received: in.Received, OpenedAt: q.o.Now(), Due: p.due, Grade: in.Grade, Role: q.roleOf(in),
	}
	if person := q.person(in); !person.IsZero() {
		c.Subject = q.o.Keyring.Identify(in.Controller, person).ID
	} else {
		c.Flags = append(c.Flags, FlagNoAddress)
	}
	if alerting(in) {
		c.Flags = append(c.Flags, FlagAlert)
	}
	if in.Manual != "" {
		c.Flags = append(c.Flags, FlagManual)
	}
	if c.Role != "" {
		c.Flags = append(c.Flags, FlagConfidential)
	}
	if _, ok := q.rules().Processors[in.Controller]; ok {
		c.Flags = append(c.Flags, FlagProcessor)
	}
	if in.Result.Has(classifier.DPARequest) || in.Result.Has(classifier.AssistanceRequest) {
		if _, ok := q.customer(in.Controller, in.From); !ok {
			c.Flags = append(c.Flags, FlagNoCustomer)
		}
	}
	return c, p
}

// roleOf is the role that may see what came to a mailbox; "": every operator.
func (q *Queue) roleOf(in Incoming) string {
	if role := q.rules().Roles[in.Mailbox]; role != "" || !in.Confidential {
		return role
	}
	return "confidential"
}

// openingEvent is the first of a case.
func (q *Queue) openingEvent(c *Case) Event {
	return Event{Time: q.o.Now(), Actor: "rule", Action: ActOpen, Reason: "mail", To: Received,
		Data: map[string]string{"labels": joinLabels(c.Labels), "rule": c.Rule, "due": millis(c.Due), "received": millis(c.Received), "grade": string(c.Grade)}}
}

// attach adds a mail to a case: what it asks is added, what had ended is
// reopened, and the clock stays at the earliest receipt. A right asked for the
// first time has a period of its own, which no earlier extension or pause may
// stretch: the earlier end counts.
func (q *Queue) attach(ctx context.Context, no string, in Incoming) (Ref, int, error) {
	res, index, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
		ch.mail, ch.seen = &in, seenFields(in)
		if mids := q.midKeys(in); len(mids) > 0 {
			ch.newMid = mids[0]
		}
		e := Event{Actor: "rule", Action: ActAttach, Reason: "same-case", Data: map[string]string{"labels": joinLabels(in.Result.Decided)}}
		fresh := c.asksMore(in.Result.Decided, false)
		if p := q.periodOf(q.controller(c.Controller), in.Result.Regime, in.Received); fresh && c.State.Live() && p.due.Before(c.Due) {
			c.Due, c.Rule, c.Extended = p.due, p.rule.ID, false
			e.Data["due"] = millis(p.due)
			ch.due, ch.unremind, ch.remind = millis(p.due), clockReminders(no), remindMembers(no, p.reminders(in.Received), q.o.Now())
		}
		if person := q.person(in); !person.IsZero() && !c.Subject.IsZero() && !slices.Contains(q.subjectIDs(c.Controller, person), c.Subject.String()) {
			c.addFlag(FlagOtherSender)
		}
		if alerting(in) {
			c.addFlag(FlagAlert)
		}
		if in.Manual != "" {
			c.addFlag(FlagManual)
		}
		if role := q.roleOf(in); role != "" {
			c.addFlag(FlagConfidential)
			c.Role = cmp.Or(c.Role, role)
		}
		if c.State != Received {
			c.addFlag(FlagNews)
		}
		ch.events = append(ch.events, e)
		if !c.State.Live() && c.State != Merged {
			return ch.reopen(q, c, in)
		}
		return nil
	})
	if err != nil {
		return Ref{}, 0, err
	}
	if res == "dup" {
		return Ref{index, false}, -1, nil
	}
	n := 0
	if _, err := fmt.Sscan(index, &n); err != nil {
		return Ref{}, 0, fmt.Errorf("attach to case %s: answer %q", no, index)
	}
	return Ref{no, false}, n, nil
}

// person is whose case a mail is: the sender, or in a colleague's forward the
// person who wrote to the colleague. Never one of our own addresses.
func (q *Queue) person(in Incoming) address.Address {
	for _, a := range []address.Address{in.Forwarded, in.From} {
		if !a.IsZero() && !slices.Contains(q.ownDomains(), a.Domain()) {
			return a
		}
	}
	return address.Address{}
}

func (q *Queue) subjectIDs(controller string, a address.Address) []string {
	var out []string
	for _, id := range q.o.Keyring.Identities(controller, a) {
		out = append(out, id.ID.String())
	}
	return out
}

// alerting tells of mails a person has to see at once (design D13).
func alerting(in Incoming) bool { return fromAuthority(in) || in.Result.Has(classifier.BreachReport) }

// fromAuthority tells of mails of a supervisory authority, the police or a court.
func fromAuthority(in Incoming) bool {
	return in.Result.Has(classifier.AuthorityLetter) || in.Result.Asker == "authority"
}

func seenFields(in Incoming) []string {
	out := []string{seenField(in)}
	if in.ContentHash != "" {
		out = append(out, "b:"+in.Controller+"/"+in.ContentHash)
	}
	return out
}

func (q *Queue) midKeys(in Incoming) []string {
	if in.MessageID == "" {
		return nil
	}
	return q.vault.Lookups("mid", in.Controller+"\x00"+in.MessageID)
}

// refOf is where a mail was stored before; a mail set aside has an id.
func refOf(value string) Ref { return Ref{strings.TrimPrefix(value, "aside:"), false} }
