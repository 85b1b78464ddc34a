package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/classifier"
)

// Month is what happened to the requests received in one month, in one
// controller's time zone.
type Month struct {
	Controller string
	From, To   time.Time
	Received   int
	Target     int                        // internal target in working days
	ByLabel    map[classifier.Label]Tally // a case with two rights counts in both
	Total      Tally
}

// Tally counts cases by how they ended.
type Tally struct {
	Cases      int
	Answered   int // answered, closed or forwarded
	Denied     int
	Live       int
	OnTime     int     // ended before the due date
	Late       int     // ended after it, or live and overdue
	Extended   int     //
	MedianDays float64 // from receipt to end, of those ended; working days
	InTarget   int     // ended within the internal target
	days       []float64
}

// Report gives the month's figures per controller, sorted by its id.
func (q *Queue) Report(ctx context.Context, year int, month time.Month) ([]Month, error) {
	var out []Month
	for _, c := range q.d.Streams().Controllers() {
		calendar, loc := q.seat(c)
		m := Month{Controller: c.ID, Target: q.target(c.ID), From: time.Date(year, month, 1, 0, 0, 0, 0, loc), To: time.Date(year, month+1, 1, 0, 0, 0, 0, loc), ByLabel: map[classifier.Label]Tally{}}
		cases, err := q.receivedBetween(ctx, m.From, m.To)
		if err != nil {
			return nil, err
		}
		for _, k := range cases {
			if k.Controller != c.ID || k.State == Merged {
				continue
			}
			m.Received++
			days := -1.0
			if !k.State.Live() && !k.EndedAt.IsZero() {
				days = float64(calendar.Between(k.Received.In(loc), k.EndedAt.In(loc)))
			}
			m.Total.add(k, days, m.Target, q.o.Now())
			for _, l := range k.Labels {
				t := m.ByLabel[l]
				t.add(k, days, m.Target, q.o.Now())
				m.ByLabel[l] = t
			}
		}
		m.Total.finish()
		for l, t := range m.ByLabel {
			t.finish()
			m.ByLabel[l] = t
		}
		out = append(out, m)
	}
	return out, nil
}

func (q *Queue) receivedBetween(ctx context.Context, from, to time.Time) ([]*Case, error) {
	numbers, err := q.rdb.ZRangeByScore(ctx, keyAll, &redis.ZRangeBy{Min: millis(from), Max: "(" + millis(to)}).Result()
	if err != nil {
		return nil, fmt.Errorf("find cases of %s: %w", from.Format("2006-01"), err)
	}
	var out []*Case
	for chunk := range slices.Chunk(numbers, 256) {
		cases, err := q.readMany(ctx, chunk)
		if err != nil {
			return nil, err
		}
		out = append(out, cases...)
	}
	return out, nil
}

func (t *Tally) add(c *Case, days float64, target int, now time.Time) {
	t.Cases++
	end := c.EndedAt
	switch c.State {
	case Denied:
		t.Denied++
	case Answered, Closed, Forwarded, Withdrawn:
		t.Answered++
	default:
		t.Live++
		end = now
	}
	if end.After(c.Due) {
		t.Late++
	} else if !c.State.Live() {
		t.OnTime++
	}
	if c.Extended {
		t.Extended++
	}
	if days >= 0 {
		t.days = append(t.days, days)
		if days <= float64(target) {
			t.InTarget++
		}
	}
}

func (t *Tally) finish() {
	if n := len(t.days); n > 0 {
		slices.Sort(t.days)
		t.MedianDays = (t.days[(n-1)/2] + t.days[n/2]) / 2
	}
	t.days = nil
}

// AutomaticReport is what rules did by themselves in a span of time.
type AutomaticReport struct {
	Acts     map[string]int // "action:reason" → how often
	Reverted int            // opt-outs an operator took back
	Reopened int            // cases a rule had ended and something opened again
	Sample   []string       // numbers of cases to look at by hand; the same for the same span
	Judged   int            // cases of which an operator said whether the rules were right
	Wrong    int            // of those
}

// ErrorRate is the share of judged cases in which a rule was wrong; false
// where none was judged.
func (r AutomaticReport) ErrorRate() (float64, bool) {
	if r.Judged == 0 {
		return 0, false
	}
	return float64(r.Wrong) / float64(r.Judged), true
}

// AutomaticActs counts what rules did in cases received in the span, with a
// sample of at most size cases for a person to check: the base of an error rate.
func (q *Queue) AutomaticActs(ctx context.Context, from, to time.Time, size int) (AutomaticReport, error) {
	out := AutomaticReport{Acts: map[string]int{}}
	cases, err := q.receivedBetween(ctx, from, to)
	if err != nil {
		return out, err
	}
	for _, c := range cases {
		_, events, err := q.Show(ctx, c.Number)
		if err != nil {
			return out, err
		}
		acted, closed, judged := false, false, ""
		for _, e := range events {
			switch {
			case e.Actor == "rule" && (e.Action == ActSuppress || e.Action == ActHold || e.Action == ActClose || e.Action == ActDeny || e.Action == ActReceipt):
				out.Acts[string(e.Action)+":"+e.Reason]++
				acted = true
				closed = closed || e.Action == ActClose
			case e.Action == ActRelease:
				out.Reverted++
			case e.Action == ActReopen && closed:
				out.Reopened++
			case e.Action == ActNote && (e.Reason == SampleRight || e.Reason == SampleWrong):
				judged = e.Reason // the last word counts
			}
		}
		if judged != "" {
			out.Judged++
		}
		if judged == SampleWrong {
			out.Wrong++
		}
		if acted {
			out.Sample = append(out.Sample, c.Number)
		}
	}
	// By hash: nobody chooses, and who asks again sees the same.
	slices.SortFunc(out.Sample, func(a, b string) int { return strings.Compare(sha("sample\x00"+a), sha("sample\x00"+b)) })
	if len(out.Sample) > size {
		out.Sample = out.Sample[:size]
	}
	return out, nil
}
