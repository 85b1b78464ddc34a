package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/queue/fulfil"
)

// metrics of the room. Labels are closed sets: states of state.go, kinds of
// work, words of RFC 3834's decision.
type metrics struct {
	cases   *prometheus.Desc
	states  *prometheus.Desc // state: those of state.go
	wishes  *prometheus.Desc
	oldest  *prometheus.Desc
	overdue *prometheus.Desc
	waiting *prometheus.Desc
	dead    *prometheus.Desc
	hooks   *prometheus.CounterVec // result: taken, failed, gone
	work    *prometheus.CounterVec // do: mail, trail, remind, send, fulfil, hook, destroy; result: done, back, later, dead
	q       *Queue
}

func newMetrics(q *Queue) *metrics {
	return &metrics{
		q:       q,
		cases:   prometheus.NewDesc("postern_queue_live_cases", "Cases whose clock runs.", nil, nil),
		states:  prometheus.NewDesc("postern_queue_cases", "Cases by state.", []string{"state"}, nil),
		wishes:  prometheus.NewDesc("postern_queue_approvals_waiting", "Live cases in which an operator asked for the approval of another.", nil, nil),
		oldest:  prometheus.NewDesc("postern_queue_next_due_seconds", "Seconds until the next case is due; negative when overdue.", nil, nil),
		overdue: prometheus.NewDesc("postern_queue_overdue_cases", "Live cases whose due date is over.", nil, nil),
		waiting: prometheus.NewDesc("postern_queue_work_waiting", "Pieces of work in the stream or waiting for another try.", nil, nil),
		dead:    prometheus.NewDesc("postern_queue_work_dead", "Pieces of work that were given up.", nil, nil),
		hooks:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_queue_hooks_total", Help: "Tries to tell a hook of an event, by how they ended."}, []string{"result"}),
		work:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_queue_work_total", Help: "Work by kind and how it ended."}, []string{"do", "result"}),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.cases, m.states, m.wishes, m.oldest, m.overdue, m.waiting, m.dead} {
		ch <- d
	}
	m.work.Describe(ch)
	m.hooks.Describe(ch)
}

// Collect implements prometheus.Collector; figures of a Redis that does not
// answer are left out.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.work.Collect(ch)
	m.hooks.Collect(ch)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f, err := m.q.Figures(ctx)
	if err != nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(m.cases, float64(f.Live))
	gauge(m.overdue, float64(f.Overdue))
	gauge(m.waiting, float64(f.Work))
	gauge(m.dead, float64(f.Dead))
	if !f.NextDue.IsZero() {
		gauge(m.oldest, f.NextDue.Sub(m.q.o.Now()).Seconds())
	}
	m.byState(ctx, ch)
}

// byState counts all cases, from the index in memory.
func (m *metrics) byState(ctx context.Context, ch chan<- prometheus.Metric) {
	s, _, err := m.q.index.Snapshot(ctx)
	if err != nil {
		return
	}
	counts, wishes := map[State]int{}, 0
	for _, c := range s.Cases {
		counts[c.State]++
		if c.State.Live() && slices.Contains(c.Flags, FlagApproval) {
			wishes++
		}
	}
	for _, state := range States() {
		ch <- prometheus.MustNewConstMetric(m.states, prometheus.GaugeValue, float64(counts[state]), string(state))
	}
	ch <- prometheus.MustNewConstMetric(m.wishes, prometheus.GaugeValue, float64(wishes))
}

// hook counts a try to tell a hook.
func (m *metrics) hook(err error) {
	switch {
	case err == nil:
		m.hooks.WithLabelValues("taken").Inc()
	case fulfil.Permanent(err):
		m.hooks.WithLabelValues("gone").Inc()
	default:
		m.hooks.WithLabelValues("failed").Inc()
	}
}

// Figures is the queue at a glance.
type Figures struct {
	Live    int64
	Overdue int64
	NextDue time.Time // zero: no live case
	Work    int64     // to be done now or later
	Dead    int64     // given up
	Aside   int64     // mails that became no case
}

// Figures reads the counts without touching a case.
func (q *Queue) Figures(ctx context.Context) (Figures, error) {
	p := q.rdb.Pipeline()
	live, overdue := p.ZCard(ctx, keyDue), p.ZCount(ctx, keyDue, "-inf", "("+millis(q.o.Now()))
	next := p.ZRangeWithScores(ctx, keyDue, 0, 0)
	work, later := p.XLen(ctx, keyWork), p.ZCard(ctx, keyLater)
	dead, aside := p.XLen(ctx, keyDead), p.ZCard(ctx, keyAside)
	if _, err := p.Exec(ctx); err != nil {
		return Figures{}, fmt.Errorf("read figures of the queue: %w", err)
	}
	f := Figures{Live: live.Val(), Overdue: overdue.Val(), Work: work.Val() + later.Val(), Dead: dead.Val(), Aside: aside.Val()}
	if z := next.Val(); len(z) == 1 {
		f.NextDue = time.UnixMilli(int64(z[0].Score)).UTC()
	}
	return f, nil
}
