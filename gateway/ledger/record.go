package ledger

import (
	"time"

	"postern/gateway/address"
)

// Kind groups records by what they tell of.
type Kind string

const (
	KindVerdict     Kind = "verdict"     // a relay decision on one recipient
	KindConsent     Kind = "consent"     // a consent event (design D9)
	KindSuppression Kind = "suppression" // a suppression set or released
	KindDelivery    Kind = "delivery"    // the final outcome of one recipient
	KindCase        Kind = "case"        // a move of a case
	KindConfig      Kind = "config"      // a rule or mode changed
	KindRetention   Kind = "retention"   // a deletion run
	KindView        Kind = "view"        // an operator saw personal data
)

// Record is one fact that can be proven later. It holds subject ids and
// closed words only: no address, no text a stranger wrote (design D15).
type Record struct {
	ID         string // idempotency id; Stage makes a ULID where it is empty
	Time       time.Time
	Kind       Kind
	Controller string
	Subject    address.SubjectID // zero where it concerns no person
	Actor      string            // "relay", "rule", "link", "operator:<name>", "import"
	Action     string            // what was done: "allow", "deny", "suppress", ...
	Reason     string            // from a closed set of the acting room
	Stream     uint16            // 0 where none
	Ref        string            // spool id, case number or event id
	Message    string            // hex of SHA-256 over the Message-ID, or ""
	Data       map[string]string // further closed facts
}
