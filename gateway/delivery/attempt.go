package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

	mu      sync.Mutex
	results []spool.Result // not yet recorded
	early   []spool.Result // recorded while the attempt went on
	settled map[int]bool   // recipients that have a result
	relayed []int          // delivered to a hop that sends no success DSN
}

// attempt tries all due recipients of it and ends the lease.
func (d *Deliverer) attempt(ctx context.Context, it *spool.Item) {
	m := it.Message
	a := &attempt{d: d, it: it, m: m, settled: map[int]bool{}}
	if now := d.opts.Now(); !now.Before(m.Expires) && tried(m, it.Due) {
		for _, i := range it.Due {
			a.add(expired(m, i))
		}
		d.conclude(ctx, a)
		return
	}
	chunks := split(m, it.Due, d.opts.Chunk)
	a.several = len(chunks) > 1 || personalised(m, it.Due) && len(it.Due) > 1
	if len(chunks) == 1 {
		a.chunk(ctx, chunks[0])
	} else {
		a.fanOut(ctx, chunks)
	}
	if len(a.settled) == 0 {
		pause := d.opts.Schedule.vary(d.opts.Schedule.Pause << min(it.Pauses, 4))
		if d.closedGate() {
			pause = 0
		}
		d.returned(it, pause)
		return
	}
	d.conclude(ctx, a)
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
	copies, refusals, err := a.d.prep.Prepare(ctx, a.m, due)
	if err != nil {
		if ctx.Err() != nil {
			return // stopping: left for the next start
		}
		a.d.opts.Log.Warn("verdict before delivery failed", "id", a.m.ID, "error", err)
		for _, i := range due {
			a.postpone(i, "4.3.0", "verdict unavailable")
		}
		return
	}
	asked := map[int]bool{}
	for _, i := range due {
		asked[i] = true
	}
	for _, r := range refusals {
		if !asked[r.Recipient] {
			continue
		}
		delete(asked, r.Recipient)
		if r.Defer {
			a.postpone(r.Recipient, r.Status, r.Reason)
		} else {
			a.add(spool.Result{Recipient: r.Recipient, State: spool.Denied, Status: r.Status, Reply: r.Reason})
		}
	}
	for _, cp := range copies {
		for _, i := range cp.Recipients {
			if !asked[i] {
				a.d.opts.Log.Error("prepared copy names a recipient that was not asked for", "id", a.m.ID)
				return
			}
			delete(asked, i)
		}
	}
	for _, cp := range copies {
		a.deliver(ctx, cp)
	}
	for i := range asked { // no verdict is no permission
		a.postpone(i, "4.3.0", "no verdict")
	}
}

// postpone puts a recipient off at no cost.
func (a *attempt) postpone(i int, status, reason string) {
	s := a.d.opts.Schedule
	r := spool.Result{Recipient: i, State: spool.Queued, Next: a.d.opts.Now().Add(s.vary(s.Defer)), Status: status, Reply: reason}
	if rc := &a.m.Recipients[i]; rc.Code != 0 {
		r.Status, r.Reply = "", "" // what a hop said stays on record
	}
	a.add(r)
}

func (a *attempt) add(results ...spool.Result) {
	a.mu.Lock()
	a.results = append(a.results, results...)
	for _, r := range results {
		a.settled[r.Recipient] = true
	}
	a.mu.Unlock()
}

// deliver sends one copy, asking another smarthost where one can't be reached
// or can't take it.
func (a *attempt) deliver(ctx context.Context, cp Copy) {
	if !lineEnds(cp.Header, cp.Body) || !bytes.HasSuffix(cp.Header, crlf) {
		a.refuse(cp, reply{code: 554, status: "5.6.0", text: "message has broken line ends"}, "")
		return
	}
	skip := map[*host]bool{}
	var unfit *errUnfit
	var at string
	for len(cp.Recipients) > 0 {
		h := a.d.hosts.pick(skip)
		if h == nil {
			break
		}
		rest, again, err := a.over(ctx, h, cp)
		cp.Recipients = rest
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &unfit):
			at = h.opts.Name
			skip[h] = true
		case err != nil:
			skip[h] = true
		case !again:
			return
		}
	}
	if unfit != nil && len(cp.Recipients) > 0 {
		a.refuse(cp, unfit.reply, at)
	}
}

// over sends cp over h. rest are the recipients without a result. again tells
// that the same host should be asked for rest at once.
func (a *attempt) over(ctx context.Context, h *host, cp Copy) (rest []int, again bool, err error) {
	if err := h.acquire(ctx); err != nil {
		return cp.Recipients, false, err
	}
	defer h.release()
	c, fresh, err := h.get(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.d.hostFailed(h, err)
		}
		return cp.Recipients, false, err
	}
	if fresh {
		a.d.met.connections.WithLabelValues("opened").Inc()
	}
	verdicts, dotted, err := c.send(ctx, a.m, cp)
	var unfit *errUnfit
	if errors.As(err, &unfit) {
		h.put(c)
		return cp.Recipients, false, err
	}
	rest = a.judge(h, cp, verdicts, c.has("DSN"))
	if err == nil {
		h.succeeded()
		h.put(c)
		return rest, len(rest) > 0, nil
	}
	c.net.Close()
	a.d.met.connections.WithLabelValues("broken").Inc()
	switch {
	case ctx.Err() != nil:
		return rest, false, err
	case !fresh && !dotted && !refused(err): // an idle connection had died: a new one tells
		return rest, true, nil
	}
	a.d.opts.Log.Info("connection to smarthost broke", "smarthost", h.opts.Name, "id", a.m.ID, "error", err)
	return a.broke(h, rest, dotted, err), false, err
}

func refused(err error) bool {
	var r *errRefused
	return errors.As(err, &r)
}

// broke decides what a broken transaction costs the recipients that have no
// result. Nothing, as long as the hop can't have taken the message and this
// was not the message's own habit: then the fault is the hop's, and they are
// given back to be tried elsewhere.
func (a *attempt) broke(h *host, rest []int, dotted bool, err error) []int {
	if !dotted {
		a.d.hostFailed(h, err)
		if a.it.Pauses < a.d.opts.Schedule.Breaks {
			return rest
		}
	}
	rep := reply{code: 451, status: "4.4.2", text: "connection to the next hop broke"}
	var r *errRefused
	if errors.As(err, &r) {
		rep = r.reply
	}
	for _, i := range rest {
		a.later(i, rep, h.opts.Name)
	}
	return nil
}

// judge turns replies into results; rest are recipients without one.
func (a *attempt) judge(h *host, cp Copy, verdicts []verdictOf, dsn bool) (rest []int) {
	var done []spool.Result
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
	r.Next = now.Add(a.d.opts.Schedule.gap(a.m.Recipients[i].Attempts + 1))
	if r.Next.After(a.m.Expires) {
		if !now.Before(a.m.Expires) {
			r.State, r.Next = spool.Expired, time.Time{}
		} else {
			r.Next = a.m.Expires // one last attempt at the end
		}
	}
	a.add(r)
}
