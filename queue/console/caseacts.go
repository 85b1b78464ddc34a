package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// Closed sets of reasons; their words are reason.WORD.
var (
	closeReasons    = []string{"done", "no-request", "duplicate", "not-ours"}
	denyReasons     = []string{"manifestly-unfounded", "excessive", "not-identified", "legal-obligation", "legal-claims", "rights-of-others", "freedom-of-expression", "public-interest", "no-ground", "compelling-grounds", "accurate"}
	liftReasons     = []string{"accurate", "compelling-grounds"}
	extendReasons   = []string{"complex", "many-requests"}
	waiveReasons    = []string{"known-customer", "seen-in-person", "called-back", "agent-with-power"}
	reopenReasons   = []string{"incomplete", "wrong", "person-wrote"}
	withdrawReasons = []string{"by-mail", "by-phone", "in-person"}
	paperReasons    = []string{"by-post", "by-phone", "in-person", "by-portal"}
	waitReasons     = []string{"date", "colleague", "third-party"}
)

// move does one of the acts that need no letter.
func (c *Console) move(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	m := queue.Move{Actor: v.user.Actor(), Reason: v.field("reason"), Note: v.field("note"), Seen: v.seen()}
	sets := map[string]struct {
		action  queue.Action
		reasons []string
		done    string
	}{
		"start":    {queue.ActStart, nil, "started"},
		"resume":   {queue.ActResume, nil, "resumed"},
		"close":    {queue.ActClose, closeReasons, "closed"},
		"identify": {queue.ActIdentify, waiveReasons, "identified"},
		"reopen":   {queue.ActReopen, reopenReasons, "reopened"},
		"withdraw": {queue.ActWithdraw, withdrawReasons, "withdrawn"},
		"paper":    {queue.ActAnswer, paperReasons, "answered-on-paper"},
		"note":     {queue.ActNote, nil, "noted"},
		"wait":     {queue.ActWait, waitReasons, "waits"},
		"merge":    {queue.ActMerge, nil, "merged"},
		"assign":   {queue.ActAssign, nil, "assigned"},
		"label":    {queue.ActLabel, nil, "labelled"},
	}
	act, ok := sets[v.field("act")]
	if !ok || act.reasons != nil && !slices.Contains(act.reasons, m.Reason) {
		return errForm
	}
	m.Action = act.action
	if err := v.fillMove(&m, &k); err != nil {
		return err
	}
	if _, err := c.d.Cases.Move(v.ctx(), k.Number, m); err != nil {
		fault := "case.moved_on"
		if m.Action == queue.ActMerge {
			fault = "case.merge_bad"
		}
		return v.told(err, fault, replyForm{})
	}
	return v.redirect(v.after(&m, &k), act.done)
}

// fillMove takes what an act needs beside its reason.
func (v *visit) fillMove(m *queue.Move, k *queue.Case) error {
	switch m.Action {
	case queue.ActAssign:
		m.Owner = v.field("owner")
		if v.field("mine") != "" {
			m.Owner = v.user.Name
		}
		return v.mayOwn(m.Owner)
	case queue.ActNote:
		if m.Note == "" {
			return errForm
		}
	case queue.ActMerge:
		m.Reason, m.SamePerson = "duplicate", v.field("same")
		if m.Into = queue.FindCaseNo(v.field("into")); m.Into == "" {
			return errForm
		}
		into, _, err := v.c.d.Cases.Show(v.ctx(), m.Into)
		if err == nil && !v.visible(&into) {
			return errForbid
		}
		return err
	case queue.ActLabel:
		for _, l := range v.r.PostForm["label"] {
			if !slices.Contains(labels, classifier.Label(l)) {
				return errForm
			}
			m.Labels = append(m.Labels, classifier.Label(l))
		}
	case queue.ActWait:
		loc := v.c.d.Cases.NewPacer().Zone(k.Controller)
		day, err := time.ParseInLocation(time.DateOnly, v.field("until"), loc)
		if err != nil || day.Before(v.now().Add(-24*time.Hour)) {
			return errForm
		}
		m.Until = day.Add(8 * time.Hour)
	}
	return nil
}

