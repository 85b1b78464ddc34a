package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/classifier"
	"postern/queue"
	"postern/queue/reply"
)

// move does one move of the case in the path.
func (c *call) move(m queue.Move) (answer, error) {
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	m.Actor = c.actor()
	if _, err := c.a.d.Cases.Move(c.ctx(), k.Number, m); err != nil {
		return answer{}, err
	}
	return c.changed(k.Number)
}

type noteRequest struct {
	Text string `json:"text"`
}

func addNote(c *call) (answer, error) {
	var r noteRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	if r.Text == "" {
		return answer{}, bad("text", "is needed")
	}
	return c.move(queue.Move{Action: queue.ActNote, Note: r.Text})
}

type ownerRequest struct {
	Owner string `json:"owner"`
}

// assign puts somebody in charge; who is away is stood in for by their deputy.
func assign(c *call) (answer, error) {
	var r ownerRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	m := queue.Move{Action: queue.ActAssign, Owner: r.Owner}
	if r.Owner != "" {
		deputy, err := c.a.d.Cases.Deputy(c.ctx(), r.Owner)
		if err != nil {
			return answer{}, err
		}
		if deputy != r.Owner {
			m.Owner, m.Note = deputy, r.Owner+" is away"
		}
	}
	return c.move(m)
}

type moveRequest struct {
	Reason string `json:"reason"`
	Note   string `json:"note"`
	endingRequest
}

// endingRequest decides on the stop to advertising that a request for erasure
// placed, where the case ends without one.
type endingRequest struct {
	Marketing       string `json:"marketing"` // keep (default) or lift
	MarketingReason string `json:"marketing_reason"`
}

func (r endingRequest) ending() (queue.Ending, error) {
	e := queue.Ending{Stop: queue.Stop(r.Marketing), Why: r.MarketingReason}
	switch {
	case e.Stop != "" && e.Stop != queue.StopKeep && e.Stop != queue.StopLift:
		return e, bad("marketing", "is neither keep nor lift")
	case e.Stop == queue.StopLift && strings.TrimSpace(e.Why) == "":
		return e, bad("marketing_reason", "is needed to lift the stop")
	}
	return e, nil
}

func closeCase(c *call) (answer, error) {
	var r moveRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	e, err := r.ending()
	if err != nil {
		return answer{}, err
	}
	return c.move(queue.Move{Action: queue.ActClose, Reason: r.Reason, Note: r.Note, Ending: e})
}

type labelsRequest struct {
	Labels []string `json:"labels"`
	Note   string   `json:"note"`
}

// correct replaces what is asked in a case by what a person read.
func correct(c *call) (answer, error) {
	var r labelsRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	labels, err := labelsOf(r.Labels)
	if err != nil {
		return answer{}, err
	}
	if len(labels) == 0 {
		return answer{}, bad("labels", "are needed")
	}
	return c.move(queue.Move{Action: queue.ActLabel, Labels: labels, Note: r.Note})
}

func labelsOf(words []string) (out []classifier.Label, err error) {
	for _, l := range words {
		if !slices.Contains(classifier.Labels(), classifier.Label(l)) {
			return nil, bad("labels", "holds a word that is no label")
		}
		out = append(out, classifier.Label(l))
	}
	return out, nil
}

type legalHoldRequest struct {
	Held *bool  `json:"held"`
	Why  string `json:"why"`
}

// legalHold forbids or allows deletion in a case.
func legalHold(c *call) (answer, error) {
	var r legalHoldRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	if r.Held == nil || r.Why == "" {
		return answer{}, bad("held", "and why are needed")
	}
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	if err := c.a.d.Cases.LegalHold(c.ctx(), k.Number, *r.Held, c.actor(), r.Why); err != nil {
		return answer{}, err
	}
	return c.changed(k.Number)
}

type weighRequest struct {
	Note string `json:"note"` // which processing the person objects to
}

