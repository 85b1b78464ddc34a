package intake

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MailboxHealth is how one mailbox does. A silent intake is loud: /readyz and
// the alert read LastSuccess.
type MailboxHealth struct {
	Mailbox     string
	Started     time.Time
	LastSuccess time.Time // last time a folder was read to its end; zero: never
	Failing     string    // what the last try failed with, "" after a success
	Standby     bool      // another poller holds the mailbox
	Since       time.Time // of Failing
}

// Health tells of every mailbox, in the order configured.
func (p *Poller) Health() []MailboxHealth {
	var out []MailboxHealth
	for _, b := range p.boxes {
		b.mu.Lock()
		out = append(out, b.health)
		b.mu.Unlock()
	}
	return out
}

func (b *box) succeeded() {
	now := b.p.o.Now()
	b.mu.Lock()
	b.health.LastSuccess, b.health.Failing, b.health.Standby, b.health.Since = now, "", false, time.Time{}
	b.mu.Unlock()
	b.p.metrics.success.WithLabelValues(b.Name).Set(float64(now.Unix()))
}

func (b *box) failed(err error) {
	if err == nil {
		return
	}
	b.mu.Lock()
	if b.health.Failing == "" {
		b.health.Since = b.p.o.Now()
	}
	b.health.Failing = err.Error()
	b.mu.Unlock()
	b.p.metrics.failures.WithLabelValues(b.Name).Inc()
	b.p.o.Log.Warn("mailbox could not be read, will try again", "mailbox", b.Name, "err", err)
}

func (b *box) folderFailed(folder string, err error) {
	if err == nil {
		return
	}
	b.failed(err)
	_ = folder
}

func (b *box) standby() {
	b.mu.Lock()
	b.health.Standby, b.health.Failing = true, ""
	b.mu.Unlock()
}

type metrics struct {
	messages *prometheus.CounterVec
	failures *prometheus.CounterVec
	success  *prometheus.GaugeVec
	manual   prometheus.Counter
	vanished prometheus.Counter
	panics   prometheus.Counter
}

// newMetrics registers the room's metrics; kind is one of the classifier's
// kinds or "opt_out", mailbox a configured name.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_intake_messages_total", Help: "Mails read and stored, by what they became."}, []string{"kind"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_intake_failures_total", Help: "Failed tries to read a mailbox."}, []string{"mailbox"}),
		success:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "postern_intake_last_success_timestamp_seconds", Help: "When a folder of the mailbox was last read to its end."}, []string{"mailbox"}),
		manual:   prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_intake_manual_total", Help: "Mails that became cases unread: too big, too deep, or the reader broke on them."}),
		vanished: prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_intake_vanished_total", Help: "Mails another program removed before they were read."}),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_intake_panics_total", Help: "Failures of the reader itself."}),
	}
	if reg != nil {
		reg.MustRegister(m.messages, m.failures, m.success, m.manual, m.vanished, m.panics)
	}
	return m
}
