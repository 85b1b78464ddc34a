package report

import (
	"regexp"
	"strings"

	"postern/intake/mime"
)

var statusCode = regexp.MustCompile(`\b([245]\.\d{1,3}\.\d{1,3})\b`)
var replyCode = regexp.MustCompile(`(?:^|[\s(:;"'#<])([245]\d\d)(?:[\s\-,;)#]|$)`)

// delivery reads a report with a message/delivery-status part. A person who
// sends us a bounce as an attachment is no machine: the outer form must be one.
func delivery(m *mime.Message, text string) (Report, bool) {
	p := part(m, "message/delivery-status", "message/global-delivery-status", "message/deliverystatus")
	typed := m.Type == "multipart/report" && (strings.EqualFold(m.Params["report-type"], "delivery-status") || strings.EqualFold(m.Params["report-type"], "global-delivery-status"))
	if p == nil {
		return Report{}, false
	}
	if !typed && m.Type != "multipart/report" && !machineEnvelope(m) {
		return Report{}, false
	}
	r := Report{Why: "delivery-status"}
	r.fill(m)
	r.status(fields(p.Decoded(256 << 10)))
	if !named(r.Recipients) { // the fields hide whom: the words may tell
		hidden := r.Recipients
		r.Recipients = nil
		r.guess(m.Header.Get("X-Failed-Recipients"), text)
		for i := range r.Recipients {
			if len(hidden) == 1 {
				r.Recipients[i].Action = hidden[0].Action
			}
		}
		if len(r.Recipients) == 0 {
			r.Recipients = hidden
		}
	}
	r.settle(text)
	return r, true
}

func named(list []Recipient) bool {
	for _, r := range list {
		if r.Address != "" {
			return true
		}
	}
	return false
}

// status takes over what delivery-status groups say.
func (r *Report) status(groups []map[string]string) {
	for _, g := range groups {
		if v := g["original-envelope-id"]; v != "" {
			r.EnvelopeID = strings.Trim(afterXtext(v), "<>")
		}
		if v := g["reporting-mta"]; v != "" {
			r.Reporter = afterType(v)
		}
		if g["final-recipient"] == "" && g["original-recipient"] == "" && g["action"] == "" && g["x-actual-recipient"] == "" {
			continue
		}
		rec := Recipient{Action: word(g["action"]), Diagnostic: oneLine(afterType(g["diagnostic-code"]))}
		// The address we wrote to is the original one: the final may be a
		// forwarding target we never knew.
		for _, k := range []string{"original-recipient", "final-recipient", "x-actual-recipient"} {
			if rec.Address = plainAddress(g[k]); rec.Address != "" {
				break
			}
		}
		if s := statusCode.FindString(g["status"]); s != "" {
			rec.Status = s
		}
		rec.judge()
		r.Recipients = append(r.Recipients, rec)
	}
}

// afterXtext undoes the "+3D" escapes of RFC 3461 section 4.
func afterXtext(v string) string {
	var out strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '+' && i+2 < len(v) {
			if hi, lo := strings.IndexByte("0123456789ABCDEF", v[i+1]), strings.IndexByte("0123456789ABCDEF", v[i+2]); hi >= 0 && lo >= 0 {
				out.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		out.WriteByte(v[i])
	}
	return out.String()
}

func word(v string) string {
	f := strings.Fields(strings.ToLower(v))
	if len(f) == 0 {
		return ""
	}
	return strings.Trim(f[0], `"';,(`)
}

func oneLine(v string) string {
	v = strings.Join(strings.Fields(v), " ")
	if len(v) > 500 {
		v = v[:500]
	}
	return v
}

// judge decides whether a failure is for good. A full mailbox, a refused
// content, a blocked sender or a broken route say nothing about the address
// (RFC 3463): only "no such person or domain" is hard.
func (r *Recipient) judge() {
	code := r.Status
	if specific := statusCode.FindString(r.Diagnostic); specific != "" && (code == "" || strings.HasSuffix(code, ".0.0")) {
		code = specific
	}
	if code != "" {
		r.Status = code
	}
	if r.Action == "delayed" || r.Action == "delivered" || r.Action == "relayed" || r.Action == "expanded" {
		return
	}
	low := strings.ToLower(r.Diagnostic)
	switch {
	case strings.HasPrefix(code, "4."):
		return
	case code == "5.1.1", code == "5.1.2", code == "5.1.3", code == "5.1.6", code == "5.1.10", code == "5.2.1", code == "5.4.4":
		r.Hard = !blocks(low)
	case code == "" || strings.HasSuffix(code, ".0.0") || strings.HasPrefix(code, "5.5.0"):
		r.Hard = gone(low)
	default:
		r.Hard = gone(low) && !blocks(low)
	}
}

// gone tells of words that say the address does not exist.
func gone(low string) bool {
	return containsAny(low, "user unknown", "unknown user", "no such user", "no such mailbox", "does not exist", "doesn't exist", "not exist", "unknown recipient", "recipient unknown", "invalid recipient", "unknown address", "mailbox unavailable", "mailbox not found", "no mailbox", "user not found", "recipient not found", "not found", "unknown mailbox", "account disabled", "account is disabled", "account inactive", "no longer", "unrouteable address", "unknown local part", "host unknown", "domain not found", "undeliverable address", "address rejected: user", "not a valid mailbox", "invalid mailbox", "bad destination mailbox", "unknown or illegal alias", "is not a known user", "user doesn't have", "recipnotfound", "not listed in", "resolver.adr.recip", "not our customer", "unbekannt", "existiert nicht", "n'existe pas", "no existe")
}

// blocks tells of words that lay the refusal on us, not on the address.
func blocks(low string) bool {
	return containsAny(low, "spam", "blocked", "blacklist", "block list", "blocklist", "reputation", "policy", "dmarc", "spf", "rate limit", "too many", "greylist", "denied", "not allowed", "virus", "content")
}

// settle gives the report its kind from the recipients, or from its words
// where they say nothing.
func (r *Report) settle(text string) {
	failed, delayed, fine := 0, 0, 0
	for _, rec := range r.Recipients {
		switch rec.Action {
		case "failed", "":
			failed++
		case "delayed":
			delayed++
		default:
			if strings.HasPrefix(rec.Action, "fail") {
				failed++
			} else {
				fine++
			}
		}
	}
	switch {
	case failed > 0:
		r.Kind = Failed
	case delayed > 0:
		r.Kind = Delayed
	case fine > 0:
		r.Kind = Delivered
	case late(strings.ToLower(r.Subject + "\n" + text)):
		r.Kind = Delayed
	default:
		r.Kind = Failed
	}
	if r.Kind == Failed && len(r.Recipients) > 0 && allLate(r.Recipients, text) {
		r.Kind = Delayed
	}
}

// allLate tells of reports that leave Action out and warn of a delay.
func allLate(list []Recipient, text string) bool {
	for _, rec := range list {
		if rec.Action != "" || !strings.HasPrefix(rec.Status, "4.") {
			return false
		}
	}
	return late(strings.ToLower(text))
}

// fill notes which of our mails the report is about.
func (r *Report) fill(m *mime.Message) {
	h, raw := returned(m)
	r.Header = raw
	if h != nil {
		r.MessageID = firstID(h.Get("Message-ID"))
		r.Subject = h.Text("Subject")
	}
	if r.MessageID == "" {
		r.MessageID = firstID(m.Header.Get("In-Reply-To"))
	}
	if r.MessageID == "" {
		if ids := mime.MessageIDs(m.Header.Get("References")); len(ids) > 0 {
			r.MessageID = ids[len(ids)-1]
		}
	}
}