// weigh takes an objection as one to other processing than advertising (GDPR
// Art. 21(1)): the data is restricted while it is weighed.
func weigh(c *call) (answer, error) {
	var r weighRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	if strings.TrimSpace(r.Note) == "" {
		return answer{}, bad("note", "is needed: which processing the person objects to")
	}
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	if _, err := c.a.d.Cases.Weigh(c.ctx(), k.Number, c.actor(), r.Note); err != nil {
		return answer{}, err
	}
	return c.changed(k.Number)
}

type decisionRequest struct {
	Hold    string `json:"hold"`
	Confirm *bool  `json:"confirm"`
	Why     string `json:"why"`
}

// decide ends the hold of an address that a mail named: confirmed, what the mail
// asked binds that address too; else it may be mailed as before.
func decide(c *call) (answer, error) {
	var r decisionRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	if r.Confirm == nil || r.Why == "" {
		return answer{}, bad("confirm", "and why are needed")
	}
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	holds, err := c.a.d.Cases.Holds(c.ctx(), k.Number)
	if err != nil {
		return answer{}, err
	}
	i := slices.IndexFunc(holds, func(h queue.Hold) bool { return holdName(h) == r.Hold })
	if i < 0 {
		return answer{}, bad("hold", "is none of this case")
	}
	if holds[i].Decided != "" {
		return answer{}, problem("conflict", "the hold was decided before")
	}
	if err := c.a.d.Cases.DecideHold(c.ctx(), k.Number, holds[i], *r.Confirm, c.actor(), r.Why); err != nil {
		return answer{}, err
	}
	return c.changed(k.Number)
}

// holdName names a hold within its case.
func holdName(h queue.Hold) string { return fmt.Sprintf("%d:%d", h.Mail, h.Index) }

type identityRequest struct {
	Waive string `json:"waive"`
	To    string `json:"to"`
	Note  string `json:"note"`
}

// identify mails the person a one-time link, or waives it with a reason.
func identify(c *call) (answer, error) {
	var r identityRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	to, err := letterTo(r.To)
	if err != nil {
		return answer{}, err
	}
	if r.Waive != "" {
		return c.move(queue.Move{Action: queue.ActIdentify, Reason: "waived", Note: r.Waive + " " + r.Note, Address: to})
	}
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	if err := c.a.d.Cases.Challenge(c.ctx(), k.Number, to, c.actor()); err != nil {
		return answer{}, err
	}
	return c.changed(k.Number)
}

type replyRequest struct {
	Template string            `json:"template"`
	Values   map[string]string `json:"values"`
	Subject  string            `json:"subject"`
	Text     string            `json:"text"`
	Language string            `json:"language"`
	To       string            `json:"to"`
	Effect   string            `json:"effect"`
	Note     string            `json:"note"`
}

type letterAnswer struct {
	Index    *int      `json:"index,omitempty"` // for taking it back; none in a preview
	To       string    `json:"to"`
	Subject  string    `json:"subject"`
	Language string    `json:"language"`
	Effect   string    `json:"effect"`
	Text     string    `json:"text"`
	Leaves   time.Time `json:"leaves,omitzero"`
}

func (c *call) letter(d queue.Draft, to string, preview bool) (answer, error) {
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	if d.To, err = letterTo(to); err != nil {
		return answer{}, err
	}
	d.Actor = c.actor()
	// A letter shows whose case it is and what was asked.
	if err := c.a.d.Cases.RecordView(c.ctx(), queue.View{Actor: c.actor(), Case: k.Number, What: "letter"}); err != nil {
		return answer{}, err
	}
	if preview {
		l, err := c.a.d.Cases.Preview(c.ctx(), k.Number, d)
		if err != nil {
			return answer{}, err
		}
		return ok(letterAnswer{nil, l.To.Plain(), l.Subject, l.Language, string(l.Effect), l.Text, time.Time{}})
	}
	index, l, err := c.a.d.Cases.Reply(c.ctx(), k.Number, d)
	if err != nil {
		return answer{}, err
	}
	return answer{status: 202, body: letterAnswer{&index, l.To.Plain(), l.Subject, l.Language, string(l.Effect), l.Text, l.At}}, nil
}

