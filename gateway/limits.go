package gateway

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits counts connections and paces clients. All methods are safe for
// concurrent use.
type limits struct {
	opts *ServerOptions

	mu       sync.Mutex
	conns    int
	perIP    map[netip.Prefix]int
	strange  int                  // connections of clients without rights
	strangeP map[netip.Prefix]int // the same by peer
	clients  map[string]int       // connections by client network or account
	messages int                  // per minute, where a grant has no own
	rcpts    int
	paces    map[string]*pace // by client network or account: bounded by the config
	failures map[netip.Prefix]*rate.Limiter
}

// pace is what one client network or account may send.
type pace struct{ messages, recipients *rate.Limiter }

func newLimits(o *ServerOptions) *limits {
	return &limits{opts: o, perIP: map[netip.Prefix]int{}, strangeP: map[netip.Prefix]int{}, clients: map[string]int{}, paces: map[string]*pace{},
		failures: map[netip.Prefix]*rate.Limiter{}, messages: o.MessagesPerMinute, rcpts: o.RecipientsPerMinute}
}

// source is what counts as one peer: an IPv4 address or 64 bits of IPv6. A
// unix socket's peer is the zero Prefix.
func source(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// enter counts a connection. False: the server is full.
func (l *limits) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns >= l.opts.MaxConns {
		return false
	}
	l.conns++
	return true
}

func (l *limits) leave() {
	l.mu.Lock()
	l.conns--
	l.mu.Unlock()
}

// enterFrom counts a connection of one peer. False: it has too many.
func (l *limits) enterFrom(p netip.Prefix) bool {
	if !p.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perIP[p] >= l.opts.MaxConnsPerIP {
		return false
	}
	l.perIP[p]++
	return true
}

func (l *limits) leaveFrom(p netip.Prefix) {
	if !p.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perIP[p]--; l.perIP[p] <= 0 {
		delete(l.perIP, p)
	}
}

// enterStranger counts a connection of a client without rights. Such clients
// may hold half of all connections, and a tenth of MaxConnsPerIP each, so that
// those with rights always find room.
func (l *limits) enterStranger(p netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.strange >= max(l.opts.MaxConns/2, 1) || l.strangeP[p] >= max(l.opts.MaxConnsPerIP/10, 5) {
		return false
	}
	l.strange++
	l.strangeP[p]++
	return true
}

func (l *limits) leaveStranger(p netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.strange--
	if l.strangeP[p]--; l.strangeP[p] <= 0 {
		delete(l.strangeP, p)
	}
}

// enterClient counts a connection of a client network or account. False: it
// has as many as its grant allows.
func (l *limits) enterClient(g *Grant) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.MaxConns > 0 && l.clients[g.Client] >= g.MaxConns {
		return false
	}
	l.clients[g.Client]++
	return true
}

func (l *limits) leaveClient(g *Grant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[g.Client]--; l.clients[g.Client] <= 0 {
		delete(l.clients, g.Client)
	}
}

// anew takes new rates; clients begin with a full minute's worth.
func (l *limits) anew(messages, recipients int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages, l.rcpts = messages, recipients
	clear(l.paces)
}

// message asks whether g's client may begin a message now; if not, when.
func (l *limits) message(g *Grant) (wait time.Duration, ok bool) {
	return l.take(l.paceOf(g).messages)
}

// recipient is message for one RCPT.
func (l *limits) recipient(g *Grant) (wait time.Duration, ok bool) {
	return l.take(l.paceOf(g).recipients)
}

func (l *limits) take(r *rate.Limiter) (time.Duration, bool) {
	if r == nil {
		return 0, true
	}
	now := l.opts.Now()
	res := r.ReserveN(now, 1)
	wait := res.DelayFrom(now)
	if wait == 0 {
		return 0, true
	}
	res.CancelAt(now)
	return wait, false
}

func (l *limits) paceOf(g *Grant) *pace {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.paces[g.Client]
	if p == nil {
		p = &pace{
			perMinute(g.MessagesPerMinute, l.messages),
			perMinute(g.RecipientsPerMinute, l.rcpts),
		}
		l.paces[g.Client] = p
	}
	return p
}

// perMinute lets a whole minute's worth through at once.
func perMinute(own, common int) *rate.Limiter {
	n := own
	if n == 0 {
		n = common
	}
	if n <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(float64(n)/60), n)
}

// mayTry tells whether a peer may try another password.
func (l *limits) mayTry(p netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.failures[p]
	return f == nil || f.TokensAt(l.opts.Now()) >= 1
}

// failed counts a wrong password.
func (l *limits) failed(p netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opts.Now()
	f := l.failures[p]
	if f == nil {
		l.forget(now)
		f = perMinute(l.opts.AuthFailuresPerMinute, 0)
		l.failures[p] = f
	}
	f.AllowN(now, 1)
}

// maxFailures is how many peers with wrong passwords are remembered.
const maxFailures = 10_000

// forget makes room among the failures: those a minute old go first, then any.
func (l *limits) forget(now time.Time) {
	if len(l.failures) < maxFailures {
		return
	}
	for p, f := range l.failures {
		if f.TokensAt(now) >= float64(l.opts.AuthFailuresPerMinute) {
			delete(l.failures, p)
		}
	}
	for p := range l.failures {
		if len(l.failures) < maxFailures*9/10 {
			return
		}
		delete(l.failures, p)
	}
}
