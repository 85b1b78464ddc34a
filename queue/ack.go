package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/stream"
	"postern/queue/reply"
)

// acknowledge sends the receipt of a mail, merged with the notice that
// advertising stopped where both go to the same person, if RFC 3834 and our
// own limits allow one; else it records the rule that forbade it. Decided once
// per mail: the mark is set before the mail is handed over, so that a worker
// dying in between costs a receipt rather than sending two... unless the spool
// has not got it, which the retry under the same Ref finds out.
func (q *Queue) acknowledge(ctx context.Context, no string, index int, in Incoming) error {
	done := "ack:" + strconv.Itoa(index)
	set, err := q.rdb.HExists(ctx, keyCase(no), done).Result()
	if err != nil || set {
		return wrapf(err, "acknowledge case %s", no)
	}
	to, steps, why, err := q.mayAck(ctx, no, index, in)
	if err != nil {
		return err
	}
	data := map[string]string{"mail": strconv.Itoa(index)}
	action := ActSilent
	if why == "" {
		action, why = ActReceipt, joinSteps(steps)
		trying := "acktry:" + strconv.Itoa(index)
		first, err := q.rdb.HSetNX(ctx, keyCase(no), trying, "1").Result()
		if err != nil {
			return wrapf(err, "acknowledge case %s", no)
		}
		spool := ""
		if first {
			spool, err = q.sendAck(ctx, no, index, in, to, steps)
		}
		var denial *gateway.Denial
		switch {
		case !first: // a process died while it left
			action, why = ActUnsure, "process-died"
		case errors.As(err, &denial) && !denial.Temporary():
			action, why = ActSilent, "relay-"+string(denial.Reason)
		case err != nil:
			return errors.Join(err, q.rdb.HDel(ctx, keyCase(no), trying).Err())
		}
		data["spool"] = spool
	}
	_, _, err = q.change(ctx, no, done, func(_ *Case, ch *changing) error {
		ch.events = append(ch.events, Event{Actor: "rule", Action: action, Reason: why, Data: data})
		return nil
	})
	return err
}

// mayAck decides to whom and with what; why is the rule that forbids it.
func (q *Queue) mayAck(ctx context.Context, no string, index int, in Incoming) (to address.Address, steps []reply.Step, why string, err error) {
	if alerting(in) {
		return to, nil, "person-answers", nil // design D13
	}
	if q.rules().AckStream[in.Controller] == "" {
		return to, nil, "no-stream", nil
	}
	if _, ok := q.rules().Processors[in.Controller]; ok {
		return to, nil, "processor", nil // its controller answers (DSR-11)
	}
	to, why = reply.May(reply.Asked{
		MayReply: in.MayReply, Why: in.NoReplyWhy, ReturnPath: in.ReturnPath, From: in.From,
		Authenticated: in.Grade == Proven || in.Grade == Likely, Contradicted: in.Grade == Contradicted,
		OwnDomains: q.ownDomains(),
	})
	if why != "" {
		return to, nil, why, nil
	}
	if !q.bare(in) || index > 0 {
		steps = append(steps, reply.Receipt)
	}
	if q.boundTo(no, index, in, to) {
		steps = append(steps, reply.Stopped)
	}
	// What was decided before a crash stands: the limits count once per mail.
	claim := "ackclaim:" + strconv.Itoa(index)
	claimed, err := q.rdb.HGet(ctx, keyCase(no), claim).Result()
	if err != nil && !isNil(err) {
		return to, nil, "", fmt.Errorf("acknowledge case %s: %w", no, err)
	}
	if claimed == "" {
		if claimed, steps, err = q.claimAck(ctx, no, index, in, to, steps); err != nil {
			return to, nil, "", err
		}
	} else {
		steps = splitSteps(claimed)
	}
	if len(steps) == 0 {
		return to, nil, claimed, nil
	}
	return to, steps, "", nil
}

