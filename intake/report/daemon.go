package report

import (
	"regexp"
	"strings"

	"postern/intake/mime"
)

// failSubject is how mail systems name a failed or late delivery, lower case.
var failSubject = regexp.MustCompile(strings.Join([]string{
	`undeliver`, `non-?deliver`, `deliver(?:y|able).{0,30}(?:fail|status|notif|problem|error|delay|report)`, `(?:fail|problem|error|delay).{0,30}deliver`,
	`returned mail`, `return(?:ed|ing) (?:message )?to sender`, `failure notice`, `mail system error`, `could not (?:be )?(?:send|sent|deliver)`, `couldn't be delivered`, `message (?:delayed|not delivered|rejected|failed)`, `mail (?:failure|rejected|could not)`, `warning: (?:message|could not|e?-?mail)`, `delayed mail`, `not delivered`, `bounced?\b.{0,20}(?:mail|message)`,
	`unzustellbar`, `nicht zugestellt`, `zustell(?:ung|ungs).{0,30}(?:fehl|gesch|verz|nicht|status)`, `fehler bei der zustellung`, `konnte nicht`,
	`non remis`, `non distribu`, `échec de (?:la )?(?:remise|distribution)`, `non délivr`, `no se (?:pudo|puede|ha podido) entregar`, `no entregado`, `error de entrega`, `mancat[oa] (?:recapito|consegna)`, `impossibile (?:consegnare|recapitare)`, `onbestelbaar`, `niet (?:bezorgd|afgeleverd)`, `não (?:foi )?entreg`, `falha na entrega`, `niedostarcz`, `nie (?:można|udało).{0,20}dostarcz`, `olevererbar|kunde inte levereras|ikke leveres|kunne ikke levere|ei voitu toimittaa|nedoručiteln|nelze doručit|kézbesíthetetlen|nu a putut fi livrat|недостав|не доставлен|не может быть доставлен|δεν παραδόθηκε|teslim edilemedi|ei õnnestunud kohale toimetada|nepiegād|nepristatyt`,
}, "|"))

// failText is what their text says, lower case.
var failText = regexp.MustCompile(strings.Join([]string{
	`could not be delivered`, `couldn't be delivered`, `can(?:not|'t) be delivered`, `not be(?:en)? delivered`, `was not delivered`, `undeliverable`, `unable to deliver`, `delivery (?:has )?fail`, `failed to deliver`, `failed permanently`, `permanent (?:fatal )?error`, `returned (?:below|to you|message)`, `(?:message|mail|e-mail).{0,60}(?:rejected|returned|bounced|delayed)`, `transcript of session`, `did not reach the following recipient`, `this is a permanent error`, `delivery to the following`, `delivery status notification`, `mail system at host`, `user unknown`, `unknown user`, `no such user`, `recipient address rejected`, `said: [45]\d\d`, `\b5\d\d[ -]5\.\d\.\d`, `will be retried`, `still being retried`, `has not yet been delivered`,
	`nicht zugestellt|zustellung.{0,40}(?:fehl|nicht)|n'a pas (?:pu|été)|no se (?:pudo|ha podido) entregar|non è stato (?:possibile|consegnato)|не доставлен|не может быть доставлено|配信|送信できません|届けられません`,
}, "|"))

func late(low string) bool {
	return containsAny(low, "delayed", "(delay)", "warning: could not send", "still being retried", "will be retried", "not yet been delivered", "no action is required", "warning only", "temporary failure report", "temporarily", "verzöger", "will keep trying", "will continue trying", "you do not need to resend", "attempts to deliver", "retardé", "retrasado") &&
		!containsAny(low, "failed permanently", "permanent failure", "permanent error", "giving up", "gave up", "given up", "have failed", "has failed", "has been failing")
}

