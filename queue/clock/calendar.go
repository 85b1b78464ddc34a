package clock

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rickar/cal/v2"
)

// Calendar answers which days are working days at the seat of a controller.
// It is safe for concurrent use.
type Calendar struct {
	Country string

	mu    sync.Mutex
	cal   *cal.BusinessCalendar
	extra map[string]bool // days closed by the operator, "2006-01-02"
}

// calendars holds one calendar per country, made when first asked for.
var calendars = struct {
	sync.Mutex
	made map[string]*Calendar
}{made: map[string]*Calendar{}}

// For gives the calendar of an ISO 3166 country code, upper or lower case. An
// unknown country is an error: a period computed with no holidays would end
// too early at worst, yet silently, so the configuration check asks first.
func For(country string) (*Calendar, error) {
	code := strings.ToUpper(country)
	days, ok := holidays[code]
	if !ok {
		return nil, fmt.Errorf("no holiday calendar for country %q", country)
	}
	calendars.Lock()
	defer calendars.Unlock()
	if c := calendars.made[code]; c != nil {
		return c, nil
	}
	b := cal.NewBusinessCalendar()
	b.Name = code
	b.Cacheable = true
	b.AddHoliday(days...)
	c := &Calendar{Country: code, cal: b}
	calendars.made[code] = c
	return c, nil
}

// Plain is the calendar of a country we know no holidays of: weekends only.
// Periods computed with it end early rather than late.
func Plain() *Calendar { return &Calendar{cal: cal.NewBusinessCalendar()} }

// WithDays is a copy in which further days, as "2006-01-02", are holidays:
// those of a federal state or of the company itself.
func (c *Calendar) WithDays(days ...string) (*Calendar, error) {
	out := &Calendar{Country: c.Country, cal: cal.NewBusinessCalendar(), extra: map[string]bool{}}
	out.cal.Cacheable = true
	out.cal.AddHoliday(c.cal.Holidays...)
	for d := range c.extra {
		out.extra[d] = true
	}
	for _, d := range days {
		if _, err := time.Parse(time.DateOnly, d); err != nil {
			return nil, fmt.Errorf("holiday %q: a date as 2026-12-31 is needed", d)
		}
		out.extra[d] = true
	}
	return out, nil
}

// Countries lists the codes that have a calendar, unordered.
func Countries() []string {
	out := make([]string, 0, len(holidays))
	for c := range holidays {
		out = append(out, c)
	}
	return out
}

// Working tells whether the day of t, in t's own location, is neither
// Saturday, Sunday nor public holiday (Reg. 1182/71 Art. 2(2)).
func (c *Calendar) Working(t time.Time) bool {
	if c.extra[t.Format(time.DateOnly)] {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Noon UTC of the same date: holiday rules must not see a zone's DST gap.
	y, m, d := t.Date()
	return c.cal.IsWorkday(time.Date(y, m, d, 12, 0, 0, 0, time.UTC))
}

// Next is the first working day at or after the day of t, at the same time of day.
func (c *Calendar) Next(t time.Time) time.Time {
	for !c.Working(t) {
		t = t.AddDate(0, 0, 1)
	}
	return t
}

// Add moves n working days on from the day of t, which does not count; a
// negative n goes back.
func (c *Calendar) Add(t time.Time, n int) time.Time {
	step := 1
	if n < 0 {
		step, n = -1, -n
	}
	for n > 0 {
		t = t.AddDate(0, 0, step)
		if c.Working(t) {
			n--
		}
	}
	return t
}

// Between counts the working days after the day of from, up to and including
// the day of to; 0 if to is not later.
func (c *Calendar) Between(from, to time.Time) int {
	n := 0
	for d := from.AddDate(0, 0, 1); d.Format(time.DateOnly) <= to.Format(time.DateOnly); d = d.AddDate(0, 0, 1) {
		if c.Working(d) {
			n++
		}
	}
	return n
}
