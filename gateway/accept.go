package gateway

import (
	"context"
	"errors"
	"slices"
	"time"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

// asked is what the store said of a recipient at RCPT.
type asked struct {
	to     address.Address
	stream uint16
	at     time.Time
	answer consent.Answer
}

// answered holds what was asked. It is looked into in the order in which it
// was filled, most often.
type answered struct {
	list []asked
	next int
}

// keep notes an answer in place of an older one.
func (a *answered) keep(x asked) {
	for i := range a.list {
		if a.list[i].to == x.to {
			a.list[i] = x
			return
		}
	}
	a.list = append(a.list, x)
}

// find gives the last answer on an address.
func (a *answered) find(to address.Address) (asked, bool) {
	for k := range a.list {
		i := (a.next + k) % len(a.list)
		if a.list[i].to == to {
			a.next = i + 1
			return a.list[i], true
		}
	}
	return asked{}, false
}

// askedFresh is how long an answer got at RCPT serves for DATA. Prepare asks
// again in any case.
const askedFresh = 30 * time.Second

// Rcpt gives the verdict on one recipient where it can already be known: over
// SMTP, in a grant of one marketing stream, which no header can change any
// more (SMTP-4, design D3). Else it returns nil and Data decides. Other mail
// is hardly ever refused, so a round trip for each of its recipients would
// only cost time; the rare refusal is told after DATA. The error is a *Denial.
func (e *Engine) Rcpt(ctx context.Context, env *Envelope, rcpt EnvelopeRecipient) error {
	r := e.rules.Load()
	st, ok := onlyStream(r.set, env.Grant)
	if !ok || env.LMTP || env.ReversePath.IsZero() || st.Kind != stream.Marketing {
		return nil
	}
	answer, unknown := e.askAhead(ctx, st, env, rcpt.Address)
	answers := []consent.Answer{answer}
	q := question{Kind: st.Kind, Mode: r.mode(st), Purpose: st.Purpose, StoreDown: st.StoreDown, Unknown: unknown, Answer: answer}
	v := judge(q)
	if v.Deny == nil {
		return nil
	}
	e.met.verdict("rcpt", st.Name, v)
	e.countDenial(st.Name, v.Deny, 1, e.opts.Now())
	d := &decision{st: st, mode: q.Mode, verdicts: []verdict{v}, answers: answers}
	e.appendDenials(ctx, d, "", []int{0})
	return v.Deny
}

// askAhead gives the answer on one recipient, and asks in the same round trip
// about those whose RCPT has already come in behind it.
func (e *Engine) askAhead(ctx context.Context, st stream.Stream, env *Envelope, to address.Address) (consent.Answer, bool) {
	if a, ok := env.asked.find(to); ok && a.stream == st.Number && e.opts.Now().Sub(a.at) < askedFresh {
		return a.answer, false
	}
	addrs := []address.Address{to}
	if env.Ahead != nil {
		addrs = append(addrs, env.Ahead()...)
	}
	answers, unknown := e.lookup(ctx, st, addrs)
	if unknown {
		return consent.Answer{}, true
	}
	now := e.opts.Now()
	for i, a := range addrs {
		env.asked.keep(asked{a, st.Number, now, answers[i]})
	}
	return answers[0], false
}

// onlyStream is the stream of a grant that allows just one.
func onlyStream(set *stream.Set, g *Grant) (stream.Stream, bool) {
	if len(g.Streams) != 1 || g.Streams[0] != g.Default {
		return stream.Stream{}, false
	}
	st, ok := set.ByName(g.Default)
	return st, ok && !st.Retired
}

// lookup asks for all at once, within ctx's deadline or the look-up's own.
// unknown says that the store gave no answer; answers then holds zero values.
func (e *Engine) lookup(ctx context.Context, st stream.Stream, addrs []address.Address) (answers []consent.Answer, unknown bool) {
	start := time.Now()
	if end, ok := ctx.Deadline(); !ok || end.Sub(start) > 2*e.opts.LookupTimeout { // each timer costs
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.opts.LookupTimeout)
		defer cancel()
	}
	purpose := st.Purpose
	if st.Kind != stream.Marketing {
		purpose = "" // or what stops all marketing would stop this too
	}
	answers, err := e.consent.Lookup(ctx, st.Controller, purpose, st.Number, addrs)
	e.met.lookup.Observe(time.Since(start).Seconds())
	if err == nil && len(answers) == len(addrs) {
		if e.storeDown.Swap(false) {
			e.opts.Log.Info("consent store answers again", "stream", st.Name)
		}
		return answers, false
	}
	if err == nil {
		err = errors.New("the registry gave fewer answers than asked")
	}
	e.met.lookupFailed.Inc()
	if !e.storeDown.Swap(true) {
		e.opts.Log.Error("consent store does not answer: marketing is deferred", "stream", st.Name, "err", err)
	}
	return make([]consent.Answer, len(addrs)), true
}

