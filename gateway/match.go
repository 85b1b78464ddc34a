package gateway

import (
	"slices"
	"strings"

	"postern/gateway/stream"
)

// match says which stream a message belongs to (design D1): a header may
// choose among the streams of the grant, else the From domain does, else the
// grant's default. A denial names what was asked for and not allowed. null
// says that the reverse-path is <>.
func match(set *stream.Set, g *Grant, m *message, null bool, recipients int) (stream.Stream, *Denial) {
	name, declared, den := declaredStream(m)
	if den != nil {
		return stream.Stream{}, den
	}
	if declared {
		return allowedStream(set, g, name)
	}
	if null && recipients == 1 && isNotice(m, onlyMarketing(set, g)) {
		return builtinStream(), nil
	}
	if st, ok, den := listStream(set, g, m); ok || den != nil {
		return st, den
	}
	return domainStream(set, g, m)
}

// declaredStream reads the fields by which a client names a stream.
func declaredStream(m *message) (name string, declared bool, den *Denial) {
	for _, f := range []fieldID{fieldStream, fieldPMStream, fieldSESList, fieldMailjet} {
		switch m.count[f] {
		case 0:
			continue
		case 1:
			v := m.value(f)
			if f == fieldSESList {
				v = sesTopic(v)
			}
			return v, true, nil
		default:
			return "", true, malformed(streamFieldNames[f])
		}
	}
	return "", false, nil
}

var streamFieldNames = map[fieldID]string{
	fieldStream: "X-Postern-Stream", fieldPMStream: "X-PM-Message-Stream",
	fieldSESList: "X-SES-LIST-MANAGEMENT-OPTIONS", fieldMailjet: "X-Mailjet-Campaign",
}

// sesTopic reads "contactListName; topic=name": the topic if given, else the list.
func sesTopic(v string) string {
	list, rest, _ := strings.Cut(v, ";")
	for _, p := range strings.Split(rest, ";") {
		if k, t, ok := strings.Cut(p, "="); ok && strings.EqualFold(strings.TrimSpace(k), "topic") {
			return strings.TrimSpace(t)
		}
	}
	if _, t, ok := strings.Cut(list, "="); ok {
		list = t
	}
	return strings.TrimSpace(list)
}

func allowedStream(set *stream.Set, g *Grant, name string) (stream.Stream, *Denial) {
	st, ok := set.ByName(name)
	if !ok || st.Retired || !slices.Contains(g.Streams, name) {
		return stream.Stream{}, &Denial{Reason: StreamDenied}
	}
	return st, nil
}

// named is the stream that a message names by a field of its own, whether the
// client may use it or not.
func named(set *stream.Set, m *message) (stream.Stream, bool) {
	if name, declared, den := declaredStream(m); declared {
		st, ok := set.ByName(name)
		return st, ok && den == nil
	}
	if m.count[fieldListID] != 1 {
		return stream.Stream{}, false
	}
	return set.ByListID(listIdentifier(m.value(fieldListID)))
}

// onlyMarketing tells whether a client has no stream for other mail.
func onlyMarketing(set *stream.Set, g *Grant) bool {
	for _, name := range g.Streams {
		if st, ok := set.ByName(name); ok && st.Kind != stream.Marketing {
			return false
		}
	}
	return true
}

// isNotice tells whether mail from <> is a bounce, a receipt or an automatic
// answer (RFC 3464, RFC 8098, RFC 3834). What carries the marks of a list is
// not, and of a client that sends nothing but marketing only what answers a
// mail is: a newsletter tool may call all it makes auto-generated.
func isNotice(m *message, answersOnly bool) bool {
	if m.has(fieldListID) || m.has(fieldListUnsubscribe) || m.has(fieldFeedbackID) {
		return false
	}
	if p := strings.ToLower(m.value(fieldPrecedence)); p == "bulk" || p == "list" {
		return false
	}
	if isReport(m) {
		return true
	}
	auto, _, _ := strings.Cut(strings.ToLower(m.value(fieldAutoSubmitted)), ";")
	auto = strings.TrimSpace(auto)
	return auto != "" && auto != "no" && (auto == "auto-replied" || !answersOnly)
}

func isReport(m *message) bool {
	media, _, _ := strings.Cut(m.value(fieldContentType), ";")
	return strings.EqualFold(strings.TrimSpace(media), "multipart/report")
}

