package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"postern/gateway/address"
	"postern/gateway/consent"
)

const (
	joinFlights   = 2   // look-ups of one stream on their way at once
	joinAddresses = 256 // addresses of one joined look-up; a larger request flies alone
)

// joiner joins the look-ups of concurrent sessions. While one is on its way,
// those that come wait and leave together as the next, so that a busy relay
// asks for dozens of recipients in one round trip and an idle one waits for
// nothing.
type joiner struct {
	consent Consent
	timeout time.Duration // of a joined look-up, which outlives each who asked

	mu    sync.Mutex
	lanes map[laneKey]*lane
}

type laneKey struct {
	controller, purpose string
	stream              uint16
}

// lane is the traffic of one stream.
type lane struct {
	waiting []*seat
	flights int
}

// seat is one request that waits.
type seat struct {
	addrs []address.Address
	leads bool // guarded by joiner.mu: the next flight is its to make
	done  chan landing
}

// landing is what a seat gets: its answers, or the task to lead.
type landing struct {
	lead    bool
	answers []consent.Answer
	err     error
}

func newJoiner(c Consent, timeout time.Duration) *joiner {
	return &joiner{consent: c, timeout: timeout, lanes: map[laneKey]*lane{}}
}

// Lookup is Consent.Lookup, joined with others of the same stream.
func (j *joiner) Lookup(ctx context.Context, controller, purpose string, stream uint16, addrs []address.Address) ([]consent.Answer, error) {
	if len(addrs) >= joinAddresses {
		return j.consent.Lookup(ctx, controller, purpose, stream, addrs)
	}
	key := laneKey{controller, purpose, stream}
	me := &seat{addrs: addrs, done: make(chan landing, 1)}
	l, leads := j.enter(key, me)
	if !leads {
		select {
		case got := <-me.done:
			if !got.lead {
				return got.answers, got.err
			}
		case <-ctx.Done():
			j.leave(l, me)
			return nil, ctx.Err()
		}
	}
	return j.fly(ctx, key, l, me)
}

// enter gives a seat the lead, or a place to wait.
func (j *joiner) enter(key laneKey, me *seat) (l *lane, leads bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l = j.lanes[key]
	if l == nil {
		l = &lane{}
		j.lanes[key] = l
	}
	if l.flights < joinFlights {
		l.flights++
		return l, true
	}
	l.waiting = append(l.waiting, me)
	return l, false
}

// leave gives a seat up whose owner waits no longer, and the lead on where it
// has just got it.
func (j *joiner) leave(l *lane, me *seat) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, s := range l.waiting {
		if s == me {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return
		}
	}
	if me.leads {
		l.pass()
	}
}

// pass gives the lead to who waits longest, or ends the flight. Under mu.
func (l *lane) pass() {
	if len(l.waiting) == 0 {
		l.flights--
		return
	}
	next := l.waiting[0]
	l.waiting = l.waiting[1:]
	next.leads = true
	next.done <- landing{lead: true}
}

// board takes those along who wait, as far as there is room.
func (j *joiner) board(l *lane, me *seat) []*seat {
	j.mu.Lock()
	defer j.mu.Unlock()
	group, n := []*seat{me}, len(me.addrs)
	for len(l.waiting) > 0 && n+len(l.waiting[0].addrs) <= joinAddresses {
		n += len(l.waiting[0].addrs)
		group = append(group, l.waiting[0])
		l.waiting = l.waiting[1:]
	}
	return group
}

// fly asks for a group and hands each its own. An error that is not the whole
// store's, as one damaged record, stays with the request it belongs to.
func (j *joiner) fly(ctx context.Context, key laneKey, l *lane, me *seat) ([]consent.Answer, error) {
	group := j.board(l, me)
	answers, err := j.ask(ctx, key, l, group)
	for _, s := range group {
		mine := landing{err: err}
		switch {
		case err == nil:
			mine.answers, answers = answers[:len(s.addrs):len(s.addrs)], answers[len(s.addrs):]
		case len(group) > 1 && !errors.Is(err, consent.ErrStoreUnavailable):
			mine.answers, mine.err = j.lookup(ctx, key, s.addrs)
		}
		s.done <- mine
	}
	got := <-me.done
	return got.answers, got.err
}

// ask makes the joined look-up and then passes the lead on, whatever happens.
func (j *joiner) ask(ctx context.Context, key laneKey, l *lane, group []*seat) ([]consent.Answer, error) {
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		l.pass()
	}()
	var all []address.Address
	if len(group) == 1 {
		all = group[0].addrs
	} else {
		for _, s := range group {
			all = append(all, s.addrs...)
		}
	}
	return j.lookup(ctx, key, all)
}

// lookup asks on behalf of several: the one who leads may go away meanwhile.
func (j *joiner) lookup(ctx context.Context, key laneKey, addrs []address.Address) ([]consent.Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.timeout)
	defer cancel()
	answers, err := j.consent.Lookup(ctx, key.controller, key.purpose, key.stream, addrs)
	if err == nil && len(answers) != len(addrs) {
		err = errors.New("the registry gave fewer answers than asked")
	}
	return answers, err
}
