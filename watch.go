package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/gateway/consent"
)

// watch measures what belongs to no room: whether Redis is still one that
// forgets nothing, and how fast the public pages answer.
type watch struct {
	durable atomic.Int32 // 1: yes, 0: no, -1: not known yet or can't be asked
	took    *prometheus.HistogramVec
}

// newWatch registers postern_node_*. Label page: a first part of a path of the
// public listener, or "other".
func newWatch(reg prometheus.Registerer) (*watch, error) {
	w := &watch{took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "postern_node_public_request_seconds",
		Help: "Time to the answer of a public page.", Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 8}}, []string{"page"})}
	w.durable.Store(-1)
	durable := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postern_node_redis_durable",
		Help: "1 while Redis keeps what it is told (AOF, fsync always, no eviction), 0 while it does not, -1 while that is not known."},
		func() float64 { return float64(w.durable.Load()) })
	return w, errors.Join(reg.Register(w.took), reg.Register(durable))
}

// lookEvery is the time between two looks at Redis.
const lookEvery = time.Minute

// run looks after Redis until ctx ends.
func (w *watch) run(ctx context.Context, n *node) error {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		w.look(ctx, n)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (w *watch) look(ctx context.Context, n *node) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := consent.CheckDurability(ctx, n.rdb, consent.Durability{AllowVolatile: n.cfg.Redis.AllowVolatile, Asserted: n.cfg.Redis.DurabilityAsserted})
	switch {
	case err == nil:
		w.durable.Store(1)
	case errors.Is(err, consent.ErrVolatile):
		if w.durable.Swap(0) != 0 {
			n.log.Error("redis may lose what it is told", "err", err)
		}
	default:
		w.durable.Store(-1)
	}
}

// publicPages are the first parts of paths that are measured by name.
var publicPages = []string{"u", "undo", "p", "s", "c", "fresh", "case", "request", "notice", "results", "static"}

// measured times the answers of h.
func (w *watch) measured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		page := "other"
		first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		for _, p := range publicPages {
			if first == p {
				page = p
			}
		}
		start := time.Now()
		h.ServeHTTP(rw, r)
		w.took.WithLabelValues(page).Observe(time.Since(start).Seconds())
	})
}
