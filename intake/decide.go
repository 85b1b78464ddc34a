package intake

import (
	"strings"

	"postern/classifier"
	"postern/intake/mime"
	"postern/intake/report"
	"postern/queue"
)

// decide says what a mail is: by structure first, and a person's words in an
// odd envelope stay a request.
func (v *Verdict) decide(in *queue.Incoming, m *mime.Message, mb Mailbox) {
	res := &in.Result
	v.Kind, v.Why = res.Kind, "text"
	switch v.Report.Kind {
	case report.Failed, report.Delayed, report.Delivered:
		v.set(res, classifier.KindBounce, string(v.Report.Kind))
		return
	case report.Abuse, report.AuthFail:
		v.set(res, classifier.KindFeedbackReport, string(v.Report.Kind))
		return
	case report.Aggregate:
		v.set(res, classifier.KindOther, string(v.Report.Kind))
		return
	case report.Receipt, report.Challenge:
		v.set(res, classifier.KindAutoReply, string(v.Report.Kind))
		return
	case report.Auto:
		if !asks(*res) || !v.Report.Weak() && !strongly(*res) {
			v.set(res, classifier.KindAutoReply, string(v.Report.Kind))
			return
		}
		v.Why, v.Report = "asks in an automatic envelope", report.Report{}
	case report.List, report.Calendar:
		if !asks(*res) && !res.Abstain && in.CaseNo == "" && v.Token == "" && !ownList(v.Report.Reporter, mb) {
			v.set(res, classifier.KindOther, string(v.Report.Kind))
			return
		}
		v.Report = report.Report{}
	}
	if v.Token != "" && !more(*in) {
		res.Kind, v.Kind, v.Why = classifier.KindRequest, classifier.KindRequest, "unsubscribe address"
		return
	}
	if ownMail(in, m, mb) {
		v.set(res, classifier.KindAutoReply, "own-mail")
		return
	}
	if spam(in, m) && !asks(*res) && !res.Abstain && in.CaseNo == "" {
		v.set(res, classifier.KindSpam, "spam")
	}
}

// set files a mail as machine mail: it becomes no case.
func (v *Verdict) set(res *classifier.Result, kind classifier.Kind, why string) {
	v.Kind, v.Why, v.Aside = kind, why, why
	res.Kind, res.Labels, res.Decided, res.Abstain = kind, nil, nil, false
}

// asks tells whether the text asks for anything the law gives.
func asks(r classifier.Result) bool { return len(r.Decided) > 0 }

// strongly tells whether a right is asked beyond doubt.
func strongly(r classifier.Result) bool {
	for _, l := range r.Labels {
		if r.Has(l.Label) && l.Score >= 0.9 {
			return true
		}
	}
	return false
}

// more tells whether a mail to an unsubscribe address asks for more than that,
// or may: a letter of which it is not known what it asks is for a person. What
// programs write there by themselves is shorter.
func more(in queue.Incoming) bool {
	if in.Result.Abstain && !asks(in.Result) && len(strings.Fields(in.Text)) >= aLetter {
		return true
	}
	for _, l := range in.Result.Decided {
		switch l {
		case classifier.Unsubscribe, classifier.WithdrawConsent, classifier.Objection, classifier.OptOutSale:
		default:
			return true
		}
	}
	return false
}

// aLetter is how many words of one's own make a letter.
const aLetter = 12

// ownList tells of a group address that stands in front of the mailbox: at one
// of our domains, or with the name of one of our addresses elsewhere.
func ownList(id string, mb Mailbox) bool {
	name, domain, _ := strings.Cut(id, ".")
	for _, a := range mb.Addresses {
		own := strings.ToLower(domainPart(a))
		if strings.EqualFold(name, localPart(a)) || domain == own || strings.HasSuffix(domain, "."+own) {
			return true
		}
	}
	return false
}

// ownMail tells of mail that we ourselves sent: a loop (AR-2).
func ownMail(in *queue.Incoming, m *mime.Message, mb Mailbox) bool {
	if in.From.IsZero() {
		return false
	}
	for _, o := range mb.Addresses {
		if strings.EqualFold(o, in.From.Plain()) {
			// Someone may write to privacy@ in its own name by a web form: only
			// what says automatic is ours for sure.
			return m.Header.Has("X-Auto-Response-Suppress") && m.Header.Has("Auto-Submitted")
		}
	}
	return false
}

// spam tells what the server's filter said.
func spam(in *queue.Incoming, m *mime.Message) bool {
	if in.Result.Kind == classifier.KindSpam {
		return true
	}
	flag := strings.ToLower(m.Header.Get("X-Spam-Flag"))
	return strings.HasPrefix(flag, "yes") || strings.HasPrefix(strings.ToLower(m.Header.Get("X-Spam-Status")), "yes")
}
