package gateway

import (
	"github.com/prometheus/client_golang/prometheus"
)

// engineMetrics are the postern_gateway_* metrics of the engine. Labels:
// decision is allow, deny, defer or would; reason is a Reason or "none"; stage
// is rcpt, data or prepare; stream is the name of a configured one.
type engineMetrics struct {
	recipients   *prometheus.CounterVec
	refused      *prometheus.CounterVec
	lookup       prometheus.Histogram
	lookupFailed prometheus.Counter
	judge        prometheus.Histogram
	signed       *prometheus.CounterVec
	stale        prometheus.Gauge
	advisory     prometheus.Counter
}

func newEngineMetrics(reg prometheus.Registerer) (*engineMetrics, error) {
	buckets := prometheus.ExponentialBuckets(0.0001, 2.5, 12)
	m := &engineMetrics{
		recipients: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_gateway_recipients_total",
			Help: "Verdicts on recipients."}, []string{"stage", "stream", "decision", "reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_gateway_messages_refused_total",
			Help: "Messages refused as a whole."}, []string{"reason"}),
		lookup: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "postern_gateway_lookup_seconds",
			Help: "Duration of one consent look-up for all recipients of a message.", Buckets: buckets}),
		lookupFailed: prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_gateway_lookups_failed_total",
			Help: "Consent look-ups without an answer: marketing is deferred."}),
		judge: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "postern_gateway_data_seconds",
			Help: "From the end of DATA to the reply, look-up and commit included.", Buckets: buckets}),
		signed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_gateway_signatures_total",
			Help: "Copies signed; result is ok or error."}, []string{"result"}),
		stale: prometheus.NewGauge(prometheus.GaugeOpts{Name: "postern_gateway_streams_observed_too_long",
			Help: "Streams in observe mode for more than 30 days."}),
		advisory: prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_gateway_advisories_total",
			Help: "Messages of transactional streams that look like marketing."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.recipients, m.refused, m.lookup, m.lookupFailed, m.judge, m.signed, m.stale, m.advisory} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// verdict counts one verdict, or tells that it is one of those that allowed
// counts all at once.
func (m *engineMetrics) verdict(stage, stream string, v verdict) (allowed int) {
	switch {
	case v.Deny != nil && v.Deny.Defer:
		m.recipients.WithLabelValues(stage, stream, "defer", string(v.Deny.Reason)).Inc()
	case v.Deny != nil:
		m.recipients.WithLabelValues(stage, stream, "deny", string(v.Deny.Reason)).Inc()
	case v.Would != nil:
		m.recipients.WithLabelValues(stage, stream, "would", string(v.Would.Reason)).Inc()
	default:
		return 1
	}
	return 0
}

func (m *engineMetrics) allowed(stage, stream string, n int) {
	if n > 0 {
		m.recipients.WithLabelValues(stage, stream, "allow", "none").Add(float64(n))
	}
}
