package delivery

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/spool"
)

// delivered notes deliveries. Where the message has further transactions to
// come they are recorded at once, so that a crash repeats as few as can be.
func (a *attempt) delivered(done []spool.Result, dsn bool) {
	if len(done) == 0 {
		return
	}
	if !dsn {
		a.mu.Lock()
		for _, r := range done {
			a.relayed = append(a.relayed, r.Recipient)
		}
		a.mu.Unlock()
	}
	if !a.several {
		a.add(done...)
		return
	}
	a.mu.Lock()
	for _, r := range done {
		a.settle(r.Recipient)
	}
	a.early = append(a.early, done...)
	a.mu.Unlock()
	if err := a.it.Record(done, a.d.records(a.m, done)...); err != nil {
		a.d.opts.Log.Error("delivery was not recorded", "id", a.m.ID, "error", err)
	}
}

// conclude ends the lease with all results, ledger records and reports in one
// batch.
func (d *Deliverer) conclude(ctx context.Context, a *attempt) {
	a.ended = true
	a.leftOver()
	for i := range a.results {
		a.warn(&a.results[i])
	}
	delivered := len(a.early)
	for i := range a.results {
		if a.results[i].State == spool.Delivered {
			delivered++
		} else {
			d.met.results.WithLabelValues(string(a.results[i].State)).Inc()
		}
	}
	d.met.results.WithLabelValues(string(spool.Delivered)).Add(float64(delivered))
	for r := range a.all() {
		if r.State != spool.Queued || r.Attempt {
			d.opts.Tally(a.m.Stream, *r)
		}
	}
	d.tell(ctx, a, func(s spool.State) bool { return s != spool.Delivered })
	if err := a.it.Finish(a.results, d.reports(a), d.records(a.m, a.results)...); err != nil && !errors.Is(err, spool.ErrClosed) {
		d.opts.Log.Error("outcome was not recorded", "id", a.m.ID, "error", err)
	}
	d.tell(ctx, a, func(s spool.State) bool { return s == spool.Delivered })
}

// leftOver gives recipients that nothing was said about a short pause while
// others of the message have their results.
func (a *attempt) leftOver() {
	next := a.d.opts.Now()
	if !a.d.closedGate() {
		next = next.Add(a.d.schedule.Load().pause(0))
	}
	for _, i := range a.it.Due {
		if !a.settled[i] {
			a.add(spool.Result{Recipient: i, State: spool.Queued, Next: next})
		}
	}
}

// all are the results of the attempt, those first that were recorded early.
func (a *attempt) all() iter.Seq[*spool.Result] {
	return func(yield func(*spool.Result) bool) {
		for _, list := range [][]spool.Result{a.early, a.results} {
			for i := range list {
				if !yield(&list[i]) {
					return
				}
			}
		}
	}
}

// tell calls the outcome hook for final results.
func (d *Deliverer) tell(ctx context.Context, a *attempt, which func(spool.State) bool) {
	for r := range a.all() {
		if r.State == spool.Queued || !which(r.State) {
			continue
		}
		rc := &a.m.Recipients[r.Recipient]
		o := Outcome{Message: a.m, Recipient: r.Recipient, Subject: rc.Subject, Stream: a.m.Stream, State: r.State,
			Code: r.Code, Status: r.Status, Host: r.Host, At: d.opts.Now()}
		if r.State == spool.Denied {
			o.Reason = r.Reply
		}
		d.opts.Outcome(ctx, o)
	}
}

// records is the ledger's view of final results: one record for each subject.
// Recipients without a subject, whose records would tell them apart by
// nothing, share one for each outcome, with their number in Data; so do those
// to whom a shared copy was delivered: the verdict on each names the message.
func (d *Deliverer) records(m *spool.Message, results []spool.Result) (out []ledger.Record) {
	type outcome struct {
		state                spool.State
		reason, host, status string
	}
	shared := map[outcome]int{} // to the index in out, plus one
	counts := map[int]int{}
	for _, r := range results {
		if r.State == spool.Queued {
			continue
		}
		o := outcome{state: r.State, host: r.Host, status: r.Status}
		if r.State == spool.Denied {
			o = outcome{state: r.State, reason: r.Reply}
		}
		subject := m.Recipients[r.Recipient].Subject
		if m.Shared && r.State == spool.Delivered && len(m.Recipients) > 1 {
			subject = address.SubjectID{}
		}
		if subject.IsZero() && shared[o] > 0 {
			counts[shared[o]-1]++
			continue
		}
		rec := ledger.Record{
			Time: d.opts.Now().UTC(), Kind: ledger.KindDelivery, Controller: d.opts.Controller(m.Stream), Subject: subject,
			Actor: "relay", Action: string(o.state), Reason: o.reason, Stream: m.Stream, Ref: m.ID, Message: m.MessageID,
		}
		if o.host != "" || o.status != "" {
			rec.Data = map[string]string{"host": o.host, "status": o.status}
		}
		out = append(out, rec)
		if subject.IsZero() {
			shared[o] = len(out)
			counts[len(out)-1] = 1
		}
	}
	for i, n := range counts {
		if n < 2 {
			continue
		}
		if out[i].Data == nil {
			out[i].Data = map[string]string{}
		}
		out[i].Data["recipients"] = strconv.Itoa(n)
	}
	return out
}

// expired gives a recipient up with the last real cause (DSN-5).
func expired(m *spool.Message, i int) spool.Result {
	rc := &m.Recipients[i]
	r := spool.Result{Recipient: i, State: spool.Expired, Code: rc.Code, Status: rc.Status, Reply: rc.Reply, Host: rc.Host}
	if r.Status == "" {
		r.Status = "5.4.7"
	}
	return r
}

// warn marks a recipient that has waited so long that its sender is told.
func (a *attempt) warn(r *spool.Result) {
	after := a.d.opts.DSN.DelayAfter
	rc := &a.m.Recipients[r.Recipient]
	if r.State != spool.Queued || !r.Attempt || rc.Warned || after < 0 {
		return
	}
	if a.d.opts.Now().Sub(a.m.Received) < after || rc.Notify != "" && !notifies(rc.Notify, "DELAY") {
		return
	}
	r.Warned = a.d.mayReport(a.m)
}

// notifies tells whether a NOTIFY list holds word (RFC 3461 section 4.1).
func notifies(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(w), word) {
			return true
		}
	}
	return false
}

func (d *Deliverer) mayReport(m *spool.Message) bool {
	return !m.ReversePath.IsZero() && d.opts.DSN.MayReport(m)
}

// reports makes at most one DSN about everything this attempt decided.
func (d *Deliverer) reports(a *attempt) []*spool.Message {
	if !d.mayReport(a.m) {
		return nil
	}
	var about []reported
	for r := range a.all() {
		rc := &a.m.Recipients[r.Recipient]
		action := ""
		switch r.State {
		case spool.Failed, spool.Expired, spool.Denied:
			if rc.Notify == "" || notifies(rc.Notify, "FAILURE") {
				action = "failed"
			}
		case spool.Queued:
			if r.Warned {
				action = "delayed"
			}
		case spool.Delivered:
			if notifies(rc.Notify, "SUCCESS") && slices.Contains(a.relayed, r.Recipient) {
				action = "relayed"
			}
		}
		if action != "" {
			about = append(about, reported{recipient: *rc, result: *r, action: action})
		}
	}
	if len(about) == 0 {
		return nil
	}
	for _, r := range about {
		d.met.reports.WithLabelValues(r.action).Inc()
	}
	return []*spool.Message{d.report(a.m, about, d.opts.Now().UTC().Truncate(time.Second))}
}
