package gateway

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

// store makes accepted recipients and all records durable, DSNs first: a
// crash between may double a notice, never lose one.
func (e *Engine) store(ctx context.Context, env *Envelope, m *message, p *plan, d *decision, denied []int) (Outcome, *Denial) {
	out := Outcome{Recipients: make([]error, len(env.Recipients))}
	for _, i := range denied {
		out.Recipients[i] = d.verdicts[i].Deny
	}
	now := e.opts.Now().UTC()
	id := e.newID(now)
	if len(denied) > 0 {
		e.appendDenials(ctx, d, id, denied)
		if !env.LMTP {
			if err := e.notify(ctx, env, m, d, denied); err != nil {
				return Outcome{}, e.spoolDenial(err)
			}
		}
	}
	if len(denied) == len(env.Recipients) {
		return out, nil
	}
	msg, recs := e.spoolMessage(env, m, p, d, id, now)
	if err := e.deps.Spool.Accept(ctx, msg, recs...); err != nil {
		return Outcome{}, e.spoolDenial(err)
	}
	out.ID = id
	return out, nil
}

func (e *Engine) newID(now time.Time) string {
	id, err := ulid.New(ulid.Timestamp(now), ulid.DefaultEntropy())
	if err != nil { // the millisecond's ids are used up: start from fresh entropy
		id = ulid.Make()
	}
	return id.String()
}

// spoolDenial maps the spool's errors.
func (e *Engine) spoolDenial(err error) *Denial {
	switch {
	case errors.Is(err, spool.ErrFull):
		return &Denial{Reason: SpoolFull, Defer: true, Err: err}
	case errors.Is(err, spool.ErrClosed):
		return &Denial{Reason: Stopping, Defer: true, Err: err}
	default:
		return &Denial{Reason: Internal, Defer: true, Err: err}
	}
}

// spoolMessage is what is kept of a message until it has left, with the
// records of the verdicts that let it in.
func (e *Engine) spoolMessage(env *Envelope, m *message, p *plan, d *decision, id string, now time.Time) (*spool.Message, []ledger.Record) {
	msg := &spool.Message{ID: id, Received: now, Stream: d.st.Number, Client: env.Grant.Client, ReversePath: env.ReversePath,
		Ret: env.Ret, EnvID: env.EnvID, EightBit: env.EightBit && hasEightBit(m.body), RequireTLS: env.RequireTLS, Shared: d.st.Kind != stream.Marketing && d.st.Bounce != bounceVERP,
		Marketing: d.st.Kind == stream.Marketing, Same: d.st.Kind == stream.Marketing && p.subst == nil,
		Body: bytes.Clone(m.body), Recipients: make([]spool.Recipient, 0, len(env.Recipients))}
	msg.Header, msg.MessageID = e.commonHeader(m, p, e.received(env, id, now), now), p.idHash
	if d.st.Expire > 0 {
		msg.Expires = now.Add(d.st.Expire)
	}
	recs := make([]ledger.Record, 0, len(env.Recipients))
	utf8 := env.ReversePath.NeedsUTF8() || hasEightBit(msg.Header)
	for i, rc := range env.Recipients {
		if d.verdicts[i].Deny != nil {
			continue
		}
		utf8 = utf8 || rc.Address.NeedsUTF8()
		msg.Recipients = append(msg.Recipients, spool.Recipient{Address: rc.Address, Subject: d.answers[i].Subject,
			Notify: rc.Notify, ORcpt: rc.ORcpt, State: spool.Queued, Next: now})
		recs = append(recs, d.record(i, id, now))
	}
	msg.UTF8 = env.UTF8 && utf8
	return msg, recs
}
