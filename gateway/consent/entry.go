package consent

import (
	"fmt"
	"time"
)

// entry is one consent event as it is kept: 29 octets without expiry and
// extras, so that a sign-up and its confirmation stay within the 64 octets up
// to which Redis packs a hash tightly.
//
//	8 id · 1 action (3 bits), basis (2), has expiry, has extras, import · 1 flags
//	6 time, Unix ms · 12 terms · [5 expiry, Unix s] · [2+n extras, JSON]
type entry struct {
	id       eventID
	action   Action
	basis    Basis
	at       int64 // Unix milliseconds
	expires  int64 // Unix seconds, 0: none
	terms    termsHash
	imported bool // from an import: never revives an opt-out (CON-17)
	unproven bool // time, source or wording is missing (CON-17)
	pending  bool // given, waits for confirmation (CON-12)
	person   bool // typed or clicked by the person: Method "form" or "link"
	extras   string
}

// Codes of stored words: never renumbered.
var (
	actionCodes = []Action{1: Given, 2: Confirmed, 3: Refreshed, 4: Withdrawn, 5: Expired, 6: Objected}
	basisCodes  = []Basis{0: "", 1: Express, 2: SoftOpt, 3: Implied}
)

const (
	bitExpires = 1 << 5
	bitExtras  = 1 << 6
	bitImport  = 1 << 7

	flagUnproven = 1 << 0
	flagPending  = 1 << 1
	flagPerson   = 1 << 2
)

func codeOf[T ~string](codes []T, v T) byte {
	for i, c := range codes {
		if c == v {
			return byte(i)
		}
	}
	return 0
}

func (e entry) encode() []byte {
	b := make([]byte, 0, 48)
	b = append(b, e.id[:]...)
	head := codeOf(actionCodes, e.action) | codeOf(basisCodes, e.basis)<<3
	var flags byte
	set := func(on bool, to *byte, bit byte) {
		if on {
			*to |= bit
		}
	}
	set(e.expires != 0, &head, bitExpires)
	set(e.extras != "", &head, bitExtras)
	set(e.imported, &head, bitImport)
	set(e.unproven, &flags, flagUnproven)
	set(e.pending, &flags, flagPending)
	set(e.person, &flags, flagPerson)
	b = append(b, head, flags)
	b = putMillis(b, e.at)
	b = append(b, e.terms[:]...)
	if e.expires != 0 {
		x := uint64(e.expires)
		b = append(b, byte(x>>32), byte(x>>24), byte(x>>16), byte(x>>8), byte(x))
	}
	if e.extras != "" {
		b = putText(b, e.extras)
	}
	return b
}

func decodeEntry(s string) (entry, error) {
	r := reader{s: s}
	var e entry
	copy(e.id[:], r.take(8))
	head, flags := r.octet(), r.octet()
	e.at = r.number(6)
	copy(e.terms[:], r.take(len(e.terms)))
	if head&bitExpires != 0 {
		e.expires = r.number(5)
	}
	if head&bitExtras != 0 {
		e.extras = r.text()
	}
	if n := int(head & 7); n < len(actionCodes) {
		e.action = actionCodes[n]
	}
	e.basis = basisCodes[head>>3&3]
	e.imported = head&bitImport != 0
	e.unproven, e.pending, e.person = flags&flagUnproven != 0, flags&flagPending != 0, flags&flagPerson != 0
	if r.bad || e.action == "" {
		return e, fmt.Errorf("%w: consent entry", ErrDamaged)
	}
	return e, nil
}

func decodeEntries(log string, into []entry) ([]entry, error) {
	err := eachFrame(log, func(s string) error {
		e, err := decodeEntry(s)
		if err == nil {
			into = append(into, e)
		}
		return err
	})
	return into, err
}

func (e entry) time() time.Time { return time.UnixMilli(e.at).UTC() }

func (e entry) expiry() time.Time {
	if e.expires == 0 && e.pending {
		return e.time().Add(maxPending)
	}
	if e.expires == 0 {
		return time.Time{}
	}
	return time.Unix(e.expires, 0).UTC()
}

// maxPending is how long a sign-up waits at most (CON-12); one that waits so
// long keeps no expiry of its own.
const maxPending = 7 * 24 * time.Hour

// over tells whether the entry's own end has come. Implied consent without an
// end never counts (CON-15).
func (e entry) over(now time.Time) bool {
	switch {
	case e.expires != 0:
		return now.Unix() >= e.expires
	case e.pending:
		return now.UnixMilli() >= e.at+maxPending.Milliseconds()
	default:
		return e.basis == Implied
	}
}
