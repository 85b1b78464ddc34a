package delivery

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of delivery; the label values are closed sets.
type metrics struct {
	all         []prometheus.Collector
	results     *prometheus.CounterVec // result: the spool's states
	reports     *prometheus.CounterVec // action: failed, delayed, relayed
	connections *prometheus.CounterVec // event: opened, failed, broken
	panics      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, d *Deliverer) (*metrics, error) {
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_delivery_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		results:     vec("attempts_total", "Recipients an attempt was made for, by what became of them.", "result"),
		reports:     vec("reports_total", "Recipients reported to their sender, by action.", "action"),
		connections: vec("connections_total", "Connections to smarthosts, by event.", "event"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_delivery_panics_total",
			Help: "Messages whose attempt was broken off by a fault of the program."}),
	}
	m.all = []prometheus.Collector{m.results, m.reports, m.connections, m.panics, smarthostsUp{&d.hosts}}
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

// smarthostsUp tells of each smarthost that is configured now.
type smarthostsUp struct{ hosts *hosts }

var smarthostUp = prometheus.NewDesc("postern_delivery_smarthost_up", "1 while mail goes to the smarthost, 0 while it is away.", []string{"smarthost"}, nil)

func (smarthostsUp) Describe(ch chan<- *prometheus.Desc) { ch <- smarthostUp }

func (u smarthostsUp) Collect(ch chan<- prometheus.Metric) {
	for _, h := range u.hosts.list() {
		up := 1.0
		if h.isAway() {
			up = 0
		}
		ch <- prometheus.MustNewConstMetric(smarthostUp, prometheus.GaugeValue, up, h.opts.Name)
	}
}
