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

var _ delivery.BatchPreparer = (*Engine)(nil)

// signSlots is how many signatures are made at once: more than cores would
// only make each slower.
func signSlots() int { return runtime.GOMAXPROCS(0) }

// Prepare gives the verdict again for the recipients due, and builds what
// leaves for those still allowed: in marketing a personalised copy each, else
// one for all (design D5, D6). A store that can't be asked defers marketing.
// A signing failure defers; nothing leaves unsigned.
func (e *Engine) Prepare(ctx context.Context, m *spool.Message, due []int) ([]delivery.Copy, []delivery.Refusal, error) {
	p := e.PrepareAll(ctx, []delivery.Request{{Message: m, Due: due}})[0]
	return p.Copies, p.Refusals, p.Err
}

// PrepareAll is Prepare for several messages: one look-up for all of a stream.
func (e *Engine) PrepareAll(ctx context.Context, reqs []delivery.Request) []delivery.Prepared {
	r, now := e.rules.Load(), e.opts.Now().UTC()
	out := make([]delivery.Prepared, len(reqs))
	jobs := make([]*job, 0, len(reqs))
	for i, q := range reqs {
		st, ok := r.byNumber(q.Message.Stream)
		if !ok {
			out[i].Err = fmt.Errorf("prepare message %s: stream %d is not configured", q.Message.ID, q.Message.Stream)
			continue
		}
		if q.Message.Marketing && st.Kind != stream.Marketing {
			out[i].Err = fmt.Errorf("prepare message %s: it is marketing, and stream %d is %s now; a number is given once for ever", q.Message.ID, st.Number, st.Kind)
			continue
		}
		jobs = append(jobs, &job{e: e, m: q.Message, due: q.Due, out: &out[i], st: st, mode: r.mode(st), set: r.set, now: now})
	}
	e.ask(ctx, jobs)
	for _, j := range jobs {
		j.open(ctx)
	}
	e.build(ctx, jobs)
	return out
}

// ask gets the answers on all recipients, in one look-up for each stream.
func (e *Engine) ask(ctx context.Context, jobs []*job) {
	done := make(map[uint16]bool, 1)
	for i, first := range jobs {
		if done[first.st.Number] {
			continue
		}
		done[first.st.Number] = true
		var addrs []address.Address
		if !askedFor(first.st.Kind) {
			continue
		}
		for _, j := range jobs[i:] {
			if j.st.Number == first.st.Number {
				for _, k := range j.due {
					addrs = append(addrs, j.m.Recipients[k].Address)
				}
			}
		}
		answers, unknown := e.lookup(ctx, first.st, addrs)
		for _, j := range jobs[i:] {
			if j.st.Number == first.st.Number {
				j.answers, answers, j.unknown = answers[:len(j.due)], answers[len(j.due):], unknown
			}
		}
	}
}

// open judges the recipients and settles what their copies are built from.
func (j *job) open(ctx context.Context) {
	j.out.Refusals = j.judge()
	j.e.recordDenials(ctx, j, j.out.Refusals)
	if len(j.allowed) == 0 {
		return
	}
	if err := j.read(); err != nil {
		j.out.Err = fmt.Errorf("prepare message %s: %w", j.m.ID, err)
		return
	}
	if !j.mayChange() {
		for _, a := range j.allowed {
			j.out.Refusals = append(j.out.Refusals, refuse(a.index, &Denial{Reason: AlreadySigned}))
		}
		return
	}
	j.groups = j.grouped()
}

// job is one message of a call of PrepareAll.
type job struct {
	e       *Engine
	m       *spool.Message
	due     []int
	out     *delivery.Prepared
	answers []consent.Answer // one for each due; nil where none was asked for
	unknown bool             // the store gave none
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
	groups  [][]addressee // the recipients of each copy
}

// addressee is one recipient with the verdict on it.
type addressee struct {
	index   int
	answer  consent.Answer
	verdict verdict
}

func (j *job) judge() (refusals []delivery.Refusal) {
	answers := j.answers
	if answers == nil {
		answers = make([]consent.Answer, len(j.due))
	}
	allowed := 0
	j.allowed = make([]addressee, 0, len(j.due))
	for k, i := range j.due {
		v := judge(question{Kind: j.st.Kind, Mode: j.mode, Purpose: j.st.Purpose, StoreDown: j.st.StoreDown, Unknown: j.unknown, Answer: answers[k]})
		allowed += j.e.met.verdict("prepare", j.st.Name, v)
		if v.Deny == nil {
			j.allowed = append(j.allowed, addressee{i, answers[k], v})
			continue
		}
		j.denied = append(j.denied, addressee{i, answers[k], v})
		refusals = append(refusals, refuse(i, v.Deny))
	}
	j.e.met.allowed("prepare", j.st.Name, allowed)
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
	if j.st.Kind == stream.Marketing && !j.m.Same {
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
	if j.st.Kind != stream.Marketing || !j.msg.has(fieldSignature) {
		return true
	}
	names := listNames(j.st, j.msg)
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
