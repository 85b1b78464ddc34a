package intake

import (
	"regexp"
	"strings"

	"postern/gateway/address"
	"postern/intake/mime"
	"postern/intake/quote"
)

// passedOn is a mail inside a mail.
type passedOn struct {
	from    address.Address
	subject string
	text    string
}

// forwardOf finds the mail a message passes on: a message within, or the text
// below a forward mark.
func forwardOf(m *mime.Message, parts quote.Split) passedOn {
	if parts.Forwarded != "" {
		return fromBlock(parts.Forwarded)
	}
	var f passedOn
	m.Walk(func(p *mime.Part) bool {
		if p.Inner == nil || m.Type == "multipart/report" {
			return true
		}
		if list := p.Inner.Header.Addresses("From"); len(list) > 0 {
			if a, err := address.Parse(list[0].Addr); err == nil {
				f.from = a
			}
		}
		f.subject = p.Inner.Header.Text("Subject")
		f.text = quote.Parse(m.InnerText(p.Inner)).Own
		return false
	})
	if f.text == "" && isForwardSubject(m.Header.Text("Subject")) && parts.Quoted != "" {
		return fromBlock(quote.Unquote(parts.Quoted))
	}
	return f
}

var anAddress = regexp.MustCompile(`[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`)

// fromBlock reads the header block above a forwarded text.
func fromBlock(text string) passedOn {
	var f passedOn
	lines := strings.Split(text, "\n")
	end := 0
	for i, l := range lines {
		if i > 14 {
			break
		}
		switch name, value := quote.HeaderLine(l); name {
		case "from":
			if f.from.IsZero() {
				if a, err := address.Parse(anAddress.FindString(value)); err == nil {
					f.from = a
				}
			}
			end = i + 1
		case "other":
			end = i + 1
		case "mark":
			end = i + 1
		}
	}
	f.text = strings.TrimSpace(quote.Parse(strings.Join(lines[end:], "\n")).Own)
	return f
}

var forwardPrefix = regexp.MustCompile(`(?i)^\s*(?:\[[^\]]{1,30}\]\s*)?(?:fwd?|wg|tr|rv|i|enc|vb|vs|vl|fs|pd|továbbítás|doorst|ilt|προωθ|препр|пересл)\s*:`)

func isForwardSubject(s string) bool { return forwardPrefix.MatchString(s) }

var replyPrefix = regexp.MustCompile(`(?i)^\s*(?:re|aw|antw|antwort|sv|vs|ref|rif|r|odp|vá|ynt|απ|отг|отв|fwd?|wg|tr|rv|enc|vb|vl|fs|pd|i|ilt)(?:\[\d+\])?\s*:\s*`)

// plainSubject is a subject without the prefixes of replies and forwards.
func plainSubject(s string) string {
	for i := 0; i < 8; i++ {
		t := replyPrefix.ReplaceAllString(s, "")
		if t == s {
			break
		}
		s = t
	}
	return strings.TrimSpace(s)
}
