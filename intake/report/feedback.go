package report

import (
	"encoding/json"
	"regexp"
	"strings"

	"postern/intake/mime"
)

// feedback reads an abuse report (RFC 5965) or an authentication failure
// report (RFC 6591).
func feedback(m *mime.Message, _ string) (Report, bool) {
	p := part(m, "message/feedback-report")
	if p == nil {
		return Report{}, false
	}
	r := Report{Kind: Abuse, Why: "feedback-report", Feedback: "abuse"}
	r.fill(m)
	for _, g := range fields(p.Decoded(64 << 10)) {
		if v := word(g["feedback-type"]); v != "" {
			r.Feedback = v
		}
		if v := g["user-agent"]; v != "" {
			r.Reporter = oneLine(v)
		}
		for _, k := range []string{"original-rcpt-to", "original-rcpt-to+", "removal-recipient"} {
			if a := plainAddress(g[k]); a != "" {
				r.Subjects = append(r.Subjects, a)
			}
		}
		if v := g["message-id"]; v != "" && r.MessageID == "" {
			r.MessageID = firstID(v)
		}
		if v := g["original-envelope-id"]; v != "" {
			r.EnvelopeID = v
		}
	}
	if strings.HasPrefix(r.Feedback, "auth-failure") || r.Feedback == "dmarc" {
		r.Kind = AuthFail
	}
	if r.Feedback == "not-spam" { // the person says the mail was welcome
		r.Kind = Receipt
	}
	if len(r.Subjects) == 0 && r.Kind == Abuse {
		h, _ := returned(m)
		r.Subjects = reported(h)
	}
	return r, true
}

// reported names to whom the reported mail went, by fields providers add.
func reported(h mime.Header) []string {
	for _, name := range []string{"X-HmXmrOriginalRecipient", "X-Original-To", "Delivered-To", "To"} {
		for _, a := range h.Addresses(name) {
			if !strings.Contains(strings.ToLower(a.Addr), "redacted") {
				return []string{a.Addr}
			}
		}
	}
	return nil
}

// providerComplaint reads complaints that are no ARF: a short note or none,
// and the mail complained about inside.
func providerComplaint(m *mime.Message, text string) (Report, bool) {
	h, raw := returned(m)
	if h == nil {
		return Report{}, false
	}
	subject := strings.ToLower(m.Header.Text("Subject"))
	from := strings.ToLower(m.Header.Get("From"))
	hotmail := strings.Contains(from, "staff@hotmail.com") || h.Has("X-HmXmrOriginalRecipient")
	loop := containsAny(from, "feedbackloop", "feedback-loop", "fbl@", "fbl-", "abuse@", "scomp@", "complaints@") &&
		containsAny(subject, "complaint", "abuse report", "spam report", "feedback") && len(strings.Fields(text)) < 120
	if !hotmail && !loop {
		return Report{}, false
	}
	r := Report{Kind: Abuse, Why: "provider complaint", Feedback: "abuse", Header: raw, MessageID: firstID(h.Get("Message-ID")), Subject: h.Text("Subject"), Subjects: reported(h)}
	return r, true
}

// notice is what Amazon SES tells by SNS mail.
type notice struct {
	Type             string `json:"Type"`
	Message          string `json:"Message"`
	NotificationType string `json:"notificationType"`
	EventType        string `json:"eventType"`
	Mail             struct {
		Destination   []string `json:"destination"`
		MessageID     string   `json:"messageId"`
		CommonHeaders struct {
			MessageID string `json:"messageId"`
			Subject   string `json:"subject"`
		} `json:"commonHeaders"`
	} `json:"mail"`
	Bounce struct {
		BounceType        string `json:"bounceType"`
		BouncedRecipients []struct {
			EmailAddress   string `json:"emailAddress"`
			Action         string `json:"action"`
			Status         string `json:"status"`
			DiagnosticCode string `json:"diagnosticCode"`
		} `json:"bouncedRecipients"`
		ReportingMTA string `json:"reportingMTA"`
	} `json:"bounce"`
	Complaint struct {
		ComplainedRecipients []struct {
			EmailAddress string `json:"emailAddress"`
		} `json:"complainedRecipients"`
		Type      string `json:"complaintFeedbackType"`
		UserAgent string `json:"userAgent"`
	} `json:"complaint"`
	DeliveryDelay struct {
		DelayedRecipients []struct {
			EmailAddress string `json:"emailAddress"`
			Status       string `json:"status"`
		} `json:"delayedRecipients"`
	} `json:"deliveryDelay"`
	Delivery struct {
		Recipients []string `json:"recipients"`
	} `json:"delivery"`
}

