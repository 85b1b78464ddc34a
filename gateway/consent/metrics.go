package consent

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are postern_consent_*; all labels are closed sets.
type metrics struct {
	lookups *prometheus.CounterVec // result: ok, unavailable, damaged
	seconds prometheus.Histogram
	optOuts *prometheus.CounterVec // reason: those of Reason; source: those of sourceLabel
	events  *prometheus.CounterVec // action: those of Action
}

// newMetrics makes and, where reg is set, registers them. A flood of opt-outs
// from one source shows in optouts_total (design D13).
func newMetrics(reg prometheus.Registerer, j *journal) (*metrics, error) {
	m := &metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_consent_lookups_total", Help: "Recipients looked up, by result.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postern_consent_lookup_seconds", Help: "Time of one look-up of all recipients of a message.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .05, .25, 1, 2},
		}),
		optOuts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_consent_optouts_total", Help: "Suppressions set, by reason and where they came from.",
		}, []string{"reason", "source"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_consent_events_total", Help: "Consent events recorded, by action.",
		}, []string{"action"}),
	}
	if reg == nil {
		return m, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postern_consent_waiting", Help: "Opt-outs in the journal that Redis has not confirmed yet.",
	}, func() float64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return float64(len(j.waiting))
	})
	for _, c := range []prometheus.Collector{m.lookups, m.seconds, m.optOuts, m.events, waiting} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register consent metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) looked(n int, took time.Duration, err error) {
	result := "ok"
	switch {
	case errors.Is(err, ErrDamaged):
		result = "damaged"
	case err != nil:
		result = "unavailable"
	}
	m.lookups.WithLabelValues(result).Add(float64(n))
	m.seconds.Observe(took.Seconds())
}

// sourceLabel keeps the set of sources closed.
func sourceLabel(source string) string {
	switch source {
	case "one-click", "page", "mailto", "privacy-mail", "cli", "console", "api", "bounce", "erasure":
		return source
	}
	if strings.HasPrefix(source, "import:") {
		return "import"
	}
	return "other"
}