// listStream finds the stream by List-Id or Feedback-ID. A List-Id nobody
// configured, as on mail of foreign lists passed on, says nothing; one of a
// configured stream that the client may not use is refused.
func listStream(set *stream.Set, g *Grant, m *message) (stream.Stream, bool, *Denial) {
	if m.has(fieldListID) {
		if m.count[fieldListID] > 1 {
			return stream.Stream{}, false, malformed("List-Id")
		}
		if st, ok := set.ByListID(listIdentifier(m.value(fieldListID))); ok {
			st, den := allowedStream(set, g, st.Name)
			return st, den == nil, den
		}
	}
	if id := m.value(fieldFeedbackID); id != "" {
		for _, name := range g.Streams {
			if st, ok := set.ByName(name); ok && !st.Retired && st.FeedbackID != "" && strings.EqualFold(st.FeedbackID, id) {
				return st, true, nil
			}
		}
	}
	return stream.Stream{}, false, nil
}

// listIdentifier is the part of a List-Id in brackets (RFC 2919 section 3).
func listIdentifier(v string) string {
	open := strings.LastIndexByte(v, '<')
	if open < 0 {
		return strings.TrimSpace(v)
	}
	id, _, _ := strings.Cut(v[open+1:], ">")
	return strings.TrimSpace(id)
}

// domainStream chooses by the From domain: the stream that names it most
// closely. Where several do, the default if it is among them, else the
// strictest, which is marketing.
func domainStream(set *stream.Set, g *Grant, m *message) (stream.Stream, *Denial) {
	def, hasDefault := set.ByName(g.Default)
	hasDefault = hasDefault && !def.Retired && slices.Contains(g.Streams, g.Default)
	best, length := stream.Stream{}, 0
	for _, name := range g.Streams {
		st, ok := set.ByName(name)
		if !ok || st.Retired {
			continue
		}
		n := closeness(st.FromDomains, m.fromDomain())
		switch {
		case n == 0 || n < length:
		case n > length || (hasDefault && name == g.Default):
			best, length = st, n
		case best.Name != g.Default && best.Kind != stream.Marketing && st.Kind == stream.Marketing:
			best = st
		}
	}
	if length > 0 {
		return best, nil
	}
	if !hasDefault {
		return stream.Stream{}, &Denial{Reason: HeaderMissing, Detail: "X-Postern-Stream"}
	}
	return def, nil
}

// closeness is the length of the longest of domains that is d or a parent of
// it, 0 if none is.
func closeness(domains []string, d string) int {
	longest := 0
	for _, own := range domains {
		if len(own) > longest && under(d, own) {
			longest = len(own)
		}
	}
	return longest
}

// under tells whether d is the domain own or lies below it.
func under(d, own string) bool {
	if len(d) == len(own) {
		return strings.EqualFold(d, own)
	}
	return len(d) > len(own) && len(own) > 0 && d[len(d)-len(own)-1] == '.' && strings.EqualFold(d[len(d)-len(own):], own)
}

// ownDomains are those a stream may send from: its own, else its controller's.
func (e *Engine) ownDomains(set *stream.Set, st stream.Stream) []string {
	if len(st.FromDomains) > 0 {
		return st.FromDomains
	}
	c, _ := set.Controller(st.Controller)
	return c.Domains
}

// ownsSender checks From and reverse-path against what the client owns (RFC
// 6409 section 6.3). A delivery report may come from any postmaster.
func (e *Engine) ownsSender(set *stream.Set, env *Envelope, st stream.Stream, m *message) *Denial {
	if st.Number == 0 && isReport(m) {
		return nil
	}
	domains := e.grantDomains(set, env.Grant, st)
	for _, a := range m.from {
		if closeness(domains, a.Domain()) == 0 {
			return &Denial{Reason: FromDenied, Detail: "From"}
		}
	}
	if len(env.Grant.FromDomains) > 0 && !env.ReversePath.IsZero() && closeness(domains, env.ReversePath.Domain()) == 0 {
		return &Denial{Reason: FromDenied, Detail: "reverse-path"}
	}
	return nil
}

// grantDomains are the domains a client may use in a stream; in the built-in
// one, those of all its streams.
func (e *Engine) grantDomains(set *stream.Set, g *Grant, st stream.Stream) []string {
	if len(g.FromDomains) > 0 {
		return g.FromDomains
	}
	if st.Number != 0 {
		return e.ownDomains(set, st)
	}
	var out []string
	for _, name := range g.Streams {
		if s, ok := set.ByName(name); ok {
			out = append(out, e.ownDomains(set, s)...)
		}
	}
	return out
}
