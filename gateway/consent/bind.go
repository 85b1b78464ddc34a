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
	former  []uint16 // streams whose place it took
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
		return e.stream == a.stream || slices.Contains(a.former, e.stream)
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

// liftable are the reasons that a person takes back: by undo within its time,
// and by a double opt-in at any time.
func liftable(r Reason) bool { return r == Unsubscribed || r == WithdrawnBy || r == ObjectedTo }

// lifts tells whether the double opt-in l ends suppression e for its purpose.
// A complaint, a bounce, a hold or a manual entry it never ends. An erasure it
// does: who was erased and then signed up and confirmed has given a new
// consent, and the suppression that was kept to stop mail without one has done
// its work (GDPR Art. 17(3)(b), 7). What was asked before it goes the same way
// as the erasure that answered it; an erasure still open stays.
func (l suppEntry) lifts(log []suppEntry, e suppEntry) bool {
	if l.op != opLift || e.scope == ScopeAll {
		return false
	}
	switch {
	case liftable(e.reason) || e.reason == Erased:
		return l.at > e.at
	case e.reason == ErasurePending:
		for _, x := range log {
			if x.op == opSet && x.reason == Erased && x.at >= e.at && l.at > x.at {
				return true
			}
		}
	}
	return false
}

// lifted tells whether the person signed up again after e for what is asked.
func lifted(log []suppEntry, e suppEntry, a asked) bool {
	for _, l := range log {
		if l.lifts(log, e) && a.purpose != "" && l.purpose == a.purpose && slices.Contains(a.exact, l.exact) {
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
