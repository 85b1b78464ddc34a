package delivery

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"postern/gateway/spool"
)

// attempt is one pass over the due recipients of one message.
type attempt struct {
	d       *Deliverer
	it      *spool.Item
	m       *spool.Message
	several bool // more than one transaction: each delivery is recorded at once
	ended   bool // the lease was ended

	mu      sync.Mutex
	results []spool.Result // not yet recorded
	early   []spool.Result // recorded while the attempt went on
	settled []bool         // recipients that have a result
	some    bool           // at least one has
	relayed []int          // delivered to a hop that sends no success DSN
}

// attempt tries all due recipients of some messages and ends their leases.
// Several messages go together where each is one transaction or few.
func (d *Deliverer) attempt(ctx context.Context, as []*attempt) {
	var open []*attempt
	var reqs []Request
	for _, a := range as {
		chunks := a.begin()
		switch {
		case chunks == nil:
			d.conclude(ctx, a)
		case len(chunks) > 1:
			a.fanOut(ctx, chunks)
			a.end(ctx)
		default:
			open, reqs = append(open, a), append(reqs, Request{a.m, chunks[0]})
		}
	}
	if len(open) == 0 {
		return
	}
	var ps []*parcel
	asked := time.Now()
	for i, p := range d.prepare(ctx, reqs) {
		ps = append(ps, open[i].parcels(ctx, reqs[i].Due, p, asked)...)
	}
	d.deliver(ctx, ps)
	for _, a := range open {
		a.end(ctx)
	}
}

// begin cuts the due recipients into chunks; nil: they have expired.
func (a *attempt) begin() [][]int {
	m, due := a.m, a.it.Due
	if now := a.d.opts.Now(); !now.Before(m.Expires) && tried(m, due) {
		for _, i := range due {
			a.add(expired(m, i))
		}
		return nil
	}
	chunks := split(m, due, a.d.opts.Chunk)
	a.several = len(chunks) > 1 || personalised(m, due) && len(due) > 1
	return chunks
}

// end concludes the attempt, or gives the message back if nothing came of it.
func (a *attempt) end(ctx context.Context) {
	if a.some {
		a.d.conclude(ctx, a)
		return
	}
	pause := a.d.schedule.Load().pause(a.it.Pauses)
	if a.d.closedGate() {
		pause = 0
	}
	a.ended = true
	a.d.returned(a.it, pause)
}

// tried tells whether each of due was attempted once: nothing expires untried.
func tried(m *spool.Message, due []int) bool {
	for _, i := range due {
		if m.Recipients[i].Attempts == 0 {
			return false
		}
	}
	return true
}

func personalised(m *spool.Message, due []int) bool {
	if m.Shared {
		return false
	}
	for _, i := range due {
		if !m.Recipients[i].Subject.IsZero() {
			return true
		}
	}
	return false
}

// maxShared is how many recipients share one transaction at most: what every
// hop must take (RFC 5321 section 4.5.3.1.8).
const maxShared = 100

// split cuts the due recipients into what is prepared together.
func split(m *spool.Message, due []int, chunk int) (out [][]int) {
	if !personalised(m, due) {
		chunk = maxShared
	}
	for len(due) > chunk {
		out = append(out, due[:chunk:chunk])
		due = due[chunk:]
	}
	return append(out, due)
}

func (a *attempt) fanOut(ctx context.Context, chunks [][]int) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, a.d.opts.Fanout)
	for _, c := range chunks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					a.d.met.panics.Inc()
					a.d.opts.Log.Error("delivery of a message panicked", "id", a.m.ID, "panic", fmt.Sprint(r))
				}
				<-slots
			}()
			a.chunk(ctx, c)
		})
	}
	wg.Wait()
}

// chunk asks for verdicts and copies of some recipients and sends them.
func (a *attempt) chunk(ctx context.Context, due []int) {
	asked := time.Now()
	p := a.d.prepare(ctx, []Request{{a.m, due}})
	a.d.deliver(ctx, a.parcels(ctx, due, p[0], asked))
}

