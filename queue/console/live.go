package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// liveTick is how often changes are looked for while a page is open; liveBeat
// keeps proxies from closing a silent stream; liveMost bounds open streams.
const (
	liveTick = time.Second
	liveBeat = 20 * time.Second
	liveMost = 500
)

// hub looks for changes once for all open pages.
type hub struct {
	c    *Console
	mu   sync.Mutex
	open map[chan struct{}]bool
	done chan struct{} // closed when run ends
}

func newHub(c *Console) *hub {
	return &hub{c: c, open: map[chan struct{}]bool{}, done: make(chan struct{})}
}

// run looks for changes while anybody listens.
func (h *hub) run(ctx context.Context) error {
	defer close(h.done)
	tick := time.NewTicker(liveTick)
	defer tick.Stop()
	var last int64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if h.listeners() == 0 {
			continue
		}
		s, _, err := h.c.index.Snapshot(ctx)
		if err != nil || s.Tick == last {
			continue // a store that is away is told by the pages themselves
		}
		last = s.Tick
		h.wake()
	}
}

func (h *hub) listeners() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// wake tells every open page to look for what came after the change it knows.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.open {
		select {
		case c <- struct{}{}:
		default: // it is awake already
		}
	}
}

func (h *hub) join() (chan struct{}, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.open) >= liveMost {
		return nil, false
	}
	c := make(chan struct{}, 1)
	h.open[c] = true
	return c, true
}

func (h *hub) leave(c chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, c)
}

// liveStream tells an open page by server-sent events that something changed
// since the change it shows. It says how many cases, never which: a page that
// names a case hears of that one alone. The session is looked at anew with
// each beat, so that a log-out ends it.
func (c *Console) liveStream(v *visit) error {
	changes, ok := c.live.join()
	if !ok {
		v.w.Header().Set("Retry-After", "60")
		http.Error(v.w, "too many open pages", http.StatusServiceUnavailable)
		return nil
	}
	defer c.live.leave(changes)
	only := v.r.URL.Query().Get("case")
	since, _ := strconv.ParseInt(v.r.URL.Query().Get("since"), 10, 64)
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(v.w)
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, err := fmt.Fprint(v.w, text)
		return err == nil && out.Flush() == nil
	}
	if !send("retry: 5000\n\n") {
		return nil
	}
	seen := map[string]bool{}
	beat := time.NewTicker(liveBeat)
	defer beat.Stop()
	for {
		numbers, err := c.d.Cases.Touched(v.ctx(), since)
		if err != nil {
			return nil // the page tries again
		}
		before := len(seen)
		for _, no := range numbers {
			if only == "" || only == no {
				seen[no] = true
			}
		}
		if len(seen) > before && !send(fmt.Sprintf("event: changes\ndata: %d\n\n", len(seen))) {
			return nil
		}
		select {
		case <-v.ctx().Done():
			return nil
		case <-c.live.done:
			return nil
		case <-changes:
		case <-beat.C:
			if alive, err := c.d.Users.Alive(v.ctx(), v.cookie); err != nil || !alive || !send(": beat\n\n") {
				return nil
			}
		}
	}
}
