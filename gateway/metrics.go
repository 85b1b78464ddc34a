package gateway

import "github.com/prometheus/client_golang/prometheus"

// serverMetrics are the protocol's. Labels are closed sets: listener and the
// configured names, result and tag as listed beside them.
type serverMetrics struct {
	open     *prometheus.GaugeVec   // listener
	conns    *prometheus.CounterVec // listener, result: accepted, busy, too_many, not_proxied, tls_failed
	messages *prometheus.CounterVec // listener, result: accepted, refused, deferred, mixed, aborted
	replies  *prometheus.CounterVec // tag of each 4yz and 5yz reply (reply.go)
	auth     *prometheus.CounterVec // result: ok, remembered, failed, unavailable, limited
	size     prometheus.Histogram   // octets of messages received whole
	decide   prometheus.Histogram   // seconds from the final dot to the verdict
	panics   prometheus.Counter
}

func newServerMetrics(reg prometheus.Registerer, held func() float64) (*serverMetrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postern", Subsystem: "gateway", Name: name, Help: help}, labels)
	}
	m := &serverMetrics{
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "postern", Subsystem: "gateway",
			Name: "connections", Help: "Connections open now."}, []string{"listener"}),
		conns:    counter("connections_total", "Connections by how they began.", "listener", "result"),
		messages: counter("messages_total", "Messages by what was answered to them.", "listener", "result"),
		replies:  counter("replies_total", "Replies of class 4 and 5 by tag.", "tag"),
		auth:     counter("auth_total", "AUTH attempts by result.", "result"),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "postern", Subsystem: "gateway",
			Name: "message_bytes", Help: "Size of messages received.", Buckets: prometheus.ExponentialBuckets(1024, 4, 9)}),
		decide: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "postern", Subsystem: "gateway",
			Name: "decide_seconds", Help: "Time from the end of data to the verdict, spooling included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 12)}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "postern", Subsystem: "gateway",
			Name: "panics_total", Help: "Sessions ended by a fault in our own code."}),
	}
	if reg == nil {
		return m, nil
	}
	memory := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "postern", Subsystem: "gateway",
		Name: "message_memory_bytes", Help: "Memory reserved for messages being received."}, held)
	for _, c := range []prometheus.Collector{m.open, m.conns, m.messages, m.replies, m.auth, m.size, m.decide, m.panics, memory} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
