package api

import (
	"fmt"
	"slices"
	"strings"
)

// Scope is one thing a token may do.
type Scope string

// The scopes. ConsentRead and so on say what they open; what changes something
// never comes with a right to read.
const (
	ConsentRead         Scope = "consent:read"
	ConsentWrite        Scope = "consent:write"
	SuppressionsRead    Scope = "suppressions:read"
	SuppressionsWrite   Scope = "suppressions:write"
	SuppressionsRelease Scope = "suppressions:release" // ends what stops mail
	CasesRead           Scope = "cases:read"
	CasesWrite          Scope = "cases:write"
	CasesApprove        Scope = "cases:approve"      // erasure
	CasesConfidential   Scope = "cases:confidential" // beside another: cases of confidential mailboxes
	StreamsRead         Scope = "streams:read"
	StreamsWrite        Scope = "streams:write"
	SpoolRead           Scope = "spool:read"
	SpoolWrite          Scope = "spool:write"
	LedgerRead          Scope = "ledger:read"
	WebhooksWrite       Scope = "webhooks:write" // list, make and end subscriptions
	StatusRead          Scope = "status:read"
)

// Scopes lists every scope.
func Scopes() []Scope {
	return []Scope{ConsentRead, ConsentWrite, SuppressionsRead, SuppressionsWrite, SuppressionsRelease, CasesRead, CasesWrite, CasesApprove,
		CasesConfidential, StreamsRead, StreamsWrite, SpoolRead, SpoolWrite, LedgerRead, WebhooksWrite, StatusRead}
}

// ParseScopes reads the names of scopes; at least one is needed.
func ParseScopes(names []string) ([]Scope, error) {
	var out []Scope
	for _, name := range names {
		s := Scope(strings.TrimSpace(name))
		if !slices.Contains(Scopes(), s) {
			return nil, fmt.Errorf("%w: %q is no scope", ErrInput, name)
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: a token needs a scope", ErrInput)
	}
	return out, nil
}
