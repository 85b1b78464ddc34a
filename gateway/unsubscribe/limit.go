package unsubscribe

import (
	"context"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"postern/gateway/throttle"
	"postern/gateway/webpage"
)

// admitted tells whether a client may have a mail sent by a form now; if not
// it has answered. This process's own counts come first: they keep a flood
// away from Redis. Where the shared ones can't be asked nothing is sent: a
// third person's mailbox must not be filled through several nodes.
func (h *handler) admitted(ctx context.Context, a *webpage.Ask, name string) bool {
	now, client := h.opts.Now(), h.clientOf(a.R)
	ok := h.perClient.take(client, now) && h.total.take("", now)
	if ok && h.opts.Limits != nil {
		for _, l := range []struct {
			limit throttle.Limit
			who   string
		}{
			{throttle.Limit{Name: "client", Most: h.opts.PerClient, Window: time.Hour}, client},
			{throttle.Limit{Name: "total", Most: h.opts.Total, Window: time.Hour}, ""},
		} {
			got, err := h.opts.Limits.Take(ctx, l.limit, l.who)
			if err != nil {
				h.uncounted(a, name, err)
				return false
			}
			ok = ok && got
		}
	}
	if !ok {
		h.tooMany(a, name)
	}
	return ok
}

// uncounted answers where a limit can't be asked. It says so to everybody
// alike.
func (h *handler) uncounted(a *webpage.Ask, name string, err error) {
	h.opts.Log.Error("rate limits could not be counted, nothing was sent", "error", err)
	h.count.WithLabelValues(name, "away").Inc()
	h.write(a, webpage.Page{Status: http.StatusServiceUnavailable, Heading: a.Say("away_heading"), Lead: []string{a.Say("away_lead")}})
}

// maxKeys bounds the memory of a limiter; a flood from many sources then
// meets the total alone.
const maxKeys = 100_000

// limiter counts per key in fixed windows. Keys are hashed with a seed of this
// process: no address is kept.
type limiter struct {
	seed   maphash.Seed
	window time.Duration
	most   int
	mu     sync.Mutex
	began  time.Time
	counts map[uint64]int
}

func newLimiter(window time.Duration, most int) *limiter {
	return &limiter{seed: maphash.MakeSeed(), window: window, most: most, counts: map[uint64]int{}}
}

// take counts one for key and tells whether it is within the limit.
func (l *limiter) take(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since := now.Sub(l.began); since < 0 || since >= l.window {
		l.began = now
		clear(l.counts)
	}
	k := maphash.String(l.seed, key)
	n := l.counts[k]
	if n >= l.most || (n == 0 && len(l.counts) >= maxKeys) {
		return false
	}
	l.counts[k] = n + 1
	return true
}

// clientOf names who asks: an IPv4 address or an IPv6 /64. Behind a proxy that
// the operator trusts it is the last address of X-Forwarded-For, the one that
// proxy itself added.
func (h *handler) clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if h.opts.TrustProxy {
		if fields := r.Header.Values("X-Forwarded-For"); len(fields) > 0 {
			list := strings.Split(fields[len(fields)-1], ",")
			host = strings.TrimSpace(list[len(list)-1])
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown"
	}
	if ip = ip.Unmap(); ip.Is6() {
		p, err := ip.WithZone("").Prefix(64)
		if err == nil {
			return p.String()
		}
	}
	return ip.String()
}
