package classifier

// Label is one thing a person may ask; a mail can carry several.
type Label string

const (
	Access            Label = "access"             // GDPR Art. 15
	Rectification     Label = "rectification"      // Art. 16
	Erasure           Label = "erasure"            // Art. 17
	Restriction       Label = "restriction"        // Art. 18
	Portability       Label = "portability"        // Art. 20
	Objection         Label = "objection"          // Art. 21
	WithdrawConsent   Label = "withdraw_consent"   // Art. 7(3)
	AutomatedDecision Label = "automated_decision" // Art. 22
	OptOutSale        Label = "opt_out_sale"       // CCPA
	Information       Label = "information"        // Art. 13, 14
	Complaint         Label = "complaint"          // Art. 77
	AuthorityLetter   Label = "authority_letter"   // Art. 58
	DPARequest        Label = "dpa_request"        // Art. 28
	AssistanceRequest Label = "assistance_request" // Art. 28(3)(e)
	BreachReport      Label = "breach_report"      // Art. 33
	Unsubscribe       Label = "unsubscribe"        // RFC 2369, RFC 8058
)

// Kind says what a mail is before what it asks.
type Kind string

const (
	KindRequest        Kind = "request"
	KindFollowUp       Kind = "follow_up"
	KindBounce         Kind = "bounce"
	KindAutoReply      Kind = "auto_reply"
	KindFeedbackReport Kind = "feedback_report"
	KindSpam           Kind = "spam"
	KindOther          Kind = "other"
)

// Input is the text of one mail, already freed of quotes and signature.
type Input struct {
	Subject string
	Text    string // the person's own new words
	Quoted  string // what they quoted, for context only
	Hint    string // BCP 47 language from the header, or ""
}

// LabelScore is a label with its calibrated probability, 0 to 1.
type LabelScore struct {
	Label Label   `json:"name"`
	Score float64 `json:"score"`
}

// Reason tells which words spoke for or against a label.
type Reason struct {
	Label  Label   `json:"label"`
	Words  string  `json:"words"`
	Weight float64 `json:"weight"` // positive: for
	Rule   string  `json:"rule,omitempty"`
}

// Result is the classifier's answer. It is deterministic for an input.
type Result struct {
	Language string       `json:"language"` // BCP 47, "und" if unknown
	Kind     Kind         `json:"kind"`
	Labels   []LabelScore `json:"labels"`  // all above a floor, best first
	Decided  []Label      `json:"decided"` // those above their threshold
	Abstain  bool         `json:"abstain"` // unsure: an operator reads it
	Regime   string       `json:"regime"`  // "GDPR", "UK", "CCPA", "LGPD", "CH", or ""
	Asker    string       `json:"asker"`   // "subject", "agent", "authority", "company"
	Reasons  []Reason     `json:"reasons"`
}

// Has tells whether l was decided.
func (r Result) Has(l Label) bool {
	for _, d := range r.Decided {
		if d == l {
			return true
		}
	}
	return false
}

// Labels lists what a person or company may ask for, in the order of the model.
func Labels() []Label {
	out := make([]Label, numLabels)
	for i := range out {
		out[i] = Label(Outputs[i])
	}
	return out
}
