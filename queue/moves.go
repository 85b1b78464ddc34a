package queue

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
)

// Move is one act on a case that needs no letter.
type Move struct {
	Action Action
	Actor  string // "operator:<name>", "person", "link", "rule"
	Reason string // a short word, free words move to the note; needed for close, forward, merge, withdraw, reopen, identify, answer
	Note   string // free words, sealed at rest
	Until  time.Time
	Into   string             // for ActMerge: the case that lives on
	Labels []classifier.Label // for ActLabel: what is asked, replacing what was
	Owner  string             // for ActAssign
	Data   map[string]string  // further closed facts for the record
	// Address for ActIdentify: that the proof is waived for; the zero Address is
	// the person's own.
	Address address.Address
	// SamePerson for ActMerge says how it is known that the two cases, which come
	// from different addresses, are of one person; sealed at rest.
	SamePerson string
	Ending     Ending // for ActClose and ActWithdraw: what becomes of the stop that a request for erasure placed
	proven     string // for ActIdentify by link: the subject whose address was asked
	// Seen is how many mails of the case whoever acts has seen; an act that ends
	// it is refused where there are more. 0: not said.
	Seen int
}

// reasoned are the actions that need a reason.
var reasoned = []Action{ActClose, ActForward, ActMerge, ActWithdraw, ActReopen, ActIdentify, ActAnswer, ActWait}

// byLetter are the actions that happen when a letter left; ActAnswer may also
// have happened on paper.
var byLetter = []Action{ActDeny, ActExtend, ActAsk, ActLift}

// onPaper are reasons for an answer that was no mail.
var onPaper = []string{"by-post", "by-phone", "in-person", "by-portal"}

// Move acts on a case. Errors wrap ErrMove where the table of states forbids
// it, ErrUnknown for an unknown case.
func (q *Queue) Move(ctx context.Context, number string, m Move) (Case, error) {
	no := FindCaseNo(number)
	m.Reason, m.Note = closeReason(m.Reason, m.Note)
	if err := m.check(); err != nil {
		return Case{}, fmt.Errorf("case %s: %w", no, err)
	}
	if m.Action == ActMerge {
		if err := q.unseen(ctx, no, m); err != nil {
			return Case{}, err
		}
		if err := q.mergeTarget(ctx, no, m); err != nil {
			return Case{}, err
		}
	}
	var out Case
	_, _, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
		defer func() { out = *c }()
		if err := q.unseen(ctx, no, m); err != nil {
			return err
		}
		return q.apply(c, ch, m)
	})
	return out, err
}

// unseen refuses to end a case over a mail that whoever ends it has not seen.
func (q *Queue) unseen(ctx context.Context, no string, m Move) error {
	if m.Seen <= 0 || !endsCase(m.Action) {
		return nil
	}
	mails, err := q.rdb.LLen(ctx, keyMails(no)).Result()
	if err != nil {
		return fmt.Errorf("count mails of case %s: %w", no, err)
	}
	if int(mails) > m.Seen {
		return fmt.Errorf("case %s: %w: the person wrote again, read that first", no, ErrMove)
	}
	return nil
}

// closedReason is what a reason looks like that may stand in the ledger.
var closedReason = regexp.MustCompile(`^[a-z0-9][a-z0-9:._+-]{0,59}$`)

// closeReason keeps free words out of records that can't be deleted: they
// become part of the sealed note, and the reason is "other".
func closeReason(reason, note string) (string, string) {
	if reason == "" || closedReason.MatchString(reason) {
		return reason, note
	}
	return "other", strings.TrimSpace(reason + "\n" + note)
}

