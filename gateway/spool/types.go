package spool

import (
	"slices"
	"time"

	"postern/gateway/address"
)

// State is where one recipient of one message stands.
type State string

const (
	Queued    State = "queued"    // waits for its next attempt
	Held      State = "held"      // waits for an operator
	Delivered State = "delivered" // the next hop answered 250
	Failed    State = "failed"    // the next hop refused for good
	Expired   State = "expired"   // given up after the retry time
	Denied    State = "denied"    // the verdict before the attempt said no (design D5)
	Dropped   State = "dropped"   // removed by an operator
)

// States lists all of them.
func States() []State { return slices.Clone(stateCodes[:]) }

// Recipient is one forward-path of a message and its own fate.
type Recipient struct {
	Address  address.Address
	Subject  address.SubjectID // zero outside marketing
	Notify   string            // RFC 3461 NOTIFY as upper-case list, "" if not given
	ORcpt    string            // RFC 3461 ORCPT, decoded "type;address", or ""
	State    State
	Attempts int
	Next     time.Time // of the next attempt; zero when done
	Code     int       // last SMTP reply code, 0 before the first
	Status   string    // last enhanced status code, "" if none
	Reply    string    // last reply text or deny reason, without addresses of others
	Host     string    // smarthost asked last
	Warned   bool      // a delay DSN was sent
}

// Message is one accepted message. Body bytes are exactly what was received
// behind the header's empty line; Header is the common header after the
// gateway's edits, each field with its CRLF, without the empty line.
type Message struct {
	ID          string // ULID: sorts by time
	Received    time.Time
	Stream      uint16
	Client      string          // name of the client that sent it, for rules asked again later
	ReversePath address.Address // zero: <>
	Ret         string          // RFC 3461 RET: "FULL", "HDRS" or ""
	EnvID       string          // RFC 3461 ENVID, decoded
	UTF8        bool            // needs SMTPUTF8
	EightBit    bool            // BODY=8BITMIME
	RequireTLS  bool            // RFC 8689
	MessageID   string          // hex of SHA-256 over the Message-ID
	Expires     time.Time
	Shared      bool // all recipients get the same copy, however well they are known
	Marketing   bool // it was let in by the rules of a marketing stream
	Same        bool // each copy has the body as it is: known until the message is read back from disk
	Header      []byte
	Body        []byte // may be nil in listings
	BodySize    int64
	Recipients  []Recipient

	once []byte // key of its token, from AcceptOnce
}
