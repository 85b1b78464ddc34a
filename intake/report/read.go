package report

import (
	"strings"

	"postern/intake/mime"
)

// Read judges a parsed message. text is its letter. It never fails; what it
// does not know is None.
func Read(m *mime.Message, text string) Report {
	for _, see := range []func(*mime.Message, string) (Report, bool){
		feedback, providerJSON, aggregate, disposition, challenge, delivery, providerComplaint, daemon, auto, calendar, list,
	} {
		if r, ok := see(m, text); ok {
			return r
		}
	}
	return Report{}
}

// fields reads groups of header-like fields divided by empty lines, as in
// message/delivery-status; names are lower case.
func fields(body string) []map[string]string {
	var out []map[string]string
	var cur map[string]string
	last := ""
	for _, line := range strings.Split(strings.ReplaceAll(body, "\r\n", "\n"), "\n") {
		if strings.TrimSpace(line) == "" {
			cur, last = nil, ""
			continue
		}
		if (line[0] == ' ' || line[0] == '\t') && last != "" {
			cur[last] += " " + strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(strings.TrimSpace(name), " \t") {
			last = ""
			continue
		}
		if cur == nil {
			if len(out) >= 500 {
				return out
			}
			cur = map[string]string{}
			out = append(out, cur)
		}
		last = strings.ToLower(strings.TrimSpace(name))
		if _, twice := cur[last]; twice {
			last += "+" // keep the first, take note that there is more
		}
		cur[last] = strings.TrimSpace(value)
	}
	return out
}

// afterType strips the "rfc822;" before an address or "smtp;" before a text.
func afterType(v string) string {
	if t, rest, ok := strings.Cut(v, ";"); ok && !strings.ContainsAny(strings.TrimSpace(t), " @<") {
		v = rest
	}
	return strings.TrimSpace(v)
}

// plainAddress reads an address of a report field, or "".
func plainAddress(v string) string {
	v = afterType(v)
	if i, j := strings.LastIndexByte(v, '<'), strings.LastIndexByte(v, '>'); i >= 0 && j > i {
		v = v[i+1 : j]
	}
	if f := strings.Fields(v); len(f) > 0 {
		v = f[0]
	}
	v = strings.Trim(v, "<>\"' ()[];,")
	if at := strings.LastIndexByte(v, '@'); at <= 0 || at == len(v)-1 || strings.ContainsAny(v, "<>") {
		return ""
	}
	return v
}

// part finds the first part of one of the types, messages within excluded.
func part(m *mime.Message, types ...string) *mime.Part {
	var found *mime.Part
	m.Walk(func(p *mime.Part) bool {
		for _, t := range types {
			if p.Type == t {
				found = p
				return false
			}
		}
		return true
	})
	return found
}

// returned finds the header of the mail that a report is about.
func returned(m *mime.Message) (mime.Header, string) {
	var h mime.Header
	var raw string
	m.Walk(func(p *mime.Part) bool {
		switch p.Type {
		case "message/rfc822", "message/global":
			if p.Inner != nil {
				h = p.Inner.Header
				raw = clip(string(p.Body))
				return false
			}
		case "text/rfc822-headers", "text/rfc822-header", "message/rfc822-headers", "message/global-headers":
			inner := mime.Parse(p.Decode(), mime.Limits{})
			h, raw = inner.Header, clip(string(p.Body))
			return false
		}
		return true
	})
	return h, raw
}

func clip(s string) string {
	if len(s) > 64<<10 {
		return s[:64<<10]
	}
	return s
}

func firstID(v string) string {
	if ids := mime.MessageIDs(v); len(ids) > 0 {
		return ids[0]
	}
	if v = strings.TrimSpace(v); v != "" && !strings.ContainsAny(v, " \t") {
		return strings.Trim(v, "<>")
	}
	return ""
}

func containsAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// machineEnvelope tells whether the outer form is that of a machine: null
// reverse-path, a daemon's name, or an Auto-Submitted field.
func machineEnvelope(m *mime.Message) bool {
	if v := m.Header.Get("Auto-Submitted"); v != "" && !strings.HasPrefix(strings.ToLower(v), "no") {
		return true
	}
	return nullPath(m) || daemonName(m)
}

func nullPath(m *mime.Message) bool {
	if !m.Header.Has("Return-Path") {
		return false
	}
	v := strings.TrimSpace(m.Header.Get("Return-Path"))
	return v == "<>" || v == "" || strings.EqualFold(v, "<MAILER-DAEMON>")
}

// daemonName tells whether From is a mail system.
func daemonName(m *mime.Message) bool {
	from := strings.ToLower(m.Header.Get("From"))
	if from == "<>" || from == "" && m.Header.Has("From") {
		return true
	}
	local := from
	if list := m.Header.Addresses("From"); len(list) > 0 {
		local = strings.ToLower(list[0].Addr)
	}
	if i := strings.IndexByte(local, '@'); i >= 0 {
		local = local[:i]
	}
	switch strings.Trim(local, `"<> `) {
	case "mailer-daemon", "postmaster", "post_master", "post-master", "mailsystem", "mail-system", "mail_system", "mail-daemon", "mailerdaemon", "maildelivery", "mail-delivery", "bounce", "bounces", "microsoftexchange329e71ec88ae4615bbc36ab6ce41109e":
		return true
	}
	return strings.HasPrefix(local, "mailer-daemon") || strings.HasPrefix(local, "postmaster+") || containsAny(from, "mailer-daemon", "mail delivery s")
}