func (m Move) check() error {
	switch {
	case m.Actor == "":
		return fmt.Errorf("%w: an actor is needed", ErrMove)
	case slices.Contains(reasoned, m.Action) && m.Reason == "":
		return fmt.Errorf("%w: %s needs a reason", ErrMove, m.Action)
	case slices.Contains(byLetter, m.Action):
		return fmt.Errorf("%w: %s happens by a letter to the person", ErrMove, m.Action)
	case m.Action == ActAnswer && !slices.Contains(onPaper, m.Reason):
		return fmt.Errorf("%w: an answer is a letter, or was given %s", ErrMove, strings.Join(onPaper, ", "))
	}
	if _, ok := moves[m.Action]; !ok && !slices.Contains([]Action{ActLabel, ActAssign, ActNote}, m.Action) {
		return fmt.Errorf("%w: %q is no act of a person", ErrMove, m.Action)
	}
	return m.Ending.check(m.Actor)
}

func (q *Queue) apply(c *Case, ch *changing, m Move) error {
	to, err := next(c.State, m.Action)
	if err != nil {
		return err
	}
	if b := breachOf(c, ch.before); b.Open() && !to.Live() && m.Action != ActAnswer {
		return fmt.Errorf("case %s: %w: its breach clock runs; record first who was told, or why nobody", c.Number, ErrOrder)
	}
	if err := c.mayClose(m); err != nil {
		return err
	}
	was := c.State
	c.State = to
	if m.Action != ActAssign { // whose it is says nothing of what was written
		c.acted(m.Actor)
	}
	e := Event{Actor: m.Actor, Action: m.Action, Reason: m.Reason, Note: m.Note, Data: maps.Clone(m.Data)}
	if e.Data == nil {
		e.Data = map[string]string{}
	}
	switch m.Action {
	case ActLabel:
		e.Data["was"], e.Data["labels"] = joinLabels(c.Labels), joinLabels(m.Labels)
		if slices.ContainsFunc(m.Labels, func(l classifier.Label) bool { return slices.Contains(provable, l) && !slices.Contains(c.Labels, l) }) {
			c.doubt() // the person was not asked about that
		}
		c.Labels, c.Abstain = slices.Clone(m.Labels), false
	case ActAssign:
		c.Owner = m.Owner
		e.Data["owner"] = m.Owner
	case ActMerge:
		into := FindCaseNo(m.Into)
		if ch.before[mergedInto(into)] != "" { // each would end in the other, and none lived on
			return fmt.Errorf("merge case %s into %s: %w: that one is being merged into this one", c.Number, into, ErrMove)
		}
		c.link(into)
		e.Data["into"], ch.extra["into"] = into, into
	case ActWait:
		if !m.Until.IsZero() {
			ch.remind = append(ch.remind, [2]string{c.Number + " " + RemindUntil, millis(m.Until)})
			e.Data["until"] = millis(m.Until)
		}
	case ActIdentify:
		switch {
		case !m.Address.IsZero():
			c.proves(q.o.Keyring.Identify(c.Controller, m.Address).ID.String())
		case m.proven != "":
			c.proves(m.proven)
		default:
			c.proves(subjectText(c.Subject))
		}
		q.identified(c, ch)
	case ActReopen:
		p := q.periodByRule(c)
		c.EndedAt = time.Time{}
		ch.due = millis(c.Due) // the clock never stood still: what was missing was missing all the time
		p.due = c.Due
		ch.remind = remindMembers(c.Number, p.reminders(c.Received), q.o.Now())
	}
	if was == Waiting && m.Action != ActWait {
		ch.unremind = append(ch.unremind, c.Number+" "+RemindUntil)
	}
	ch.events = append(ch.events, e)
	q.endStop(c, ch, m.Actor, m.Ending)
	return nil
}

// mergedInto is the field of a case that says that another is merged into it.
func mergedInto(no string) string { return "merged:" + no }

