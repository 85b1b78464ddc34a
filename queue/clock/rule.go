package clock

import (
	"time"
)

// Regime is the law that asks for an answer. The names are the classifier's.
type Regime string

const (
	EU     Regime = "GDPR"
	UK     Regime = "UK"
	CH     Regime = "CH"
	CA     Regime = "CCPA"
	BR     Regime = "LGPD"
	Canada Regime = "CASL"
)

// Duty is what has to be done within a period.
type Duty string

const (
	Answer           Duty = "answer"            // answer the request, or refuse with reasons
	Acknowledge      Duty = "acknowledge"       // confirm receipt
	Stop             Duty = "stop"              // make an opt-out effective
	BreachAuthority  Duty = "breach-authority"  // tell the authority
	BreachPerson     Duty = "breach-person"     // tell the persons
	BreachController Duty = "breach-controller" // a processor tells its controller of a breach
	Forward          Duty = "forward"           // a processor tells its controller
	Complaint        Duty = "complaint"         // acknowledge a data protection complaint
	Assist           Duty = "assist"            // a processor helps its customer with a request
)

// Span is a length of time as laws write it. At most one field is set; the
// zero Span means "without undue delay" with no number.
type Span struct {
	Months   int
	Days     int
	Business int // working days
	Hours    int // run through weekends and holidays (Reg. 1182/71 Art. 3(4))
}

// IsZero tells whether no number is set.
func (s Span) IsZero() bool { return s == Span{} }

// Rule is one line of table 2, with the time it is in force.
type Rule struct {
	ID        string // stable; stored with a case and shown in words
	Regime    Regime
	Duty      Duty
	From      time.Time // first day of receipt it binds; zero: always
	Until     time.Time // first day it binds no more; zero: open
	Within    Span
	Extended  Span // from receipt, when extended; zero: no extension
	Shift     bool // an end on a non-working day moves to the next working day
	Inclusive bool // the day of receipt is day 1: the careful reading
	Source    string
}

// Rules is table 2 as data, each regime's rules oldest first.
var Rules = []Rule{
	{ID: "EU-ANSWER", Regime: EU, Duty: Answer, From: date(2018, 5, 25), Within: Span{Months: 1}, Extended: Span{Months: 3}, Shift: true, Source: "GDPR Art. 12(3); Reg. 1182/71 Art. 3"},
	{ID: "EU-STOP", Regime: EU, Duty: Stop, From: date(2018, 5, 25), Source: "GDPR Art. 21(3), 7(3)"},
	{ID: "EU-BREACH", Regime: EU, Duty: BreachAuthority, From: date(2018, 5, 25), Within: Span{Hours: 72}, Source: "GDPR Art. 33(1)"},
	{ID: "EU-BREACH-PERSON", Regime: EU, Duty: BreachPerson, From: date(2018, 5, 25), Source: "GDPR Art. 34(1)"},
	{ID: "EU-BREACH-CONTROLLER", Regime: EU, Duty: BreachController, From: date(2018, 5, 25), Within: Span{Hours: 24}, Source: "GDPR Art. 33(2); own period"},
	{ID: "EU-FORWARD", Regime: EU, Duty: Forward, Within: Span{Business: 2}, Source: "GDPR Art. 28(3)(e); own period"},
	{ID: "EU-ASSIST", Regime: EU, Duty: Assist, Within: Span{Days: 5}, Source: "GDPR Art. 28(3)(e); period agreed with the customer"},

	{ID: "UK-ANSWER", Regime: UK, Duty: Answer, From: date(2021, 1, 1), Within: Span{Months: 1}, Extended: Span{Months: 3}, Shift: true, Source: "UK GDPR Art. 12(3)"},
	{ID: "UK-STOP", Regime: UK, Duty: Stop, From: date(2021, 1, 1), Source: "UK GDPR Art. 21(3)"},
	{ID: "UK-BREACH", Regime: UK, Duty: BreachAuthority, From: date(2021, 1, 1), Within: Span{Hours: 72}, Source: "UK GDPR Art. 33(1)"},
	{ID: "UK-BREACH-PERSON", Regime: UK, Duty: BreachPerson, From: date(2021, 1, 1), Source: "UK GDPR Art. 34(1)"},
	{ID: "UK-COMPLAINT", Regime: UK, Duty: Complaint, From: date(2026, 6, 19), Within: Span{Days: 30}, Source: "Data (Use and Access) Act 2025"},
	{ID: "UK-FORWARD", Regime: UK, Duty: Forward, Within: Span{Business: 2}, Source: "UK GDPR Art. 28(3)(e); own period"},

	{ID: "CH-ANSWER", Regime: CH, Duty: Answer, From: date(2023, 9, 1), Within: Span{Days: 30}, Source: "FADP Art. 25(7)"},
	{ID: "CH-BREACH", Regime: CH, Duty: BreachAuthority, From: date(2023, 9, 1), Source: "FADP Art. 24(1)"},
	{ID: "CH-BREACH-PERSON", Regime: CH, Duty: BreachPerson, From: date(2023, 9, 1), Source: "FADP Art. 24(4)"},

	{ID: "CA-ACK", Regime: CA, Duty: Acknowledge, From: date(2020, 1, 1), Within: Span{Business: 10}, Source: "CCR tit. 11 §7021(a)"},
	{ID: "CA-ANSWER", Regime: CA, Duty: Answer, From: date(2020, 1, 1), Within: Span{Days: 45}, Extended: Span{Days: 90}, Inclusive: true, Source: "CCR tit. 11 §7021(b)"},
	{ID: "CA-STOP", Regime: CA, Duty: Stop, From: date(2020, 1, 1), Within: Span{Business: 15}, Source: "CCR tit. 11 §7026(f)"},
	{ID: "CA-BREACH-PERSON", Regime: CA, Duty: BreachPerson, From: date(2026, 1, 1), Within: Span{Days: 30}, Source: "California SB 446"},

	{ID: "BR-ACK", Regime: BR, Duty: Acknowledge, From: date(2020, 9, 18), Source: "LGPD Art. 19 I: simple form at once"},
	{ID: "BR-ANSWER", Regime: BR, Duty: Answer, From: date(2020, 9, 18), Within: Span{Days: 15}, Source: "LGPD Art. 19 II"},
	{ID: "BR-BREACH", Regime: BR, Duty: BreachAuthority, From: date(2024, 4, 26), Within: Span{Business: 3}, Source: "ANPD Res. 15/2024"},
	{ID: "BR-BREACH-PERSON", Regime: BR, Duty: BreachPerson, From: date(2024, 4, 26), Within: Span{Business: 3}, Source: "ANPD Res. 15/2024"},

	{ID: "CASL-STOP", Regime: Canada, Duty: Stop, From: date(2014, 7, 1), Within: Span{Business: 10}, Source: "CASL s.11(3)"},
}

