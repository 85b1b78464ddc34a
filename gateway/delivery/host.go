package delivery

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// host is one smarthost: its idle connections, its limits and its breaker.
type host struct {
	opts   Smarthost
	helo   string
	tls    *tls.Config
	dialer func(ctx context.Context, network, addr string) (net.Conn, error)
	now    func() time.Time
	limit  *rate.Limiter
	slots  chan struct{} // one token per connection that may be in use

	mu       sync.Mutex
	idle     []*conn       // most recently used last
	failures int           // connections that failed in a row
	away     bool          // the breaker is open
	pace     time.Duration // of one message, smoothed
	alone    time.Time     // until then one message goes at a time
	quick    time.Time     // until then it counts as prompt
	left     bool          // taken out of the options: nothing more goes there
	stop     func()        // ends its watch; nil before it began
}

func newHost(o Smarthost, opts Options) (*host, error) {
	name, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("smarthost %q: %w", o.Name, err)
	}
	if o.ServerName != "" {
		name = o.ServerName
	}
	pool, err := loadCA(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("smarthost %q: %w", o.Name, err)
	}
	h := &host{
		opts: o, helo: opts.Helo, dialer: opts.Dial, now: opts.Now, slots: make(chan struct{}, o.MaxConns), pace: firstPace,
		tls: &tls.Config{
			ServerName: name, RootCAs: pool, MinVersion: tls.VersionTLS12,
			// Opportunistic TLS guards against listeners only: an unknown
			// certificate still beats no encryption (RFC 7435 section 3).
			InsecureSkipVerify: o.TLS == TLSOpportunistic, //nolint:gosec
		},
	}
	if o.Rate > 0 {
		h.limit = rate.NewLimiter(rate.Limit(o.Rate), max(1, int(o.Rate/10)))
	}
	return h, nil
}

// get gives a connection that is ready for MAIL: an idle one or a new one. The
// caller holds a slot. fresh tells that it was just opened.
func (h *host) get(ctx context.Context) (c *conn, fresh bool, err error) {
	for {
		h.mu.Lock()
		n := len(h.idle)
		if n == 0 {
			h.mu.Unlock()
			break
		}
		c = h.idle[n-1]
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		if h.now().Sub(c.usedAt) < h.opts.Timeouts.Idle && c.alive() {
			return c, false, nil
		}
		c.quit()
	}
	c, err = h.dial(ctx)
	return c, true, err
}

// put takes a connection back that is in step.
func (h *host) put(c *conn) {
	h.mu.Lock()
	full := h.away || h.left || h.opts.PerConn > 0 && c.sent >= h.opts.PerConn || len(h.idle) >= h.opts.MaxConns
	if !full {
		h.idle = append(h.idle, c)
	}
	h.mu.Unlock()
	if full {
		c.quit()
	}
}

// reap closes connections that were idle too long, all of them if all is set.
func (h *host) reap(all bool) {
	h.mu.Lock()
	var old []*conn
	keep := h.idle[:0]
	for _, c := range h.idle {
		if all || h.now().Sub(c.usedAt) >= h.opts.Timeouts.Idle {
			old = append(old, c)
		} else {
			keep = append(keep, c)
		}
	}
	clear(h.idle[len(keep):])
	h.idle = keep
	h.mu.Unlock()
	for _, c := range old {
		c.quit()
	}
}

// room is how many more messages c may take.
func (h *host) room(c *conn) int {
	if h.opts.PerConn <= 0 {
		return maxFlight
	}
	return max(h.opts.PerConn-c.sent, 1)
}

// acquire waits for a slot and for the rate limit.
func (h *host) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if h.limit == nil {
		return nil
	}
	if err := h.limit.Wait(ctx); err != nil {
		<-h.slots
		return err
	}
	return nil
}

func (h *host) release() { <-h.slots }

// succeeded and failed keep the breaker: failed tells whether it opened now.
func (h *host) succeeded() {
	h.mu.Lock()
	h.failures = 0
	h.mu.Unlock()
}

func (h *host) failed(limit int) (opened bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures++
	if h.away || h.failures < limit {
		return false
	}
	h.away = true
	return true
}

func (h *host) isAway() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.away
}

// gone tells whether the host was taken out of the options.
func (h *host) gone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.left
}

// leave lets nothing more go to the host: what is under way ends there, then
// its connections are closed.
func (h *host) leave() {
	h.mu.Lock()
	h.left = true
	stop := h.stop
	h.mu.Unlock()
	if stop != nil {
		stop()
	}
	h.reap(true)
}

// same tells whether o, made into a host, would be this one.
func (h *host) same(o *host) bool {
	return h.opts == o.opts && h.tls.RootCAs.Equal(o.tls.RootCAs)
}

// Bounds of a flight, the messages sent behind each other over one connection
// without waiting: as many as the hop takes in flightTime. A hop that takes
// its time gets them over many connections instead.
const (
	maxFlight  = 16
	flightTime = 10 * time.Millisecond
	firstPace  = 5 * time.Millisecond
	aloneTime  = time.Minute
	promptTime = 10 * time.Second
)

// flight is how many messages may be sent to the host in one go at present.
func (h *host) flight() int {
	if h.limit != nil {
		return 1
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now().Before(h.alone) {
		return 1
	}
	return min(max(int(flightTime/max(h.pace, time.Microsecond)), 1), maxFlight)
}

// took notes that the host took n messages in d.
func (h *host) took(n int, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pace += (d/time.Duration(n) - h.pace) / 8
	h.quick = time.Time{}
	if d < fresh/2 {
		h.quick = h.now().Add(promptTime)
	}
}

// prompt tells whether the host answered a flight within a fraction of the
// time a verdict holds, and not long ago.
func (h *host) prompt() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now().Before(h.quick)
}

// careful sends one message at a time for a while: a connection broke in the
// middle of a flight.
func (h *host) careful() {
	h.mu.Lock()
	h.alone, h.quick = h.now().Add(aloneTime), time.Time{}
	h.mu.Unlock()
}

// probe tries whether the host is back; its connection serves the first message.
func (h *host) probe(ctx context.Context) error {
	c, err := h.dial(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.away, h.failures = false, 0
	h.mu.Unlock()
	h.put(c)
	return nil
}

// hosts are all smarthosts, by priority.
type hosts struct {
	mu   sync.Mutex
	all  []*host // sorted by Priority; a list that was given out never changes
	next int
}

// list are the hosts of now.
func (hs *hosts) list() []*host {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.all
}

// swap puts others in their place and gives those of before.
func (hs *hosts) swap(all []*host) (former []*host) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	former, hs.all = hs.all, all
	return former
}

// pick chooses the host to ask: of those that are not away and not in skip the
// lowest priority value, equals in turn.
func (hs *hosts) pick(skip map[*host]bool) *host {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.next++
	var best []*host
	for _, h := range hs.all {
		if skip[h] || h.isAway() {
			continue
		}
		if len(best) > 0 && h.opts.Priority > best[0].opts.Priority {
			break
		}
		best = append(best, h)
	}
	if len(best) == 0 {
		return nil
	}
	return best[hs.next%len(best)]
}

// flight is how many messages may go out in one go at present: what suits the
// slowest of the hosts that pick chooses from.
func (hs *hosts) flight() int {
	n, first := maxFlight, (*host)(nil)
	for _, h := range hs.list() {
		switch {
		case h.isAway():
		case first != nil && h.opts.Priority > first.opts.Priority:
			return n
		default:
			first, n = h, min(n, h.flight())
		}
	}
	return n
}