// claimAck asks the limits and writes down what they said. The first word of
// two workers counts.
func (q *Queue) claimAck(ctx context.Context, no string, index int, in Incoming, to address.Address, steps []reply.Step) (string, []reply.Step, error) {
	sender := q.vault.Lookups("ack", in.Controller+"\x00"+to.Wide())[0]
	now := q.o.Now()
	fresh := "0"
	if index == 0 {
		fresh = "1"
	}
	if slices.Contains(steps, reply.Stopped) {
		subject := q.o.Keyring.Identify(in.Controller, to).ID.String()
		ok, err := q.rdb.SetNX(ctx, keyNotice(subject), "1", q.rules().NoticeEvery).Result()
		if err != nil {
			return "", nil, fmt.Errorf("acknowledge case %s: %w", no, err)
		}
		if !ok {
			steps = slices.DeleteFunc(steps, func(s reply.Step) bool { return s == reply.Stopped })
		}
	}
	said := "told-before"
	if len(steps) > 0 {
		res, err := quietScript.Run(ctx, q.rdb, []string{keyQuiet(sender), keySenderDay(sender, now), keyHour(now)},
			fresh, q.rules().AcksPerSender, q.rules().AcksPerHour, q.rules().QuietFor.Milliseconds()).Text()
		if err != nil {
			return "", nil, fmt.Errorf("acknowledge case %s: %w", no, err)
		}
		if said = joinSteps(steps); res != "ok" {
			said, steps = res, nil
		}
	}
	claim := "ackclaim:" + strconv.Itoa(index)
	first, err := q.rdb.HSetNX(ctx, keyCase(no), claim, said).Result()
	if err != nil {
		return "", nil, fmt.Errorf("acknowledge case %s: %w", no, err)
	}
	if !first {
		if said, err = q.rdb.HGet(ctx, keyCase(no), claim).Result(); err != nil {
			return "", nil, fmt.Errorf("acknowledge case %s: %w", no, err)
		}
		steps = splitSteps(said)
	}
	return said, steps, nil
}

// boundTo tells whether the mail's opt-outs bound the very address the
// receipt goes to: only its owner is told of it (AR-8).
func (q *Queue) boundTo(no string, index int, in Incoming, to address.Address) bool {
	bound := q.boundAddress(no, index, in)
	return !bound.IsZero() && bound.Wide() == to.Wide()
}

func (q *Queue) sendAck(ctx context.Context, no string, index int, in Incoming, to address.Address, steps []reply.Step) (string, error) {
	c, _, _, err := q.load(ctx, no)
	if err != nil {
		return "", err
	}
	controller := q.controller(in.Controller)
	lang := q.texts().Pick(in.Result.Language, c.Language, controller.Language)
	values, err := q.values(lang, controller, c, in)
	if err != nil {
		return "", err
	}
	if slices.Contains(steps, reply.Stopped) {
		if values["undo"], err = q.undo(ctx, no, index, lang, values, controller.ID, to); err != nil {
			return "", err
		}
	}
	subject, text, err := q.texts().Render(lang, values, steps...)
	if err != nil {
		return "", err
	}
	ref := "case:" + no + ":ack:" + strconv.Itoa(index)
	return q.submit(ctx, controller, outgoing{ref: ref, to: to, subject: subject, text: text, lang: lang, answers: in, auto: true, number: no})
}

// undoFor is how long an opt-out may be undone by link (design D7).
const undoFor = 24 * time.Hour

// undo is how the person takes an opt-out back: by link where exactly one was
// bound and main can make one, else by an answer.
func (q *Queue) undo(ctx context.Context, no string, index int, lang string, v reply.Values, controller string, to address.Address) (string, error) {
	if q.d.UndoLink == nil {
		return v["undo"], nil
	}
	_, events, err := q.Show(ctx, no)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, e := range events {
		if e.Action == ActSuppress && e.Data["mail"] == strconv.Itoa(index) {
			ids = append(ids, e.Data["event"])
		}
	}
	if len(ids) != 1 {
		return v["undo"], nil
	}
	link := q.d.UndoLink(controller, q.o.Keyring.Identify(controller, to).ID, ids[0], q.o.Now().Add(undoFor))
	if link == "" {
		return v["undo"], nil
	}
	return q.texts().Phrase(lang, "undo_link", reply.Values{"link": link})
}