// daemon reads bounces that bear no delivery-status part: from a mail system
// by name or null reverse-path, with its words in subject or text.
func daemon(m *mime.Message, text string) (Report, bool) {
	failed := m.Header.Get("X-Failed-Recipients")
	named, null := daemonName(m), nullPath(m)
	mailer := strings.Contains(strings.ToLower(m.Header.Get("X-Mailer")), "mailer-daemon")
	if failed == "" && !named && !null && !mailer && m.Type != "multipart/report" {
		return Report{}, false
	}
	subject := strings.ToLower(m.Header.Text("Subject"))
	low := strings.ToLower(head(text, 6000))
	subj, body := failSubject.MatchString(subject), failText.MatchString(low)
	reportType := m.Type == "multipart/report" && strings.HasPrefix(strings.ToLower(m.Params["report-type"]), "deliver")
	why := ""
	switch {
	case failed != "" && (named || null || subj):
		why = "x-failed-recipients"
	case reportType && (named || null || subj):
		why = "multipart/report"
	case named && (subj || body):
		why = "mail system"
	case null && subj && body:
		why = "null reverse-path"
	case null && body && (returnedMail(m) || quotedOriginal(low)):
		why = "returned mail"
	case mailer:
		why = "mail system"
	default:
		return Report{}, false
	}
	r := Report{Why: why}
	r.fill(m)
	r.status(statusInText(text))
	if len(r.Recipients) == 0 {
		r.guess(failed, text)
	}
	r.settle(subject + "\n" + low)
	if r.Kind == Failed && late(subject+"\n"+low) && !anyHard(r.Recipients) && !anyFailed(r.Recipients) {
		r.Kind = Delayed
		for i := range r.Recipients {
			r.Recipients[i].Action = "delayed"
		}
	}
	return r, true
}

func anyHard(list []Recipient) bool {
	for _, r := range list {
		if r.Hard {
			return true
		}
	}
	return false
}

func anyFailed(list []Recipient) bool {
	for _, r := range list {
		if r.Action == "failed" {
			return true
		}
	}
	return false
}

func returnedMail(m *mime.Message) bool {
	h, _ := returned(m)
	return h != nil
}

// quotedOriginal tells of the line after which a mail system returns our mail.
func quotedOriginal(low string) bool {
	return containsAny(low, "original message", "copy of the message", "below this line", "returned message", "message header", "original mail", "message-id:", "unsent message below", "included below")
}

func head(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// statusInText finds delivery-status fields that stand in the text.
func statusInText(text string) []map[string]string {
	low := strings.ToLower(text)
	at := strings.Index(low, "final-recipient:")
	if at < 0 {
		return nil
	}
	from := at - 400
	if from < 0 {
		from = 0
	}
	return fields(head(text[from:], 8000))
}

var textAddress = regexp.MustCompile(`<?([A-Za-z0-9!#$%&'*+/=?^_{|}~.-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,})>?`)

// guess reads the addresses from the header made for it, else the first
// address of the text before our mail is returned, and how it failed.
func (r *Report) guess(failed, text string) {
	above := text
	low := strings.ToLower(text)
	for _, mark := range []string{"copy of your message", "copy of the message", "below this line", "original message", "unsent message below", "message header", "included below", "return-path:", "received: "} {
		if i := strings.Index(low, mark); i > 40 && i < len(above) {
			above = above[:i]
		}
	}
	above = head(above, 8000)
	var addrs []string
	for _, a := range strings.FieldsFunc(failed, func(c rune) bool { return c == ',' || c == ' ' || c == ';' }) {
		if a = plainAddress(a); a != "" {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		addrs = addressLines(above)
	}
	diag := diagnostic(above)
	for _, a := range addrs {
		rec := Recipient{Address: a, Diagnostic: diag, Status: statusCode.FindString(diag)}
		if rec.Status == "" {
			if c := replyCode.FindStringSubmatch(diag); c != nil {
				rec.Status = c[1][:1] + ".0.0"
			}
		}
		rec.judge()
		r.Recipients = append(r.Recipients, rec)
	}
}

// addressLines gives the addresses that head a line, else the first at all.
func addressLines(above string) []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range strings.Split(above, "\n") {
		m := textAddress.FindStringSubmatchIndex(l)
		if m == nil || strings.TrimLeft(l[:m[0]], " \t<(\"*-") != "" {
			continue
		}
		a := l[m[2]:m[3]]
		if k := strings.ToLower(a); !seen[k] && len(out) < 100 && !daemonAddress(k) {
			seen[k] = true
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		for _, m := range textAddress.FindAllStringSubmatch(above, 5) {
			if !daemonAddress(strings.ToLower(m[1])) {
				return []string{m[1]}
			}
		}
	}
	return out
}

func daemonAddress(a string) bool {
	return strings.HasPrefix(a, "postmaster@") || strings.HasPrefix(a, "mailer-daemon@") || strings.HasPrefix(a, "abuse@")
}

// diagnostic picks the line in which the server's answer stands.
func diagnostic(above string) string {
	best := ""
	for _, l := range strings.Split(above, "\n") {
		t := strings.TrimSpace(l)
		switch {
		case statusCode.MatchString(t):
			return oneLine(t)
		case best == "" && (replyCode.MatchString(t) || gone(strings.ToLower(t))):
			best = t
		}
	}
	return oneLine(best)
}
