package queue

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

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
	OnTime     int      // ended before the due date
	Late       int      // ended after it, or live and overdue
	Extended   int      //
	MedianDays *float64 // from receipt to end, of those ended; working days; nil: none ended
	InTarget   int      // ended within the internal target
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

// receivedBetween gives the cases received in a span, from the index of this
// process.
func (q *Queue) receivedBetween(ctx context.Context, from, to time.Time) ([]*Case, error) {
	s, _, err := q.index.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	var out []*Case
	for _, c := range s.Cases {
		if !c.Received.Before(from) && c.Received.Before(to) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *Case) int {
		return cmp.Or(a.Received.Compare(b.Received), strings.Compare(a.Number, b.Number))
	})
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
		median := (t.days[(n-1)/2] + t.days[n/2]) / 2
		t.MedianDays = &median
	}
	t.days = nil
}
