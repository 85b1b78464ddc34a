package consent

import (
	"cmp"
	"slices"
	"time"
)

// state is the fold of one consent log.
type state struct {
	status Status
	by     entry // the event that decides
	known  bool  // by is set
}

func (st state) out() bool { return st.status == StatusWithdrawn || st.status == StatusObjected }

// rank orders events of the same millisecond: opt-outs last, so that they win
// until a later give (CON-5).
func (e entry) rank() int {
	switch e.action {
	case Withdrawn:
		return 2
	case Objected:
		return 3
	case Confirmed, Refreshed:
		return 1
	default:
		return 0
	}
}

// fold gives the state that events amount to at now (design D9). Their order
// and repetitions do not matter: it sorts by time. It may reorder events.
func fold(events []entry, now time.Time) state {
	if len(events) > 1 {
		slices.SortFunc(events, func(a, b entry) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.rank(), b.rank()), slices.Compare(a.id[:], b.id[:]))
		})
	}
	var m machine
	for i := range events {
		m.lapse(events[i].time())
		m.step(events[i])
	}
	m.lapse(now)
	return m.state
}

// machine is the state and, while a sign-up waits, the one it came upon.
type machine struct {
	state
	before state
}

// lapse lets what has run out at t end: a sign-up as if it had never been
// (CON-12), a consent as expired (CON-15).
func (m *machine) lapse(t time.Time) {
	switch {
	case m.status == StatusPending && m.by.over(t):
		m.state = m.before
		m.lapse(t)
	case m.status == StatusActive && m.by.over(t):
		m.status = StatusExpired
	}
}

func (m *machine) become(s Status, e entry) { m.state = state{status: s, by: e, known: true} }

// prior is the state that a waiting sign-up hides, else the state itself.
func (m *machine) prior() state {
	if m.status == StatusPending {
		return m.before
	}
	return m.state
}

func (m *machine) step(e entry) {
	prior := m.prior()
	switch e.action {
	case Objected:
		m.become(StatusObjected, e)
	case Withdrawn:
		if prior.status == StatusObjected {
			m.state = prior // the objection says more; a waiting sign-up ends
			return
		}
		m.become(StatusWithdrawn, e)
	case Expired:
		if m.status == StatusActive || m.status == StatusExpired {
			m.become(StatusExpired, e)
		}
	case Refreshed:
		if !e.unproven && (m.status == StatusActive || m.status == StatusExpired || m.status == StatusUnproven) {
			m.become(StatusActive, e)
		}
	case Given, Confirmed:
		if e.imported && prior.out() {
			return // an import never revives an opt-out (CON-17)
		}
		m.give(e, prior)
	}
}

func (m *machine) give(e entry, prior state) {
	typed := e.action == Confirmed && e.person // the second step of a double opt-in
	switch {
	case e.unproven:
		if prior.status == StatusNone || prior.status == StatusExpired {
			m.become(StatusUnproven, e)
		}
	case e.action == Given && e.pending:
		if m.status == StatusActive {
			return // beside a consent in force a sign-up changes nothing
		}
		m.before = prior
		m.become(StatusPending, e)
	case typed && m.out():
		// The click belongs to a sign-up from before the opt-out.
	case prior.status == StatusObjected && !typed:
		// Only the person's own double opt-in ends an objection (GDPR Art. 21(3)).
	default:
		m.become(StatusActive, e)
	}
}
