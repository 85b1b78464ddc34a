package gateway

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/delivery"
	"postern/gateway/dkim"
	"postern/gateway/header"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

var _ delivery.Preparer = (*Engine)(nil)

// signSlots is how many signatures are made at once: more than cores would
// only make each slower.
func signSlots() int { return runtime.GOMAXPROCS(0) }

// Prepare gives the verdict again for the recipients due, and builds what
// leaves for those still allowed: in marketing a personalised copy each, else
// one for all (design D5, D6). A store that can't be asked defers marketing.
// A signing failure defers; nothing leaves unsigned.
func (e *Engine) Prepare(ctx context.Context, m *spool.Message, due []int) ([]delivery.Copy, []delivery.Refusal, error) {
	r := e.rules.Load()
	st, ok := r.byNumber(m.Stream)
	if !ok {
		return nil, nil, fmt.Errorf("prepare message %s: stream %d is not configured", m.ID, m.Stream)
	}
	job := &job{e: e, m: m, st: st, set: r.set, now: e.opts.Now().UTC()}
	refusals := job.judge(ctx, r, due)
	e.recordDenials(ctx, job, refusals)
	if len(job.allowed) == 0 {
		return nil, refusals, nil
	}
	if err := job.read(); err != nil {
		return nil, nil, fmt.Errorf("prepare message %s: %w", m.ID, err)
	}
	if !job.mayChange() {
		for _, a := range job.allowed {
			refusals = append(refusals, refuse(a.index, &Denial{Reason: AlreadySigned}))
		}
		return nil, refusals, nil
	}
	copies, more := job.copies(ctx)
	return copies, append(refusals, more...), nil
}

// job is one call of Prepare.
type job struct {
	e       *Engine
	m       *spool.Message
	st      stream.Stream
	set     *stream.Set
	mode    stream.Mode
	now     time.Time
	allowed []addressee
	denied  []addressee
	msg     *message
	own     []string      // domains of the stream
	at      int           // where our own fields go
	broken  []header.Span // client signatures that go
	asIs    bool          // list fields are left alone
	subst   *substitution
	body    func() dkim.BodyHash
}

// addressee is one recipient with the verdict on it.
type addressee struct {
	index   int
	answer  consent.Answer
	verdict verdict
}

func (j *job) judge(ctx context.Context, r *rules, due []int) (refusals []delivery.Refusal) {
	j.mode = r.mode(j.st)
	answers, unknown := make([]consent.Answer, len(due)), false
	if askedFor(j.st.Kind) {
		addrs := make([]address.Address, len(due))
		for k, i := range due {
			addrs[k] = j.m.Recipients[i].Address
		}
		answers, unknown = j.e.lookup(ctx, j.st, addrs)
	}
	for k, i := range due {
		v := judge(question{Kind: j.st.Kind, Mode: j.mode, Purpose: j.st.Purpose, StoreDown: j.st.StoreDown, Unknown: unknown, Answer: answers[k]})
		j.e.met.verdict("prepare", v)
		if v.Deny == nil {
			j.allowed = append(j.allowed, addressee{i, answers[k], v})
			continue
		}
		j.denied = append(j.denied, addressee{i, answers[k], v})
		refusals = append(refusals, refuse(i, v.Deny))
	}
	return refusals
}

// refuse turns a verdict into what delivery needs to know, and may tell the
// sender: that somebody is suppressed, not why.
func refuse(i int, d *Denial) delivery.Refusal {
	out := delivery.Refusal{Recipient: i, Reason: string(d.Reason), Defer: d.Defer, Status: "5.7.1"}
	if d.Defer {
		out.Status = "4.3.0"
	}
	return out
}

// recordDenials keeps the records of those denied at last; what is deferred
// is asked again and recorded then.
func (e *Engine) recordDenials(ctx context.Context, j *job, refusals []delivery.Refusal) {
	d := &decision{st: j.st, mode: j.mode, msgHash: j.m.MessageID}
	var which []int
	for k, a := range j.denied {
		d.verdicts, d.answers = append(d.verdicts, a.verdict), append(d.answers, a.answer)
		if !refusals[k].Defer {
			which = append(which, k)
		}
	}
	e.appendDenials(ctx, d, j.m.ID, which)
}

// read takes the common header apart, once for all copies; not where it
// leaves as it is.
func (j *job) read() error {
	if j.st.Kind != stream.Marketing && j.st.Sign != signDKIM && j.mode != stream.Annotate {
		return nil
	}
	j.msg = scan(j.m.Header, j.m.Body)
	j.msg.from, _ = mailboxes(j.msg.value(fieldFrom))
	j.at = j.msg.hdr.AfterTrace()
	j.own = j.e.ownDomains(j.set, j.st)
	if j.st.Kind == stream.Marketing {
		parts, err := header.Walk(j.msg.hdr, j.m.Body, j.e.mimeLimits())
		if err != nil {
			return fmt.Errorf("read MIME structure: %w", err)
		}
		j.subst = findPlaceholders(j.m.Body, parts)
	}
	j.body = sync.OnceValue(func() dkim.BodyHash { return dkim.HashBody(j.m.Body) })
	if j.st.Sign == signDKIM && j.e.deps.Signer == nil {
		return fmt.Errorf("stream %s wants DKIM, no signer is there", j.st.Name)
	}
	return nil
}

// mayChange looks for client signatures that our list fields would break.
// Where we sign they go; else, in a mode that refuses nothing, the header is
// left as it is; else the answer is no (SMTP-2).
func (j *job) mayChange() bool {
	names := listNames(j.st, j.msg)
	if names == nil || !j.msg.has(fieldSignature) {
		return true
	}
	for _, s := range j.msg.hdr.Find("DKIM-Signature") {
		if coversAny(j.msg.hdr.Value(s), names) {
			j.broken = append(j.broken, s)
		}
	}
	if len(j.broken) == 0 || (j.st.Signed != signedRefuse && (j.st.Sign == signSmarthost || j.signs())) {
		return true
	}
	j.asIs = j.mode != stream.Enforce
	return j.asIs
}