// decision is what was decided about one message.
type decision struct {
	st       stream.Stream
	mode     stream.Mode
	msgHash  string
	verdicts []verdict
	answers  []consent.Answer
}

// Data judges a received message and spools what is allowed; what is kept of
// raw is copied. The error, a *Denial,
// refuses the message as a whole; else the Outcome tells each recipient's
// fate. Over SMTP the outcome has at least one accepted recipient, and each
// refused one gets a DSN (design D3); over LMTP all may be refused.
func (e *Engine) Data(ctx context.Context, env *Envelope, raw []byte) (Outcome, error) {
	start := e.opts.Now()
	defer func() { e.met.judge.Observe(e.opts.Now().Sub(start).Seconds()) }()
	env.stream = ""
	out, den := e.data(ctx, env, raw)
	e.countAll(env.stream, len(env.Recipients), out, den)
	if den != nil {
		e.met.refused.WithLabelValues(string(den.Reason)).Inc()
		if den.Err != nil {
			e.opts.Log.Error("message not taken", "session", env.Session, "reason", den.Reason, "err", den.Err)
		}
		return Outcome{}, den
	}
	return out, nil
}

func (e *Engine) data(ctx context.Context, env *Envelope, raw []byte) (Outcome, *Denial) {
	if env.Grant == nil || len(env.Recipients) == 0 {
		return Outcome{}, &Denial{Reason: Internal, Defer: true, Err: errors.New("envelope without grant or recipients")}
	}
	if env.Grant.MaxSize > 0 && int64(len(raw)) > env.Grant.MaxSize {
		return Outcome{}, &Denial{Reason: TooBig}
	}
	m, den := e.read(raw)
	if den != nil {
		return Outcome{}, den
	}
	r := e.rules.Load()
	st, sender, den := e.choose(r, env, m)
	if den != nil {
		return Outcome{}, den
	}
	env.stream = st.Name
	p, den := e.plan(r, st, m, sender, env.LongestLine)
	if den != nil {
		return Outcome{}, den
	}
	if sender == nil {
		sender = p.advice
	}
	if sender == nil {
		sender = p.soft
	}
	if sender == nil && len(env.Recipients) > 1 && keepsUnsubscribe(st, m) {
		sender = &Denial{Reason: SplitRecipients} // one link can't serve several people (UNS-3)
	}
	d := e.judgeAll(ctx, r, env, p, m, sender)
	denied, whole := e.settle(r, env, d)
	if whole != nil {
		e.appendDenials(ctx, d, "", denied)
		return Outcome{}, whole
	}
	return e.store(ctx, env, m, p, d, denied)
}

// choose finds the stream, and what a mode may soften about it: a stream or
// sender that is not allowed passes in observe and annotate, by the rules of
// the grant's default stream. Advertising that says which it is goes by its own
// rules all the same: who said no to it is not mailed under another name.
func (e *Engine) choose(r *rules, env *Envelope, m *message) (stream.Stream, *Denial, *Denial) {
	st, den := match(r.set, env.Grant, m, env.ReversePath.IsZero(), len(env.Recipients))
	if den == nil {
		return st, e.ownsSender(r.set, env, st, m), nil
	}
	def, ok := r.set.ByName(env.Grant.Default)
	if den.Reason == Malformed || !ok || def.Retired || r.mode(def) == stream.Enforce {
		return stream.Stream{}, nil, den
	}
	if st, ok := named(r.set, m); ok && st.Kind == stream.Marketing {
		return st, den, nil
	}
	return def, den, nil
}

