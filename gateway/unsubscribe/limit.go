package unsubscribe

import (
	"context"
	"net/http"
	"time"

	"postern/gateway/throttle"
	"postern/gateway/webpage"
)

// admitted tells whether a client may have a mail sent by a form now; if not
// it has answered. Where the shared counts can't be asked nothing is sent: a
// third person's mailbox must not be filled through several nodes.
func (h *handler) admitted(ctx context.Context, a *webpage.Ask, name string) bool {
	for _, l := range []struct {
		limit throttle.Limit
		who   string
	}{
		{throttle.Limit{Name: "client", Most: h.opts.PerClient, Window: time.Hour}, webpage.Client(a.R, h.opts.TrustProxy)},
		{throttle.Limit{Name: "total", Most: h.opts.Total, Window: time.Hour}, ""},
	} {
		ok, err := h.limits.Take(ctx, l.limit, l.who)
		if err != nil {
			h.uncounted(a, name, err)
			return false
		}
		if !ok {
			h.tooMany(a, name)
			return false
		}
	}
	return true
}

// counters are those the limits are counted by: this process's own first, which
// keep a flood away from Redis.
func (o Options) counters() throttle.Taker {
	own := throttle.NewLocal(o.Now)
	if o.Limits == nil {
		return own
	}
	return throttle.Chain{own, o.Limits}
}

// uncounted answers where a limit can't be asked. It says so to everybody
// alike.
func (h *handler) uncounted(a *webpage.Ask, name string, err error) {
	h.opts.Log.Error("rate limits could not be counted, nothing was sent", "error", err)
	h.count.WithLabelValues(name, "away").Inc()
	h.write(a, webpage.Page{Status: http.StatusServiceUnavailable, Heading: a.Say("away_heading"), Lead: []string{a.Say("away_lead")}})
}