// Find gives the rule of a regime for a duty that binds what arrived at the
// given time; false where the law has none.
func Find(regime Regime, duty Duty, received time.Time) (Rule, bool) {
	var found Rule
	ok := false
	for _, r := range Rules {
		if r.Regime != regime || r.Duty != duty || received.Before(r.From) || !r.Until.IsZero() && !received.Before(r.Until) {
			continue
		}
		found, ok = r, true
	}
	return found, ok
}

// ByID finds a rule by its stored id.
func ByID(id string) (Rule, bool) {
	for _, r := range Rules {
		if r.ID == id {
			return r, true
		}
	}
	return Rule{}, false
}

// OfCountry is the regime at a controller's seat; EU for every other state,
// whose rules are the strictest general ones.
func OfCountry(country string) Regime {
	switch country {
	case "GB", "gb", "UK", "uk":
		return UK
	case "CH", "ch":
		return CH
	case "US", "us":
		return CA
	case "BR", "br":
		return BR
	}
	return EU
}

// End is the last second of the period that starts with the receipt, in loc.
// A rule without a number ends with the receipt itself.
func (r Rule) End(received time.Time, c *Calendar, loc *time.Location) time.Time {
	return r.end(r.Within, received, c, loc)
}

// ExtendedEnd is the last second when the period was extended; false where
// the law knows no extension.
func (r Rule) ExtendedEnd(received time.Time, c *Calendar, loc *time.Location) (time.Time, bool) {
	if r.Extended.IsZero() {
		return time.Time{}, false
	}
	return r.end(r.Extended, received, c, loc), true
}

func (r Rule) end(s Span, received time.Time, c *Calendar, loc *time.Location) time.Time {
	local := received.In(loc)
	day := noon(local)
	switch {
	case s.Hours > 0:
		return received.Add(time.Duration(s.Hours) * time.Hour)
	case s.Months > 0:
		day = addMonths(day, s.Months)
	case s.Days > 0 && r.Inclusive:
		day = day.AddDate(0, 0, s.Days-1)
	case s.Days > 0:
		day = day.AddDate(0, 0, s.Days)
	case s.Business > 0:
		day = c.Add(day, s.Business)
	default:
		return received
	}
	if r.Shift {
		day = c.Next(day)
	}
	y, m, d := day.Date()
	return time.Date(y, m, d, 23, 59, 59, 0, loc)
}

// addMonths gives the same-numbered day, else the month's last (Reg. 1182/71
// Art. 3(2)(c)).
func addMonths(t time.Time, n int) time.Time {
	y, m, d := t.Date()
	last := time.Date(y, m+time.Month(n)+1, 0, 12, 0, 0, 0, t.Location())
	if d > last.Day() {
		return last
	}
	return time.Date(y, m+time.Month(n), d, 12, 0, 0, 0, t.Location())
}

// noon keeps date arithmetic away from DST gaps.
func noon(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 12, 0, 0, 0, t.Location())
}

func date(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
