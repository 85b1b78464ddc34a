package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/gateway/address"
)

// Approval is an operator's wish that someone approves what can't be undone.
type Approval struct {
	What string // EyesErase or EyesDeny
	By   string // actor who asks
	At   time.Time
	Note string
	// Address whose data is to be erased, where it is not the person's own; the
	// zero Address is theirs.
	Address address.Address `json:"-"`
	Draft   *Draft          // of a denial: the letter that leaves once it is approved; goes to the person's address
}

// AskApproval writes down that an operator wants an act that another one has to
// approve where Handling.FourEyes asks for it, and marks the case for them. A
// former wish is replaced. What was written is sealed with the case.
func (q *Queue) AskApproval(ctx context.Context, number string, a Approval) error {
	no := FindCaseNo(number)
	switch {
	case a.What != EyesErase && a.What != EyesDeny:
		return fmt.Errorf("propose %q in case %s: %w: only %s and %s are proposed", a.What, no, ErrMove, EyesErase, EyesDeny)
	case !strings.HasPrefix(a.By, "operator:"):
		return fmt.Errorf("%w: an actor is needed", ErrMove)
	}
	if a.Draft != nil {
		l, err := q.Preview(ctx, no, *a.Draft)
		if err != nil {
			return err
		}
		d := *a.Draft
		d.To, d.Seen = address.Address{}, l.Mails // what comes later was not thought of
		a.Draft = &d
	}
	person, err := q.personBehind(ctx, a.By)
	if err != nil {
		return err
	}
	a.At = q.o.Now()
	raw, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode approval of case %s: %w", no, err)
	}
	_, _, err = q.change(ctx, no, "", func(c *Case, ch *changing) error {
		if !c.State.Live() {
			return fmt.Errorf("propose %s in case %s: %w", a.What, no, ErrMove)
		}
		key, err := q.vault.Unwrap(no, ch.before["key"])
		if err != nil {
			return err
		}
		c.acted(a.By)
		c.addFlag(FlagApproval)
		ch.extra["approval"], ch.extra["proposed:"+a.What] = key.Seal(raw, "approval:"+no), a.By
		ch.extra["proposer:"+a.What] = cmp.Or(person, noPerson)
		if a.What == EyesErase {
			ch.extra[proposedFor] = ""
		}
		if a.What == EyesErase && !a.Address.IsZero() {
			ch.extra[proposedFor] = q.o.Keyring.Identify(c.Controller, a.Address).ID.String()
		}
		ch.events = append(ch.events, Event{Actor: a.By, Action: ActPropose, Reason: a.What, Note: a.Note})
		return nil
	})
	return err
}

// ApprovalOf reads the wish of a case; false where there is none.
func (q *Queue) ApprovalOf(ctx context.Context, number string) (Approval, bool, error) {
	no := FindCaseNo(number)
	c, f, key, err := q.load(ctx, no)
	if err != nil || f["approval"] == "" || !slices.Contains(c.Flags, FlagApproval) {
		return Approval{}, false, err
	}
	raw, err := key.Open(f["approval"], "approval:"+no)
	if err != nil {
		return Approval{}, false, err
	}
	var a Approval
	if err := json.Unmarshal(raw, &a); err != nil {
		return Approval{}, false, fmt.Errorf("decode approval of case %s: %w", no, err)
	}
	return a, true, nil
}

// EndApproval takes the wish off the case: reason is "approval-given",
// "approval-refused" or "approval-withdrawn". What was approved is done by the
// caller before.
func (q *Queue) EndApproval(ctx context.Context, number, actor, reason, note string) error {
	if !slices.Contains([]string{"approval-given", "approval-refused", "approval-withdrawn"}, reason) {
		return fmt.Errorf("%w: end an approval as %q", ErrMove, reason)
	}
	_, _, err := q.change(ctx, FindCaseNo(number), "", func(c *Case, ch *changing) error {
		if !slices.Contains(c.Flags, FlagApproval) {
			return fmt.Errorf("end an approval nobody asked for: %w", ErrMove)
		}
		c.Flags = slices.DeleteFunc(c.Flags, func(f string) bool { return f == FlagApproval })
		for _, f := range []string{"approval", "proposed:" + EyesErase, "proposed:" + EyesDeny, "proposer:" + EyesErase, "proposer:" + EyesDeny, proposedFor} {
			if ch.before[f] != "" {
				ch.extra[f] = ""
			}
		}
		ch.events = append(ch.events, Event{Actor: actor, Action: ActNote, Reason: reason, Note: note})
		return nil
	})
	return err
}
