package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/reply"
)

// Split makes a case of its own of some of what a case asks for. It has the
// same mail and the same clock; the rest stays. Both name each other.
func (q *Queue) Split(ctx context.Context, number string, labels []classifier.Label, actor, note string) (Ref, error) {
	no := FindCaseNo(number)
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return Ref{}, err
	}
	rest := slices.DeleteFunc(slices.Clone(c.Labels), func(l classifier.Label) bool { return slices.Contains(labels, l) })
	switch {
	case !strings.HasPrefix(actor, "operator:"):
		return Ref{}, fmt.Errorf("split case %s: %w: an operator has to", no, ErrMove)
	case !c.State.Live() || len(c.Mails) == 0:
		return Ref{}, fmt.Errorf("split case %s: %w", no, ErrMove)
	case len(labels) == 0 || len(rest) == 0 || len(rest)+len(labels) != len(c.Labels):
		return Ref{}, fmt.Errorf("split case %s: %w: name some, not all, of what it asks: %s", no, ErrMove, joinLabels(c.Labels))
	}
	in := c.Mails[0]
	in.Folder, in.Mailbox = no+"/"+joinLabels(labels), SplitMailbox
	in.ContentHash, in.MessageID, in.InReplyTo, in.References, in.CaseNo, in.ReplyToken = sha("split\x00"+in.Folder), "", "", nil, "", ""
	in.MayReply, in.NoReplyWhy, in.Received = false, "split", c.Received
	in.Result.Decided, in.Result.Abstain = slices.Clone(labels), false
	half := &opening{in: in}
	if err := q.storeOne(ctx, half, false); err != nil {
		return Ref{}, fmt.Errorf("split case %s: %w", no, err)
	}
	q.follow(context.WithoutCancel(ctx), []*opening{half})
	ref := half.ref
	_, _, err = q.change(ctx, ref.Number, "split-from", func(k *Case, ch *changing) error {
		k.link(no)
		k.Owner, k.Role, k.Due, k.Rule, k.Extended = c.Owner, c.Role, c.Due, c.Rule, c.Extended
		if slices.Contains(c.Flags, FlagIdentified) {
			k.addFlag(FlagIdentified)
			k.Proven = slices.Clone(c.Proven)
		}
		for _, f := range []string{FlagLegalHold, FlagNotMe} {
			if slices.Contains(c.Flags, f) {
				k.addFlag(f)
			}
		}
		p := q.periodByRule(k)
		p.due = k.Due
		ch.due, ch.unremind, ch.remind = millis(k.Due), clockReminders(k.Number), remindMembers(k.Number, p.reminders(k.Received), q.o.Now())
		ch.events = append(ch.events, Event{Actor: actor, Action: ActNote, Reason: "split-from", Data: map[string]string{"case": no}})
		return nil
	})
	if err != nil {
		return Ref{}, err
	}
	_, _, err = q.change(ctx, no, "split:"+ref.Number, func(k *Case, ch *changing) error {
		k.link(ref.Number)
		k.Labels = slices.DeleteFunc(slices.Clone(k.Labels), func(l classifier.Label) bool { return slices.Contains(labels, l) })
		ch.events = append(ch.events, Event{Actor: actor, Action: ActLabel, Reason: "split", Note: note, Data: map[string]string{"case": ref.Number, "labels": joinLabels(k.Labels)}})
		return nil
	})
	return ref, err
}

// Earlier lists the other cases of a case's person, newest first.
func (q *Queue) Earlier(ctx context.Context, number string) ([]Case, error) {
	c, _, err := q.Show(ctx, number)
	if err != nil || c.Subject.IsZero() {
		return nil, err
	}
	ids := []address.SubjectID{c.Subject}
	if len(c.Mails) > 0 {
		if who := q.person(c.Mails[0]); !who.IsZero() {
			for _, i := range q.o.Keyring.Identities(c.Controller, who) {
				if i.ID != c.Subject {
					ids = append(ids, i.ID)
				}
			}
		}
	}
	var out []Case
	for _, id := range ids {
		list, err := q.List(ctx, Filter{Subject: id, Controller: c.Controller})
		if err != nil {
			return nil, err
		}
		for _, k := range list {
			if k.Number != c.Number {
				out = append(out, k)
			}
		}
	}
	slices.SortFunc(out, func(a, b Case) int { return b.Received.Compare(a.Received) })
	return out, nil
}