// after is where an act leads: the case itself, with the way back where there
// is one.
func (v *visit) after(m *queue.Move, k *queue.Case) string {
	path := casePath(k.Number)
	switch m.Action {
	case queue.ActMerge:
		return casePath(m.Into)
	case queue.ActAssign:
		return path + "?was=" + k.Owner
	case queue.ActLabel:
		return path + "?labels=" + joinLabels(k.Labels)
	}
	return path
}

func joinLabels(list []classifier.Label) string {
	out := make([]string, len(list))
	for i, l := range list {
		out[i] = string(l)
	}
	return strings.Join(out, ".")
}

// challenge asks the address whether its owner made the request.
func (c *Console) challenge(v *visit) error {
	return v.act(func(ctx context.Context, no string) error {
		return c.d.Cases.Challenge(ctx, no, address.Address{}, v.user.Actor())
	}, "challenged")
}

// forwardCase passes a case on to the company it concerns.
func (c *Console) forwardCase(v *visit) error {
	return v.act(func(ctx context.Context, no string) error {
		d, err := c.d.Cases.ForwardDraft(ctx, no, v.user.Actor())
		if err != nil {
			return err
		}
		_, _, err = c.d.Cases.Reply(ctx, no, d)
		return err
	}, "held")
}

// handOver gives a case that is no request to support, with the person told.
func (c *Console) handOver(v *visit) error {
	return v.act(func(ctx context.Context, no string) error {
		_, err := c.d.Cases.HandOver(ctx, no, v.user.Actor(), v.field("note"))
		return err
	}, "held")
}

// collect asks the systems for the person's data.
func (c *Console) collect(v *visit) error {
	return v.act(func(ctx context.Context, no string) error {
		_, err := c.d.Cases.Fulfil(ctx, no, queue.Order{Verb: fulfil.Export, Actor: v.user.Actor()})
		return err
	}, "asked")
}

// splitCase makes a case of its own of some of what is asked.
func (c *Console) splitCase(v *visit) error {
	var part []classifier.Label
	for _, l := range v.r.PostForm["label"] {
		part = append(part, classifier.Label(l))
	}
	if len(part) == 0 {
		return errForm
	}
	return v.act(func(ctx context.Context, no string) error {
		_, err := c.d.Cases.Split(ctx, no, part, v.user.Actor(), v.field("note"))
		return err
	}, "split")
}

// legalHold forbids or allows deletion.
func (c *Console) legalHold(v *visit) error {
	on := v.field("on") == "1"
	done := "hold-off"
	if on {
		done = "hold-on"
	}
	if v.field("note") == "" {
		return errForm
	}
	return v.act(func(ctx context.Context, no string) error {
		return c.d.Cases.LegalHold(ctx, no, on, v.user.Actor(), v.field("note"))
	}, done)
}

// weigh takes an objection as one to another processing than advertising: the
// data is restricted until the outcome is told (GDPR Art. 21(1), 18(1)(d)).
func (c *Console) weigh(v *visit) error {
	if v.field("note") == "" {
		return errForm
	}
	return v.act(func(ctx context.Context, no string) error {
		_, err := c.d.Cases.Weigh(ctx, no, v.user.Actor(), v.field("note"))
		return err
	}, "weighed")
}

// decideHold ends the hold of an address named in the text.
func (c *Console) decideHold(v *visit) error {
	return v.act(func(ctx context.Context, no string) error {
		holds, err := c.d.Cases.Holds(ctx, no)
		if err != nil {
			return err
		}
		for _, h := range holds {
			if v.field("hold") == holdName(h) && h.Decided == "" {
				reason := v.field("note")
				if reason == "" {
					reason = "looked at"
				}
				return c.d.Cases.DecideHold(ctx, no, h, v.field("decide") == "confirm", v.user.Actor(), reason)
			}
		}
		return queue.ErrMove
	}, "decided")
}

func holdName(h queue.Hold) string { return fmt.Sprintf("%d:%d", h.Mail, h.Index) }

// Name names a hold in a form.
func (h holdView) Name() string { return holdName(h.Hold) }

