package consent

import (
	"fmt"
	"time"

	"postern/gateway/address"
)

// suppEntry is one event of a suppression log.
//
//	8 id · 1 op · 6 time, Unix ms
//	set:           1 reason · 1 scope · 2 stream · short purpose, source, case, actor · [8 id it repeats]
//	release, undo: 8 id of the suppression · short actor · text reason
//	bounce:        nothing more
//	lift:          8 exact form · short purpose; time is that of the sign-up
type suppEntry struct {
	id      eventID
	op      byte
	at      int64
	reason  Reason
	scope   Scope
	stream  uint16
	purpose string
	source  string
	caseNo  string
	actor   string
	target  eventID
	why     string // an operator's reason
	exact   address.ExactHash
}

const (
	opSet     byte = 1
	opRelease byte = 2 // an operator's release
	opUndo    byte = 3 // the undo link of design D7
	opLift    byte = 4 // a double opt-in after it
	opBounce  byte = 5 // one permanent failure that counts towards a suppression
)

// Codes of stored words: never renumbered.
var (
	reasonCodes = []Reason{
		1: Unsubscribed, 2: Complained, 3: Bounced, 4: ErasurePending, 5: Erased,
		6: ObjectedTo, 7: WithdrawnBy, 8: Manual, 9: Held,
	}
	scopeCodes = []Scope{1: ScopeStream, 2: ScopePurpose, 3: ScopeController, 4: ScopeAll}
)

func (e suppEntry) encode() []byte {
	b := make([]byte, 0, 64)
	b = append(b, e.id[:]...)
	b = append(b, e.op)
	b = putMillis(b, e.at)
	switch e.op {
	case opSet:
		b = append(b, codeOf(reasonCodes, e.reason), codeOf(scopeCodes, e.scope), byte(e.stream>>8), byte(e.stream))
		for _, s := range []string{e.purpose, e.source, e.caseNo, e.actor} {
			b = putShort(b, s)
		}
		if e.target != (eventID{}) {
			b = append(b, e.target[:]...)
		}
	case opLift:
		b = append(b, e.exact[:]...)
		b = putShort(b, e.purpose)
	case opBounce:
	default:
		b = append(b, e.target[:]...)
		b = putText(putShort(b, e.actor), e.why)
	}
	return b
}

func decodeSuppEntry(s string) (suppEntry, error) {
	r := reader{s: s}
	var e suppEntry
	copy(e.id[:], r.take(8))
	e.op, e.at = r.octet(), r.number(6)
	switch e.op {
	case opSet:
		reason, scope := int(r.octet()), int(r.octet())
		e.stream = uint16(r.number(2))
		e.purpose, e.source, e.caseNo, e.actor = r.short(), r.short(), r.short(), r.short()
		if r.s != "" {
			copy(e.target[:], r.take(8))
		}
		if reason == 0 || reason >= len(reasonCodes) || scope == 0 || scope >= len(scopeCodes) {
			return e, fmt.Errorf("%w: suppression of unknown reason or scope", ErrDamaged)
		}
		e.reason, e.scope = reasonCodes[reason], scopeCodes[scope]
	case opLift:
		copy(e.exact[:], r.take(len(e.exact)))
		e.purpose = r.short()
	case opBounce:
	case opRelease, opUndo:
		copy(e.target[:], r.take(8))
		e.actor, e.why = r.short(), r.text()
	default:
		r.bad = true
	}
	if r.bad {
		return e, fmt.Errorf("%w: suppression entry", ErrDamaged)
	}
	return e, nil
}

func decodeSuppEntries(log string, into []suppEntry) ([]suppEntry, error) {
	err := eachFrame(log, func(s string) error {
		e, err := decodeSuppEntry(s)
		if err == nil {
			into = append(into, e)
		}
		return err
	})
	return into, err
}

func (e suppEntry) time() time.Time { return time.UnixMilli(e.at).UTC() }