// HandOver passes on what is no request under data protection law to support,
// and tells the person who answers. The case is forwarded when that letter
// left.
func (q *Queue) HandOver(ctx context.Context, number, actor, note string) (int, error) {
	no := FindCaseNo(number)
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return 0, err
	}
	to, err := address.Parse(q.rules().Handling[c.Controller].Support)
	if err != nil {
		return 0, fmt.Errorf("%w: controller %q has no support_contact", ErrDraft, c.Controller)
	}
	controller := q.controller(c.Controller)
	loc := q.zone(c.Controller)
	w := q.staffWords(c.Controller, "")
	text := reply.Wrap(w.Say("support_lead"), 71) + "\n" + staffLetters(w, c.Mails, loc)
	// Support first: the person is told only once that mail is on its way.
	if _, _, err := q.Reply(ctx, no, Draft{Subject: w.Say("support_subject", "no", no), Text: text, Language: w.Tag(), To: to, Effect: ActSent, Reason: "not-ours", Actor: actor, Note: note}); err != nil {
		return 0, err
	}
	n, _, err := q.Reply(ctx, no, Draft{Step: reply.Forwarded, Values: reply.Values{"receiver": controller.Name + " (" + to.Plain() + ")"}, Effect: ActForward, Reason: "not-ours", Actor: actor})
	return n, err
}

// Away says that an operator is absent and who stands in.
type Away struct {
	Operator string    `json:"operator"`
	Deputy   string    `json:"deputy"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
}

// SetAway notes an absence; the zero Until ends one.
func (q *Queue) SetAway(ctx context.Context, a Away) error {
	if a.Operator == "" {
		return fmt.Errorf("absence: %w: name the operator", ErrMove)
	}
	if a.Until.IsZero() {
		return wrapf(q.rdb.HDel(ctx, keyAway, a.Operator).Err(), "end absence")
	}
	if a.Deputy == "" || a.Deputy == a.Operator || !a.Until.After(a.From) {
		return fmt.Errorf("absence: %w: name a deputy and an end after the beginning", ErrMove)
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("absence: %w", err)
	}
	return wrapf(q.rdb.HSet(ctx, keyAway, a.Operator, string(raw)).Err(), "absence")
}

// Aways lists absences that are not over.
func (q *Queue) Aways(ctx context.Context) ([]Away, error) {
	all, err := q.rdb.HGetAll(ctx, keyAway).Result()
	if err != nil {
		return nil, fmt.Errorf("list absences: %w", err)
	}
	var out []Away
	for _, raw := range all {
		var a Away
		if err := json.Unmarshal([]byte(raw), &a); err != nil {
			return nil, fmt.Errorf("decode absence: %w", err)
		}
		if a.Until.After(q.o.Now()) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b Away) int { return strings.Compare(a.Operator, b.Operator) })
	return out, nil
}

// Deputy is who acts for an operator now: themselves, or whoever stands in, or
// who stands in for that one.
func (q *Queue) Deputy(ctx context.Context, operator string) (string, error) {
	list, err := q.Aways(ctx)
	if err != nil {
		return operator, err
	}
	seen := map[string]bool{}
	for !seen[operator] {
		seen[operator] = true
		for _, a := range list {
			if a.Operator == operator && !a.From.After(q.o.Now()) {
				operator = a.Deputy
				break
			}
		}
	}
	return operator, nil
}

// BulkResult is what became of one case of a Bulk.
type BulkResult struct {
	Number string
	Err    error
}

// Bulk does the same to many cases, as when a deletion service sends hundreds:
// each by itself, so that one that can't does not stop the rest.
func (q *Queue) Bulk(ctx context.Context, numbers []string, do func(context.Context, string) error) []BulkResult {
	out := make([]BulkResult, len(numbers))
	for i, n := range numbers {
		out[i] = BulkResult{FindCaseNo(n), ctx.Err()}
		if out[i].Number == "" {
			out[i] = BulkResult{n, fmt.Errorf("case %q: %w", n, ErrUnknown)}
		}
		if out[i].Err == nil {
			out[i].Err = do(ctx, out[i].Number)
		}
	}
	return out
}

// BulkMove moves many cases alike: assign, label, merge, note, close. Only cases
// of one person are merged so: what ends in another's case would be answered to
// them alone. Who writes from two addresses is merged by Move, with a word on it.
func (q *Queue) BulkMove(ctx context.Context, numbers []string, m Move) []BulkResult {
	m.SamePerson = "" // said of one case at a time
	return q.Bulk(ctx, numbers, func(ctx context.Context, no string) error {
		_, err := q.Move(ctx, no, m)
		return err
	})
}

// BulkReply sends many cases the same draft, each in the person's language: as
// a receipt to every case of one deletion service.
func (q *Queue) BulkReply(ctx context.Context, numbers []string, d Draft) []BulkResult {
	return q.Bulk(ctx, numbers, func(ctx context.Context, no string) error {
		_, _, err := q.Reply(ctx, no, d)
		return err
	})
}
