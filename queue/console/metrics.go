package console

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/queue/console/auth"
)

// register makes postern_console_*. Labels: result is ok, wrong, limited or
// failed; page the pattern of a route.
func (c *Console) register() error {
	c.logins = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_console_logins_total", Help: "Log-ins to the console by result."}, []string{"result"})
	c.took = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "postern_console_request_seconds", Help: "Time to the answer of a page of the console.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}, []string{"page"})
	if c.o.Metrics == nil {
		return nil
	}
	if err := errors.Join(c.o.Metrics.Register(c.logins), c.o.Metrics.Register(c.took)); err != nil {
		return fmt.Errorf("register console metrics: %w", err)
	}
	return nil
}

// loggedIn counts a try to log in.
func (c *Console) loggedIn(err error) {
	switch {
	case err == nil:
		c.logins.WithLabelValues("ok").Inc()
	case errors.Is(err, auth.ErrWrong):
		c.logins.WithLabelValues("wrong").Inc()
	case errors.Is(err, auth.ErrLimit):
		c.logins.WithLabelValues("limited").Inc()
	default:
		c.logins.WithLabelValues("failed").Inc()
	}
}

// answered measures a page; live streams last as long as somebody looks.
func (c *Console) answered(rt *route, start time.Time) {
	if !rt.raw && rt.path != "" {
		c.took.WithLabelValues(rt.method + " " + rt.path).Observe(time.Since(start).Seconds())
	}
}
