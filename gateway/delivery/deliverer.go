// Package delivery brings spooled messages to the smarthosts: pooled and
// pipelined connections, retry schedule, circuit breaker and delivery status
// notifications (design D5, D10, D19).
package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postern/gateway/spool"
)

// Deliverer takes due messages from a spool until its Run ends.
type Deliverer struct {
	store *spool.Store
	prep  Preparer
	opts  Options
	hosts hosts
	met   *metrics

	boarding chan struct{} // held by the worker that takes messages
	flying   atomic.Int64  // workers that deliver
	schedule atomic.Pointer[Schedule]
	broad    chan struct{} // a token for each large mailing that is worked on

	mu    sync.Mutex
	gate  chan struct{} // closed while at least one smarthost can be asked
	aside []*spool.Item // large mailings that wait for a token of broad
	crew  *crew         // while Run runs
	ended bool          // Run begins nothing more
	most  int           // workers there are to be
	hired int           // and are
}

// crew is what Run's goroutines live by.
type crew struct {
	ctx, work        context.Context
	workers, helpers sync.WaitGroup
}

// New checks the options and makes a Deliverer; nothing runs before Run. All
// faults of the options are reported at once.
func New(store *spool.Store, prep Preparer, opts Options) (*Deliverer, error) {
	d := &Deliverer{store: store, prep: prep, opts: opts.withDefaults(), gate: make(chan struct{}), boarding: make(chan struct{}, 1)}
	d.broad = make(chan struct{}, max(2*runtime.GOMAXPROCS(0), (d.opts.Workers+d.opts.Fanout-1)/d.opts.Fanout))
	if err := d.opts.validate(); err != nil {
		return nil, fmt.Errorf("delivery options: %w", err)
	}
	var err error
	if d.hosts.all, err = newHosts(d.opts); err != nil {
		return nil, fmt.Errorf("delivery options: %w", err)
	}
	d.schedule.Store(&d.opts.Schedule)
	d.most = d.opts.Workers
	close(d.gate)
	if d.met, err = newMetrics(d.opts.Metrics, d); err != nil {
		return nil, fmt.Errorf("register delivery metrics: %w", err)
	}
	return d, nil
}

func newHosts(o Options) (all []*host, err error) {
	for _, s := range o.Smarthosts {
		h, err := newHost(s, o)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	slices.SortStableFunc(all, func(a, b *host) int { return cmp.Compare(a.opts.Priority, b.opts.Priority) })
	return all, nil
}

// Run delivers until ctx ends; work in hand then has Options.Grace to finish
// and is otherwise left to the next start. It returns nil.
func (d *Deliverer) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stopGrace := context.AfterFunc(ctx, func() { time.AfterFunc(d.opts.Grace, cancel) })
	defer stopGrace()

	d.store.Flow(true)
	c := &crew{ctx: ctx, work: work}
	d.mu.Lock()
	d.crew = c
	d.hire()
	for _, h := range d.hosts.list() {
		d.keepWatch(h)
	}
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
	c.workers.Wait()
	d.returnAside()
	c.helpers.Wait()
	d.store.Flow(false)
	for _, h := range d.hosts.list() {
		h.reap(true)
	}
	d.met.unregister(d.opts.Metrics)
	return nil
}

// hire starts the workers that are missing. d.mu is held.
func (d *Deliverer) hire() {
	for c := d.crew; c != nil && !d.ended && d.hired < d.most; d.hired++ {
		c.workers.Go(func() { d.worker(c.ctx, c.work) })
	}
}

// surplus tells a worker to end because fewer are wanted.
func (d *Deliverer) surplus() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hired <= d.most {
		return false
	}
	d.hired--
	return true
}

// keepWatch starts the watch of a host. d.mu is held.
func (d *Deliverer) keepWatch(h *host) {
	c := d.crew
	if c == nil || d.ended {
		return
	}
	ctx, stop := context.WithCancel(c.ctx)
	h.mu.Lock()
	h.stop = stop
	h.mu.Unlock()
	c.helpers.Go(func() {
		defer stop()
		d.watch(ctx, h)
	})
}

