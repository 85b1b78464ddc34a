package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/queue/reply"
)

// notice tells the owner of a suppressed address that advertising ended, where
// the receipt did not: a colleague passed the wish on, or no receipt was
// allowed. Only an address we ever mailed gets one, once in 30 days (design
// D13); that nobody is told twice counts more than that everybody is told.
func (q *Queue) notice(ctx context.Context, no string, index int, in Incoming) error {
	to := q.boundAddress(no, index, in)
	if _, ok := q.rules().Processors[in.Controller]; ok {
		return nil
	}
	if to.IsZero() || q.d.Mailed == nil || q.rules().AckStream[in.Controller] == "" || alerting(in) {
		return nil
	}
	field := "notice:" + strconv.Itoa(index)
	f, err := q.rdb.HMGet(ctx, keyCase(no), field, "ackclaim:"+strconv.Itoa(index)).Result()
	if err != nil {
		return fmt.Errorf("notice of case %s: %w", no, err)
	}
	if text(f[0]) != "" || slices.Contains(splitSteps(text(f[1])), reply.Stopped) {
		return nil
	}
	subject := q.o.Keyring.Identify(in.Controller, to).ID
	mailed, err := q.d.Mailed(ctx, in.Controller, subject)
	if err != nil || !mailed {
		return wrapf(err, "notice of case %s", no)
	}
	first, err := q.rdb.HSetNX(ctx, keyCase(no), field, "1").Result()
	if err != nil || !first {
		return wrapf(err, "notice of case %s", no)
	}
	fresh, err := q.rdb.SetNX(ctx, keyNotice(subject.String()), "1", q.rules().NoticeEvery).Result()
	if err != nil || !fresh {
		return wrapf(err, "notice of case %s", no)
	}
	spool, err := q.sendNotice(ctx, no, index, in, to)
	var denial *gateway.Denial
	switch {
	case errors.As(err, &denial) && !denial.Temporary():
		return nil // the relay says no for good: nothing left, nothing to record as sent
	case err != nil:
		return errors.Join(err, q.rdb.HDel(ctx, keyCase(no), field).Err(), q.rdb.Del(ctx, keyNotice(subject.String())).Err())
	}
	_, _, err = q.change(ctx, no, "", func(_ *Case, ch *changing) error {
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActSent, Reason: "opt-out-notice", Data: map[string]string{"mail": strconv.Itoa(index), "spool": spool}})
		return nil
	})
	return err
}

// boundAddress is the address a mail's opt-outs bound at once; zero if none.
func (q *Queue) boundAddress(no string, index int, in Incoming) address.Address {
	list, _ := q.suppressions(no, index, in)
	for _, s := range list {
		if s.Reason != consent.Held && s.Reason != consent.ErasurePending && !s.Address.IsZero() {
			return s.Address
		}
	}
	return address.Address{}
}

func (q *Queue) sendNotice(ctx context.Context, no string, index int, in Incoming, to address.Address) (string, error) {
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
	if values["undo"], err = q.undo(ctx, no, index, lang, values, controller.ID, to); err != nil {
		return "", err
	}
	subject, words, err := q.texts().Render(lang, values, reply.Stopped)
	if err != nil {
		return "", err
	}
	return q.submit(ctx, controller, outgoing{ref: "case:" + no + ":notice:" + strconv.Itoa(index), to: to, subject: subject, text: words, lang: lang, auto: true, number: no})
}
