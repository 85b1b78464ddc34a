package spool

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the spool; each is described in its Help.
type metrics struct {
	all         []prometheus.Collector
	accepted    prometheus.Counter
	refused     prometheus.Counter
	finished    prometheus.Counter
	readBack    prometheus.Counter
	writeErrors prometheus.Counter
	acceptTime  prometheus.Histogram
	spoolTime   prometheus.Histogram
}

// newMetrics makes and registers the metrics; a nil registerer is allowed.
func newMetrics(reg prometheus.Registerer, s *Store) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_spool_" + name, Help: help})
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postern_spool_" + name, Help: help}, value)
	}
	m := &metrics{
		accepted:    counter("accepted_total", "Messages stored durably."),
		refused:     counter("refused_total", "Messages refused because the spool is full."),
		finished:    counter("finished_total", "Messages that left the spool with an outcome for every recipient."),
		readBack:    counter("read_back_total", "Messages read back from disk for an attempt."),
		writeErrors: counter("write_errors_total", "Commits of outcomes that failed."),
		acceptTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "postern_spool_accept_seconds",
			Help: "Time until an accepted message is durable.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13)}),
		spoolTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "postern_spool_time_seconds",
			Help: "Time from acceptance to the last recipient's outcome.", Buckets: prometheus.ExponentialBuckets(0.002, 4, 14)}),
	}
	m.all = []prometheus.Collector{m.accepted, m.refused, m.finished, m.readBack, m.writeErrors, m.acceptTime, m.spoolTime,
		gauge("messages", "Messages in the spool.", func() float64 { return float64(s.messages.Load()) }),
		gauge("bytes", "Octets of messages in the spool.", func() float64 { return float64(s.bytes.Load()) }),
		gauge("limit_bytes", "Octets of messages the spool takes; then mail is answered 452.", func() float64 { return float64(s.limits.Load().Bytes) }),
		gauge("limit_messages", "Messages the spool takes; then mail is answered 452.", func() float64 { return float64(s.limits.Load().Messages) }),
		gauge("full", "1 while mail is answered 452 because the spool or the disk is full.", func() float64 {
			if s.Stats().Full {
				return 1
			}
			return 0
		}),
		gauge("held_messages", "Messages that wait for an operator.", func() float64 { return float64(s.held.Load()) }),
		gauge("damaged_records", "Records that could not be read since start.", func() float64 { return float64(s.damaged.Load()) }),
		gauge("oldest_seconds", "Age of the message that waits longest.", func() float64 {
			if t := s.oldest(); !t.IsZero() {
				return s.opts.Now().Sub(t).Seconds()
			}
			return 0
		}),
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range m.all {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) unregister(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	for _, c := range m.all {
		reg.Unregister(c)
	}
}
