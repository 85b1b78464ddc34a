package throttle

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// Taker counts acts. *Limiter, *Local and Chain are some.
type Taker interface {
	Take(ctx context.Context, limit Limit, who string) (bool, error)
}

// Chain asks several counters in turn; the first that refuses ends it. A
// process's own stands first: it keeps a flood away from Redis.
type Chain []Taker

// Take counts one act at each and tells whether it is within all limits.
func (c Chain) Take(ctx context.Context, limit Limit, who string) (bool, error) {
	for _, t := range c {
		if ok, err := t.Take(ctx, limit, who); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// maxKeys bounds the memory of a window; a flood from many sources then meets
// the limit over all of them alone.
const maxKeys = 100_000

// Local counts in this process alone, in fixed windows. Keys are hashed with a
// seed of this process: no address is kept. It is safe for concurrent use.
type Local struct {
	now     func() time.Time
	seed    maphash.Seed
	mu      sync.Mutex
	windows map[string]*window
}

type window struct {
	began  time.Time
	counts map[uint64]int
}

// NewLocal makes counters; now is the clock.
func NewLocal(now func() time.Time) *Local {
	return &Local{now: now, seed: maphash.MakeSeed(), windows: map[string]*window{}}
}

// Take counts one act and tells whether it is within the limit. It never fails.
func (l *Local) Take(_ context.Context, limit Limit, who string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, key := l.window(limit), maphash.String(l.seed, who)
	n := w.counts[key]
	if n >= limit.Most || (n == 0 && len(w.counts) >= maxKeys) {
		return false, nil
	}
	w.counts[key] = n + 1
	return true, nil
}

// Spent tells whether who has used the limit up, without counting.
func (l *Local) Spent(limit Limit, who string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.window(limit).counts[maphash.String(l.seed, who)] >= limit.Most
}

// window is the one of the limit that runs now.
func (l *Local) window(limit Limit) *window {
	w := l.windows[limit.Name]
	if w == nil {
		w = &window{counts: map[uint64]int{}}
		l.windows[limit.Name] = w
	}
	now := l.now()
	if since := now.Sub(w.began); since < 0 || since >= limit.Window {
		w.began = now
		clear(w.counts)
	}
	return w
}