// effects a letter of the API may have; extending and denying have routes of
// their own.
func (r replyRequest) draft() (queue.Draft, error) {
	d := queue.Draft{Step: reply.Step(r.Template), Values: r.Values, Subject: r.Subject, Text: r.Text, Language: r.Language, Note: r.Note}
	switch r.Effect {
	case "", "answer":
		d.Effect = queue.ActAnswer
	case "sent":
		d.Effect = queue.ActSent
	default:
		return d, bad("effect", "is neither answer nor sent")
	}
	return d, nil
}

func sendReply(c *call) (answer, error)    { return replyTo(c, false) }
func previewReply(c *call) (answer, error) { return replyTo(c, true) }

func replyTo(c *call, preview bool) (answer, error) {
	var r replyRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	d, err := r.draft()
	if err != nil {
		return answer{}, err
	}
	return c.letter(d, r.To, preview)
}

// takeBack stops a letter that has not left.
func takeBack(c *call) (answer, error) {
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	index, err := strconv.Atoi(c.path("index"))
	if err != nil {
		return answer{}, problem("missing", "")
	}
	if err := c.a.d.Cases.TakeBack(c.ctx(), k.Number, index, c.actor()); err != nil {
		return answer{}, err
	}
	return none()
}

type reasonedRequest struct {
	Reason   string `json:"reason"`  // short word for the record
	Because  string `json:"because"` // half a sentence, in the person's language; "" where queue.SaysReason
	Language string `json:"language"`
	Note     string `json:"note"`
}

type denialRequest struct {
	reasonedRequest
	endingRequest
}

func (c *call) reasoned(r reasonedRequest, template reply.Step, effect queue.Action, e queue.Ending, from time.Time) (answer, error) {
	var values reply.Values
	switch {
	case r.Because != "":
		values = reply.Values{"reason": r.Because}
	case r.Reason == "" || !queue.SaysReason(r.Reason):
		return answer{}, bad("reason", "and because are needed; because may be left out for %s", strings.Join(queue.SaidReasons(), ", "))
	}
	if r.Reason == "" {
		return answer{}, bad("reason", "is needed: a short word for the record")
	}
	return c.letter(queue.Draft{Step: template, Values: values, Effect: effect, Reason: r.Reason, Language: r.Language, Note: r.Note, Ending: e, From: from}, "", false)
}

// extend prolongs the period, with notice and reason (GDPR Art. 12(3)).
func extend(c *call) (answer, error) {
	var r reasonedRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	return c.reasoned(r, "extension", queue.ActExtend, queue.Ending{}, time.Time{})
}

type liftRequest struct {
	reasonedRequest
	From string `json:"from"` // the day it ends, default in a week
}

// lift tells the person from when restricted data is used again; on that day the
// systems are asked (GDPR Art. 18(3)).
func lift(c *call) (answer, error) {
	var r liftRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	var from time.Time
	if r.From != "" {
		if from, err = c.a.d.Cases.DayOf(c.ctx(), k.Number, r.From); err != nil {
			return answer{}, bad("from", "is no day: write it as 2026-12-24")
		}
	}
	return c.reasoned(r.reasonedRequest, reply.Lifting, queue.ActLift, queue.Ending{}, from)
}

// deny refuses, naming authority and court (GDPR Art. 12(4)). Where the
// controller asks for four eyes another one proposed it.
func deny(c *call) (answer, error) {
	var r denialRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	e, err := r.ending()
	if err != nil {
		return answer{}, err
	}
	return c.reasoned(r.reasonedRequest, "denied", queue.ActDeny, e, time.Time{})
}
