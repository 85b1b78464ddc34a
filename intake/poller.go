package intake

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Poller reads all configured mailboxes.
type Poller struct {
	d       Deps
	o       Options
	metrics *metrics

	reloading sync.Mutex // held by Reload as a whole
	wg        sync.WaitGroup

	mu      sync.Mutex
	boxes   []*box
	working context.Context // of Run; nil before and after
}

// box is one mailbox at work.
type box struct {
	Mailbox
	p    *Poller
	stop context.CancelFunc // nil until started
	done chan struct{}      // closed when it reads no more

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
	mailboxes, err := checked(mailboxes)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	p := &Poller{d: d, o: opts.withDefaults()}
	p.metrics = newMetrics(p.o.Registry)
	for _, m := range mailboxes {
		p.boxes = append(p.boxes, p.newBox(m))
	}
	return p, nil
}

// checked gives the mailboxes with their defaults, or all that is wrong.
func checked(mailboxes []Mailbox) ([]Mailbox, error) {
	var errs []error
	seen := map[string]bool{}
	out := make([]Mailbox, len(mailboxes))
	for i, m := range mailboxes {
		m, err := m.withDefaults()
		if err != nil {
			errs = append(errs, err)
		}
		if seen[m.Name] {
			errs = append(errs, fmt.Errorf("mailbox %q: the name is used twice", m.Name))
		}
		seen[m.Name], out[i] = true, m
	}
	return out, errors.Join(errs...)
}

func (p *Poller) newBox(m Mailbox) *box {
	b := &box{Mailbox: m, p: p, started: p.o.Now(), done: make(chan struct{})}
	for _, f := range m.Folders {
		b.healthOf(f)
	}
	// A mailbox that can't be read from the first day on is as silent as one
	// that stopped: the alert's clock runs from the start.
	p.metrics.success.WithLabelValues(m.Name).Set(float64(b.started.Unix()))
	return b
}

// Run reads until ctx ends, and then returns nil once what is in hand is
// stored. A mailbox that fails is tried again for ever and never stops another.
func (p *Poller) Run(ctx context.Context) error {
	p.mu.Lock()
	p.working = ctx
	for _, b := range p.boxes {
		p.start(b)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.working = nil // nothing starts any more
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}

// start reads a mailbox, while Run does. The caller holds mu.
func (p *Poller) start(b *box) {
	if p.working == nil {
		return
	}
	ctx, stop := context.WithCancel(p.working)
	b.stop = stop
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		defer close(b.done)
		defer stop()
		b.run(ctx)
	}()
}

// Reload takes the mailboxes anew, also while Run reads: those that are gone
// stop once what is in hand is stored, new ones begin, changed ones begin anew
// where they were. One with the same Revision reads on. Mailboxes with a fault
// change nothing.
func (p *Poller) Reload(mailboxes []Mailbox) error {
	mailboxes, err := checked(mailboxes)
	if err != nil {
		return err
	}
	p.reloading.Lock()
	defer p.reloading.Unlock()
	former := map[string]*box{}
	for _, b := range p.list() {
		former[b.Name] = b
	}
	var now, fresh []*box
	var gone []string
	for _, m := range mailboxes {
		b := former[m.Name]
		if b == nil || m.Revision == "" || b.Revision != m.Revision {
			b = p.newBox(m)
			fresh = append(fresh, b)
		} else {
			delete(former, m.Name)
		}
		now = append(now, b)
	}
	p.mu.Lock()
	p.boxes = now
	p.mu.Unlock()
	for name, b := range former {
		if !slices.ContainsFunc(fresh, func(b *box) bool { return b.Name == name }) {
			gone = append(gone, name)
		}
		if b.stop != nil {
			b.stop()
			<-b.done
		}
	}
	for _, name := range gone {
		p.metrics.success.DeleteLabelValues(name)
		p.metrics.failures.DeleteLabelValues(name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range fresh {
		p.start(b)
	}
	return nil
}

// list is the mailboxes as they are now.
func (p *Poller) list() []*box {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.boxes
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
