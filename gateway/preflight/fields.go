package preflight

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// checkFields looks at the header alone (UNS-1, UNS-9, UNS-10, HDR-2).
func checkFields(m *message, o Options) []Finding {
	m.from = fromDomain(m)
	return []Finding{checkUnsubscribe(m, o), checkPost(m), checkListID(m), checkOnce(m), checkFeedbackID(m)}
}

func fromDomain(m *message) string {
	if m.head.Count("From") != 1 {
		return ""
	}
	v, _ := m.head.Get("From")
	list, err := mail.ParseAddressList(v)
	if err != nil || len(list) != 1 {
		return ""
	}
	return domainOf(list[0].Address)
}

func domainOf(addr string) string {
	return strings.ToLower(strings.TrimSuffix(addr[strings.LastIndexByte(addr, '@')+1:], "."))
}

// checkUnsubscribe wants one field with one https URI and a mailto beside it.
func checkUnsubscribe(m *message, o Options) Finding {
	const do = "let Postern set the field: give the stream kind = \"marketing\" and unsubscribe = \"replace\", and look which hop changes it"
	if n := m.head.Count("List-Unsubscribe"); n != 1 {
		return fail(NameUnsubscribe, fmt.Sprintf("%d List-Unsubscribe fields, exactly one is needed (RFC 8058 section 3.1)", n), do)
	}
	v, _ := m.head.Get("List-Unsubscribe")
	secure, mailto, err := unsubscribeURIs(v)
	switch {
	case err != nil:
		return fail(NameUnsubscribe, "List-Unsubscribe "+err.Error(), do)
	case len(secure) != 1:
		return fail(NameUnsubscribe, fmt.Sprintf("List-Unsubscribe has %d https URIs, exactly one is needed (RFC 8058 section 5)", len(secure)), do)
	case len(o.PublicURLs) > 0 && !slices.ContainsFunc(o.PublicURLs, func(base string) bool { return strings.HasPrefix(secure[0], strings.TrimRight(base, "/")+"/") }):
		return fail(NameUnsubscribe, "the https URI is not under public.url or the controller's public_url: the opt-out would not reach Postern", do)
	}
	m.link = secure[0]
	if mailto == 0 {
		return fail(NameUnsubscribe, "List-Unsubscribe has no mailto URI; Outlook.com shows nothing else (UNS-8)", do)
	}
	return pass(NameUnsubscribe, "one field with one https URI and a mailto")
}

// unsubscribeURIs reads the field as RFC 2369 section 2 has it.
func unsubscribeURIs(v string) (secure []string, mailto int, err error) {
	for _, part := range strings.Split(v, ",") {
		part = strings.TrimSpace(part)
		if len(part) < 3 || part[0] != '<' || part[len(part)-1] != '>' || strings.ContainsAny(part[1:len(part)-1], " \t<>") {
			return nil, 0, fmt.Errorf("is not a list of URIs in angle brackets without white space (RFC 2369 section 2)")
		}
		u, err := url.Parse(part[1 : len(part)-1])
		if err != nil {
			return nil, 0, fmt.Errorf("holds something that is no URI")
		}
		switch strings.ToLower(u.Scheme) {
		case "https":
			if u.Host == "" || u.User != nil {
				return nil, 0, fmt.Errorf("holds an https URI without a plain host")
			}
			secure = append(secure, u.String())
		case "mailto":
			mailto++
		case "http":
			return nil, 0, fmt.Errorf("holds an http URI: only https is safe for one-click")
		}
	}
	return secure, mailto, nil
}

func checkPost(m *message) Finding {
	const do = "let Postern set the field, and look which hop changes it"
	if n := m.head.Count("List-Unsubscribe-Post"); n != 1 {
		return fail(NamePost, fmt.Sprintf("%d List-Unsubscribe-Post fields, exactly one is needed", n), do)
	}
	if v, _ := m.head.Get("List-Unsubscribe-Post"); v != oneClick {
		return fail(NamePost, "List-Unsubscribe-Post does not say exactly "+oneClick+" (RFC 8058 section 3.1)", do)
	}
	return pass(NamePost, "one field with the exact value")
}

var listID = regexp.MustCompile(`^(?:[^<>]*[ \t])?<([A-Za-z0-9!#$%&'*+/=?^_{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)+)>$`)

// checkListID wants one List-Id of at most 255 octets (RFC 2919 sections 2, 3).
func checkListID(m *message) Finding {
	const do = "set list_id of the stream to a name under a domain of yours, as news.example.org"
	if n := m.head.Count("List-Id"); n != 1 {
		return fail(NameListID, fmt.Sprintf("%d List-Id fields, exactly one is needed (RFC 2919 section 3)", n), do)
	}
	v, _ := m.head.Get("List-Id")
	got := listID.FindStringSubmatch(v)
	switch {
	case got == nil:
		return fail(NameListID, "List-Id has no identifier in angle brackets", do)
	case len(got[1]) > 255:
		return fail(NameListID, fmt.Sprintf("the identifier has %d octets, 255 are allowed", len(got[1])), do)
	}
	return pass(NameListID, "one identifier of "+fmt.Sprint(len(got[1]))+" octets")
}

// checkOnce wants the fields that receivers refuse mail without (RFC 5322
// section 3.6).
func checkOnce(m *message) Finding {
	const do = "have the sending program set From (one address), Date and Message-ID"
	for _, name := range []string{"From", "Date", "Message-ID"} {
		if n := m.head.Count(name); n != 1 {
			return fail(NameOnce, fmt.Sprintf("%d %s fields, exactly one is needed (RFC 5322 section 3.6)", n, name), do)
		}
	}
	if m.from == "" {
		return fail(NameOnce, "From does not hold exactly one address", do)
	}
	date, _ := m.head.Get("Date")
	if _, err := mail.ParseDate(date); err != nil {
		return fail(NameOnce, "Date can't be read", do)
	}
	return pass(NameOnce, "From, Date and Message-ID once each")
}

var senderID = regexp.MustCompile(`^[^\s:]{5,15}$`)

// checkFeedbackID wants a:b:c:SenderId where there is one at all (HDR-2).
func checkFeedbackID(m *message) Finding {
	const do = "write feedback_id of the stream as campaign:list:kind:sender, sender of 5 to 15 signs and the same for all your mail"
	switch m.head.Count("Feedback-ID") {
	case 0:
		return advise(NameFeedbackID, "no Feedback-ID: Gmail's complaint figures can't be split by stream", do)
	case 1:
	default:
		return fail(NameFeedbackID, "more than one Feedback-ID", do)
	}
	v, _ := m.head.Get("Feedback-ID")
	parts := strings.Split(v, ":")
	if len(parts) != 4 || !senderID.MatchString(parts[3]) {
		return fail(NameFeedbackID, "Feedback-ID is not of the form a:b:c:sender", do)
	}
	return pass(NameFeedbackID, "four parts with a sender")
}
