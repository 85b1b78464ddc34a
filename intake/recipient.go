package intake

import (
	"strings"

	"postern/intake/mime"
)

// addressed is what the local-parts a mail was sent to say.
type addressed struct {
	token     string // of "u+TOKEN@": an unsubscribe address (design D7)
	caseToken string // of "case+TOKEN@": an answer to one of our answers
	bounce    string // of "b+TOKEN@": a reverse-path of ours (D19)
	ours      bool   // one of the mailbox's own addresses is named
}

// recipients reads the fields in which servers and senders note to whom a
// mail went; those the last server wrote count first.
func recipients(h mime.Header, mb Mailbox) addressed {
	var out addressed
	for _, name := range []string{"X-Original-To", "Envelope-To", "X-Envelope-To", "Delivered-To", "X-Delivered-To", "To", "Cc"} {
		for _, a := range h.Addresses(name) {
			local, domain, ok := strings.Cut(a.Addr, "@")
			if !ok {
				continue
			}
			if !mb.receives(strings.ToLower(domain)) {
				continue
			}
			tag, token, plus := strings.Cut(local, "+")
			for _, o := range mb.Addresses {
				out.ours = out.ours || strings.EqualFold(o, a.Addr)
			}
			if !plus || token == "" || len(token) > 80 {
				continue
			}
			switch strings.ToLower(tag) {
			case "u":
				out.token = first(out.token, token)
			case "case":
				out.caseToken = first(out.caseToken, token)
			case "b", "bounce":
				out.bounce = first(out.bounce, token)
			}
		}
	}
	return out
}
