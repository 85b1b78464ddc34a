package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/gateway/address"
)

// Propose is AskApproval without a letter.
func (q *Queue) Propose(ctx context.Context, number, act, actor, note string) error {
	return q.AskApproval(ctx, number, Approval{What: act, By: actor, Note: note})
}

// Proposals tells which acts wait for a second operator: act → who proposed it.
func (q *Queue) Proposals(ctx context.Context, number string) (map[string]string, error) {
	_, f, _, err := q.load(ctx, FindCaseNo(number))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, act := range []string{EyesErase, EyesDeny} {
		if by := f["proposed:"+act]; by != "" {
			out[act] = by
		}
	}
	return out, nil
}

// secondEyes refuses an act that nobody or the same person proposed.
func (q *Queue) secondEyes(ctx context.Context, c *Case, act, actor string) error {
	if !q.fourEyes(c.Controller, act) {
		return nil
	}
	f, err := q.rdb.HMGet(ctx, keyCase(c.Number), "proposed:"+act, "proposer:"+act).Result()
	if err != nil {
		return fmt.Errorf("read proposals of case %s: %w", c.Number, err)
	}
	return q.bothEyes(ctx, c, act, map[string]string{"proposed:" + act: text(f[0]), "proposer:" + act: text(f[1])}, actor)
}

// proposedFor is the field of the subject id whose erasure was proposed; "" is
// the person's own.
const proposedFor = "proposed-for"

// sameAddress refuses, where erasure takes two operators, to erase under another
// address than the one that was proposed.
func (q *Queue) sameAddress(c *Case, proposed string, who address.Address) error {
	if proposed == "" {
		proposed = subjectText(c.Subject)
	}
	if q.fourEyes(c.Controller, EyesErase) && !slices.Contains(q.subjectIDs(c.Controller, who), proposed) {
		return fmt.Errorf("case %s: %w: the erasure was proposed for another address", c.Number, ErrOrder)
	}
	return nil
}

// bothEyes compares who proposed an act, as the fields of the case have it,
// with who gives it: the persons, not the names they act under. A program
// without a person is nobody's eye.
func (q *Queue) bothEyes(ctx context.Context, c *Case, act string, fields map[string]string, actor string) error {
	if !q.fourEyes(c.Controller, act) {
		return nil
	}
	by := fields["proposed:"+act]
	if by == "" {
		return fmt.Errorf("case %s: %w: %s takes two operators, one has to propose it first", c.Number, ErrOrder, act)
	}
	first, err := q.personBehind(ctx, by)
	if err != nil {
		return fmt.Errorf("case %s: %w", c.Number, err)
	}
	second, err := q.personBehind(ctx, actor)
	if err != nil {
		return fmt.Errorf("case %s: %w", c.Number, err)
	}
	then := cmp.Or(fields["proposer:"+act], first) // when it was proposed: a name may have changed hands since
	switch {
	case second == "":
		return fmt.Errorf("case %s: %w: %s takes two persons, and %s acts for none", c.Number, ErrOrder, act, actor)
	case then == "" || then == noPerson:
		return fmt.Errorf("case %s: %w: %s takes two persons, and %s, who proposed it, acts for none", c.Number, ErrOrder, act, by)
	case second == first || second == then:
		return fmt.Errorf("case %s: %w: %s takes two operators, another person has to approve it", c.Number, ErrOrder, act)
	}
	return nil
}

// noPerson stands in a case where a program proposed an act.
const noPerson = "-"

// personBehind names the human behind an actor; names typed in another case are
// the same person's.
func (q *Queue) personBehind(ctx context.Context, actor string) (string, error) {
	actor = strings.ToLower(strings.TrimSpace(actor))
	if q.d.Person == nil {
		return actor, nil
	}
	who, err := q.d.Person(ctx, actor)
	return who, wrapf(err, "who is behind an act")
}
