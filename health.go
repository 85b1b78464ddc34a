package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"postern/intake"
)

// health answers whether this node lives and whether it can do its work.
type health struct {
	node   *node
	poller *intake.Poller
}

// handler serves /healthz (alive), /readyz (Redis, spool and intake usable)
// and /metrics.
func (h *health) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", h.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.node.metrics, promhttp.HandlerOpts{}))
	return mux
}

// ready lists what is wrong, one line each, with 503; "ok" and 200 if nothing.
func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	faults := h.faults(ctx)
	if len(faults) == 0 {
		fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
}

func (h *health) faults(ctx context.Context) (faults []string) {
	if err := h.node.consent.Check(ctx); err != nil {
		faults = append(faults, "redis: consent can't be looked up; marketing waits")
	}
	if h.node.spool.Stats().Full {
		faults = append(faults, "spool: full, mail is answered 452")
	}
	for _, m := range h.poller.Health() {
		if fault := silent(m, time.Now()); fault != "" {
			faults = append(faults, "mailbox "+m.Mailbox+": "+fault)
		}
	}
	return faults
}

// silentAfter is how long a mailbox may go unread before the node is not ready.
const silentAfter = 10 * time.Minute

// silent says since when a mailbox was not read, or "" where all is well or
// another node reads it.
func silent(m intake.MailboxHealth, now time.Time) string {
	last := m.LastSuccess
	if last.IsZero() {
		last = m.Started
	}
	if m.Standby || now.Sub(last) < silentAfter && (m.Failing == "" || !m.LastSuccess.IsZero()) {
		return ""
	}
	if m.LastSuccess.IsZero() {
		return "could not be read since the start; check the log-in"
	}
	return "was last read at " + last.Format(time.RFC3339) + "; check the log-in"
}
