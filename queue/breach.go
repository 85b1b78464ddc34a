package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/queue/clock"
)

// Breach is the second clock of a case that tells of a personal data breach: it
// runs from when an operator was certain of one, not from the report (BR-1,
// GDPR Art. 33(1)), by hours that no weekend stops (Reg. 1182/71 Art. 3(4)), and
// goes on after the case is answered.
type Breach struct {
	Reported time.Time `json:"reported_at"` // the first report: the receipt of the case
	Aware    time.Time `json:"aware_at"`
	By       string    `json:"by"`                // who recorded it
	Duty     string    `json:"duty"`              // "authority", or "controller" where we are a processor (Art. 33(2))
	Rule     string    `json:"rule,omitempty"`    // "": no law with a number of hours or days is known
	Due      time.Time `json:"due,omitzero"`      // zero: without undue delay, no number
	Ended    time.Time `json:"ended,omitzero"`    // when they were told, or the decision not to
	Outcome  string    `json:"outcome,omitempty"` // BreachTold or BreachNoRisk
	Persons  time.Time `json:"persons,omitzero"`  // when the persons were told (Art. 34)
}

// Open tells whether somebody has still to be told.
func (b Breach) Open() bool { return !b.Aware.IsZero() && b.Ended.IsZero() }

// Late tells whether the time is over, or was when they were told.
func (b Breach) Late(now time.Time) bool {
	if !b.Ended.IsZero() {
		now = b.Ended
	}
	return !b.Due.IsZero() && now.After(b.Due)
}

// Outcomes of a breach clock.
const (
	BreachTold    = "told"          // the authority, or the controller, was told
	BreachNoRisk  = "risk-unlikely" // decided not to tell, with reasons (Art. 33(1), (5))
	BreachFalse   = "no-breach"     // it was none after all
	BreachPersons = "persons-told"  // the persons were told (Art. 34); the clock runs on
	breachPrefix  = "breach-"       // of event reasons and reminder kinds
	breachAware   = breachPrefix + "aware"
)

// Reminders of a breach clock, in the order they come: its hours are too few
// for those of a month.
const (
	RemindBreachHalf     = breachPrefix + "half"
	RemindBreachQuarters = breachPrefix + "three-quarters"
	RemindBreachLast     = breachPrefix + "last"    // lastHours are left
	RemindBreachOverdue  = breachPrefix + "overdue" // then every overdueEvery
	RemindBreachOpen     = breachPrefix + "open"    // daily, where the law names no number
)

const (
	lastHours    = 6 * time.Hour
	overdueEvery = 6 * time.Hour
)

// breachReminders are the members of the reminder set for one breach clock.
func breachReminders(no string, b Breach, now time.Time) (out [][2]string) {
	if b.Due.IsZero() {
		return [][2]string{{no + " " + RemindBreachOpen, millis(now.Add(24 * time.Hour))}}
	}
	span := b.Due.Sub(b.Aware)
	for _, r := range []struct {
		kind string
		at   time.Time
	}{
		{RemindBreachHalf, b.Aware.Add(span / 2)}, {RemindBreachQuarters, b.Aware.Add(span / 4 * 3)},
		{RemindBreachLast, b.Due.Add(-lastHours)}, {RemindBreachOverdue, b.Due.Add(time.Second)},
	} {
		if r.at.After(now) || r.kind == RemindBreachLast || r.kind == RemindBreachOverdue {
			out = append(out, [2]string{no + " " + r.kind, millis(r.at)})
		}
	}
	return out
}

// allBreachReminders are taken out once the clock ends.
func allBreachReminders(no string) (out []string) {
	for _, k := range []string{RemindBreachHalf, RemindBreachQuarters, RemindBreachLast, RemindBreachOverdue, RemindBreachOpen} {
		out = append(out, no+" "+k)
	}
	return out
}

// breachOf reads the clock from a case's fields.
func breachOf(c *Case, f map[string]string) Breach {
	return Breach{
		Reported: c.Received, Aware: fromMillis(f["breach:aware"]), By: f["breach:by"], Duty: f["breach:duty"], Rule: f["breach:rule"],
		Due: fromMillis(f["breach:due"]), Ended: fromMillis(f["breach:ended"]), Outcome: f["breach:outcome"], Persons: fromMillis(f["breach:persons"]),
	}
}

