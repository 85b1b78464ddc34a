package queue

import (
	"time"

	"postern/classifier"
	"postern/gateway/address"
)

// Ref names the case a mail ended in.
type Ref struct {
	Number string
	New    bool // false: the mail was known already, or is attached to an older case
}

// Case is one request and how far its handling is. List leaves Mails empty.
type Case struct {
	Number     string
	Controller string
	State      State
	Kind       classifier.Kind
	Labels     []classifier.Label
	Abstain    bool // the classifier was unsure: an operator reads it
	Language   string
	Regime     string // law whose period is taken
	Rule       string // id of the clock rule
	Asker      string
	Received   time.Time // the earliest receipt
	OpenedAt   time.Time
	Due        time.Time // last second for an answer, in the controller's zone
	Extended   bool
	EndedAt    time.Time // zero while live
	Subject    address.SubjectID
	Grade      Grade
	Owner      string
	Role       string   // who may see it, from a confidential mailbox; "": every operator
	Flags      []string // closed words: "alert", "no-address", "other-sender", "undeliverable", "trouble"
	Linked     []string // numbers of related cases
	Proven     []string // subject ids of the addresses whose owner was shown to ask; none beside FlagIdentified: the person's own alone
	Version    int64
	Mails      []Incoming
}

// Event is one thing that happened to a case; Seq counts from 0.
type Event struct {
	Seq    int
	Time   time.Time
	Actor  string // "rule", "operator:<name>", "link", "person"
	Action Action
	Reason string // from a closed set
	From   State
	To     State
	Data   map[string]string // further closed facts: ids, dates, counts
	Note   string            // free words of an operator; sealed at rest
}

// Filter picks cases for List; zero fields do not filter.
type Filter struct {
	Controller string
	States     []State
	Label      classifier.Label
	Subject    address.SubjectID
	Live       bool      // only cases whose clock runs
	DueBefore  time.Time // only live cases due before
	Roles      []string  // nil: all cases; else those of confidential mailboxes only where their role is among these
	Owner      string
	Asker      string // "subject", "agent", "authority", "company": as deletion services are agents
	Limit      int    // default 1000
	Offset     int
}
