package report

import (
	"strings"

	"postern/intake/mime"
)

// list reads what a mailing list or a bulk sender handed out (RFC 2919, RFC
// 2369). A group address in front of the mailbox marks every mail like that, so
// whoever reads this has to look at whose list it is.
func list(m *mime.Message, _ string) (Report, bool) {
	h := m.Header
	precedence := strings.ToLower(strings.TrimSpace(h.Get("Precedence")))
	bulk := precedence == "list" || precedence == "bulk" || h.Has("List-Unsubscribe") || h.Has("List-Post")
	if !bulk || !h.Has("List-Id") {
		return Report{}, false
	}
	return Report{Kind: List, Why: "list-id", Reporter: listID(h.Get("List-Id"))}, true
}

// listID is the identifier of a List-Id, lower case.
func listID(v string) string {
	if i, j := strings.LastIndexByte(v, '<'), strings.LastIndexByte(v, '>'); i >= 0 && j > i {
		v = v[i+1 : j]
	}
	return strings.ToLower(strings.TrimSpace(v))
}

// calendar reads a calendar's answer to an invitation.
func calendar(m *mime.Message, _ string) (Report, bool) {
	p := part(m, "text/calendar")
	if p == nil || !strings.EqualFold(p.Params["method"], "REPLY") {
		return Report{}, false
	}
	return Report{Kind: Calendar, Why: "method=reply"}, true
}