// mergeTarget lets the case that lives on take over the earliest receipt and
// what is asked.
func (q *Queue) mergeTarget(ctx context.Context, no string, m Move) error {
	into := FindCaseNo(m.Into)
	if into == "" || into == no {
		return fmt.Errorf("merge case %s: %w: another case has to be named", no, ErrMove)
	}
	c, f, _, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	if _, err := next(c.State, ActMerge); err != nil {
		return err
	}
	_, _, err = q.change(ctx, into, mergedInto(no), func(t *Case, ch *changing) error {
		if t.Controller != c.Controller || !t.State.Live() {
			return fmt.Errorf("merge case %s into %s: %w: the other has to be live and of the same controller", no, into, ErrMove)
		}
		t.link(no)
		if f[fieldPending] != "" { // its end decides on both
			ch.add(fieldPending, splitWords(f[fieldPending])...)
		}
		same := !c.Subject.IsZero() && t.Subject == c.Subject
		e := Event{Actor: m.Actor, Action: ActNote, Reason: "merged-in", Data: map[string]string{"case": no}}
		if !same {
			if strings.TrimSpace(m.SamePerson) == "" {
				return fmt.Errorf("merge case %s into %s: %w: they come from two addresses: say how it is known that one person wrote both", no, into, ErrMove)
			}
			e.Note, e.Data["same-person"] = m.SamePerson, "said"
		}
		if !same {
			t.addFlag(FlagOtherSender)
		}
		t.asksMore(c.Labels, same && c.ownShown())
		t.inherit(c)
		if c.Received.Before(t.Received) {
			t.Received = c.Received
		}
		if c.Due.Before(t.Due) {
			t.Due, t.Rule = c.Due, c.Rule
			p := q.periodByRule(t)
			p.due = t.Due
			ch.due, ch.unremind = millis(t.Due), clockReminders(into)
			ch.remind = remindMembers(into, p.reminders(t.Received), q.o.Now())
		}
		e.Data["due"] = millis(t.Due)
		ch.events = append(ch.events, e)
		return nil
	})
	return err
}

// inherit takes over what forbids, or wants, something of a case that this one
// goes on with.
func (c *Case) inherit(from *Case) {
	for _, f := range []string{FlagLegalHold, FlagNotMe, FlagAlert, FlagManual} {
		if slices.Contains(from.Flags, f) {
			c.addFlag(f)
		}
	}
	if slices.Contains(from.Flags, FlagNotMe) {
		c.doubt()
	}
	c.Abstain = c.Abstain || from.Abstain
}

func (c *Case) link(no string) {
	if !slices.Contains(c.Linked, no) {
		c.Linked = append(c.Linked, no)
	}
}

// Undeliverable records that a mail of ours came back: what it was to do is
// not done, so an answered case is open again and its clock runs on (AR-10).
func (q *Queue) Undeliverable(ctx context.Context, number, status string) error {
	return q.undeliverable(ctx, FindCaseNo(number), status, "")
}

// undeliverable is Undeliverable, once per name where one is given.
func (q *Queue) undeliverable(ctx context.Context, no, status, once string) error {
	var controller string
	word, _, err := q.change(ctx, no, once, func(c *Case, ch *changing) error {
		controller = c.Controller
		c.addFlag(FlagUndeliverable)
		e := Event{Actor: "rule", Action: ActBounced, Reason: "bounced", Data: map[string]string{"status": status}}
		if ch.before[liftAt] != "" { // it may be the notice: who was not told stays restricted
			ch.extra[liftAt], e.Data["lift"] = "", "called-off"
		}
		if to, err := next(c.State, ActBounced); err == nil && to != c.State {
			was := c.State
			c.State, c.EndedAt = to, time.Time{}
			if !was.Live() {
				p := q.periodByRule(c)
				p.due = c.Due
				ch.due, ch.remind = millis(c.Due), remindMembers(no, p.reminders(c.Received), q.o.Now())
			}
		}
		ch.events = append(ch.events, e)
		return nil
	})
	if err != nil || word == "once" {
		return err
	}
	q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: controller, Reason: "undeliverable"})
	return nil
}
