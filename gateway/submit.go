package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

// Outgoing is one mail that Postern itself originates: a receipt, a
// confirmation, a notice, an answer. To is its only recipient.
type Outgoing struct {
	Stream      string          // name of a service or transactional stream; "": the built-in service stream
	ReversePath address.Address // zero: <>
	To          address.Address
	NotifyNever bool   // NOTIFY=NEVER (AR-6)
	Header      []byte // fields, each with CRLF, without the empty line
	Body        []byte
	Ref         string // case number or event id, for the record; the same text for it and To goes out once
}

// Submit gives the verdict on a mail of our own and spools it; the same
// rules and the same spool as for all mail. Date, Message-ID, our Received
// and signatures are added. It returns the spool id. Errors are a *Denial, or
// tell of a stream that is not for this.
func (e *Engine) Submit(ctx context.Context, o Outgoing) (string, error) {
	st, r, err := e.ownStream(o.Stream)
	if err != nil {
		return "", err
	}
	if o.To.IsZero() {
		return "", errors.New("submit: no recipient")
	}
	m, den := e.read(append(append(append(make([]byte, 0, len(o.Header)+len(o.Body)+2), o.Header...), '\r', '\n'), o.Body...))
	if den != nil {
		return "", fmt.Errorf("submit mail of stream %s: %w", st.Name, den)
	}
	p, den := e.plan(r, st, m, nil, 0)
	if den != nil {
		return "", fmt.Errorf("submit mail of stream %s: %w", st.Name, den)
	}
	env := &Envelope{Grant: &Grant{Client: "postern"}, Helo: e.opts.Hostname, ReversePath: o.ReversePath, UTF8: true, EightBit: true,
		Recipients: []EnvelopeRecipient{{Address: o.To}}}
	if o.NotifyNever {
		env.Recipients[0].Notify = "NEVER"
	}
	d := e.judgeAll(ctx, r, env, p, m, nil)
	if deny := d.verdicts[0].Deny; deny != nil {
		e.appendDenials(ctx, d, o.Ref, []int{0})
		e.countDenial(st.Name, deny, 1, e.opts.Now())
		return "", fmt.Errorf("submit mail of stream %s: %w", st.Name, deny)
	}
	msg, recs := e.ownMessage(env, m, p, d, o)
	spooled, err := e.spoolOnce(ctx, o, msg, recs)
	if err != nil {
		return "", fmt.Errorf("submit mail of stream %s: %w", st.Name, e.spoolDenial(err))
	}
	if spooled == msg.ID {
		e.countAll(st.Name, 1, Outcome{Recipients: []error{nil}}, nil)
	}
	return spooled, nil
}

// spoolOnce spools a mail of our own. Who crashed between Submit and noting
// that it was done asks again: the same body for the same Ref and recipient
// leaves once. Another text is another mail, so that nothing is swallowed.
func (e *Engine) spoolOnce(ctx context.Context, o Outgoing, msg *spool.Message, recs []ledger.Record) (string, error) {
	once, ok := e.deps.Spool.(OnceSpooler)
	if !ok || o.Ref == "" {
		return msg.ID, e.deps.Spool.Accept(ctx, msg, recs...)
	}
	body := sha256.Sum256(o.Body)
	return once.AcceptOnce(ctx, o.Ref+"\x00"+o.To.Plain()+"\x00"+string(body[:]), msg, recs...)
}

func (e *Engine) ownStream(name string) (stream.Stream, *rules, error) {
	r := e.rules.Load()
	if name == "" {
		return builtinStream(), r, nil
	}
	st, ok := r.set.ByName(name)
	if !ok || st.Retired {
		return st, r, fmt.Errorf("submit: stream %q is not configured", name)
	}
	if st.Kind != stream.Service && st.Kind != stream.Transactional {
		return st, r, fmt.Errorf("submit: stream %q is %s; own mail needs a service or transactional stream", name, st.Kind)
	}
	return st, r, nil
}

func (e *Engine) ownMessage(env *Envelope, m *message, p *plan, d *decision, o Outgoing) (*spool.Message, []ledger.Record) {
	now := e.opts.Now().UTC()
	id := e.newID(now)
	msg, recs := e.spoolMessage(env, m, p, d, id, now)
	for i := range recs {
		if o.Ref != "" {
			recs[i].Data["for"] = o.Ref
		}
	}
	return msg, recs
}