// values are the placeholders a case can fill.
func (q *Queue) values(lang string, controller stream.Controller, c *Case, in Incoming) (reply.Values, error) {
	_, loc := q.seat(controller)
	v := reply.Values{
		"no": c.Number, "controller": controller.Name, "date": q.texts().Date(lang, in.Received.In(loc)),
		"due": q.texts().Date(lang, c.Due.In(loc)), "time": q.texts().DateTime(lang, q.o.Now().In(loc)),
		"today": q.texts().Date(lang, q.o.Now().In(loc)), "authority": controller.Authority,
	}
	var err error
	if v["other_channels"], err = q.texts().Phrase(lang, "other_channels", v); err != nil {
		return nil, err
	}
	if v["undo"], err = q.texts().Phrase(lang, "undo_reply", v); err != nil {
		return nil, err
	}
	v["foot"] = foot(controller)
	return v, nil
}

// foot is who writes: the company's particulars as configured.
func foot(c stream.Controller) string {
	var lines []string
	for _, l := range []string{c.Name, c.Postal, c.Contact, c.PrivacyURL} {
		if l != "" {
			lines = append(lines, l)
		}
	}
	return strings.Join(lines, "\n")
}

// outgoing is one mail of a case to a person.
type outgoing struct {
	ref     string // stable id of this mail
	to      address.Address
	subject string
	text    string
	lang    string
	answers Incoming // the mail it answers
	auto    bool
	number  string
	path    bool // bounces come back to the case
}

// submit composes a mail and hands it to the relay's spool. Its Message-ID
// derives from the reference and carries the case number, so that an answer
// finds its case.
func (q *Queue) submit(ctx context.Context, c stream.Controller, o outgoing) (string, error) {
	from, err := address.Parse(c.Contact)
	if err != nil {
		return "", fmt.Errorf("reply of case %s: the controller's contact is no mail address: %w", o.number, err)
	}
	m := reply.Mail{
		FromName: c.Name, From: from, To: o.to, Subject: o.subject, Text: o.text, Language: o.lang, Date: q.o.Now(),
		MessageID: messageID(o.number, o.ref) + "@" + from.Domain(), InReplyTo: o.answers.MessageID,
		References: o.answers.References, Auto: o.auto,
	}
	header, body, err := m.Compose()
	if err != nil {
		return "", fmt.Errorf("reply of case %s: %w", o.number, err)
	}
	var back address.Address
	if o.path {
		back = q.replyPath(c, o.number, from)
	}
	id, err := q.d.Sender.Submit(ctx, Outgoing{
		ReversePath: back, Stream: q.rules().AckStream[c.ID], To: o.to, NotifyNever: o.auto, Header: header, Body: body, Ref: o.ref,
	})
	if err != nil {
		return "", fmt.Errorf("submit reply of case %s: %w", o.number, err)
	}
	return id, nil
}

// messageID is the left part of the Message-ID of a case's mail.
func messageID(no, ref string) string { return no + "." + sha(ref)[:16] }

func joinSteps(steps []reply.Step) string {
	out := make([]string, len(steps))
	for i, s := range steps {
		out[i] = string(s)
	}
	return strings.Join(out, "+")
}

// splitSteps reads what joinSteps wrote; a refusal's word gives none.
func splitSteps(s string) []reply.Step {
	var out []reply.Step
	for _, w := range strings.Split(s, "+") {
		if step := reply.Step(w); step == reply.Receipt || step == reply.Stopped {
			out = append(out, step)
		}
	}
	return out
}

// wrapf wraps err with what was being done; nil stays nil.
func wrapf(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