// providerJSON reads notices in JSON; they may report success.
func providerJSON(_ *mime.Message, text string) (Report, bool) {
	at := strings.IndexByte(text, '{')
	if at < 0 || at > 200 || !containsAny(text, "notificationType", "eventType") {
		return Report{}, false
	}
	var n notice
	if !decodeNotice(text[at:], &n) {
		return Report{}, false
	}
	if n.Message != "" && n.NotificationType == "" && n.EventType == "" {
		inner := n.Message
		n = notice{}
		if json.Unmarshal([]byte(inner), &n) != nil {
			return Report{}, false
		}
	}
	r := Report{Why: "SES notice", MessageID: firstID(n.Mail.CommonHeaders.MessageID), EnvelopeID: n.Mail.MessageID, Subject: n.Mail.CommonHeaders.Subject}
	switch strings.ToLower(n.NotificationType + n.EventType) {
	case "bounce":
		r.Kind, r.Reporter = Failed, afterType(n.Bounce.ReportingMTA)
		for _, b := range n.Bounce.BouncedRecipients {
			rec := Recipient{Address: plainAddress(b.EmailAddress), Action: "failed", Status: b.Status, Diagnostic: oneLine(afterType(b.DiagnosticCode))}
			rec.judge()
			if n.Bounce.BounceType == "Transient" {
				rec.Hard = false
			}
			r.Recipients = append(r.Recipients, rec)
		}
	case "complaint":
		r.Kind, r.Feedback, r.Reporter = Abuse, n.Complaint.Type, n.Complaint.UserAgent
		if r.Feedback == "" {
			r.Feedback = "abuse"
		}
		for _, c := range n.Complaint.ComplainedRecipients {
			r.Subjects = append(r.Subjects, plainAddress(c.EmailAddress))
		}
		if r.Feedback == "not-spam" {
			r.Kind = Receipt
		}
	case "delivery", "send":
		r.Kind = Delivered
		for _, a := range n.Delivery.Recipients {
			r.Recipients = append(r.Recipients, Recipient{Address: plainAddress(a), Action: "delivered"})
		}
	case "deliverydelay":
		r.Kind = Delayed
		for _, d := range n.DeliveryDelay.DelayedRecipients {
			r.Recipients = append(r.Recipients, Recipient{Address: plainAddress(d.EmailAddress), Action: "delayed", Status: d.Status})
		}
	default:
		return Report{}, false
	}
	return r, true
}

// decodeNotice reads the first JSON value; a line break that mail put inside a
// string is taken out.
func decodeNotice(text string, n *notice) bool {
	if json.NewDecoder(strings.NewReader(text)).Decode(n) == nil {
		return true
	}
	*n = notice{}
	return json.NewDecoder(strings.NewReader(strings.NewReplacer("\r", "", "\n", "").Replace(text))).Decode(n) == nil
}

var aggregateName = regexp.MustCompile(`^[A-Za-z0-9.-]+![A-Za-z0-9.-]+!\d{9,}!\d{9,}`)

// aggregate reads DMARC (RFC 7489 section 7.2.1) and TLS (RFC 8460) reports.
func aggregate(m *mime.Message, _ string) (Report, bool) {
	subject := strings.ToLower(m.Header.Text("Subject"))
	tls := m.Type == "multipart/report" && strings.EqualFold(m.Params["report-type"], "tlsrpt") || m.Header.Has("TLS-Report-Domain")
	domain := strings.HasPrefix(strings.TrimSpace(subject), "report domain:") || strings.Contains(subject, "dmarc aggregate report")
	found := false
	m.Walk(func(p *mime.Part) bool {
		archive := containsAny(p.Type, "zip", "gzip", "xml", "octet-stream", "tlsrpt")
		if archive && (domain || tls || aggregateName.MatchString(p.Name)) {
			found = true
		}
		return !found
	})
	if !found {
		return Report{}, false
	}
	return Report{Kind: Aggregate, Why: "aggregate report", Subject: m.Header.Text("Subject")}, true
}

// disposition reads a disposition notification (RFC 8098).
func disposition(m *mime.Message, _ string) (Report, bool) {
	p := part(m, "message/disposition-notification", "message/global-disposition-notification")
	typed := m.Type == "multipart/report" && strings.HasPrefix(strings.ToLower(m.Params["report-type"]), "disposition-notification")
	if p == nil || !typed && m.Type != "multipart/report" && !machineEnvelope(m) {
		return Report{}, false
	}
	r := Report{Kind: Receipt, Why: "disposition-notification"}
	r.fill(m)
	for _, g := range fields(p.Decoded(64 << 10)) {
		if id := firstID(g["original-message-id"]); id != "" {
			r.MessageID = id
		}
	}
	return r, true
}
