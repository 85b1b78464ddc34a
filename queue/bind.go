package queue

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
)

// stops are the labels that bind the relay, with the reason kept for each
// (design D13 and section 4: the four ways to say stop, and erasure).
var stops = []struct {
	label  classifier.Label
	reason consent.Reason
}{
	{classifier.Objection, consent.ObjectedTo},
	{classifier.WithdrawConsent, consent.WithdrawnBy},
	{classifier.Unsubscribe, consent.Unsubscribed},
	{classifier.OptOutSale, consent.Unsubscribed},
	{classifier.Erasure, consent.ErasurePending},
}

// maxNamed bounds how many addresses of one text are put on hold.
const maxNamed = 5

var addressPattern = regexp.MustCompile(`[^\s<>()\[\]"',;:]{1,64}@[^\s<>()\[\]"',;:]{3,190}`)

// bind places the opt-outs of one mail of a case. Event ids derive from case
// and mail, so that repeating it changes nothing.
func (q *Queue) bind(ctx context.Context, no string, index int) error {
	done, err := q.rdb.HExists(ctx, keyCase(no), boundField(index)).Result()
	if err != nil || done { // done: an operator may have reverted it since
		return wrapf(err, "bind opt-outs of case %s", no)
	}
	in, err := q.mail(ctx, no, index)
	if err != nil {
		return err
	}
	list, flag := q.suppressions(no, index, in)
	if len(list) == 0 && flag == "" {
		return nil
	}
	ids, err := q.suppress(ctx, list)
	if err != nil {
		return fmt.Errorf("suppress for case %s: %w", no, err)
	}
	if len(list) > 0 {
		if err := q.countOptOuts(ctx, optOutMail{no, index, in}); err != nil {
			return err
		}
	}
	_, _, err = q.change(ctx, no, boundField(index), noteBound(index, list, ids, flag))
	return err
}

func boundField(index int) string { return "bound:" + strconv.Itoa(index) }

// noteBound writes into a case what its mail bound.
func noteBound(index int, list []consent.Suppression, ids []string, flag string) func(*Case, *changing) error {
	return func(c *Case, ch *changing) error {
		for i, s := range list {
			e := Event{Actor: "rule", Action: ActSuppress, Reason: string(s.Reason), Data: map[string]string{"event": ids[i], "scope": string(s.Scope), "mail": strconv.Itoa(index)}}
			if s.Reason == consent.Held {
				e.Action = ActHold
				c.addFlag(FlagHold)
			}
			if s.Reason == consent.ErasurePending {
				ch.add(fieldPending, ids[i])
			}
			ch.events = append(ch.events, e)
		}
		if flag != "" {
			c.addFlag(flag)
		}
		return nil
	}
}

// suppress binds opt-outs, several in one go where the registry can, and gives
// their ids in order.
func (q *Queue) suppress(ctx context.Context, list []consent.Suppression) ([]string, error) {
	if many, ok := q.d.Optout.(ManyOptouts); ok && len(list) > 1 {
		return many.SuppressAll(ctx, list)
	}
	ids := make([]string, len(list))
	for i, s := range list {
		var err error
		if ids[i], err = q.d.Optout.Suppress(ctx, s); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// suppressions is what a mail's opt-outs bind, each with its stable id; flag
// is set where nobody could be bound though someone asked.
func (q *Queue) suppressions(no string, index int, in Incoming) (list []consent.Suppression, flag string) {
	reasons := q.reasons(in)
	if len(reasons) == 0 && in.Token == "" {
		return nil, ""
	}
	add := func(s consent.Suppression, what string) {
		s.ID = "case:" + no + ":" + strconv.Itoa(index) + ":" + what
		s.Time, s.Controller, s.Source, s.Case, s.Actor = in.Received, in.Controller, "privacy-mail", no, "rule"
		list = append(list, s)
	}
	if subject, stream, ok := q.token(in.Token); ok {
		add(consent.Suppression{Subject: subject, Scope: consent.ScopeStream, Stream: stream, Reason: consent.Unsubscribed}, "token")
		for _, r := range reasons {
			add(consent.Suppression{Subject: subject, Scope: consent.ScopeController, Reason: r}, "token-"+string(r))
		}
		return list, ""
	}
	person := q.person(in)
	for _, r := range reasons {
		if !person.IsZero() {
			add(consent.Suppression{Address: person, Scope: consent.ScopeController, Reason: r}, string(r))
		}
	}
	for i, a := range q.named(in, person) {
		add(consent.Suppression{Address: a, Scope: consent.ScopeController, Reason: consent.Held}, "hold-"+strconv.Itoa(i))
	}
	if person.IsZero() {
		flag = FlagNoAddress
	}
	return list, flag
}

// reasons are why a mail's sender is not to be mailed, as the policy of each
// label has it: at once, or held until an operator confirms.
func (q *Queue) reasons(in Incoming) []consent.Reason {
	if q.rules().Processors[in.Controller].OnObjection == "forward" {
		return nil
	}
	var out []consent.Reason
	held := false
	for _, s := range stops {
		if !in.Result.Has(s.label) {
			continue
		}
		switch q.policy(in.Controller, s.label) {
		case Automatic:
			if !slices.Contains(out, s.reason) {
				out = append(out, s.reason)
			}
		case Propose:
			held = true
		}
	}
	if held && len(out) == 0 {
		out = append(out, consent.Held)
	}
	return out
}

// asked are the reasons a mail gives, whatever the policy does with them.
func asked(in Incoming) []consent.Reason {
	var out []consent.Reason
	for _, s := range stops {
		if in.Result.Has(s.label) && !slices.Contains(out, s.reason) {
			out = append(out, s.reason)
		}
	}
	return out
}

// token opens an unsubscribe token; a bad one is as none.
func (q *Queue) token(text string) (address.SubjectID, uint16, bool) {
	if text == "" || q.d.Tokens == nil {
		return address.SubjectID{}, 0, false
	}
	subject, stream, err := q.d.Tokens(text)
	return subject, stream, err == nil
}

// named are addresses in the person's own words, other than theirs and ours.
func (q *Queue) named(in Incoming, person address.Address) []address.Address {
	own := q.ownDomains()
	var out []address.Address
	for _, m := range addressPattern.FindAllString(in.Text, 50) {
		a, err := address.Parse(strings.TrimRight(strings.TrimPrefix(m, "mailto:"), ".!?*_"))
		if err != nil || slices.Contains(own, a.Domain()) || !strings.Contains(a.Domain(), ".") || !person.IsZero() && a.Wide() == person.Wide() {
			continue
		}
		if !slices.ContainsFunc(out, func(b address.Address) bool { return a.Wide() == b.Wide() }) {
			out = append(out, a)
		}
		if len(out) == maxNamed {
			break
		}
	}
	return out
}

// mail opens one mail of a case.
func (q *Queue) mail(ctx context.Context, no string, index int) (Incoming, error) {
	_, _, key, err := q.load(ctx, no)
	if err != nil {
		return Incoming{}, err
	}
	sealed, err := q.rdb.LIndex(ctx, keyMails(no), int64(index)).Result()
	if err != nil {
		return Incoming{}, fmt.Errorf("read mail %d of case %s: %w", index, no, err)
	}
	return openMail(key, no, sealed)
}
