package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/classifier"
)

// handleMail does what a mail of a case asks for by rule: opt-outs bind, a
// receipt leaves, operators are alerted, a bare unsubscribe closes.
func (q *Queue) handleMail(ctx context.Context, no string, index int) error {
	if err := q.bind(ctx, no, index); err != nil {
		return errors.Join(errBinding, err)
	}
	in, err := q.mail(ctx, no, index)
	if err != nil {
		return err
	}
	if alerting(in) {
		if err := q.alert(ctx, no, index, in); err != nil {
			return err
		}
	}
	if err := q.stopped(ctx, no, index, in); err != nil {
		return err
	}
	if err := q.acknowledge(ctx, no, index, in); err != nil {
		return err
	}
	if err := q.notice(ctx, no, index, in); err != nil {
		return err
	}
	if index == 0 && q.bare(in) {
		return q.closeBare(ctx, no)
	}
	return nil
}

// alert tells operators at once of what can't wait for someone to look.
func (q *Queue) alert(ctx context.Context, no string, index int, in Incoming) error {
	reason := string(classifier.BreachReport)
	if fromAuthority(in) {
		reason = string(classifier.AuthorityLetter)
	}
	word, _, err := q.change(ctx, no, "alert:"+strconv.Itoa(index), func(_ *Case, ch *changing) error {
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActAlert, Reason: reason})
		return nil
	})
	if err != nil || word == "once" {
		return err
	}
	q.o.Log.Error("a person has to read this case at once", "case", no, "reason", reason)
	q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: in.Controller, Reason: reason})
	return nil
}

// bare tells of a person's mail that asks for nothing but to be off the list, which
// alone may close by itself (design D13): who writes for another has to show that
// they may.
func (q *Queue) bare(in Incoming) bool {
	return !in.Result.Abstain && in.Result.Asker != "agent" && len(in.Result.Decided) == 1 && in.Result.Decided[0] == classifier.Unsubscribe &&
		in.Result.Kind == classifier.KindRequest && len(in.Attachments) == 0 && q.policy(in.Controller, classifier.Unsubscribe) == Automatic && len(q.reasons(in)) > 0 && !q.person(in).IsZero()
}

// closeBare ends a case whose only mail is a bare unsubscribe.
func (q *Queue) closeBare(ctx context.Context, no string) error {
	_, _, err := q.change(ctx, no, "closed-bare", func(c *Case, ch *changing) error {
		mails, err := q.rdb.LLen(ctx, keyMails(no)).Result()
		if err != nil {
			return fmt.Errorf("count mails of case %s: %w", no, err)
		}
		if mails > 1 { // the person wrote more, and nobody read it yet
			return nil
		}
		if c.State != Received || slices.ContainsFunc(c.Labels, func(l classifier.Label) bool { return l != classifier.Unsubscribe }) || len(c.Flags) > 0 {
			return nil
		}
		to, err := next(c.State, ActClose)
		if err != nil {
			return err
		}
		c.State = to
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActClose, Reason: "bare-unsubscribe"})
		return nil
	})
	return err
}

// remind tells operators that the time of a case runs out (DSR-18), once per
// kind and due date; an overdue one is told of again every day.
func (q *Queue) remind(ctx context.Context, no, kind string) error {
	if n, ok := strings.CutPrefix(kind, remindTask); ok {
		return q.remindTask(ctx, no, n)
	}
	if kind == remindLift {
		return q.lift(ctx, no)
	}
	if kind == remindPackage {
		return q.endPackage(ctx, no)
	}
	if strings.HasPrefix(kind, breachPrefix) {
		return q.remindBreach(ctx, no, kind)
	}
	var told *Notice
	c, _, _, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	once := "remind:" + kind + ":" + millis(c.Due)
	switch kind {
	case RemindOverdue:
		once += ":" + q.o.Now().UTC().Format("20060102")
	case RemindUntil: // a wait ends once by itself, and another one may end on the same day
		once = ""
	}
	word, _, err := q.change(ctx, no, once, func(c *Case, ch *changing) error {
		told = nil
		if !c.State.Live() || kind == RemindUntil && c.State != Waiting || kind == RemindProof && c.State != Identity {
			return nil
		}
		told = &Notice{Kind: kind, Case: no, Controller: c.Controller, Due: c.Due}
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActRemind, Reason: kind, Data: map[string]string{"due": millis(c.Due)}})
		switch kind {
		case RemindUntil:
			c.State = Opened
			ch.events = append(ch.events, Event{Actor: "rule", Action: ActResume, Reason: "date-reached"})
		case RemindOverdue:
			ch.remind = append(ch.remind, [2]string{no + " " + RemindOverdue, millis(q.o.Now().Add(24 * time.Hour))})
		}
		return nil
	})
	switch {
	case err == nil && kind == RemindProof:
		err = q.unproven(ctx, no)
	case err == nil && kind == RemindOverdue && word == "once":
		err = q.remindAgain(ctx, no, kind, 24*time.Hour, func(c *Case, _ map[string]string) bool { return c.State.Live() })
	}
	if err != nil || told == nil {
		return err
	}
	q.o.Log.Warn("case is waiting", "case", no, "kind", kind, "due", told.Due)
	q.tell(ctx, *told)
	return nil
}

// remindAgain keeps a chain of reminders whole where this one was told already,
// as when the clock of the node that tells it is behind that of the one that
// told the last.
func (q *Queue) remindAgain(ctx context.Context, no, kind string, after time.Duration, wanted func(*Case, map[string]string) bool) error {
	_, _, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
		if wanted(c, ch.before) {
			ch.remind = append(ch.remind, [2]string{no + " " + kind, millis(q.o.Now().Add(after))})
		}
		return nil
	})
	return err
}

// sha is the hex of a SHA-256, for ids that must not show what they are made of.
func sha(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}
