package fulfil

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Verb is what a system is asked to do.
type Verb string

const (
	Lookup   Verb = "lookup"            // is the person known, and under which address; never shown to the sender
	Export   Verb = "export"            // give the data (GDPR Art. 15, 20)
	Erase    Verb = "erase"             // delete it (Art. 17)
	Verify   Verb = "verify"            // is it gone (ST-4)
	Rectify  Verb = "rectify"           // correct it (Art. 16)
	Restrict Verb = "restrict"          // store only (Art. 18)
	Lift     Verb = "lift-restriction"  // the restriction ends, the person was told before (Art. 18(3))
	Stop     Verb = "marketing.stopped" // advertising ended here: stop it elsewhere (Art. 21(3))
	Inform   Verb = "inform-recipients" // tell those who got the data (Art. 19)
)

// Verbs lists all of them.
func Verbs() []Verb {
	return []Verb{Lookup, Export, Erase, Verify, Rectify, Restrict, Lift, Stop, Inform}
}

// Status is what a system says it did.
type Status string

const (
	Done       Status = "done"
	Erased     Status = "erased"
	Restricted Status = "restricted"
	Kept       Status = "kept"      // for a law, until a date
	NotFound   Status = "not_found" // knows nobody of that address
	Accepted   Status = "accepted"  // works on it; the result comes later
	Failed     Status = "failed"
)

// Request is one piece of work for one system. Address is in clear: the system
// has to find the person.
type Request struct {
	Key        string            `json:"key"` // idempotency key: the same key twice is the same request
	Verb       Verb              `json:"verb"`
	Case       string            `json:"case"`
	Controller string            `json:"controller"`
	Address    string            `json:"address"`
	Subject    string            `json:"subject"` // pseudonymous id
	Due        time.Time         `json:"due"`
	Facts      map[string]string `json:"facts,omitempty"` // what is to be corrected, ...
	DryRun     bool              `json:"dry_run,omitempty"`
}

// Outcome is a system's answer.
type Outcome struct {
	Status Status          `json:"status"`
	Law    string          `json:"law,omitempty"`   // for kept: which law
	Until  string          `json:"until,omitempty"` // for kept: until when, a date
	Count  int             `json:"count,omitempty"` // records concerned
	Data   json.RawMessage `json:"data,omitempty"`  // for export: the data itself
	Files  []File          `json:"files,omitempty"` // for export: what is no JSON
	Note   string          `json:"note,omitempty"`  // for the operator
}

// File is one file of an export.
type File struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"` // media type
	Data []byte `json:"data"`           // base64 in JSON
}

// Final tells whether nothing more is to come.
func (o Outcome) Final() bool { return o.Status != Accepted && o.Status != "" }

// ErrAnswer says that a system's answer can't be used.
var ErrAnswer = errors.New("answer can't be used")

// permanent marks a fault that no retry mends.
type permanent struct{ error }

// Unwrap gives the fault itself.
func (p permanent) Unwrap() error { return p.error }

// Permanent tells whether err is a fault that no retry mends: the system
// refused the request as such.
func Permanent(err error) bool {
	var p permanent
	return errors.As(err, &p)
}

// Connector is one system. Do may be called again with the same Key.
type Connector interface {
	Name() string
	Do(ctx context.Context, r Request) (Outcome, error)
}

// readOutcome reads and checks an answer.
func readOutcome(raw []byte) (Outcome, error) {
	var o Outcome
	if err := json.Unmarshal(raw, &o); err != nil {
		return o, fmt.Errorf("%w: not the JSON that was asked for", ErrAnswer)
	}
	return o, o.Check()
}

// Check refuses an outcome that says nothing that can be used. Errors wrap
// ErrAnswer.
func (o Outcome) Check() error {
	switch o.Status {
	case Done, Erased, Restricted, NotFound, Accepted, Failed:
	case Kept:
		if o.Law == "" {
			return fmt.Errorf("%w: kept without the law it is kept for", ErrAnswer)
		}
		if _, err := time.Parse(time.DateOnly, o.Until); o.Until != "" && err != nil {
			return fmt.Errorf("%w: kept until what is no date", ErrAnswer)
		}
	default:
		return fmt.Errorf("%w: unknown status", ErrAnswer)
	}
	return nil
}
