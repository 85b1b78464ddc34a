package delivery

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/spool"
)

// reported is one recipient a DSN tells of.
type reported struct {
	recipient spool.Recipient
	result    spool.Result
	action    string // failed, delayed or relayed (RFC 3464 section 2.3.3)
}

// MaxReturned is the largest message in octets that a DSN returns whole, where
// RET=FULL asked for it; of larger ones it returns the header (RFC 3461
// section 6.2).
const MaxReturned = 256 << 10

// ReturnsFull tells whether a DSN about failures returns the whole message:
// only where that was asked for, for who sends seldom needs it back (DSN-4).
func ReturnsFull(ret string, header, body []byte) bool {
	return ret == "FULL" && len(body) > 0 && len(header)+len(body) <= MaxReturned
}

// report builds the DSN about m: from <> to its reverse-path, with the header
// of the message, or all of it (ReturnsFull; DSN-2..DSN-4, RFC 3464, RFC
// 6522). With addresses that need UTF-8 it takes the forms of RFC 6533.
func (d *Deliverer) report(m *spool.Message, about []reported, now time.Time) *spool.Message {
	utf8 := m.ReversePath.NeedsUTF8()
	for _, r := range about {
		utf8 = utf8 || r.recipient.Address.NeedsUTF8() || strings.HasPrefix(strings.ToLower(r.recipient.ORcpt), "utf-8;")
	}
	token := rand.Text()
	boundary := "report-" + token
	var h bytes.Buffer
	line(&h, "From: %s", d.opts.DSN.From)
	line(&h, "To: <%s>", m.ReversePath.Plain())
	line(&h, "Subject: %s", subjectOf(about))
	line(&h, "Date: %s", now.Format(time.RFC1123Z))
	line(&h, "Message-ID: <%s@%s>", strings.ToLower(token), d.opts.DSN.ReportingMTA)
	line(&h, "Auto-Submitted: auto-replied")
	line(&h, "MIME-Version: 1.0")
	line(&h, "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"%s\"", boundary)

	var b bytes.Buffer
	part := func(kind string, eightBit bool) {
		line(&b, "--%s", boundary)
		line(&b, "Content-Type: %s", kind)
		if eightBit {
			line(&b, "Content-Transfer-Encoding: 8bit")
		}
		line(&b, "")
	}
	part("text/plain; charset=utf-8", utf8)
	d.explain(&b, m, about)
	if utf8 {
		part("message/global-delivery-status", true)
	} else {
		part("message/delivery-status", false)
	}
	d.statusFields(&b, m, about, utf8)
	full := anyFailed(about) && ReturnsFull(m.Ret, m.Header, m.Body)
	part(returnedType(m, full), full && !ascii(m.Body) || !ascii(m.Header))
	b.Write(m.Header)
	line(&b, "")
	if full {
		b.Write(m.Body)
		if !bytes.HasSuffix(m.Body, crlf) {
			line(&b, "")
		}
	}
	line(&b, "--%s--", boundary)

	body := b.Bytes()
	return &spool.Message{
		Stream: d.opts.DSN.Stream, Client: "dsn", ReversePath: address.Address{},
		UTF8: m.ReversePath.NeedsUTF8(), EightBit: !ascii(h.Bytes()) || !ascii(body),
		Header: h.Bytes(), Body: body, Received: now,
		Recipients: []spool.Recipient{{Address: m.ReversePath, Notify: "NEVER"}},
	}
}

func anyFailed(about []reported) bool {
	return slices.ContainsFunc(about, func(r reported) bool { return r.action == "failed" })
}

// returnedType is the media type of the third part (RFC 6522, RFC 6533).
func returnedType(m *spool.Message, full bool) string {
	switch plain := ascii(m.Header); {
	case full && plain:
		return "message/rfc822"
	case full:
		return "message/global"
	case plain:
		return "text/rfc822-headers"
	}
	return "message/global-headers"
}

func line(b *bytes.Buffer, format string, args ...any) {
	fmt.Fprintf(b, format, args...)
	b.WriteString("\r\n")
}

