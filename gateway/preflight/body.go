package preflight

import (
	"bytes"
	"html"
	"net/url"
	"strings"

	"github.com/jhillyerd/enmime/v2"
)

// checkBody looks at what the person sees (UNS-11).
func checkBody(m *message, o Options) []Finding {
	text, ok := visible(m.raw)
	const placeholders = "put the placeholder of the unsubscribe link into the template"
	if !ok {
		return []Finding{
			fail(NameLink, "the body can't be read as MIME", "look which hop changes the body"),
			unchecked(NamePostal, "the body can't be read", "mend the body"),
		}
	}
	link := fail(NameLink, "the body shows no unsubscribe link (Gmail's and Yahoo's rules for bulk senders)", placeholders)
	if hasLink(text, m.link) {
		link = pass(NameLink, "the body shows an unsubscribe link")
	}
	return []Finding{link, checkPostal(text, o)}
}

func checkPostal(text string, o Options) Finding {
	const do = "put the controller's name and postal address into the template"
	switch {
	case o.Postal == "":
		return unchecked(NamePostal, "no postal address is configured to look for", "set postal of the controller")
	case strings.Contains(squeeze(text), squeeze(o.Postal)):
		return pass(NamePostal, "the body tells who sends and where they are")
	}
	return fail(NamePostal, "the controller's postal address is not in the body (CAN-SPAM, CASL section 6(2), UWG section 7)", do)
}

// visible is the text of all text parts, links included.
func visible(raw []byte) (string, bool) {
	env, err := enmime.ReadEnvelope(bytes.NewReader(raw))
	if err != nil {
		return "", false
	}
	return env.Text + "\n" + html.UnescapeString(env.HTML), true
}

// hasLink tells whether the text holds the one-click link itself, or another
// page of the same host for the same token, as the preferences are.
func hasLink(text, link string) bool {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" {
		return false
	}
	token := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	return strings.Contains(text, link) || token != "" && strings.Contains(text, u.Scheme+"://"+u.Host+"/") && strings.Contains(text, token)
}

func squeeze(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
