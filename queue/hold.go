package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postern/gateway/address"
	"postern/gateway/consent"
)

// Hold is an address named in a mail's text that waits for an operator: it is
// not mailed meanwhile.
type Hold struct {
	Mail    int // index of the mail
	Index   int // of the address in that mail; -1: the person's own, where the policy only proposes
	Address address.Address
	Decided string // "", "confirmed" or "released"
}

// Holds lists the addresses of a case that were put on hold.
func (q *Queue) Holds(ctx context.Context, number string) ([]Hold, error) {
	c, _, err := q.Show(ctx, number)
	if err != nil {
		return nil, err
	}
	_, f, _, err := q.load(ctx, c.Number)
	if err != nil {
		return nil, err
	}
	var out []Hold
	for m, in := range c.Mails {
		list, _ := q.suppressions(c.Number, m, in)
		for _, s := range list {
			index, ok := strings.CutPrefix(s.ID, "case:"+c.Number+":"+strconv.Itoa(m)+":hold")
			n := -1
			if ok && index != "" {
				if n, err = strconv.Atoi(strings.TrimPrefix(index, "-")); err != nil {
					continue
				}
			}
			if !ok || s.Address.IsZero() {
				continue
			}
			out = append(out, Hold{m, n, s.Address, f[holdField(m, n)]})
		}
	}
	return out, nil
}

func holdField(mail, index int) string {
	return "hold:" + strconv.Itoa(mail) + ":" + strconv.Itoa(index)
}

// DecideHold ends a hold: confirmed, what the mail asked binds that address as
// well; else it may be mailed as before. The confirmed opt-out is placed before
// the hold is released, so that no mail slips between.
func (q *Queue) DecideHold(ctx context.Context, number string, h Hold, confirm bool, actor, reason string) error {
	no := FindCaseNo(number)
	releaser, ok := q.d.Optout.(Releaser)
	switch {
	case !strings.HasPrefix(actor, "operator:") || reason == "":
		return fmt.Errorf("decide hold of case %s: %w: an operator and a reason are needed", no, ErrMove)
	case !ok:
		return errors.New("decide hold: the registry can't release")
	}
	in, err := q.mail(ctx, no, h.Mail)
	if err != nil {
		return err
	}
	var pending []string
	if confirm {
		for _, r := range asked(in) {
			id, err := q.d.Optout.Suppress(ctx, consent.Suppression{
				ID: "case:" + no + ":" + holdField(h.Mail, h.Index) + ":" + string(r), Time: q.o.Now(), Controller: in.Controller, Address: h.Address,
				Scope: consent.ScopeController, Reason: r, Source: "privacy-mail", Case: no, Actor: actor,
			})
			if err != nil {
				return fmt.Errorf("confirm hold of case %s: %w", no, err)
			}
			if r == consent.ErasurePending {
				pending = append(pending, id)
			}
		}
	}
	err = releaser.Release(ctx, consent.Release{Controller: in.Controller, Address: h.Address, Only: consent.Held, Actor: actor, Reason: reason})
	if err != nil && !errors.Is(err, consent.ErrNotFound) {
		return fmt.Errorf("release hold of case %s: %w", no, err)
	}
	decided, action := "released", ActRelease
	if confirm {
		decided, action = "confirmed", ActSuppress
	}
	_, _, err = q.change(ctx, no, "", func(_ *Case, ch *changing) error {
		ch.extra[holdField(h.Mail, h.Index)] = decided
		if len(pending) > 0 {
			ch.add(fieldPending, pending...)
		}
		ch.events = append(ch.events, Event{Actor: actor, Action: action, Reason: string(consent.Held), Note: reason, Data: map[string]string{"hold": holdField(h.Mail, h.Index)}})
		return nil
	})
	return err
}
