package queue

import (
	"math"
	"time"
)

// Pace is how far the time of a case is used up.
type Pace struct {
	Used  float64 // share of the period that is over, 0 to 1
	Days  int     // calendar days from today to the due day, negative once it is over
	Level PaceLevel
}

// PaceLevel says how much a due date presses.
type PaceLevel string

// The levels, in the order a live case goes through them.
const (
	PaceCalm  PaceLevel = ""       // less than three quarters used
	PaceWarn  PaceLevel = "warn"   // three quarters used
	PaceClose PaceLevel = "danger" // at most 3 working days left
	PaceLate  PaceLevel = "late"   // the due date is over
	PaceEnded PaceLevel = "ended"  // the clock stands
)

// Pacer measures many cases against one moment: it works out once per
// controller which day is three working days away. It is for one goroutine.
type Pacer struct {
	q     *Queue
	now   time.Time
	seats map[string]*paceSeat
	last  *paceSeat // of the case before: most are of one controller
	of    string
}

type paceSeat struct {
	loc   *time.Location
	today time.Time // midnight
	close time.Time // due before this is close
}

// NewPacer measures against now.
func (q *Queue) NewPacer() *Pacer {
	return &Pacer{q: q, now: q.o.Now(), seats: map[string]*paceSeat{}}
}

func (p *Pacer) seat(controller string) *paceSeat {
	if p.last == nil || p.of != controller {
		p.last, p.of = p.find(controller), controller
	}
	return p.last
}

func (p *Pacer) find(controller string) *paceSeat {
	s, ok := p.seats[controller]
	if ok {
		return s
	}
	calendar, loc := p.q.seat(p.q.controller(controller))
	y, m, d := p.now.In(loc).Date()
	s = &paceSeat{loc: loc, today: time.Date(y, m, d, 0, 0, 0, 0, loc)}
	y, m, d = calendar.Add(s.today, 3).Date()
	s.close = time.Date(y, m, d+1, 0, 0, 0, 0, loc)
	p.seats[controller] = s
	return s
}

// Zone is the time zone of a controller.
func (p *Pacer) Zone(controller string) *time.Location { return p.seat(controller).loc }

// Of measures one case.
func (p *Pacer) Of(c *Case) Pace {
	s := p.seat(c.Controller)
	y, m, d := c.Due.In(s.loc).Date()
	out := Pace{Days: daysBetween(s.today, time.Date(y, m, d, 0, 0, 0, 0, s.loc)), Used: p.used(c), Level: p.Level(c)}
	if out.Level == PaceLate {
		out.Days = min(out.Days, 0)
	}
	return out
}

// Level is how much the due date of a case presses, without the figures: cheap
// enough to ask it of every case.
func (p *Pacer) Level(c *Case) PaceLevel {
	switch {
	case !c.State.Live():
		return PaceEnded
	case p.now.After(c.Due):
		return PaceLate
	case c.Due.Before(p.seat(c.Controller).close):
		return PaceClose
	case p.used(c) >= 0.75:
		return PaceWarn
	}
	return PaceCalm
}

func (p *Pacer) used(c *Case) float64 {
	span := c.Due.Sub(c.Received)
	if span <= 0 {
		return 0
	}
	return min(1, max(0, float64(p.now.Sub(c.Received))/float64(span)))
}

// daysBetween counts midnights; the hour of daylight saving does not matter.
func daysBetween(from, to time.Time) int {
	return int(math.Round(to.Sub(from).Hours() / 24))
}
