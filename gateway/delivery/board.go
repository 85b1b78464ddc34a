package delivery

import (
	"context"
	"time"

	"postern/gateway/spool"
)

// load is what one worker delivers at a time.
type load struct {
	items []*spool.Item
	broad bool // holds a token of Deliverer.broad
}

// gather is how long a message waits at most for others to go with it while a
// flight is under way: each flight costs a look-up, a commit and system calls
// of its own, however many it carries.
const gather = 5 * time.Millisecond

// board takes what one worker delivers next: one message, or several small
// ones where the smarthost is quick.
func (d *Deliverer) board(ctx context.Context) (l load, err error) {
	select {
	case d.boarding <- struct{}{}:
		defer func() { <-d.boarding }()
	case <-ctx.Done():
		return l, ctx.Err()
	}
	for {
		if err := d.waitOpen(ctx); err != nil {
			return l, err
		}
		it, err := d.store.Take(ctx)
		if err != nil {
			return l, err
		}
		if d.closedGate() { // it closed while this one waited
			d.returned(it, 0)
			continue
		}
		l.items = []*spool.Item{it}
		switch n := d.hosts.flight(); {
		case it.Copies() > d.opts.Chunk:
			started, err := d.startBroad(ctx, it)
			if err != nil {
				return l, err
			}
			if !started {
				continue // smaller ones pass it
			}
			l.broad = true
		case n > 1 && it.Alone():
			l.items = append(l.items, d.store.TakeReady(n-1)...)
			if len(l.items) < n && d.flying.Load() > 0 {
				d.store.AwaitReady(ctx, n-len(l.items), gather)
				l.items = append(l.items, d.store.TakeReady(n-len(l.items))...)
			}
		}
		d.flying.Add(1)
		return l, nil
	}
}

// maxAside is how many large mailings wait aside at most.
const maxAside = 16

// startBroad lets only so many large mailings begin as keep cores and
// smarthosts busy: with more each would take longer, and none leave sooner.
// Others are put aside, until too many are.
func (d *Deliverer) startBroad(ctx context.Context, it *spool.Item) (started bool, err error) {
	d.mu.Lock()
	select {
	case d.broad <- struct{}{}:
		d.mu.Unlock()
		return true, nil
	default:
	}
	if len(d.aside) < maxAside {
		d.aside = append(d.aside, it)
		d.mu.Unlock()
		return false, nil
	}
	d.mu.Unlock()
	select {
	case d.broad <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		d.returned(it, 0)
		return false, ctx.Err()
	}
}

// nextBroad gives who is done with a large mailing the one that waits longest,
// or takes its token back.
func (d *Deliverer) nextBroad(ctx context.Context) *spool.Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.aside) == 0 || ctx.Err() != nil {
		<-d.broad
		return nil
	}
	it := d.aside[0]
	d.aside = d.aside[1:]
	return it
}

// returnAside gives back what still waits when the workers have ended.
func (d *Deliverer) returnAside() {
	for _, it := range d.aside {
		d.returned(it, 0)
	}
	d.aside = nil
}