func subjectOf(about []reported) string {
	if anyFailed(about) {
		return "Undelivered mail returned to sender"
	}
	if about[0].action == "delayed" {
		return "Delayed mail (still being retried)"
	}
	return "Successful mail delivery report"
}

// explain is the part for people.
func (d *Deliverer) explain(b *bytes.Buffer, m *spool.Message, about []reported) {
	line(b, "This is the mail system at %s.", d.opts.DSN.ReportingMTA)
	say := func(action, text string) {
		said := false
		for _, r := range about {
			if r.action != action {
				continue
			}
			if !said {
				line(b, "")
				line(b, "%s", text)
				line(b, "")
				said = true
			}
			line(b, "  <%s>", r.recipient.Address.Plain())
			if why := reasonOf(r.result); why != "" && action != "relayed" {
				line(b, "    %s", why)
			}
		}
	}
	say("failed", "Your message could not be delivered to the recipients below. It will not be tried again.")
	say("delayed", fmt.Sprintf("Your message has not yet been delivered to the recipients below. It is being tried\r\nuntil %s; you need not send it again.", m.Expires.UTC().Format("2 Jan 2006 15:04 MST")))
	say("relayed", "Your message was passed on to a mail system that sends no confirmation of delivery.")
	line(b, "")
}

// reasonOf is the cause in one line: the hop's reply, or the gateway's reason.
func reasonOf(r spool.Result) string {
	if r.State == spool.Denied {
		return "refused by policy: " + r.Reply
	}
	if r.Code == 0 {
		return strings.TrimSpace(r.Status + " " + r.Reply)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Code, r.Status, r.Reply))
}

// statusFields writes the machine-readable part (RFC 3464 section 2).
func (d *Deliverer) statusFields(b *bytes.Buffer, m *spool.Message, about []reported, utf8 bool) {
	if m.EnvID != "" {
		line(b, "Original-Envelope-Id: %s", printable([]byte(m.EnvID)))
	}
	line(b, "Reporting-MTA: dns; %s", d.opts.DSN.ReportingMTA)
	line(b, "Arrival-Date: %s", m.Received.UTC().Format(time.RFC1123Z))
	for _, r := range about {
		line(b, "")
		if kind, addr, ok := strings.Cut(r.recipient.ORcpt, ";"); ok {
			line(b, "Original-Recipient: %s; %s", printable([]byte(kind)), oneLine(addr))
		}
		kind := "rfc822"
		if utf8 && r.recipient.Address.NeedsUTF8() {
			kind = "utf-8"
		}
		line(b, "Final-Recipient: %s; %s", kind, r.recipient.Address.Plain())
		line(b, "Action: %s", r.action)
		line(b, "Status: %s", statusOf(r))
		if r.result.Host != "" && r.result.Code != 0 {
			line(b, "Remote-MTA: dns; %s", printable([]byte(d.hostName(r.result.Host))))
			line(b, "Diagnostic-Code: smtp; %s", printable([]byte(reasonOf(r.result))))
		}
		if r.action == "delayed" {
			line(b, "Will-Retry-Until: %s", m.Expires.UTC().Format(time.RFC1123Z))
		}
	}
	line(b, "")
}

// hostName is the host of a configured smarthost.
func (d *Deliverer) hostName(name string) string {
	for _, h := range d.hosts.list() {
		if h.opts.Name == name {
			return h.tls.ServerName
		}
	}
	return name
}

// oneLine keeps a client's text from adding fields of its own.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// statusOf is the enhanced status code; its class follows from the action
// (RFC 3464 section 2.3.4), the last real cause gives the rest (DSN-5).
func statusOf(r reported) string {
	class, rest := "5", ".0.0"
	switch r.action {
	case "delayed":
		class = "4"
	case "relayed":
		class = "2"
	}
	if s := r.result.Status; validStatus(s) && r.action != "relayed" {
		rest = s[1:]
	} else if r.result.State == spool.Denied {
		rest = ".7.1"
	}
	return class + rest
}
