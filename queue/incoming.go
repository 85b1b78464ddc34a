package queue

import (
	"time"

	"postern/classifier"
	"postern/gateway/address"
)

// Grade says how sure the sender is (design D13, AUTHN-6).
type Grade string

const (
	Proven       Grade = "proven"       // aligned DKIM over the whole body, fresh, addressed to us
	Likely       Grade = "likely"       // SPF or DMARC pass, or a weaker signature
	Unknown      Grade = "unknown"      // nothing said
	Contradicted Grade = "contradicted" // a check failed
)

// Names in Incoming.Mailbox of what lies in no mailbox.
const (
	ByHandMailbox = "by-hand" // a letter, a call or a form
	SplitMailbox  = "split"   // a mail of the case this one was split from
)

// Incoming is one mail at a privacy mailbox as facts, ready to become a case.
type Incoming struct {
	Controller  string // whose mailbox it is
	Mailbox     string // configured name
	Folder      string
	UIDValidity uint32
	UID         uint32
	MessageID   string    // without brackets, "" if none
	ContentHash string    // hex of SHA-256 over the raw bytes
	Copy        string    // that of a copy without a destroyed file, while it takes the place of the original
	CopyOf      int       // place of that file
	Received    time.Time // INTERNALDATE: the clock starts here (DSR-2)

	From       address.Address // zero if unreadable
	FromName   string
	ReturnPath string // "<>" , "" if missing, else the plain address
	Subject    string
	Text       string // own new words
	Quoted     string
	InReplyTo  string
	References []string
	CaseNo     string // read from the subject or reply token, or ""
	Token      string // unsubscribe token from the recipient's local-part, or ""
	ReplyToken string // TOKEN of a recipient "case+TOKEN@", or "": an answer to our answer, or its bounce
	Returned   string // Message-ID of the mail that a report of final failure is about, or ""
	Manual     string // why a person must read the original (too big, too deep, broken), or ""

	Source string // who handed the mail over to us: IP address of the last foreign hop, or ""; for flood alarms

	Grade        Grade
	GradeWhy     string
	Forwarded    address.Address // inner From where a colleague passed a request on
	MayReply     bool            // RFC 3834 and AR-2 allow an automatic answer
	NoReplyWhy   string
	Confidential bool
	Attachments  []Attachment
	Result       classifier.Result
}

// Attachment is a file that came with a mail; its bytes stay in the mailbox.
type Attachment struct {
	Name string
	Type string
	Size int64
	Text string // words read from the file, "" if it holds none that can be read
	// Destroyed is when an operator had what it holds destroyed; zero: it was not.
	Destroyed time.Time `json:",omitzero"`
	// Left says why the mail in the mailbox still holds a destroyed file:
	// "waiting", or why a person has to delete it there; "": it does not.
	Left string `json:",omitempty"`
}
