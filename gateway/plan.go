package gateway

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"postern/gateway/header"
	"postern/gateway/stream"
)

// plan is what acceptance will do to a message's header, settled before
// anybody is asked, so that what can't be relayed is refused first.
type plan struct {
	st      stream.Stream
	soft    *Denial       // a client signature that enforcing would not let pass
	advice  *Denial       // "looks like marketing" where it may refuse
	add     []byte        // fields to put behind the trace fields
	remove  []header.Span // fields that do not leave
	fold    []foldedField // fields too long for a line
	mbox    bool          // the first line is an mbox "From " line
	newID   string        // Message-ID added, "" if there was one
	subst   *substitution // placeholders in the body, nil if none
	signs   bool          // we sign it
	idHash  string        // of the Message-ID that leaves
	newDate bool          // Date is added with the time of acceptance
}

// canSign tells whether there is a key for mail From that domain.
func (e *Engine) canSign(domain string) bool {
	return e.deps.Signer != nil && e.deps.Signer.Signs(domain)
}

// plan looks at what has to change, and refuses what would break by it.
// sender is what is wrong with the sender where a mode lets it pass: mail of
// foreign domains is not signed, as nobody but their owner can.
func (e *Engine) plan(r *rules, st stream.Stream, m *message, sender *Denial, longest int) (*plan, *Denial) {
	p := &plan{st: st}
	p.mbox = len(m.hdr.Raw()) >= 5 && string(m.hdr.Raw()[:5]) == "From " && !m.hdr.Spans()[0].IsField()
	for _, s := range m.hdr.Spans() {
		if isOwnField(m.hdr, s) || m.hdr.Is(s, "Bcc") || m.hdr.Is(s, "Resent-Bcc") {
			p.remove = append(p.remove, s)
		}
	}
	p.idHash = m.idHash()
	p.signs = st.Sign == signSmarthost || (st.Sign == signDKIM && e.canSign(m.fromDomain()))
	if p.signs || !m.has(fieldSignature) { // a client that signs may have signed that there is none
		p.newDate = !m.has(fieldDate)
		if !m.has(fieldMessageID) {
			p.newID = e.newMessageID(m)
			p.idHash = MessageIDHash(p.newID)
		}
	}
	if st.Kind == stream.Marketing && m.blank {
		return nil, malformed("header")
	}
	if st.Kind == stream.Marketing && m.stray && !(p.mbox && strayOnlyFirst(m.hdr)) {
		return nil, malformed("header")
	}
	if st.Kind == stream.Marketing {
		p.subst = findPlaceholders(m.body, m.parts)
	}
	if den := e.planLines(m, p, longest); den != nil {
		return nil, den
	}
	if !p.signs && st.Sign == signDKIM && sender == nil {
		return nil, &Denial{Reason: SignerFailed, Defer: true}
	}
	if den := e.planSignatures(m, p, r.mode(st)); den != nil {
		return nil, den
	}
	e.advise(r, st, m, p)
	if sender == nil {
		sender = p.soft
	}
	if sender != nil && r.mode(st) == stream.Annotate {
		p.add = append(p.add, "X-Postern-Verdict: would-deny; reason="+sender.label()+"\r\n"...)
	}
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

// planLines looks after overlong lines where a later hop would break them
// behind our signature, and in marketing (MIME-1): header fields are folded,
// a body is refused. longest is the longest line of the whole message, 0 if
// not known.
func (e *Engine) planLines(m *message, p *plan, longest int) *Denial {
	if p.st.Sign == "" && p.st.Kind != stream.Marketing {
		return nil
	}
	if p.subst != nil && p.subst.longest(len(e.publicURL(p.st))+len("/u/")+tokenLength) > maxLine {
		return malformed("line-length")
	}
	if longest > 0 && longest <= maxLine {
		return nil
	}
	if header.LongestLine(m.body) > maxLine {
		return malformed("line-length")
	}
	for _, s := range m.hdr.Spans() {
		b := m.hdr.Bytes(s)
		if header.LongestLine(b) <= maxLine {
			continue
		}
		folded, ok := header.Fold(b, maxLine)
		if !ok {
			return malformed("header-line-length")
		}
		p.fold = append(p.fold, foldedField{s, folded})
	}
	return nil
}

// foldedField is a field with line breaks put before some of its white space.
type foldedField struct {
	span  header.Span
	field []byte
}

// tokenLength is the length of a token's text (design D7).
const tokenLength = 60

// maxLine is the longest line in octets, without CRLF (RFC 5322 section 2.1.1).
const maxLine = 998

// planSignatures finds client signatures that our changes would break. They
// go, with ours in their place, or the message is refused; none is broken in
// silence (SMTP-2). Where a mode refuses nothing, the list fields are left
// alone instead.
func (e *Engine) planSignatures(m *message, p *plan, mode stream.Mode) *Denial {
	if !m.has(fieldSignature) {
		return nil
	}
	common, list := p.commonNames(m), listNames(p.st, m)
	var broken []header.Span
	var den *Denial
	hard := false
	for _, s := range m.hdr.Find("DKIM-Signature") {
		v := m.hdr.Value(s)
		always := p.subst != nil || coversAny(v, common)
		if !always && !coversAny(v, list) {
			continue
		}
		broken = append(broken, s)
		if p.st.Signed == signedRefuse || !p.signs {
			den, hard = &Denial{Reason: AlreadySigned}, hard || always
		}
	}
	switch {
	case den == nil:
		p.remove = append(p.remove, broken...)
	case !hard && mode != stream.Enforce:
		p.soft = den
		den = nil
	}
	return den
}

// commonNames are the lower-case names of the fields that differ in every copy.
func (p *plan) commonNames(m *message) map[string]bool {
	out := map[string]bool{}
	for _, s := range p.remove {
		out[strings.ToLower(string(m.hdr.Name(s)))] = true
	}
	for _, f := range p.fold {
		out[strings.ToLower(string(m.hdr.Name(f.span)))] = true
	}
	if p.newDate {
		out["date"] = true
	}
	if p.newID != "" {
		out["message-id"] = true
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
	for _, f := range p.fold {
		if !slices.Contains(p.remove, f.span) {
			edit.Replace(f.span, f.field)
		}
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
