package consent

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// clockSkew is how far ahead of this node's clock an event may be.
const clockSkew = 2 * time.Minute

// Bounds of texts in octets: shared ones, and those kept with each person.
const (
	maxText = 16 << 10
	maxOwn  = 1 << 10
)

// checkEvent finds everything an event lacks (CON-2, CON-4, CON-10, CON-15).
// The error wraps ErrRefused and names fields, never their content.
func checkEvent(e Event, now time.Time) error {
	faults := checkFields(e, now)
	hasPerson := !e.Address.IsZero() || (!e.Subject.IsZero() && optOut(e.Action)) || (e.Ref != "" && e.Action == Confirmed)
	if !hasPerson {
		faults = append(faults, errors.New("address is missing"))
	}
	return refusal(faults)
}

func refusal(faults []error) error {
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrRefused, errors.Join(faults...))
}

// checkFields is checkEvent without the person.
func checkFields(e Event, now time.Time) (faults []error) {
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	fault(!plainName(e.Controller), "controller is missing or over 100 octets")
	fault(!plainName(e.Purpose), "purpose is missing or over 100 octets")
	fault(codeOf(actionCodes, e.Action) == 0, "action is none of given, confirmed, refreshed, withdrawn, expired, objected")
	fault(e.Time.After(now.Add(clockSkew)), "time lies in the future")
	fault(!e.Time.IsZero() && e.Time.Year() < 1990, "time lies before e-mail consent was asked")
	for _, t := range []string{e.Source, e.Wording, e.WordingVer, e.Method, e.Language, e.Jurisdiction, e.Actor, e.PolicyURL} {
		fault(len(t) > maxText || !utf8.ValidString(t), "a text is over 16 KiB or not UTF-8")
	}
	for _, t := range []string{e.IP, e.UserAgent, e.MailRef, e.Ref} {
		fault(len(t) > maxOwn || !utf8.ValidString(t), "IP, user agent, mail or ref is over 1 KiB or not UTF-8")
	}
	switch e.Action {
	case Given, Refreshed:
		faults = append(faults, checkProof(e)...)
	case Confirmed:
		if e.Wording != "" { // else it takes over the evidence of its sign-up
			faults = append(faults, checkProof(e)...)
		}
	}
	return faults
}

// checkProof holds a consent to what has to be shown later (GDPR Art. 7(1)).
func checkProof(e Event) (faults []error) {
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New(text))
		}
	}
	fault(e.Preticked, "the box was ticked beforehand (GDPR Art. 4(11))")
	fault(codeOf(basisCodes, e.Basis) == 0, "basis is none of express, soft, implied")
	fault(strings.TrimSpace(e.Method) == "", "method is missing")
	fault(strings.TrimSpace(e.Source) == "", "source is missing")
	if e.Basis == Express {
		fault(strings.TrimSpace(e.Wording) == "", "wording is missing")
		fault(strings.TrimSpace(e.WordingVer) == "", "wording version is missing")
	}
	if e.Basis == SoftOpt {
		fault(e.Conditions != [4]bool{true, true, true, true}, "soft opt-in needs all four conditions (ePrivacy Art. 13(2))")
	}
	if e.Basis == Implied {
		fault(e.Expires.IsZero(), "implied consent needs an expiry (CASL s.10(9))")
	}
	return faults
}

func plainName(s string) bool { return s != "" && len(s) <= 100 && utf8.ValidString(s) }

func optOut(a Action) bool { return a == Withdrawn || a == Objected }

// personal are the methods by which the person acts, not somebody for them.
func personal(method string) bool { return method == "form" || method == "link" }
