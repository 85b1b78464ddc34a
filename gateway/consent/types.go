package consent

import (
	"time"

	"postern/gateway/address"
)

// Status is the folded state of one consent (design D9).
type Status string

const (
	StatusNone      Status = ""          // nothing is known: no send (CON-1)
	StatusPending   Status = "pending"   // sign-up without confirmation (CON-12)
	StatusActive    Status = "active"    // may be mailed
	StatusWithdrawn Status = "withdrawn" // GDPR Art. 7(3)
	StatusExpired   Status = "expired"   // end of an implied or time-limited consent (CON-15)
	StatusUnproven  Status = "unproven"  // imported without time, source or wording (CON-17)
	StatusObjected  Status = "objected"  // GDPR Art. 21(2)
)

// Action is one event in the life of a consent (CON-5).
type Action string

const (
	Given     Action = "given"
	Confirmed Action = "confirmed"
	Refreshed Action = "refreshed"
	Withdrawn Action = "withdrawn"
	Expired   Action = "expired"
	Objected  Action = "objected"
)

// Basis is why marketing is lawful.
type Basis string

const (
	Express Basis = "express" // GDPR Art. 6(1)(a), 7
	SoftOpt Basis = "soft"    // ePrivacy Art. 13(2): four conditions
	Implied Basis = "implied" // CASL s.10(9): always with an expiry
)

// Event is one consent event with its evidence (CON-4). Address is the person;
// it is hashed before anything is stored.
type Event struct {
	ID           string // idempotency id; made where empty
	Time         time.Time
	Action       Action
	Controller   string
	Purpose      string
	Address      address.Address
	Basis        Basis
	Method       string    // "form", "import", "api", "console", "cli", "link", ...
	Source       string    // where: a URL, a file, a shop
	Wording      string    // the full text shown
	WordingVer   string    // its version
	Language     string    // BCP 47
	Jurisdiction string    // "EU", "UK", "CA", ...
	Expires      time.Time // zero: no end
	Conditions   [4]bool   // soft opt-in: own customer at a sale, similar goods, refusal at collection, refusal in each mail
	IP           string    // only if needed
	UserAgent    string    // only if needed
	Actor        string    // who entered it, as in ledger.Record

	Subject   address.SubjectID // instead of Address for withdrawn and objected, as from a token
	Ref       string            // confirmed: id of the given event that was clicked; Address may then be empty
	Pending   bool              // given: waits for the person's confirmation; implied by Method "form"
	Preticked bool              // the box was ticked beforehand: such a record is refused (CON-2)
	PolicyURL string            // the privacy notice shown (GDPR Art. 13)
	MailRef   string            // id of the confirmation mail sent (CON-12)
	Age       int               // in years, 0: unknown; judged, not kept (CON-7)
	Guardian  bool              // the holder of parental responsibility consents (GDPR Art. 8)
}

// Scope is how far a suppression reaches within its controller.
type Scope string

const (
	ScopeStream     Scope = "stream"
	ScopePurpose    Scope = "purpose"
	ScopeController Scope = "controller" // all marketing of the controller
	ScopeAll        Scope = "all"        // everything of the controller but service mail
)

// Reason says why an address is suppressed.
type Reason string

const (
	Unsubscribed   Reason = "unsubscribed"
	Complained     Reason = "complaint"
	Bounced        Reason = "bounce"
	ErasurePending Reason = "erasure-pending"
	Erased         Reason = "erased"
	ObjectedTo     Reason = "objected"
	WithdrawnBy    Reason = "withdrawn"
	Manual         Reason = "manual"
	Held           Reason = "hold" // an operator has to confirm (design D13)
)

// Suppression stops mail to one subject; it beats every consent under it and
// survives erasure (ST-2, design D8).
type Suppression struct {
	ID         string // idempotency id of the event; made where empty
	Time       time.Time
	Controller string
	Address    address.Address   // either the address
	Subject    address.SubjectID // or the id alone, as from a token
	Scope      Scope
	Stream     uint16 // for ScopeStream
	Purpose    string // for ScopePurpose
	Reason     Reason
	Source     string // "one-click", "page", "mailto", "privacy-mail", "cli", "import:<file>", ...
	Case       string // case number, or ""
	Actor      string // as in ledger.Record
}

// Answer is what the relay needs to know about one recipient.
type Answer struct {
	Subject    address.SubjectID
	Status     Status // consent for the purpose asked
	Basis      Basis
	Suppressed Reason // "" or the reason of the widest suppression that binds the stream asked
	Scope      Scope  // of that suppression
	Evidence   string // id of the event that decides
}