// BreachOf gives the breach clock of a case; false where no awareness was
// recorded: no hours run then.
func (q *Queue) BreachOf(ctx context.Context, number string) (Breach, bool, error) {
	c, f, _, err := q.load(ctx, FindCaseNo(number))
	if err != nil {
		return Breach{}, false, err
	}
	b := breachOf(c, f)
	return b, !b.Aware.IsZero(), nil
}

// Awareness records when somebody was certain, with a reasonable degree, that
// personal data was breached (EDPB 9/2022).
type Awareness struct {
	At    time.Time // not in the future; may lie before the report
	Actor string    // "operator:<name>"
	Note  string    // how it was known; needed where a time recorded before is corrected
}

// Aware starts the breach clock of a case, or corrects its start. Operators are
// told at once. Errors wrap ErrOrder where it can't be.
func (q *Queue) Aware(ctx context.Context, number string, a Awareness) (Breach, error) {
	no, now := FindCaseNo(number), q.o.Now()
	switch {
	case !strings.HasPrefix(a.Actor, "operator:"):
		return Breach{}, fmt.Errorf("%w: an operator has to", ErrOrder)
	case a.At.IsZero() || a.At.After(now):
		return Breach{}, fmt.Errorf("%w: the time of awareness is needed and can't lie ahead", ErrOrder)
	}
	var b Breach
	controller := ""
	_, _, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
		was := breachOf(c, ch.before)
		switch {
		case !was.Ended.IsZero():
			return fmt.Errorf("case %s: %w: its breach clock has ended", no, ErrOrder)
		case !was.Aware.IsZero() && strings.TrimSpace(a.Note) == "":
			return fmt.Errorf("case %s: %w: say why the time of awareness changes", no, ErrOrder)
		}
		b = q.breachClock(c, a)
		controller = c.Controller
		c.acted(a.Actor)
		ch.extra["breach:aware"], ch.extra["breach:by"], ch.extra["breach:duty"], ch.extra["breach:rule"] = millis(b.Aware), b.By, b.Duty, b.Rule
		ch.extra["breach:due"] = ""
		data := map[string]string{"reported": millis(b.Reported), "aware": millis(b.Aware), "duty": b.Duty, "rule": b.Rule}
		if !b.Due.IsZero() {
			ch.extra["breach:due"], data["due"] = millis(b.Due), millis(b.Due)
		}
		if !was.Aware.IsZero() {
			data["was"] = millis(was.Aware)
		}
		ch.unremind, ch.remind = append(ch.unremind, allBreachReminders(no)...), append(ch.remind, breachReminders(no, b, now)...)
		ch.events = append(ch.events, Event{Actor: a.Actor, Action: ActNote, Reason: breachAware, Note: a.Note, Data: data})
		return nil
	})
	if err != nil {
		return Breach{}, err
	}
	q.tell(ctx, Notice{Kind: breachAware, Case: no, Controller: controller, Due: b.Due})
	return b, nil
}

// breachClock works out by when who has to be told.
func (q *Queue) breachClock(c *Case, a Awareness) Breach {
	b := Breach{Reported: c.Received, Aware: a.At.UTC(), By: a.Actor, Duty: "authority"}
	k := q.controller(c.Controller)
	calendar, loc := q.seat(k)
	if role, ok := q.rules().Processors[k.ID]; ok {
		b.Duty = "controller"
		rule, _ := clock.ByID("EU-BREACH-CONTROLLER")
		b.Rule, b.Due = rule.ID, rule.End(a.At, calendar, loc).UTC()
		if role.BreachWithin > 0 {
			b.Due = a.At.Add(role.BreachWithin).UTC()
		}
		return b
	}
	regime := q.rules().Handling[k.ID].Regime
	if regime == "" {
		regime = clock.OfCountry(k.Country)
	}
	if rule, ok := clock.Find(regime, clock.BreachAuthority, a.At); ok {
		if b.Rule = rule.ID; !rule.Within.IsZero() {
			b.Due = rule.End(a.At, calendar, loc).UTC()
		}
	}
	return b
}

