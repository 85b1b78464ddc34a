package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
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

// change tells open pages that cases changed.
type change struct {
	tick    int64
	numbers []string
}

// hub looks for changes once for all open pages.
type hub struct {
	c    *Console
	mu   sync.Mutex
	open map[chan change]bool
	done chan struct{} // closed when run ends
}

func newHub(c *Console) *hub {
	return &hub{c: c, open: map[chan change]bool{}, done: make(chan struct{})}
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
		numbers, err := h.c.d.Cases.Touched(ctx, last)
		if err != nil {
			continue
		}
		if last > 0 {
			h.tell(change{s.Tick, numbers})
		}
		last = s.Tick
	}
}

func (h *hub) listeners() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// tell hands a change to every page; one that does not keep up loses it and
// shows the next.
func (h *hub) tell(ch change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.open {
		select {
		case c <- ch:
		default:
		}
	}
}

func (h *hub) join() (chan change, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.open) >= liveMost {
		return nil, false
	}
	c := make(chan change, 8)
	h.open[c] = true
	return c, true
}

func (h *hub) leave(c chan change) {
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
	numbers, err := c.d.Cases.Touched(v.ctx(), since) // what came between the page and this stream
	if err != nil || !send("retry: 5000\n\n") {
		return nil
	}
	seen := map[string]bool{}
	beat := time.NewTicker(liveBeat)
	defer beat.Stop()
	for {
		for _, no := range numbers {
			if only == "" || only == no {
				seen[no] = true
			}
		}
		if len(numbers) > 0 && len(seen) > 0 && !send(fmt.Sprintf("event: changes\ndata: %d\n\n", len(seen))) {
			return nil
		}
		numbers = nil
		select {
		case <-v.ctx().Done():
			return nil
		case <-c.live.done:
			return nil
		case ch := <-changes:
			numbers = slices.DeleteFunc(ch.numbers, func(no string) bool { return only != "" && no != only })
		case <-beat.C:
			if alive, err := c.d.Users.Alive(v.ctx(), v.cookie); err != nil || !alive || !send(": beat\n\n") {
				return nil
			}
		}
	}
}