// enterResult takes what a person's task or a system brought by another way.
func (c *Console) enterResult(v *visit) error {
	status := fulfil.Status(v.field("status"))
	if !slices.Contains([]fulfil.Status{fulfil.Done, fulfil.Erased, fulfil.Restricted, fulfil.Kept, fulfil.NotFound, fulfil.Failed}, status) {
		return errForm
	}
	return v.act(func(ctx context.Context, no string) error {
		return c.d.Cases.Result(ctx, no, v.field("key"), fulfil.Outcome{Status: status, Law: v.field("law"), Until: v.field("until"), Note: v.field("note")}, v.user.Actor())
	}, "result-entered")
}

// act runs something on a case the visitor may see.
func (v *visit) act(do func(context.Context, string) error, done string) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	if err := do(v.ctx(), k.Number); err != nil {
		return v.told(err, "case.moved_on", replyForm{})
	}
	return v.redirect(casePath(k.Number), done)
}

// extend sends the notice that makes the period longer (Art. 12(3)).
func (c *Console) extend(v *visit) error {
	reason, words := v.field("reason"), oneLine(v.field("words"))
	if !slices.Contains(extendReasons, reason) {
		return errForm
	}
	return v.act(func(ctx context.Context, no string) error {
		_, _, err := c.d.Cases.Reply(ctx, no, queue.Draft{Step: reply.Extension, Effect: queue.ActExtend, Reason: reason, Actor: v.user.Actor(), Values: because(words)})
		return err
	}, "held")
}

// lift announces the end of a restriction; with words of one's own they say why
// (Art. 18(3)).
func (c *Console) lift(v *visit) error {
	reason, words := v.field("reason"), oneLine(v.field("words"))
	if !slices.Contains(liftReasons, reason) {
		return errForm
	}
	return v.act(func(ctx context.Context, no string) error {
		from, err := c.d.Cases.DayOf(ctx, no, v.field("from"))
		if err != nil {
			return errForm
		}
		_, _, err = c.d.Cases.Reply(ctx, no, queue.Draft{Step: reply.Lifting, Effect: queue.ActLift, Reason: reason, From: from, Actor: v.user.Actor(), Values: because(words)})
		return err
	}, "held")
}

// because gives an operator's own words for a reason; without them the letter
// says it in the catalogue's, in the person's language.
func because(words string) reply.Values {
	if words == "" {
		return nil
	}
	return reply.Values{"reason": words}
}

// deny writes the refusal with its legal reason; where the controller asks for
// four eyes, an approver sends it.
func (c *Console) deny(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	reason, words := v.field("reason"), oneLine(v.field("words"))
	if !slices.Contains(denyReasons, reason) {
		return errForm
	}
	d := queue.Draft{Step: reply.Denied, Effect: queue.ActDeny, Reason: reason, Actor: v.user.Actor(), Values: because(words), Seen: v.seen()}
	if c.d.Cases.FourEyes(k.Controller, queue.EyesDeny) {
		return v.propose(k.Number, queue.EyesDeny, &d, v.field("note"))
	}
	if _, _, err := c.d.Cases.Reply(v.ctx(), k.Number, d); err != nil {
		return v.told(err, "reply.refused", replyForm{})
	}
	return v.redirect(casePath(k.Number), "held")
}

// propose asks an approver.
func (v *visit) propose(no, what string, d *queue.Draft, note string) error {
	err := v.c.d.Cases.AskApproval(v.ctx(), no, queue.Approval{What: what, By: v.user.Actor(), Note: note, Draft: d})
	if err != nil {
		return v.told(err, "case.moved_on", replyForm{})
	}
	return v.redirect(casePath(no), "proposed")
}

// withdrawWish takes the wish for an approval back, or an approver refuses it.
func (c *Console) withdrawWish(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	a, ok, err := c.d.Cases.ApprovalOf(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	if !ok {
		return v.told(errors.Join(queue.ErrMove), "case.moved_on", replyForm{})
	}
	reason, done := "approval-withdrawn", "wish-withdrawn"
	if a.By != v.user.Actor() {
		reason, done = "approval-refused", "wish-refused"
		if !v.user.Is("approver") {
			return errForbid
		}
	}
	if err := c.d.Cases.EndApproval(v.ctx(), k.Number, v.user.Actor(), reason, v.field("note")); err != nil {
		return v.told(err, "case.moved_on", replyForm{})
	}
	return v.redirect(casePath(k.Number), done)
}
