package gateway

import (
	"bytes"
	"strings"
	"time"

	"postern/gateway/header"
	"postern/gateway/stream"
)

// plan is what acceptance will do to a message's header, settled before
// anybody is asked, so that what can't be relayed is refused first.
type plan struct {
	st      stream.Stream
	advice  *Denial       // "looks like marketing" where it may refuse
	add     []byte        // fields to put behind the trace fields
	remove  []header.Span // fields that do not leave
	mbox    bool          // the first line is an mbox "From " line
	newID   string        // Message-ID added, "" if there was one
	idHash  string        // of the Message-ID that leaves
	newDate bool          // Date is added with the time of acceptance
}

// plan looks at what has to change, and refuses what would break by it.
func (e *Engine) plan(r *rules, st stream.Stream, m *message) (*plan, *Denial) {
	p := &plan{st: st}
	p.mbox = len(m.hdr.Raw()) >= 5 && string(m.hdr.Raw()[:5]) == "From " && !m.hdr.Spans()[0].IsField()
	for _, s := range m.hdr.Spans() {
		if isOwnField(m.hdr, s) || m.hdr.Is(s, "Bcc") || m.hdr.Is(s, "Resent-Bcc") {
			p.remove = append(p.remove, s)
		}
	}
	p.newDate = !m.has(fieldDate)
	p.idHash = m.idHash()
	if !m.has(fieldMessageID) {
		p.newID = e.newMessageID(m)
		p.idHash = hashMessageID(p.newID)
	}
	if st.Kind == stream.Marketing && m.stray && !(p.mbox && strayOnlyFirst(m.hdr)) {
		return nil, malformed("header")
	}
	if den := e.planLines(st, m); den != nil {
		return nil, den
	}
	if den := e.planSignatures(st, m, p); den != nil {
		return nil, den
	}
	e.advise(r, st, m, p)
	return p, nil
}

func strayOnlyFirst(h *header.Header) bool {
	for _, s := range h.Spans()[1:] {
		if !s.IsField() {
			return false
		}
	}
	return true
}

// isOwnField tells whether a field is one that only Postern may set.
func isOwnField(h *header.Header, s header.Span) bool {
	name := h.Name(s)
	return len(name) > 10 && strings.EqualFold(string(name[:10]), "X-Postern-")
}

func (e *Engine) newMessageID(m *message) string {
	domain := m.fromDomain()
	if domain == "" || domain[0] == '[' {
		domain = e.opts.Hostname
	}
	return "<" + e.newID(e.opts.Now()) + "@" + domain + ">"
}

// planLines refuses overlong lines where a later hop would break them behind
// our signature, or in marketing (MIME-1).
func (e *Engine) planLines(st stream.Stream, m *message) *Denial {
	if st.Sign == "" && st.Kind != stream.Marketing {
		return nil
	}
	if header.LongestLine(m.hdr.Raw()) > maxLine {
		return malformed("header-line-length")
	}
	if header.LongestLine(m.body) > maxLine {
		return malformed("line-length")
	}
	return nil
}

// maxLine is the longest line in octets, without CRLF (RFC 5322 section 2.1.1).
const maxLine = 998

// planSignatures finds client signatures that our changes would break. They
// go, with ours in their place, or the message is refused; none is broken in
// silence (SMTP-2).
func (e *Engine) planSignatures(st stream.Stream, m *message, p *plan) *Denial {
	if !m.has(fieldSignature) {
		return nil
	}
	changed := p.changedNames(m)
	body := st.Kind == stream.Marketing && hasPlaceholder(m.body)
	for _, s := range m.hdr.Find("DKIM-Signature") {
		if !body && !coversAny(m.hdr.Value(s), changed) {
			continue
		}
		if st.Signed == signedRefuse || st.Sign == "" {
			return &Denial{Reason: AlreadySigned}
		}
		p.remove = append(p.remove, s)
	}
	return nil
}

// changedNames are the lower-case names of the fields that will differ.
func (p *plan) changedNames(m *message) map[string]bool {
	out := map[string]bool{}
	for _, s := range p.remove {
		out[strings.ToLower(string(m.hdr.Name(s)))] = true
	}
	if p.newDate {
		out["date"] = true
	}
	if p.newID != "" {
		out["message-id"] = true
	}
	if p.st.Kind == stream.Marketing {
		for _, n := range []string{"list-unsubscribe", "list-unsubscribe-post", "list-id"} {
			out[n] = true
		}
		if p.st.FeedbackID != "" {
			out["feedback-id"] = true
		}
	}
	return out
}

// coversAny tells whether the h= list of a signature names any of names.
func coversAny(signature string, names map[string]bool) bool {
	for _, tag := range strings.Split(signature, ";") {
		k, v, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(k) != "h" {
			continue
		}
		for _, n := range strings.Split(v, ":") {
			if names[strings.ToLower(strings.TrimSpace(n))] {
				return true
			}
		}
	}
	return false
}

// advise asks the advisor about transactional mail. What it says counts, adds
// a header or refuses, by the lesser of mode and configuration (design D1).
func (e *Engine) advise(r *rules, st stream.Stream, m *message, p *plan) {
	if e.deps.Advisor == nil || st.Kind != stream.Transactional {
		return
	}
	looks, word := e.deps.Advisor.LooksMarketing(decodeSubject(m.value(fieldSubject)), sampleText(m))
	if !looks {
		return
	}
	e.met.advisory.Inc()
	den := &Denial{Reason: LooksMarketing, Detail: closedWord(word)}
	mode := r.mode(st)
	switch {
	case st.Advisory == "refuse" && mode == stream.Enforce:
		p.advice = den
	case st.Advisory == "header" || mode == stream.Annotate || st.Advisory == "refuse":
		if mode != stream.Observe {
			p.add = append(p.add, "X-Postern-Advice: "+den.label()+"\r\n"...)
		}
	}
}

// closedWord keeps foreign text out of headers, records and replies.
func closedWord(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return -1
	}, strings.ToLower(s))
}

// sampleText is the beginning of the body for the advisor.
func sampleText(m *message) string {
	return string(m.body[:min(len(m.body), 8<<10)])
}

// commonHeader is the header shared by all copies: our Received on top, what
// may not leave gone, what is missing added.
func (e *Engine) commonHeader(m *message, p *plan, received []byte, now time.Time) []byte {
	edit := m.hdr.Edit()
	edit.Prepend(received)
	if p.mbox {
		edit.Prepend([]byte("X-Mailbox-Line: "))
	}
	for _, s := range p.remove {
		edit.Remove(s)
	}
	var own bytes.Buffer
	if p.newDate {
		own.WriteString("Date: " + now.Format(time.RFC1123Z) + "\r\n")
	}
	if p.newID != "" {
		own.WriteString("Message-ID: " + p.newID + "\r\n")
	}
	own.Write(p.add)
	if own.Len() > 0 {
		at := m.hdr.AfterTrace()
		if p.mbox && at == 0 {
			at = m.hdr.Spans()[0].End
		}
		edit.Insert(at, own.Bytes())
	}
	out := edit.Bytes()
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\r', '\n')
	}
	return out
}