// Change checks new smarthosts, schedule and number of workers, and gives what
// puts them in place; until that is called all stays as it is. All else of o
// is not looked at. Attempts that begin afterwards go by the new ones. A
// smarthost that stays the same keeps its connections and its breaker; one that
// is gone or changed ends what is under way and is then left, and waiting
// recipients keep the time of their next attempt. How many large mailings go on
// at once stays what it was at the start.
func (d *Deliverer) Change(o Options) (apply func(), err error) {
	o.Helo, o.Dial, o.Now = d.opts.Helo, d.opts.Dial, d.opts.Now
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("delivery options: %w", err)
	}
	all, err := newHosts(o)
	if err != nil {
		return nil, fmt.Errorf("delivery options: %w", err)
	}
	return func() { d.change(o, all) }, nil
}

func (d *Deliverer) change(o Options, all []*host) {
	d.mu.Lock()
	former := d.hosts.list()
	for i, h := range all {
		if n := slices.IndexFunc(former, h.same); n >= 0 {
			all[i] = former[n]
		}
	}
	d.hosts.swap(all)
	d.schedule.Store(&o.Schedule)
	d.most = o.Workers
	for _, h := range all {
		if !slices.Contains(former, h) {
			d.keepWatch(h)
		}
	}
	d.hire()
	d.mu.Unlock()
	for _, h := range former {
		if !slices.Contains(all, h) {
			h.leave()
		}
	}
	if slices.ContainsFunc(all, func(h *host) bool { return !h.isAway() }) {
		d.open()
	} else {
		d.shut()
	}
}

// worker delivers some messages after the others.
func (d *Deliverer) worker(ctx, work context.Context) {
	for !d.surplus() {
		l, err := d.board(ctx)
		if err != nil {
			return
		}
		d.handle(work, l.items)
		for l.broad {
			it := d.nextBroad(ctx)
			if it == nil {
				break
			}
			d.handle(work, []*spool.Item{it})
		}
		d.flying.Add(-1)
	}
}

// handle keeps a fault in one message from stopping all others.
func (d *Deliverer) handle(ctx context.Context, items []*spool.Item) {
	as := make([]*attempt, len(items))
	for i, it := range items {
		as[i] = &attempt{d: d, it: it, m: it.Message, settled: make([]bool, len(it.Message.Recipients))}
	}
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		d.met.panics.Inc()
		for _, a := range as {
			if !a.ended {
				d.opts.Log.Error("delivery of a message panicked", "id", a.m.ID, "panic", fmt.Sprint(r))
				d.returned(a.it, d.schedule.Load().Defer)
			}
		}
	}()
	d.attempt(ctx, as)
}

func (d *Deliverer) waitOpen(ctx context.Context) error {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-gate:
		return ctx.Err()
	}
}

func (d *Deliverer) closedGate() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.gate:
		return false
	default:
		return true
	}
}

// shut closes the gate if every smarthost is away, open opens it again.
func (d *Deliverer) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.hosts.list() { // under the lock: one that comes back now opens after us
		if !h.isAway() {
			return
		}
	}
	select {
	case <-d.gate:
		d.gate = make(chan struct{})
		d.store.Flow(false)
	default:
	}
}

func (d *Deliverer) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.gate:
	default:
		close(d.gate)
		d.store.Flow(true)
	}
}

// hostFailed counts a failed connection and opens the breaker when it is time.
func (d *Deliverer) hostFailed(h *host, err error) {
	d.met.connections.WithLabelValues("failed").Inc()
	if !h.failed(d.opts.BreakAfter) {
		return
	}
	d.opts.Log.Warn("smarthost is away, its mail waits", "smarthost", h.opts.Name, "error", err)
	h.reap(true)
	d.shut()
}

// watch closes idle connections of h and probes it while it is away.
func (d *Deliverer) watch(ctx context.Context, h *host) {
	tick := time.NewTicker(d.opts.ProbeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !h.isAway() {
			h.reap(false)
			continue
		}
		switch err := h.probe(ctx); {
		case err == nil:
			d.met.connections.WithLabelValues("opened").Inc()
			if h.gone() {
				return
			}
			d.opts.Log.Info("smarthost is back", "smarthost", h.opts.Name)
			d.open()
		case ctx.Err() == nil:
			d.opts.Log.Debug("smarthost is still away", "smarthost", h.opts.Name, "error", err)
		}
	}
}

func (d *Deliverer) returned(it *spool.Item, pause time.Duration) {
	if err := it.Return(pause); err != nil && !errors.Is(err, spool.ErrClosed) {
		d.opts.Log.Error("message was not put back", "id", it.Message.ID, slog.Any("error", err))
	}
}
