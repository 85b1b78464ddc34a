package consent

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Rule is what one jurisdiction asks of a consent from a day on. Law is
// configuration with a date, not code: what DefaultRules gives can be replaced.
type Rule struct {
	Jurisdiction string        // "EU", "DE", "CA", ...; "" for events that name none
	From         time.Time     // zero: always
	SoftOptIn    bool          // ePrivacy Art. 13(2) or its like is known there
	ImpliedMax   time.Duration // longest implied consent; 0: there is none
	DoubleOptIn  bool          // a sign-up counts only once confirmed (CON-12)
	AdultAge     int           // own consent from this age (GDPR Art. 8); 0: no rule
	KnowAge      bool          // an unknown age is refused (CON-7)
	MaxAge       time.Duration // a consent not refreshed ends then; 0: no end
	Source       string        // where it stands
}

const year = 365 * 24 * time.Hour

// DefaultRules is the table in force where Options.Rules is nil. The last line
// that fits an event's jurisdiction, in whatever case it is written, and time
// decides; unknown jurisdictions are judged as "".
func DefaultRules() []Rule {
	return []Rule{
		{Jurisdiction: "", SoftOptIn: true, AdultAge: 16, Source: "GDPR Art. 8 as the strictest"},
		{Jurisdiction: "EU", SoftOptIn: true, AdultAge: 16, Source: "GDPR Art. 8; Directive 2002/58/EC Art. 13"},
		{Jurisdiction: "DE", SoftOptIn: true, AdultAge: 16, DoubleOptIn: true, Source: "UWG section 7; BGH I ZR 164/09"},
		{Jurisdiction: "AT", SoftOptIn: true, AdultAge: 14, DoubleOptIn: true, Source: "TKG 2021 section 174; DSG section 4(4)"},
		{Jurisdiction: "UK", SoftOptIn: true, AdultAge: 13, Source: "PECR reg. 22; UK GDPR Art. 8"},
		{Jurisdiction: "CA", ImpliedMax: 2*year + 24*time.Hour, Source: "CASL s.10(9)-(10)"},
		{Jurisdiction: "US", SoftOptIn: true, Source: "15 USC 7704"},
		{Jurisdiction: "CH", SoftOptIn: true, Source: "UWG Art. 3(1)(o)"},
		{Jurisdiction: "BR", AdultAge: 16, Source: "LGPD Art. 8, 14"},
	}
}

// ruleFor finds the rule of a jurisdiction at a time.
func ruleFor(rules []Rule, jurisdiction string, at time.Time) Rule {
	find := func(name string) (found Rule, ok bool) {
		for _, x := range rules {
			if strings.EqualFold(x.Jurisdiction, name) && !at.Before(x.From) {
				found, ok = x, true
			}
		}
		return found, ok
	}
	if x, ok := find(strings.TrimSpace(jurisdiction)); ok {
		return x
	}
	x, _ := find("")
	return x
}

// judge holds a give to the rule of its place and time. It may turn a plain
// sign-up into one that waits, or set its end. The error wraps ErrRefused.
func (x Rule) judge(e Event) (Event, error) {
	var faults []error
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	fault(e.Basis == SoftOpt && !x.SoftOptIn, "soft opt-in is not known in this jurisdiction")
	if e.Basis == Implied {
		fault(x.ImpliedMax == 0, "implied consent is not known in this jurisdiction")
		fault(x.ImpliedMax > 0 && e.Expires.Sub(e.Time) > x.ImpliedMax, "implied consent lasts longer than the law has it (CASL s.10(9))")
	}
	fault(e.Age < 0 || e.Age > 150, "age is not an age")
	fault(e.Age > 0 && e.Age < x.AdultAge && !e.Guardian, fmt.Sprintf("under %d the holder of parental responsibility has to consent (GDPR Art. 8)", x.AdultAge))
	fault(e.Age == 0 && x.KnowAge && !e.Guardian, "the age is unknown, and the rule asks for it (GDPR Art. 8)")
	if len(faults) > 0 {
		return e, fmt.Errorf("%w: %w", ErrRefused, errors.Join(faults...))
	}
	if e.Action == Given && e.Basis == Express && x.DoubleOptIn && e.Method != "import" {
		e.Pending = true
	}
	if x.MaxAge > 0 && (e.Expires.IsZero() || e.Expires.Sub(e.Time) > x.MaxAge) {
		e.Expires = e.Time.Add(x.MaxAge)
	}
	return e, nil
}
