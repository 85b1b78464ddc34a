package consent

import (
	"slices"

	"postern/gateway/address"
)

// asked is what a look-up wants to send.
type asked struct {
	exact   []address.ExactHash // under every live key
	purpose string              // "" for mail that is not marketing
	stream  uint16
}

// binding finds the widest suppression in a log that stands against a; ok is
// false where none does. The log's order and repetitions do not matter.
func binding(log []suppEntry, a asked) (worst suppEntry, ok bool) {
	for _, e := range log {
		if e.op != opSet || !e.reaches(a) || closedBy(log, e) != nil || lifted(log, e, a) {
			continue
		}
		if !ok || wider(e, worst) {
			worst, ok = e, true
		}
	}
	return worst, ok
}

// reaches tells whether the scope covers the stream asked for. What covers all
// marketing never touches mail that is not: a password reset passes.
func (e suppEntry) reaches(a asked) bool {
	switch e.scope {
	case ScopeStream:
		return e.stream == a.stream
	case ScopePurpose:
		return a.purpose != "" && e.purpose == a.purpose
	case ScopeController:
		return a.purpose != ""
	default:
		return true
	}
}

// closedBy finds the release or undo of a suppression.
func closedBy(log []suppEntry, e suppEntry) *suppEntry {
	for i := range log {
		if (log[i].op == opRelease || log[i].op == opUndo) && log[i].target == e.id {
			return &log[i]
		}
	}
	return nil
}

// liftable are the reasons that a person's own new double opt-in ends; a
// complaint, a bounce, an erasure or a hold it does not.
func liftable(r Reason) bool { return r == Unsubscribed || r == WithdrawnBy || r == ObjectedTo }

// lifted tells whether the person signed up again after e for what is asked.
func lifted(log []suppEntry, e suppEntry, a asked) bool {
	if !liftable(e.reason) || e.scope == ScopeAll || a.purpose == "" {
		return false
	}
	for _, l := range log {
		if l.op == opLift && l.purpose == a.purpose && l.at > e.at && slices.Contains(a.exact, l.exact) {
			return true
		}
	}
	return false
}

// wider orders suppressions: the wider scope, then the one that came first.
func wider(a, b suppEntry) bool {
	if x, y := codeOf(scopeCodes, a.scope), codeOf(scopeCodes, b.scope); x != y {
		return x > y
	}
	if a.at != b.at {
		return a.at < b.at
	}
	return slices.Compare(a.id[:], b.id[:]) < 0
}
