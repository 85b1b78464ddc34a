package consent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// termsVersion is the schema version of a stored Terms (CON-4).
const termsVersion = 1

// Terms are the circumstances of a consent that many persons share: the full
// wording shown and where it was shown (CON-4). They are kept once under the
// hash of their content and never change. They name no person.
type Terms struct {
	Schema       int     `json:"v"`
	Controller   string  `json:"controller"`
	Purpose      string  `json:"purpose"`
	Basis        Basis   `json:"basis,omitempty"`
	Method       string  `json:"method,omitempty"`
	Source       string  `json:"source,omitempty"`
	Wording      string  `json:"wording,omitempty"`
	WordingVer   string  `json:"wording_version,omitempty"`
	Language     string  `json:"language,omitempty"`
	Jurisdiction string  `json:"jurisdiction,omitempty"`
	PolicyURL    string  `json:"policy_url,omitempty"`
	Conditions   [4]bool `json:"conditions"`
	Actor        string  `json:"actor,omitempty"`
}

// termsHash is the first 12 octets of SHA-256 over the JSON form; storing
// compares the content, so that a collision is an error and never a mix-up.
type termsHash [12]byte

// String is the hash in lower-case hexadecimal.
func (h termsHash) String() string { return hex.EncodeToString(h[:]) }

func termsOf(e Event) Terms {
	return Terms{
		Schema: termsVersion, Controller: e.Controller, Purpose: e.Purpose, Basis: e.Basis, Method: e.Method,
		Source: e.Source, Wording: e.Wording, WordingVer: e.WordingVer, Language: e.Language,
		Jurisdiction: e.Jurisdiction, PolicyURL: e.PolicyURL, Conditions: e.Conditions, Actor: e.Actor,
	}
}

// encode gives the stored form, its short hash and its full SHA-256 in hex.
func (t Terms) encode() (text string, h termsHash, full string, err error) {
	b, err := json.Marshal(t)
	if err != nil {
		return "", h, "", fmt.Errorf("encode consent terms: %w", err)
	}
	sum := sha256.Sum256(b)
	return string(b), hashTerms(string(b)), hex.EncodeToString(sum[:]), nil
}

func hashTerms(text string) (h termsHash) {
	sum := sha256.Sum256([]byte(text))
	copy(h[:], sum[:])
	return h
}

func decodeTerms(text string) (Terms, error) {
	var t Terms
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return t, fmt.Errorf("%w: consent terms", ErrDamaged)
	}
	return t, nil
}

// extras is what an event tells of one person alone; kept with the person.
type extras struct {
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"ua,omitempty"`
	Ref       string `json:"ref,omitempty"`  // of a confirmation: the given event
	Mail      string `json:"mail,omitempty"` // id of the confirmation mail
	Guardian  bool   `json:"guardian,omitempty"`
	Until     int64  `json:"until,omitempty"` // of a sign-up: end of the consent once confirmed, Unix s
}

func (x extras) encode() string {
	if x == (extras{}) {
		return ""
	}
	b, err := json.Marshal(x)
	if err != nil {
		return "" // strings only: cannot happen
	}
	return string(b)
}

func decodeExtras(s string) (x extras, err error) {
	if s == "" {
		return x, nil
	}
	if err := json.Unmarshal([]byte(s), &x); err != nil {
		return x, fmt.Errorf("%w: consent extras", ErrDamaged)
	}
	return x, nil
}
