package report

import (
	"regexp"
	"time"

	"postern/gateway/address"
	"postern/intake/mime"
)

// Kind says which machine wrote a mail. The words are stored.
type Kind string

const (
	None      Kind = ""           // a person, or nothing known
	Failed    Kind = "bounce"     // a delivery failed
	Delayed   Kind = "delay"      // a delivery is late: no bounce
	Delivered Kind = "delivered"  // a delivery went well or was relayed
	Abuse     Kind = "complaint"  // someone pressed "spam" or opted out at their provider
	AuthFail  Kind = "auth-fail"  // an authentication failure report (RFC 6591)
	Aggregate Kind = "aggregate"  // a DMARC or TLS report: no complaint
	Auto      Kind = "auto-reply" // out of office, receipt of a ticket system
	Receipt   Kind = "receipt"    // a disposition notification: read, deleted
	Challenge Kind = "challenge"  // asks the sender to prove being a person
	List      Kind = "list"       // handed out by a mailing list or a bulk sender
	Calendar  Kind = "calendar"   // a calendar's answer to an invitation (RFC 5546)
)

// Machine tells whether a machine wrote the words. What a list or a calendar
// hands out holds a person's, often enough.
func (k Kind) Machine() bool { return k != None && k != List && k != Calendar }

// Report is machine mail understood.
type Report struct {
	Kind Kind
	Why  string // what in the structure said so, closed words

	Recipients []Recipient // of a bounce, delay or delivery
	MessageID  string      // of the mail reported on, without brackets, or ""
	EnvelopeID string      // Original-Envelope-Id, or ""
	Subject    string      // of the mail reported on
	Reporter   string      // Reporting-MTA or User-Agent
	Feedback   string      // Feedback-Type of a complaint
	Subjects   []string    // plain addresses a complaint is about
	Header     string      // the returned header, raw, at most 64 KiB
}

// Recipient is one recipient of a delivery report (RFC 3464 section 2.3).
type Recipient struct {
	Address    string // plain, "" if the report hides it
	Action     string // failed, delayed, delivered, relayed, expanded
	Status     string // enhanced status such as 5.1.1, or ""
	Hard       bool   // the address will not work later either
	Diagnostic string // what the server said, one line
}

// Bounce tells consent of failed deliveries (design D19).
type Bounce struct {
	Controller string
	Mailbox    string
	At         time.Time // receipt
	Token      string    // from the local-part of our reverse-path, or ""
	MessageID  string    // of our mail, without brackets, or ""
	EnvelopeID string
	Recipients []BouncedRecipient
}

// BouncedRecipient is one address that could not be reached.
type BouncedRecipient struct {
	Address address.Address // zero if the report hides it
	Status  string          // enhanced status, or ""
	Hard    bool            // permanent for this address: suppress
}

// Complaint tells consent that a person reported our mail (RFC 5965).
type Complaint struct {
	Controller string
	Mailbox    string
	At         time.Time
	Type       string          // abuse, opt-out, fraud, virus, other
	Token      string          // found in the reported mail's List-Unsubscribe, or ""
	Recipient  address.Address // zero if redacted
	MessageID  string          // of our mail, without brackets, or ""
}

// Token finds our unsubscribe token in the returned header's List-Unsubscribe,
// which tells whose complaint it is where the address was taken out.
func (r Report) Token() string {
	h := mime.Headers([]byte(r.Header))
	for _, v := range h.All("List-Unsubscribe") {
		if m := unsubscribeToken.FindStringSubmatch(v); m != nil {
			return m[1]
		}
	}
	return ""
}

// unsubscribeToken is the mailto form of our List-Unsubscribe (design D7).
var unsubscribeToken = regexp.MustCompile(`(?i)mailto:u\+([a-z2-7]{20,80})@`)
