package delivery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// parcel is one copy on its way to any smarthost.
type parcel struct {
	transaction
	a    *attempt
	skip map[*host]bool // can't be reached or can't take it
	cant map[*host]bool // can't take it
	last *errUnfit      // of the last hop that can't take it
	at   string         // its name

	asked time.Time // when the verdict was given
	more  []*parcel // made of the same recipients when they were asked about again
}

// fresh is how old a verdict may be when its copy leaves: who withdraws binds
// the relay within a second, also what waits for a slot, a rate or another hop.
const fresh = time.Second

func (p *parcel) stale() bool { return time.Since(p.asked) > fresh }

// renew asks again about parcels that waited: what was allowed then may be
// forbidden by now (design D5).
func (d *Deliverer) renew(ctx context.Context, ps []*parcel) {
	var old []*parcel
	var reqs []Request
	for _, p := range ps {
		if p.stale() {
			old, reqs = append(old, p), append(reqs, Request{p.m, p.cp.Recipients})
		}
	}
	if len(old) == 0 {
		return
	}
	asked := time.Now()
	for i, made := range d.prepare(ctx, reqs) {
		p := old[i]
		now := p.a.parcels(ctx, reqs[i].Due, made, asked)
		p.cp, p.asked = Copy{}, asked
		for k, x := range now {
			if x.skip, x.cant, x.last, x.at = p.skip, p.cant, p.last, p.at; k > 0 {
				x.skip, x.cant = maps.Clone(p.skip), maps.Clone(p.cant)
				p.more = append(p.more, x)
				continue
			}
			p.cp = x.cp
		}
	}
}

// allowedStill asks whether the copy may leave as it stands, all its
// recipients included.
func (p *parcel) allowedStill(ctx context.Context) bool {
	asked := time.Now()
	made := p.a.d.prepare(ctx, []Request{{p.m, p.cp.Recipients}})[0]
	n := 0
	for _, cp := range made.Copies {
		n += len(cp.Recipients)
	}
	if made.Err != nil || len(made.Refusals) > 0 || n != len(p.cp.Recipients) {
		return false // what has changed is noted when it is asked about once more
	}
	p.asked, p.until = asked, asked.Add(fresh)
	return true
}

func (p *parcel) done() bool { return len(p.cp.Recipients) == 0 }

func (p *parcel) avoid(h *host) {
	if p.skip == nil {
		p.skip = map[*host]bool{}
	}
	p.skip[h] = true
}

// deliver sends copies, several in one go where a smarthost is quick, asking
// another one where one can't be reached or can't take them.
func (d *Deliverer) deliver(ctx context.Context, ps []*parcel) {
	for len(ps) > 0 {
		p := ps[0]
		h := d.hosts.pick(p.skip)
		switch {
		case p.done():
			if ps = ps[1:]; len(p.more) > 0 {
				ps = slices.Concat(p.more, ps)
			}
		case h == nil:
			p.unfitFor(len(d.hosts.list()))
			p.cp.Recipients = nil
		default:
			if d.over(ctx, h, together(h, ps)); ctx.Err() != nil {
				return
			}
		}
	}
}

// unfitFor gives a copy up that none of so many hops can take. Where one that
// may take it could not be asked, it is tried again by schedule.
func (p *parcel) unfitFor(hops int) {
	switch {
	case p.last == nil:
	case len(p.cant) == hops:
		p.a.refuse(p.cp, p.last.reply, p.at)
	default:
		for _, i := range p.cp.Recipients {
			p.a.later(i, reply{code: 451, status: "4.4.1", text: "a next hop does not answer, and to another: " + p.last.reply.text}, p.at)
		}
	}
}

// together are the first of ps that may go to h in one flight.
func together(h *host, ps []*parcel) []*parcel {
	n := 1
	for limit := min(h.flight(), len(ps)); n < limit && !ps[n].done() && !ps[n].skip[h]; n++ {
	}
	return ps[:n]
}

// over sends parcels over h. Those that keep recipients are to be tried again,
// elsewhere if they avoid h now.
func (d *Deliverer) over(ctx context.Context, h *host, ps []*parcel) {
	if err := h.acquire(ctx); err != nil {
		return // the context's
	}
	defer h.release()
	if h.gone() { // while its turn was waited for: another one is asked
		return
	}
	c, opened, err := h.get(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.hostFailed(h, err)
		}
		for _, p := range ps {
			p.avoid(h)
		}
		return
	}
	if opened {
		d.met.connections.WithLabelValues("opened").Inc()
	}
	if d.renew(ctx, ps); ctx.Err() != nil {
		h.put(c)
		return
	}
	ps = slices.DeleteFunc(slices.Clone(ps), (*parcel).done)
	if len(ps) == 0 {
		h.put(c)
		return
	}
	ps = ps[:min(len(ps), h.room(c))]
	txs := make([]*transaction, len(ps))
	for i, p := range ps {
		p.until, p.again = p.asked.Add(fresh), func() bool { return p.allowedStill(ctx) }
		txs[i] = &p.transaction
	}
	begin := time.Now()
	err = c.send(ctx, txs)
	answered := 0
	for _, p := range ps {
		switch {
		case p.unfit != nil:
			p.last, p.at = p.unfit, h.opts.Name
			if p.avoid(h); p.cant == nil {
				p.cant = map[*host]bool{}
			}
			p.cant[h] = true
		default:
			p.cp.Recipients = p.a.judge(h, p.cp, p.verdicts, c.has("DSN"))
			if p.over {
				answered++
			}
		}
	}
	if answered > 0 {
		h.succeeded()
		h.took(answered, time.Since(begin))
	}
	if err == nil {
		h.put(c)
		return
	}
	c.net.Close()
	d.met.connections.WithLabelValues("broken").Inc()
	if ctx.Err() == nil {
		d.broke(h, ps, opened || answered > 0, answered, err)
	}
}

func refused(err error) bool {
	var r *errRefused
	return errors.As(err, &r)
}

// broke decides what a broken flight costs the recipients that have no result
// yet: nothing but for the message at which it broke.
func (d *Deliverer) broke(h *host, ps []*parcel, fresh bool, answered int, err error) {
	var p *parcel
	for _, x := range ps {
		if x.unfit == nil && !x.over {
			p = x
			break
		}
	}
	if errors.Is(err, errForbidden) {
		return
	}
	if len(ps) > 1 && !refused(err) {
		h.careful()
	}
	if p == nil {
		return
	}
	switch {
	case !p.dotted && answered > 0: // what went before was taken: a new connection tells
		return
	case !fresh && !p.dotted && !refused(err): // an idle connection had died: likewise
		return
	}
	d.opts.Log.Info("connection to smarthost broke", "smarthost", h.opts.Name, "id", p.m.ID, "error", err)
	p.broke(h, err)
}

// broke decides what a broken transaction costs. Nothing, as long as the hop
// can't have taken the message and this was not the message's own habit: then
// the fault is the hop's, and it is given back to be tried elsewhere.
func (p *parcel) broke(h *host, err error) {
	p.avoid(h)
	d := p.a.d
	if !p.dotted {
		d.hostFailed(h, err)
		if p.a.it.Pauses < d.schedule.Load().Breaks {
			return
		}
	}
	rep := reply{code: 451, status: "4.4.2", text: "connection to the next hop broke"}
	var r *errRefused
	if errors.As(err, &r) {
		rep = r.reply
	}
	for _, i := range p.cp.Recipients {
		p.a.later(i, rep, h.opts.Name)
	}
	p.cp.Recipients = nil
}
