package gateway

import (
	"mime"
	"strings"

	"postern/gateway/stream"
)

// keepsUnsubscribe tells whether the client's own List-Unsubscribe stays: if
// configured, and if it serves.
func keepsUnsubscribe(st stream.Stream, m *message) bool {
	return st.Kind == stream.Marketing && st.Unsubscribe == keepOwn && usableUnsubscribe(m)
}

// keepsListID tells whether the client's own List-Id stays: where its
// List-Unsubscribe does and it names the stream's list.
func keepsListID(st stream.Stream, m *message) bool {
	return keepsUnsubscribe(st, m) && m.count[fieldListID] == 1 && strings.EqualFold(listIdentifier(m.value(fieldListID)), st.ListID)
}

// listNames are the lower-case names of the fields that will be ours in a
// message of a marketing stream; none elsewhere.
func listNames(st stream.Stream, m *message) map[string]bool {
	if st.Kind != stream.Marketing {
		return nil
	}
	kept := keepsUnsubscribe(st, m)
	return map[string]bool{
		"list-unsubscribe":      !kept,
		"list-unsubscribe-post": !kept || !oneClickOnly(m),
		"list-id":               !keepsListID(st, m),
		"feedback-id":           st.FeedbackID != "",
	}
}

// usableUnsubscribe tells whether a client's List-Unsubscribe serves: one
// field with exactly one https URI (RFC 8058 section 3.1).
func usableUnsubscribe(m *message) bool {
	if m.count[fieldListUnsubscribe] != 1 {
		return false
	}
	https := 0
	for _, part := range strings.Split(m.value(fieldListUnsubscribe), "<")[1:] {
		uri, _, closed := strings.Cut(part, ">")
		if closed && len(uri) > 8 && strings.EqualFold(uri[:8], "https://") {
			https++
		}
	}
	return https == 1
}

// listTitle is the phrase before a List-Id (RFC 2919 section 2), quoted or
// encoded as RFC 2047 wants, with a space behind it.
func listTitle(title string) string {
	title = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, title))
	if title == "" {
		return ""
	}
	for _, r := range title {
		if r > '~' {
			return foldWords(mime.QEncoding.Encode("utf-8", title)) + "\r\n\t"
		}
	}
	if len(title) > 200 {
		title = title[:200]
	}
	out := make([]byte, 0, len(title)+8)
	out = append(out, '"')
	for i := range len(title) {
		if title[i] == '\\' || title[i] == '"' {
			out = append(out, '\\')
		}
		out = append(out, title[i])
	}
	return string(out) + "\"\r\n\t"
}

// foldWords puts each encoded-word on a line of its own (RFC 2047 section 2).
func foldWords(s string) string { return strings.ReplaceAll(s, " ", "\r\n\t") }
