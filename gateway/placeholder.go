package gateway

import "bytes"

// placeholders that a client may put into the body of marketing mail; each
// copy gets its own links (design D6).
var placeholders = [placeholderCount]string{"{{unsubscribe_url}}", "{{preferences_url}}"}

const placeholderCount = 2

// hasPlaceholder tells quickly whether a body may hold one.
func hasPlaceholder(body []byte) bool { return findIn(body) }

func findIn(body []byte) bool {
	for _, p := range placeholders {
		if bytes.Contains(body, []byte(p)) {
			return true
		}
	}
	return false
}

// substitution is where the placeholders of one body are.
type substitution struct{}

func findPlaceholders(m *message) *substitution {
	if !findIn(m.body) {
		return nil
	}
	return &substitution{}
}

// apply gives a new body with the links in place.
func (s *substitution) apply(body []byte, links [placeholderCount]string) []byte {
	for i, p := range placeholders {
		body = bytes.ReplaceAll(body, []byte(p), []byte(links[i]))
	}
	return body
}
