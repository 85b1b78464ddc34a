// Package delivery brings spooled messages to the smarthosts: pooled and
// pipelined connections, retry schedule, circuit breaker and delivery status
// notifications (design D5, D10, D19).
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sort"
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
	broad    chan struct{} // a token for each large mailing that is worked on

	mu    sync.Mutex
	gate  chan struct{} // closed while at least one smarthost can be asked
	aside []*spool.Item // large mailings that wait for a token of broad
}

// New checks the options and makes a Deliverer; nothing runs before Run. All
// faults of the options are reported at once.
func New(store *spool.Store, prep Preparer, opts Options) (*Deliverer, error) {
	d := &Deliverer{store: store, prep: prep, opts: opts.withDefaults(), gate: make(chan struct{}), boarding: make(chan struct{}, 1)}
	d.broad = make(chan struct{}, max(2*runtime.GOMAXPROCS(0), (d.opts.Workers+d.opts.Fanout-1)/d.opts.Fanout))
	if err := d.opts.validate(); err != nil {
		return nil, fmt.Errorf("delivery options: %w", err)
	}
	for _, o := range d.opts.Smarthosts {
		h, err := newHost(o, d.opts)
		if err != nil {
			return nil, fmt.Errorf("delivery options: %w", err)
		}
		d.hosts.all = append(d.hosts.all, h)
	}
	sort.SliceStable(d.hosts.all, func(i, j int) bool {
		return d.hosts.all[i].opts.Priority < d.hosts.all[j].opts.Priority
	})
	close(d.gate)
	var err error
	if d.met, err = newMetrics(d.opts.Metrics, d); err != nil {
		return nil, fmt.Errorf("register delivery metrics: %w", err)
	}
	return d, nil
}

// Run delivers until ctx ends; work in hand then has Options.Grace to finish
// and is otherwise left to the next start. It returns nil.
func (d *Deliverer) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stopGrace := context.AfterFunc(ctx, func() { time.AfterFunc(d.opts.Grace, cancel) })
	defer stopGrace()

	d.store.Flow(true)
	var workers, helpers sync.WaitGroup
	for range d.opts.Workers {
		workers.Go(func() { d.worker(ctx, work) })
	}
	for _, h := range d.hosts.all {
		helpers.Go(func() { d.watch(ctx, h) })
	}
	workers.Wait()
	d.returnAside()
	helpers.Wait()
	d.store.Flow(false)
	for _, h := range d.hosts.all {
		h.reap(true)
	}
	d.met.unregister(d.opts.Metrics)
	return nil
}

// worker delivers some messages after the others.
func (d *Deliverer) worker(ctx, work context.Context) {
	for {
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
				d.returned(a.it, d.opts.Schedule.Defer)
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
	for _, h := range d.hosts.all {
		if !h.isAway() {
			return
		}
	}
	d.mu.Lock()
	select {
	case <-d.gate:
		d.gate = make(chan struct{})
		d.store.Flow(false)
	default:
	}
	d.mu.Unlock()
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