// parcels notes the verdicts on due, asked for at a time, and gives what is to
// be sent.
func (a *attempt) parcels(ctx context.Context, due []int, p Prepared, at time.Time) (out []*parcel) {
	if p.Err != nil {
		if ctx.Err() != nil {
			return nil // stopping: left for the next start
		}
		a.d.opts.Log.Warn("verdict before delivery failed", "id", a.m.ID, "error", p.Err)
		for _, i := range due {
			a.postpone(i, "4.3.0", "verdict unavailable")
		}
		return nil
	}
	asked := slices.Clone(due)
	take := func(i int) bool {
		at := slices.Index(asked, i)
		if at >= 0 {
			asked[at] = asked[len(asked)-1]
			asked = asked[:len(asked)-1]
		}
		return at >= 0
	}
	for _, r := range p.Refusals {
		switch {
		case !take(r.Recipient):
		case r.Defer:
			a.postpone(r.Recipient, r.Status, r.Reason)
		default:
			a.add(spool.Result{Recipient: r.Recipient, State: spool.Denied, Status: r.Status, Reply: r.Reason})
		}
	}
	for _, cp := range p.Copies {
		for _, i := range cp.Recipients {
			if !take(i) {
				a.d.opts.Log.Error("prepared copy names a recipient that was not asked for", "id", a.m.ID)
				return nil
			}
		}
		if !lineEnds(cp.Header, cp.Body) || !bytes.HasSuffix(cp.Header, crlf) {
			a.refuse(cp, reply{code: 554, status: "5.6.0", text: "message has broken line ends"}, "")
			continue
		}
		out = append(out, &parcel{a: a, asked: at, transaction: transaction{m: a.m, cp: cp}})
	}
	for _, i := range asked { // no verdict is no permission
		a.postpone(i, "4.3.0", "no verdict")
	}
	return out
}

// postpone puts a recipient off at no cost. Where the message's life is over,
// and this is not the first time, it is given up, so that its sender is told.
func (a *attempt) postpone(i int, status, reason string) {
	s, now, rc := a.d.schedule.Load(), a.d.opts.Now(), &a.m.Recipients[i]
	r := spool.Result{Recipient: i, State: spool.Queued, Next: now.Add(s.vary(s.Defer)), Status: status, Reply: reason}
	if rc.Code != 0 {
		r.Status, r.Reply = "", "" // what a hop said stays on record
	}
	if !now.Before(a.m.Expires) && (rc.Attempts > 0 || rc.Reply != "") {
		r = expired(a.m, i)
	}
	a.add(r)
}

func (a *attempt) add(results ...spool.Result) {
	a.mu.Lock()
	a.results = append(a.results, results...)
	for _, r := range results {
		a.settle(r.Recipient)
	}
	a.mu.Unlock()
}

// settle notes that recipient i has a result. a.mu is held.
func (a *attempt) settle(i int) { a.settled[i], a.some = true, true }

// judge turns replies into results; rest are recipients without one.
func (a *attempt) judge(h *host, cp Copy, verdicts []verdictOf, dsn bool) (rest []int) {
	done := make([]spool.Result, 0, len(cp.Recipients))
	for n, i := range cp.Recipients {
		if n >= len(verdicts) || !verdicts[n].known || verdicts[n].more {
			rest = append(rest, i)
			continue
		}
		switch rep := verdicts[n].reply; rep.class() {
		case 2:
			done = append(done, spool.Result{Recipient: i, State: spool.Delivered, Attempt: true,
				Code: rep.code, Status: rep.status, Reply: rep.text, Host: h.opts.Name})
		case 5:
			a.add(failed(i, rep, h.opts.Name))
		case 4:
			a.later(i, rep, h.opts.Name)
		default: // a 3yz where none belongs (SMTP-11)
			a.later(i, reply{code: 451, status: "4.5.0", text: rep.text}, h.opts.Name)
		}
	}
	a.delivered(done, dsn)
	return rest
}

func failed(i int, rep reply, host string) spool.Result {
	return spool.Result{Recipient: i, State: spool.Failed, Attempt: true, Code: rep.code, Status: rep.status, Reply: rep.text, Host: host}
}

func (a *attempt) refuse(cp Copy, rep reply, host string) {
	for _, i := range cp.Recipients {
		a.add(failed(i, rep, host))
	}
}

// later schedules the next attempt of recipient i, or gives it up where that
// would come too late.
func (a *attempt) later(i int, rep reply, host string) {
	now := a.d.opts.Now()
	r := spool.Result{Recipient: i, State: spool.Queued, Attempt: true, Code: rep.code, Status: rep.status, Reply: rep.text, Host: host}
	r.Next = now.Add(a.d.schedule.Load().gap(a.m.Recipients[i].Attempts + 1))
	if r.Next.After(a.m.Expires) {
		if !now.Before(a.m.Expires) {
			r.State, r.Next = spool.Expired, time.Time{}
		} else {
			r.Next = a.m.Expires // one last attempt at the end
		}
	}
	a.add(r)
}
