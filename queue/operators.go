package queue

import (
	"context"
	"fmt"
	"time"

	"postern/gateway/address"
	"postern/queue/reply"
)

// noticeWords are the sentences of mails to operators, by the notice's kind.
// They name the case, never the person or what was written.
var noticeWords = map[string]string{
	RemindHalf:           "Half of the time for this case is over.",
	RemindQuarters:       "Three quarters of the time for this case are over.",
	RemindDays:           "Three working days are left for this case.",
	RemindOverdue:        "This case is overdue.",
	RemindUntil:          "The date this case was waiting for has come.",
	RemindProof:          "The person did not confirm who they are in time. A refusal may be due.",
	breachAware:          "A breach of personal data is on record. The time to tell the authority, or the company we work for, runs.",
	RemindBreachHalf:     "Half of the hours to tell of this breach are over.",
	RemindBreachQuarters: "Three quarters of the hours to tell of this breach are over.",
	RemindBreachLast:     "Six hours are left to tell of this breach.",
	RemindBreachOverdue:  "The time to tell of this breach is over. Tell now, with the reasons for being late.",
	RemindBreachOpen:     "Nobody was told of this breach yet. It is due without undue delay.",
	"alert":              "A person has to look at this case at once.",
	"task-overdue":       "A colleague has not answered a task in time.",
	"not-fetched":        "A copy of data was not fetched in time, its link has ended.",
	"code-locked":        "The code of a download was given wrongly too often. The page is locked.",
	"dead":               "Work on this case was given up. See the dead letters.",
	"intake-silent":      "A mailbox could not be read for a while. Clocks run on. Check its log-in.",
	"optout-flood":       "One source sends very many opt-outs. They all bind; see whether they are forged.",
}

// Tell brings a notice of another room to the operators of a controller, as the
// queue's own ones; it never fails, what could not be told is in the log.
func (q *Queue) Tell(ctx context.Context, n Notice) { q.tell(ctx, n) }

// tell brings a notice to the operators: by the hook that main sets, and by
// mail to the addresses configured. Without either it is in the log alone.
func (q *Queue) tell(ctx context.Context, n Notice) {
	if q.d.Notify != nil {
		if err := q.d.Notify(ctx, n); err != nil {
			q.o.Log.Error("operators could not be told", "kind", n.Kind, "case", n.Case, "err", err)
		}
	}
	if err := q.announce(ctx, n); err != nil {
		q.o.Log.Error("hooks could not be told", "kind", n.Kind, "case", n.Case, "err", err)
	}
	q.whose(ctx, &n)
	for i, to := range q.rules().Operators[n.Controller] {
		if err := q.mailOperator(ctx, n, i, to); err != nil {
			q.o.Log.Error("operators could not be mailed", "kind", n.Kind, "case", n.Case, "err", err)
		}
	}
}

// whose fills in who is in charge of the case, and who stands in.
func (q *Queue) whose(ctx context.Context, n *Notice) {
	if n.Case == "" || n.Owner != "" {
		return
	}
	owner, err := q.rdb.HGet(ctx, keyCase(n.Case), "owner").Result()
	if err != nil || owner == "" {
		return
	}
	n.Owner = owner
	if deputy, err := q.Deputy(ctx, owner); err == nil && deputy != owner {
		n.Deputy = deputy
	}
}

func (q *Queue) mailOperator(ctx context.Context, n Notice, i int, to string) error {
	a, err := address.Parse(to)
	if err != nil {
		return fmt.Errorf("operator %d of %q: %w", i+1, n.Controller, err)
	}
	c := q.controller(n.Controller)
	from, err := address.Parse(c.Contact)
	if err != nil {
		return fmt.Errorf("contact of %q: %w", n.Controller, err)
	}
	text := noticeWords[n.Kind]
	if text == "" {
		text = "A case needs attention: " + n.Kind + "."
	}
	about := n.Case
	if about == "" {
		about = n.Reason
	} else {
		text += "\n\nCase: " + n.Case
	}
	if !n.Due.IsZero() {
		_, loc := q.seat(c)
		text += "\nDue: " + n.Due.In(loc).Format("2006-01-02 15:04 MST")
	}
	if n.Owner != "" {
		text += "\nOwner: " + n.Owner
	}
	if n.Deputy != "" {
		text += " (away, deputy: " + n.Deputy + ")"
	}
	if n.Reason != "" {
		text += "\nReason: " + n.Reason
	}
	ref := fmt.Sprintf("notice:%s:%s:%s:%d", about, n.Kind, q.o.Now().UTC().Format(time.DateOnly), i)
	header, body, err := reply.Mail{
		FromName: c.Name, From: from, To: a, Subject: "[Postern] " + n.Kind + ": " + about, Text: text, Date: q.o.Now(),
		MessageID: "notice." + sha(ref)[:24] + "@" + from.Domain(), Auto: true, Generated: true,
	}.Compose()
	if err != nil {
		return err
	}
	_, err = q.d.Sender.Submit(ctx, Outgoing{Stream: q.rules().AckStream[c.ID], To: a, NotifyNever: true, Header: header, Body: body, Ref: ref})
	return err
}
