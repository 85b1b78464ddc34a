package stream

import (
	"fmt"
	"slices"
	"strings"
)

// maxListID is the longest List-Id in octets (RFC 2919 section 3).
const maxListID = 255

// words are the values that a field may have; "" is the first one's default.
var words = []struct {
	name    string
	of      func(Stream) string
	allowed []string
}{
	{"sign", func(s Stream) string { return s.Sign }, []string{"", "dkim", "smarthost"}},
	{"mixed", func(s Stream) string { return s.Mixed }, []string{"", "dsn", "refuse"}},
	{"bounce", func(s Stream) string { return s.Bounce }, []string{"", "keep", "verp"}},
	{"unsubscribe", func(s Stream) string { return s.Unsubscribe }, []string{"", "replace", "keep"}},
	{"signed", func(s Stream) string { return s.Signed }, []string{"", "resign", "refuse"}},
	{"store_down", func(s Stream) string { return s.StoreDown }, []string{"", "pass", "defer"}},
	{"advisory", func(s Stream) string { return s.Advisory }, []string{"", "count", "header", "refuse"}},
}

// add indexes one stream and lists its faults.
func (s *Set) add(st Stream) []error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("stream %q: "+format, append([]any{st.Name}, args...)...))
	}
	s.checkIdentity(st, fault)
	checkRules(st, fault)
	s.byName[st.Name], s.byNumber[st.Number] = st, st
	if st.ListID != "" {
		id := strings.ToLower(st.ListID)
		if _, dup := s.byListID[id]; dup {
			fault("list_id is used by another stream")
		}
		s.byListID[id] = st
	}
	return errs
}

func (s *Set) checkIdentity(st Stream, fault func(string, ...any)) {
	if _, dup := s.byName[st.Name]; dup || st.Name == "" {
		fault("the name is empty or given twice")
	}
	if strings.ContainsFunc(st.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == '|' }) {
		fault("the name holds signs that a header field can't carry")
	}
	if _, dup := s.byNumber[st.Number]; dup || st.Number == 0 {
		fault("number %d is 0 or given twice; numbers are permanent and start at 1", st.Number)
	}
	if _, ok := s.controllers[st.Controller]; !ok {
		fault("controller %q is not configured", st.Controller)
	}
}

func checkRules(st Stream, fault func(string, ...any)) {
	switch st.Kind {
	case Marketing:
		if st.Purpose == "" || st.ListID == "" || st.Title == "" {
			fault("a marketing stream needs purpose, list_id and title")
		}
	case Transactional, Service, Personal:
		if st.ListID != "" {
			fault("only a marketing stream has a list_id (UNS-10)")
		}
	default:
		fault("kind %q is none of marketing, transactional, service, personal", st.Kind)
	}
	switch st.Mode {
	case Observe, Annotate, Enforce:
	default:
		fault("mode %q is none of observe, annotate, enforce", st.Mode)
	}
	for _, w := range words {
		if v := w.of(st); !slices.Contains(w.allowed, v) {
			fault("%s %q is none of %s", w.name, v, strings.Join(w.allowed[1:], ", "))
		}
	}
	if st.ListID != "" && !isListID(st.ListID) {
		fault("list_id %q is not a name under a domain, as in news.example.org (RFC 2919)", st.ListID)
	}
	if st.FeedbackID != "" && !isFeedbackID(st.FeedbackID) {
		fault("feedback_id %q is not a:b:c:SenderId with a SenderId of 5 to 15 signs", st.FeedbackID)
	}
	for _, d := range st.FromDomains {
		if !isDotAtom(d) || d != strings.ToLower(d) {
			fault("from_domains: %q is not a domain in lower-case A-labels", d)
		}
	}
}

// isListID tells whether s is a dot-atom of two labels or more, at most 255
// octets (RFC 2919 section 2).
func isListID(s string) bool {
	return len(s) <= maxListID && strings.Contains(s, ".") && isDotAtom(s)
}

func isDotAtom(s string) bool {
	for _, label := range strings.Split(s, ".") {
		if label == "" || strings.ContainsFunc(label, notAtom) {
			return false
		}
	}
	return true
}

func notAtom(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_!#$%&'*+/=?^`{|}~", r))
}

// isFeedbackID tells whether s has the four parts that mail providers read
// (HDR-2).
func isFeedbackID(s string) bool {
	parts := strings.Split(s, ":")
	if len(parts) != 4 || len(parts[3]) < 5 || len(parts[3]) > 15 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
