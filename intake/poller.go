package intake

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Poller reads all configured mailboxes.
type Poller struct {
	boxes   []*box
	d       Deps
	o       Options
	metrics *metrics
}

// box is one mailbox at work.
type box struct {
	Mailbox
	p *Poller

	mu         sync.Mutex
	started    time.Time
	standingBy bool
	folders    []*folderHealth
}

// New checks the mailboxes and dependencies; nothing is connected yet. All
// faults are reported at once.
func New(mailboxes []Mailbox, d Deps, opts Options) (*Poller, error) {
	var errs []error
	if d.Cases == nil || d.Aside == nil || d.Optouts == nil || d.Classifier == nil || d.State == nil {
		errs = append(errs, errors.New("intake needs Cases, Aside, Optouts, Classifier and State"))
	}
	p := &Poller{d: d, o: opts.withDefaults()}
	p.metrics = newMetrics(p.o.Registry)
	seen := map[string]bool{}
	for _, m := range mailboxes {
		m, err := m.withDefaults()
		if err != nil {
			errs = append(errs, err)
		}
		if seen[m.Name] {
			errs = append(errs, fmt.Errorf("mailbox %q: the name is used twice", m.Name))
		}
		seen[m.Name] = true
		b := &box{Mailbox: m, p: p, started: p.o.Now()}
		for _, f := range m.Folders {
			b.healthOf(f)
		}
		// A mailbox that can't be read from the first day on is as silent as one
		// that stopped: the alert's clock runs from the start.
		p.metrics.success.WithLabelValues(m.Name).Set(float64(b.started.Unix()))
		p.boxes = append(p.boxes, b)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// Run reads until ctx ends, and then returns nil once what is in hand is
// stored. A mailbox that fails is tried again for ever and never stops another.
func (p *Poller) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, b := range p.boxes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b.run(ctx)
		}()
	}
	<-ctx.Done()
	wg.Wait()
	return nil
}

// run holds the mailbox's lease and reads its folders while it has it.
func (b *box) run(ctx context.Context) {
	wait := time.Second
	for ctx.Err() == nil {
		held, err := b.hold(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !errors.Is(err, ErrFenced):
			b.failed("", err)
			wait = min(2*wait, b.p.o.BackoffMax)
		case !held: // another poller has it: stand by
			b.standby()
			wait = b.p.o.Lease / 3
		default:
			wait = time.Second
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// hold takes the lease and works until it is lost or ctx ends.
func (b *box) hold(ctx context.Context) (held bool, err error) {
	fence, held, err := b.p.d.State.Acquire(ctx, b.Name, b.p.o.Owner, b.p.o.Lease)
	if err != nil || !held {
		return held, err
	}
	work, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	for _, folder := range b.Folders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b.watch(work, folder, fence)
		}()
	}
	err = b.renew(work)
	stop(err)
	wg.Wait()
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if e := b.p.d.State.Release(release, b.Name, b.p.o.Owner); e != nil && ctx.Err() == nil {
		b.p.o.Log.Warn("lease not released, it will expire", "mailbox", b.Name, "err", e)
	}
	return true, err
}

// renew prolongs the lease until that fails for as long as the lease lasts.
func (b *box) renew(ctx context.Context) error {
	last := b.p.o.Now()
	for pause(ctx, b.p.o.Lease/3) {
		err := b.p.d.State.Renew(ctx, b.Name, b.p.o.Owner, b.p.o.Lease)
		switch {
		case err == nil:
			last = b.p.o.Now()
		case errors.Is(err, ErrFenced):
			return err
		case b.p.o.Now().Sub(last) > b.p.o.Lease*9/10:
			return err
		}
	}
	return nil
}

// watch reads one folder for ever, connecting anew after every failure.
func (b *box) watch(ctx context.Context, folder string, fence int64) {
	wait := time.Duration(0)
	for pause(ctx, wait) {
		began := b.p.o.Now()
		err := b.session(ctx, folder, fence)
		if ctx.Err() != nil {
			return
		}
		if b.p.o.Now().Sub(began) > time.Minute {
			wait = 0
		}
		wait = min(max(2*wait, time.Second), b.p.o.BackoffMax)
		if errors.Is(err, errRefused) { // no lockout loop (IM-11)
			wait = min(max(wait, 30*time.Second), b.p.o.BackoffMax)
		}
		if errors.Is(err, errNoJunk) {
			b.absent(folder)
			wait = b.p.o.BackoffMax
			continue
		}
		b.failed(folder, err)
	}
}

// session reads the folder over one connection; a panic costs only that.
func (b *box) session(ctx context.Context, folder string, fence int64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.p.metrics.panics.Inc()
			err = fmt.Errorf("read folder %q of mailbox %q: panic: %v", folder, b.Name, r)
		}
	}()
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	name, err := b.resolve(c, folder)
	if err != nil {
		return err
	}
	s := &folderSession{b: b, c: c, named: folder, folder: name, fence: fence}
	return s.run(ctx)
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func randomOwner() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}
