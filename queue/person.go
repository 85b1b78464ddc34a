package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/reply"
)

// statusEvery is the least time between two such links of one case, so that
// nobody can fill a person's mailbox with them.
const statusEvery = 10 * time.Minute

// maxAdded bounds a message added on the page, in bytes.
const maxAdded = 64 << 10

// Status is what the person sees of their case: nothing of what was written,
// no names, no notes.
type Status struct {
	Number     string
	Controller string
	Language   string
	Labels     []classifier.Label
	Received   time.Time
	Due        time.Time
	Step       string // "received", "work" or "answered"
	Since      time.Time
	Withdrawn  bool
	Waits      bool // for the person to confirm that it was them
}

// SendStatusLink mails a link to the page of a case if the address typed in is
// that of its person. It tells the caller nothing either way: an unknown
// number, another address and a link sent a moment ago all return nil.
func (q *Queue) SendStatusLink(ctx context.Context, number string, typed address.Address) error {
	no := FindCaseNo(number)
	if no == "" || typed.IsZero() {
		return nil
	}
	f, err := q.rdb.HMGet(ctx, keyCase(no), "controller", "subject", linkStatus+"-at").Result()
	if err != nil {
		return fmt.Errorf("status link: %w", err)
	}
	controller, subject := text(f[0]), text(f[1])
	base := q.rules().LinkBase[controller]
	if base == "" || subject == "" || !slices.Contains(q.subjectIDs(controller, typed), subject) ||
		q.o.Now().Sub(fromMillis(text(f[2]))) < statusEvery {
		return nil
	}
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return err
	}
	token, err := newToken()
	if err != nil {
		return err
	}
	until := q.o.Now().Add(q.rules().StatusFor)
	_, loc := q.seat(q.controller(controller))
	lang := q.texts().Pick(c.Language, q.controller(controller).Language)
	// To the address on record, not the one typed: they may differ in a tag.
	l, err := q.write(&c, Draft{Step: reply.Status, Effect: ActSent, Actor: "rule", Values: reply.Values{
		"link": strings.TrimSuffix(base, "/") + "/" + token, "until": q.texts().Date(lang, until.In(loc))}})
	if err != nil {
		return err
	}
	l.At = q.o.Now()
	hash := q.vault.Lookups("link", token)[0]
	if err := q.rdb.HSet(ctx, keyLinks, hash, no+" "+linkStatus).Err(); err != nil {
		return fmt.Errorf("status link of case %s: %w", no, err)
	}
	_, err = q.enqueue(ctx, no, l, func(_ *Case, ch *changing) error {
		ch.extra[linkStatus], ch.extra[linkStatus+"-until"], ch.extra[linkStatus+"-at"] = hash, millis(until), millis(q.o.Now())
		return nil
	})
	return err
}

// Status reads the page behind a link. Unknown, replaced and expired links are
// one and the same ErrUnknown.
func (q *Queue) Status(ctx context.Context, token string) (Status, error) {
	c, _, err := q.byLink(ctx, linkStatus, token)
	if err != nil {
		return Status{}, err
	}
	s := Status{Number: c.Number, Controller: c.Controller, Language: c.Language, Labels: c.Labels, Received: c.Received}
	if c.State == Merged { // what became of it is told by the case it lives on in
		no, err := q.living(ctx, c.Number, c.Controller)
		if err != nil {
			return Status{}, err
		}
		if no == "" {
			return Status{}, fmt.Errorf("one-time link: %w", ErrUnknown)
		}
		if c, _, _, err = q.load(ctx, no); err != nil {
			return Status{}, err
		}
	}
	s.Due, s.Step, s.Since, s.Withdrawn, s.Waits = c.Due, "work", c.OpenedAt, c.State == Withdrawn, c.State == Identity
	switch {
	case c.State == Received:
		s.Step = "received"
	case !c.State.Live():
		s.Step, s.Since = "answered", c.EndedAt
	}
	return s, nil
}

// AddMessage takes what the person adds on the page into the case, as an
// answer by mail would be.
func (q *Queue) AddMessage(ctx context.Context, token, words string) error {
	c, _, err := q.byLink(ctx, linkStatus, token)
	if err != nil {
		return err
	}
	words = strings.TrimSpace(words)
	if words == "" || len(words) > maxAdded {
		return fmt.Errorf("%w: a message has 1 to %d bytes", ErrDraft, maxAdded)
	}
	shown, _, err := q.Show(ctx, c.Number)
	if err != nil {
		return err
	}
	// Sent twice by one press is one message; the same words on another day are news.
	id := token + "\x00" + q.o.Now().UTC().Format(time.DateOnly) + "\x00" + words
	in := Incoming{Controller: c.Controller, Mailbox: "page", Folder: c.Number + "/" + sha(id)[:16], ContentHash: sha("page\x00" + id),
		Received: q.o.Now(), Text: words, CaseNo: c.Number, Grade: Likely, GradeWhy: "by mailed link", NoReplyWhy: "by-page",
		Result: classifier.Result{Language: c.Language, Kind: classifier.KindFollowUp, Abstain: true}}
	if len(shown.Mails) > 0 {
		in.From = q.person(shown.Mails[0])
	}
	_, err = q.Open(ctx, in)
	return err
}

// Withdraw takes the request back on the person's word. Opt-outs it placed
// stay: taking those back is another wish. Of a merged case an operator decides,
// for the other one asks for more; until then nothing is deleted in it.
func (q *Queue) Withdraw(ctx context.Context, token string) error {
	c, _, err := q.byLink(ctx, linkStatus, token)
	if err != nil {
		return err
	}
	switch c.State {
	case Withdrawn:
		return nil
	case Merged:
		return q.takenBack(ctx, c)
	}
	_, err = q.Move(ctx, c.Number, Move{Action: ActWithdraw, Actor: "person", Reason: "by-page"})
	return err
}

// takenBack tells the case that a merged one lives on in that the person takes
// that one's request back.
func (q *Queue) takenBack(ctx context.Context, merged *Case) error {
	no, err := q.living(ctx, merged.Number, merged.Controller)
	if err != nil || no == "" {
		return err
	}
	word, _, err := q.change(ctx, no, "taken-back:"+merged.Number, func(c *Case, ch *changing) error {
		c.addFlag(FlagNews)
		ch.events = append(ch.events, Event{Actor: "person", Action: ActNote, Reason: "taken-back", Data: map[string]string{"case": merged.Number}})
		return nil
	})
	if err == nil && word != "once" {
		q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: merged.Controller, Reason: "taken-back"})
	}
	return err
}