// judgeAll asks for all recipients at once and judges each.
func (e *Engine) judgeAll(ctx context.Context, r *rules, env *Envelope, p *plan, m *message, sender *Denial) *decision {
	st := p.st
	d := &decision{st: st, mode: r.mode(st), msgHash: p.idHash, verdicts: make([]verdict, len(env.Recipients))}
	unknown, allowed := false, 0
	d.answers, unknown = e.answers(ctx, env, st)
	for i := range env.Recipients {
		d.verdicts[i] = judge(question{Kind: st.Kind, Mode: d.mode, Purpose: st.Purpose, StoreDown: st.StoreDown, Null: env.ReversePath.IsZero(),
			Sender: sender, Unknown: unknown, Answer: d.answers[i]})
		allowed += e.met.verdict("data", st.Name, d.verdicts[i])
		if w := d.verdicts[i].Would; w != nil && e.opts.Report != nil {
			e.opts.Report.Would(Would{Stream: st.Name, Reason: w.Reason, Client: env.Grant.Client, Sender: m.fromDomain(), Day: e.opts.Now().UTC()})
		}
	}
	e.met.allowed("data", st.Name, allowed)
	return d
}

// answers takes what RCPT learnt a moment ago, if it learnt it for all, else
// asks.
func (e *Engine) answers(ctx context.Context, env *Envelope, st stream.Stream) ([]consent.Answer, bool) {
	if !askedFor(st.Kind) {
		return make([]consent.Answer, len(env.Recipients)), false
	}
	out := make([]consent.Answer, 0, len(env.Recipients))
	addrs := make([]address.Address, 0, len(env.Recipients))
	now := e.opts.Now()
	for _, rc := range env.Recipients {
		addrs = append(addrs, rc.Address)
		if a, ok := env.asked.find(rc.Address); ok && a.stream == st.Number && now.Sub(a.at) < askedFresh {
			out = append(out, a.answer)
		}
	}
	if len(out) == len(addrs) {
		return out, false
	}
	return e.lookup(ctx, st, addrs)
}

// settle lists the denied recipients, and refuses the whole where the
// protocol's one reply leaves no other way (design D3).
func (e *Engine) settle(r *rules, env *Envelope, d *decision) (denied []int, whole *Denial) {
	var first, deferred *Denial
	for i, v := range d.verdicts {
		if v.Deny == nil {
			continue
		}
		denied = append(denied, i)
		if first == nil {
			first = v.Deny
		}
		if v.Deny.Defer && deferred == nil {
			deferred = v.Deny
		}
	}
	switch {
	case first == nil || env.LMTP:
		return denied, nil
	case deferred != nil:
		return denied, deferred
	case len(denied) == len(d.verdicts):
		return denied, first
	case d.st.Mixed == mixedRefuse || !e.mayNotify(r, env, d.st):
		return denied, &Denial{Reason: SplitRecipients}
	}
	return denied, nil
}

// mayNotify tells whether a DSN may go to the reverse-path: only into a
// domain the client owns, else it is backscatter (DSN-5).
func (e *Engine) mayNotify(r *rules, env *Envelope, st stream.Stream) bool {
	if env.ReversePath.IsZero() {
		return false
	}
	domains := e.grantDomains(r.set, env.Grant, st)
	if len(env.Grant.FromDomains) == 0 {
		c, _ := r.set.Controller(st.Controller)
		domains = append(slices.Clone(domains), c.Domains...)
	}
	return closeness(domains, env.ReversePath.Domain()) > 0
}

// MayReport tells whether a report on a spooled message may go to its
// reverse-path, by the same rule by which it was let in: owned are the domains
// of the client it came from. Of a stream that is configured no more the
// controller is not known; it was one of ours.
func (e *Engine) MayReport(m *spool.Message, owned []string) bool {
	if m.ReversePath.IsZero() {
		return false
	}
	set := e.Streams()
	st, ok := set.ByNumber(m.Stream)
	domains := slices.Concat(owned, st.FromDomains)
	for _, c := range set.Controllers() {
		if c.ID == st.Controller || !ok && m.Stream != 0 {
			domains = append(domains, c.Domains...)
		}
	}
	return closeness(domains, m.ReversePath.Domain()) > 0
}
