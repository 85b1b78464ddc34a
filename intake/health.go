package intake

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MailboxHealth is how one mailbox does. A silent intake is loud: /readyz and
// the alert read LastSuccess, which is that of the folder longest unread: a
// junk folder that can be read does not hide an INBOX that can't.
type MailboxHealth struct {
	Mailbox     string
	Started     time.Time // of this poller's reading, or of its last standing by
	LastSuccess time.Time // by when each folder was read to its end; zero: one never was
	Failing     string    // what the last try of a folder failed with, "" after a success
	Standby     bool      // another poller holds the mailbox
	Since       time.Time // of Failing
}

// folderHealth is how one folder does, or with the name "" the lease.
type folderHealth struct {
	name    string
	last    time.Time // read to its end
	failing string
	since   time.Time
	absent  bool // the server has no such folder, and need not
}

// Health tells of every mailbox, in the order configured.
func (p *Poller) Health() []MailboxHealth {
	var out []MailboxHealth
	for _, b := range p.list() {
		b.mu.Lock()
		out = append(out, b.summary())
		b.mu.Unlock()
	}
	return out
}

// summary is the health of the mailbox by that of its folders. The caller
// holds mu.
func (b *box) summary() MailboxHealth {
	h := MailboxHealth{Mailbox: b.Name, Started: b.started, Standby: b.standingBy}
	read, first := true, true
	for _, f := range b.folders {
		if f.failing != "" && (h.Failing == "" || f.since.Before(h.Since)) {
			h.Failing, h.Since = f.failing, f.since
		}
		if f.name == "" || f.absent {
			continue
		}
		read = read && !f.last.IsZero()
		if first || f.last.Before(h.LastSuccess) {
			h.LastSuccess, first = f.last, false
		}
	}
	if !read {
		h.LastSuccess = time.Time{}
	}
	return h
}

// healthOf finds or makes the entry of a folder. The caller holds mu.
func (b *box) healthOf(folder string) *folderHealth {
	for _, f := range b.folders {
		if f.name == folder {
			return f
		}
	}
	f := &folderHealth{name: folder}
	b.folders = append(b.folders, f)
	return f
}

// succeeded notes that a folder, as configured, was read to its end.
func (b *box) succeeded(folder string) {
	b.mu.Lock()
	f := b.healthOf(folder)
	f.last, f.failing, f.since, f.absent = b.p.o.Now(), "", time.Time{}, false
	lease := b.healthOf("")
	lease.failing, lease.since = "", time.Time{}
	b.standingBy = false
	last := b.summary().LastSuccess
	b.mu.Unlock()
	if !last.IsZero() {
		b.p.metrics.success.WithLabelValues(b.Name).Set(float64(last.Unix()))
	}
}

// failed notes that a folder could not be read; "" is the lease.
func (b *box) failed(folder string, err error) {
	if err == nil {
		return
	}
	b.mu.Lock()
	f := b.healthOf(folder)
	if f.failing == "" {
		f.since = b.p.o.Now()
	}
	f.failing, f.absent = err.Error(), false
	b.mu.Unlock()
	b.p.metrics.failures.WithLabelValues(b.Name).Inc()
	b.p.o.Log.Warn("mailbox could not be read, will try again", "mailbox", b.Name, "folder", folder, "err", err)
}

// absent notes that the server has no folder for junk: nothing to read, and no
// fault.
func (b *box) absent(folder string) {
	b.mu.Lock()
	f := b.healthOf(folder)
	known := f.absent
	f.failing, f.since, f.absent = "", time.Time{}, true
	b.mu.Unlock()
	if !known {
		b.p.o.Log.Info("the server names no folder for junk: name it in folders if there is one", "mailbox", b.Name)
	}
}

// standby notes that another poller has the mailbox: what this one knows of it
// is of no use until it reads again.
func (b *box) standby() {
	b.mu.Lock()
	b.standingBy, b.started = true, b.p.o.Now()
	for _, f := range b.folders {
		f.last, f.failing, f.since = time.Time{}, "", time.Time{}
	}
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
		success:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "postern_intake_last_success_timestamp_seconds", Help: "When the folder of the mailbox that is longest unread was last read to its end; before the first time, when reading began."}, []string{"mailbox"}),
		manual:   prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_intake_manual_total", Help: "Mails that became cases unread: too big, too deep, or the reader broke on them."}),
		vanished: prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_intake_vanished_total", Help: "Mails another program removed before they were read."}),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_intake_panics_total", Help: "Failures of the reader itself."}),
	}
	if reg != nil {
		reg.MustRegister(m.messages, m.failures, m.success, m.manual, m.vanished, m.panics)
	}
	return m
}
