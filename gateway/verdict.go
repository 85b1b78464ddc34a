package gateway

import (
	"postern/gateway/consent"
	"postern/gateway/stream"
)

// question is all that a verdict on one recipient rests on.
type question struct {
	Kind      stream.Kind
	Mode      stream.Mode
	Purpose   string         // what consent is needed for
	StoreDown string         // stream.Stream.StoreDown
	Null      bool           // the reverse-path is <>
	Sender    *Denial        // what is wrong with the message as a whole, by the rules a mode may soften
	Unknown   bool           // the store could not be asked
	Answer    consent.Answer // what it said otherwise
}

// verdict is the decision on one recipient (design D3).
type verdict struct {
	Deny  *Denial // nil: allowed
	Would *Denial // allowed, but enforcing would have denied
}

// judge is pure: the same question always gets the same verdict. What Postern
// itself recorded as a no binds in every mode; all else is softened by
// observe and annotate (design D2). What is not known is not sent (D4).
func judge(q question) verdict {
	if q.Unknown && askedFor(q.Kind) {
		if q.Kind == stream.Marketing || q.StoreDown == storeDefer {
			return verdict{Deny: &Denial{Reason: StoreUnavailable, Defer: true}}
		}
	}
	if q.Kind != stream.Service && !q.Unknown {
		if d, hard := refusal(q); d != nil && (hard || q.Mode == stream.Enforce) {
			return verdict{Deny: d}
		} else if d != nil {
			return verdict{Would: d}
		}
	}
	soft := q.Sender
	if soft == nil && q.Null && q.Kind == stream.Marketing {
		soft = &Denial{Reason: NullMarketing}
	}
	switch {
	case soft == nil:
		return verdict{}
	case q.Mode == stream.Enforce:
		return verdict{Deny: soft}
	default:
		return verdict{Would: soft}
	}
}

// askedFor tells whether the store is asked for a kind of stream at all:
// service mail passes suppressions (CON-18).
func askedFor(k stream.Kind) bool { return k != stream.Service }

// refusal reads the store's answer. hard means that it binds in every mode.
// Every suppression does, a bounce too: the answer names only the widest one,
// and a no of the person may lie under it.
func refusal(q question) (d *Denial, hard bool) {
	a := q.Answer
	if a.Suppressed != "" && reaches(q.Kind, a.Scope) {
		return &Denial{Reason: Suppressed, Detail: string(a.Suppressed)}, true
	}
	if q.Kind != stream.Marketing || a.Status == consent.StatusActive {
		return nil, false
	}
	r, known := consentReasons[a.Status]
	if !known {
		r = NoConsent
	}
	return &Denial{Reason: r, Detail: q.Purpose}, r == ConsentWithdrawn
}

// consentReasons is what a state of consent says against marketing; a state
// not listed counts as none.
var consentReasons = map[consent.Status]Reason{
	consent.StatusNone:      NoConsent,
	consent.StatusPending:   Unconfirmed,
	consent.StatusWithdrawn: ConsentWithdrawn,
	consent.StatusObjected:  ConsentWithdrawn,
	consent.StatusExpired:   ConsentExpired,
	consent.StatusUnproven:  UnprovenImport,
}

// reaches tells whether a suppression of that scope stops that kind of mail:
// only "all" and the very stream reach what is not marketing.
func reaches(k stream.Kind, s consent.Scope) bool {
	return k == stream.Marketing || s == consent.ScopeAll || s == consent.ScopeStream
}
