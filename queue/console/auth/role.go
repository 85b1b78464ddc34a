package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a user is trusted with. A user has one or more.
type Role string

// The roles. They do not contain each other: an admin who does not also have
// another role sees no case.
const (
	Operator     Role = "operator"     // works on cases
	Approver     Role = "approver"     // approves erasure and denial
	Auditor      Role = "auditor"      // reads everything, changes nothing
	Admin        Role = "admin"        // users, streams and their modes
	Confidential Role = "confidential" // beside another role: sees cases of confidential mailboxes
)

// Roles lists them in the order they are shown.
func Roles() []Role { return []Role{Operator, Approver, Auditor, Admin, Confidential} }

// Need names who may use a route: anyone with one of these roles. The zero
// Need is for nobody, so that a route without one is shut.
type Need struct {
	public   bool
	signedIn bool
	roles    []Role
}

// Public is for whoever comes, signed in or not.
func Public() Need { return Need{public: true} }

// SignedIn is for every user.
func SignedIn() Need { return Need{signedIn: true} }

// Any is for users with at least one of the roles.
func Any(roles ...Role) Need { return Need{roles: roles} }

// Read is for all who may look at cases.
func Read() Need { return Any(Operator, Approver, Auditor) }

// Work is for those who act on cases.
func Work() Need { return Any(Operator, Approver) }

// IsPublic tells whether no session is needed.
func (n Need) IsPublic() bool { return n.public }

// Allows tells whether a user with these roles may come in.
func (n Need) Allows(have []Role) bool {
	if n.public || n.signedIn {
		return true
	}
	return slices.ContainsFunc(n.roles, func(r Role) bool { return slices.Contains(have, r) })
}

// ParseRoles reads role names; unknown ones and none at all are errors.
func ParseRoles(names []string) ([]Role, error) {
	var out []Role
	for _, n := range names {
		if !slices.Contains(Roles(), Role(n)) {
			return nil, fmt.Errorf("%w: %q is no role", ErrInput, n)
		}
		if !slices.Contains(out, Role(n)) {
			out = append(out, Role(n))
		}
	}
	if len(out) == 0 || len(out) == 1 && out[0] == Confidential {
		return nil, fmt.Errorf("%w: a role is needed", ErrInput)
	}
	return out, nil
}

func joinRoles(roles []Role) string {
	out := make([]string, len(roles))
	for i, r := range roles {
		out[i] = string(r)
	}
	return strings.Join(out, ",")
}

func splitRoles(s string) []Role {
	var out []Role
	for _, w := range strings.Split(s, ",") {
		if w != "" {
			out = append(out, Role(w))
		}
	}
	return out
}
