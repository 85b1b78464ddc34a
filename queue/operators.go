package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/stream"
	"postern/gateway/webpage"
	"postern/queue/reply"
)

// noticeKinds are the notices that operators get. Their sentences are in
// reply.StaffTexts; they name the case, never the person or what was written.
var noticeKinds = []string{
	RemindHalf, RemindQuarters, RemindDays, RemindOverdue, RemindUntil, RemindProof,
	breachAware, RemindBreachHalf, RemindBreachQuarters, RemindBreachLast, RemindBreachOverdue, RemindBreachOpen,
	"alert", "task-overdue", "not-fetched", "code-locked", "dead", "intake-silent", "optout-flood",
}

// noticeReasons are the reasons of notices that have a sentence of their own;
// others name a system, a mailbox or a job and are shown as they are.
var noticeReasons = []string{
	string(classifier.BreachReport), string(classifier.AuthorityLetter),
	"letter-refused", "letter-unsure", "opt-out-not-bound", "not-me", "undeliverable", "system-failed",
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
	words := q.staffWords(n.Controller, "")
	text, first := q.noticeMail(words, n, c)
	about := cmp.Or(n.Case, n.Reason)
	// What differs has an id of its own: mailboxes drop the second mail of one.
	ref := fmt.Sprintf("notice:%s:%s:%s:%s:%d", about, n.Kind, n.Reason, q.o.Now().UTC().Format(time.DateOnly), i)
	header, body, err := reply.Mail{
		FromName: c.Name, From: from, To: a, Subject: "[Postern] " + about + ": " + first, Text: text, Language: words.Tag(), Date: q.o.Now(),
		MessageID: "notice." + sha(ref)[:24] + "@" + from.Domain(), Auto: true, Generated: true,
	}.Compose()
	if err != nil {
		return err
	}
	_, err = q.d.Sender.Submit(ctx, Outgoing{Stream: q.rules().AckStream[c.ID], To: a, NotifyNever: true, Header: header, Body: body, Ref: ref})
	return err
}

// noticeMail is what a notice says to an operator, and its first sentence for
// the subject.
func (q *Queue) noticeMail(w *webpage.Words, n Notice, c stream.Controller) (text, first string) {
	text = w.Say("notice_"+n.Kind, "command", "postern cases dead")
	first, _, _ = strings.Cut(text, ". ")
	lines := []string{reply.Wrap(text, 71), ""}
	if n.Case != "" {
		lines = append(lines, staffLine(w, "case", n.Case))
	}
	if !n.Due.IsZero() {
		_, loc := q.seat(c)
		lines = append(lines, staffLine(w, "due", staffMoment(w, n.Due.In(loc))))
	}
	if n.Owner != "" {
		who := n.Owner
		if n.Deputy != "" {
			who = w.Say("away", "owner", n.Owner, "deputy", n.Deputy)
		}
		lines = append(lines, staffLine(w, "owner", who))
	}
	if n.Reason != "" {
		why := n.Reason
		if slices.Contains(noticeReasons, why) {
			why = w.Say("why_" + why)
		}
		lines = append(lines, staffLine(w, "why", why))
	}
	return strings.Join(lines, "\n"), strings.TrimSuffix(first, ".")
}
