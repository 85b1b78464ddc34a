package reply

import (
	"strings"

	"postern/gateway/address"
)

// Asked is what decides whether an automatic reply may go out.
type Asked struct {
	MayReply      bool   // what the mail itself allows, read by intake (AR-2)
	Why           string // intake's reason where it does not
	ReturnPath    string // "<>", "" or the plain address
	From          address.Address
	Authenticated bool // DKIM, SPF or DMARC spoke for the sender
	Contradicted  bool // one of them spoke against
	OwnDomains    []string
}

// silent are local-parts that never are persons (RFC 3834 section 2).
var silent = []string{"mailer-daemon", "postmaster", "noreply", "no-reply", "no_reply", "donotreply", "do-not-reply", "bounce", "bounces", "listserv", "majordomo"}

// May gives the one address an automatic reply may go to: the Return-Path
// and no other (AR-3). Where none may, why names the rule in a closed word.
func May(a Asked) (to address.Address, why string) {
	if !a.MayReply {
		return to, first(a.Why, "mail-forbids")
	}
	if a.ReturnPath == "" || a.ReturnPath == "<>" {
		return to, "no-return-path"
	}
	to, err := address.Parse(strings.Trim(a.ReturnPath, "<>"))
	if err != nil {
		return address.Address{}, "bad-return-path"
	}
	for _, d := range a.OwnDomains {
		if to.Domain() == d {
			return address.Address{}, "own-address"
		}
	}
	if noPerson(to.Local()) || !a.From.IsZero() && noPerson(a.From.Local()) {
		return address.Address{}, "no-person"
	}
	if a.Contradicted {
		return address.Address{}, "contradicted"
	}
	if !a.Authenticated && to.Domain() != a.From.Domain() {
		return address.Address{}, "unproven-return-path"
	}
	return to, ""
}

func noPerson(local string) bool {
	l := strings.ToLower(local)
	if strings.HasPrefix(l, "owner-") || strings.HasSuffix(l, "-request") || strings.HasSuffix(l, "-owner") || strings.HasPrefix(l, "bounce+") || strings.HasPrefix(l, "bounces+") {
		return true
	}
	for _, s := range silent {
		if l == s {
			return true
		}
	}
	return false
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