// BreachStep is what was done about a breach.
type BreachStep struct {
	Outcome string    // BreachTold, BreachNoRisk, BreachFalse or BreachPersons
	At      time.Time // when; zero: now
	Actor   string    // "operator:<name>"
	Note    string    // reference of the report, the reasons for being late, or why nobody is told (Art. 33(1), (5))
}

// EndBreach records that the authority, or the controller, was told or why not,
// or that the persons were told. What was done is recorded even where a reason
// is missing, as of a late report (BR-3); a decision to tell nobody needs one
// (BR-5). Errors wrap ErrOrder.
func (q *Queue) EndBreach(ctx context.Context, number string, s BreachStep) (Breach, error) {
	no := FindCaseNo(number)
	if s.At.IsZero() {
		s.At = q.o.Now()
	}
	switch {
	case !strings.HasPrefix(s.Actor, "operator:"):
		return Breach{}, fmt.Errorf("%w: an operator has to", ErrOrder)
	case !slices.Contains([]string{BreachTold, BreachNoRisk, BreachFalse, BreachPersons}, s.Outcome):
		return Breach{}, fmt.Errorf("%w: %q is no outcome of a breach", ErrOrder, s.Outcome)
	case (s.Outcome == BreachNoRisk || s.Outcome == BreachFalse) && strings.TrimSpace(s.Note) == "":
		return Breach{}, fmt.Errorf("%w: a decision to tell nobody needs its reasons", ErrOrder)
	case s.At.After(q.o.Now()):
		return Breach{}, fmt.Errorf("%w: that time lies ahead", ErrOrder)
	}
	var b Breach
	_, _, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
		b = breachOf(c, ch.before)
		switch {
		case b.Aware.IsZero():
			return fmt.Errorf("case %s: %w: record first when you became aware", no, ErrOrder)
		case s.At.Before(b.Aware):
			return fmt.Errorf("case %s: %w: that was before you became aware", no, ErrOrder)
		case !b.Ended.IsZero() && s.Outcome != BreachPersons:
			return fmt.Errorf("case %s: %w: its breach clock has ended", no, ErrOrder)
		}
		c.acted(s.Actor)
		data := map[string]string{"at": millis(s.At)}
		if s.Outcome == BreachPersons {
			b.Persons = s.At
			ch.extra["breach:persons"] = millis(s.At)
		} else {
			b.Ended, b.Outcome = s.At, s.Outcome
			ch.extra["breach:ended"], ch.extra["breach:outcome"] = millis(s.At), s.Outcome
			ch.unremind = append(ch.unremind, allBreachReminders(no)...)
			if b.Late(s.At) {
				data["late"] = "true"
			}
		}
		ch.events = append(ch.events, Event{Actor: s.Actor, Action: ActNote, Reason: breachPrefix + s.Outcome, Note: s.Note, Data: data})
		return nil
	})
	return b, err
}

// remindBreach tells operators that the hours of a breach run out, whatever the
// state of its case.
func (q *Queue) remindBreach(ctx context.Context, no, kind string) error {
	_, f, _, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	once := "remind:" + kind + ":" + f["breach:aware"] + ":" + f["breach:due"]
	again := time.Duration(0)
	switch kind {
	case RemindBreachOverdue:
		again = overdueEvery
	case RemindBreachOpen:
		again = 24 * time.Hour
	}
	if again > 0 {
		once += ":" + millis(q.o.Now().Truncate(again))
	}
	var told *Notice
	word, _, err := q.change(ctx, no, once, func(c *Case, ch *changing) error {
		told = nil
		b := breachOf(c, ch.before)
		if !b.Open() {
			return nil
		}
		told = &Notice{Kind: kind, Case: no, Controller: c.Controller, Due: b.Due}
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActRemind, Reason: kind, Data: map[string]string{"due": ch.before["breach:due"]}})
		if again > 0 {
			ch.remind = append(ch.remind, [2]string{no + " " + kind, millis(q.o.Now().Add(again))})
		}
		return nil
	})
	if err == nil && word == "once" && again > 0 {
		err = q.remindAgain(ctx, no, kind, again, func(c *Case, f map[string]string) bool { return breachOf(c, f).Open() })
	}
	if err != nil || told == nil {
		return err
	}
	q.o.Log.Warn("a breach is waiting to be told", "case", no, "kind", kind, "due", told.Due)
	q.tell(ctx, *told)
	return nil
}
