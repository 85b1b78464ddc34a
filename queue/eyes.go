package queue

import (
	"context"
	"fmt"
	"strings"
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

// secondEyes refuses an act that nobody or the same operator proposed.
func (q *Queue) secondEyes(ctx context.Context, c *Case, act, actor string) error {
	if !q.fourEyes(c.Controller, act) {
		return nil
	}
	by, err := q.rdb.HGet(ctx, keyCase(c.Number), "proposed:"+act).Result()
	if err != nil && !isNil(err) {
		return fmt.Errorf("read proposals of case %s: %w", c.Number, err)
	}
	return q.bothEyes(c, act, by, actor)
}

// bothEyes compares who proposed an act with who gives it. Names typed in
// another case are the same person's.
func (q *Queue) bothEyes(c *Case, act, by, actor string) error {
	switch {
	case !q.fourEyes(c.Controller, act):
		return nil
	case by == "":
		return fmt.Errorf("case %s: %w: %s takes two operators, one has to propose it first", c.Number, ErrOrder, act)
	case strings.EqualFold(strings.TrimSpace(by), strings.TrimSpace(actor)):
		return fmt.Errorf("case %s: %w: %s takes two operators, another has to approve it", c.Number, ErrOrder, act)
	}
	return nil
}
