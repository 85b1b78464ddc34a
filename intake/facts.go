package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/intake/authentic"
	"postern/intake/mime"
	"postern/intake/quote"
	"postern/intake/report"
	"postern/queue"
)

// Classifier reads what a text asks; *classifier.Classifier is one.
type Classifier interface {
	Classify(classifier.Input) classifier.Result
}

// Verdict says what a mail is and so where it goes.
type Verdict struct {
	Kind   classifier.Kind // as design.md section 4 names them
	Why    string          // closed words: what decided
	Report report.Report   // what machine mail says; Kind None for persons
	Token  string          // unsubscribe token: an opt-out by mailto
	Aside  string          // why it becomes no case, or "": it becomes one
	Manual string          // why a person must read the original, or ""
	// BounceToken is that of our reverse-path "b+TOKEN@" (D19), or "".
	BounceToken string
}

// maxQuoted bounds the quoted text kept with a case, in bytes.
const maxQuoted = 64 << 10

// Facts turns the bytes of a mail into facts and says what it is. received is
// its INTERNALDATE. It is pure but for the DNS look-ups of mb.LookupTXT, does
// not fail, and takes any bytes.
func Facts(raw []byte, received time.Time, mb Mailbox, cls Classifier) (queue.Incoming, Verdict) {
	m := mime.Parse(raw, mb.Limits)
	text := m.Text()
	rep := report.Read(m, text)
	sum := sha256.Sum256(raw)
	in := queue.Incoming{
		Controller:   mb.Controller,
		Mailbox:      mb.Name,
		ContentHash:  hex.EncodeToString(sum[:]),
		Received:     received,
		ReturnPath:   returnPath(m.Header),
		Subject:      clip(strings.TrimSpace(m.Header.Text("Subject")), 1000),
		Confidential: mb.Confidential,
	}
	if ids := mime.MessageIDs(m.Header.Get("Message-ID")); len(ids) > 0 {
		in.MessageID = ids[0]
	} else {
		in.MessageID = bareID(m.Header.Get("Message-ID"))
	}
	thread(&in, m.Header)
	sender(&in, m.Header)
	in.Grade, in.GradeWhy = authentic.Grade(raw, m.Header, in.From.Domain(), received, authentic.Options{AuthServID: mb.AuthServID, ARCSealers: mb.ARCSealers, LookupTXT: mb.LookupTXT, Addresses: mb.Addresses})
	to := recipients(m.Header, mb)
	in.Token, in.ReplyToken = to.token, to.caseToken
	if rep.Kind == report.Failed {
		in.Returned = rep.MessageID
	}
	in.CaseNo = first(queue.FindCaseNo(to.caseToken), queue.FindCaseNo(in.Subject))
	letter(&in, m, text, mb)
	in.Attachments = attachments(m, rep)
	v := Verdict{Report: rep, Token: to.token, Manual: m.Over, BounceToken: to.bounce}
	classify(&in, rep, hint(m.Header), cls)
	v.decide(&in, m, mb)
	if v.Manual != "" {
		v.Aside, in.Result.Abstain = "", true
	}
	in.Manual = v.Manual
	in.MayReply, in.NoReplyWhy = mayReply(in, m.Header, v, mb)
	return in, v
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

// bareID takes a Message-ID without brackets, as some programs write it.
func bareID(v string) string {
	v = strings.Trim(strings.TrimSpace(v), "<>")
	if strings.ContainsAny(v, " \t") {
		return ""
	}
	return clip(v, 500)
}

// returnPath gives "<>", "" if the field is missing, else the plain address.
func returnPath(h mime.Header) string {
	if !h.Has("Return-Path") {
		return ""
	}
	v := strings.TrimSpace(h.Get("Return-Path"))
	if v == "<>" || v == "" {
		return "<>"
	}
	return strings.Trim(v, "<> ")
}

// thread notes what a mail answers.
func thread(in *queue.Incoming, h mime.Header) {
	if ids := mime.MessageIDs(h.Get("In-Reply-To")); len(ids) > 0 {
		in.InReplyTo = ids[0]
	}
	in.References = mime.MessageIDs(h.Get("References"))
	if n := len(in.References); n > 100 { // the first and the newest count
		in.References = append(in.References[:1:1], in.References[n-99:]...)
	}
}

// sender reads From; a mail with several authors has none we could act for.
func sender(in *queue.Incoming, h mime.Header) {
	list := h.Addresses("From")
	if len(list) == 0 {
		list = h.Addresses("Sender")
	}
	if len(list) == 0 {
		return
	}
	in.FromName = clip(list[0].Name, 200)
	if a, err := address.Parse(list[0].Addr); err == nil {
		in.From = a
	}
}

// letter fills the words: the person's own, what they quote, and a forwarded
// request with the person it comes from.
func letter(in *queue.Incoming, m *mime.Message, text string, mb Mailbox) {
	parts := quote.Parse(text)
	in.Text = parts.Own
	in.Quoted = clip(strings.TrimSpace(parts.Signature+"\n\n"+parts.Quoted), maxQuoted)
	f := forwardOf(m, parts)
	if f.text == "" {
		return
	}
	own := mb.owns(in.From.Domain())
	if own && !f.from.IsZero() && !mb.owns(f.from.Domain()) {
		in.Forwarded = f.from
	}
	if own || len(strings.Fields(in.Text)) < 4 {
		// A colleague passes a request on, or someone sends an earlier mail
		// again and says nothing new: what is inside is what is asked.
		in.Text = strings.TrimSpace(in.Text + "\n\n" + f.text)
		if plainSubject(in.Subject) == "" {
			in.Subject = first(in.Subject, f.subject)
		}
		return
	}
	in.Quoted = clip(strings.TrimSpace(in.Quoted+"\n\n"+f.text), maxQuoted)
}

// hint is the language the header names, as a BCP 47 primary tag.
func hint(h mime.Header) string {
	for _, name := range []string{"Content-Language", "Accept-Language", "X-Accept-Language"} {
		v := strings.ToLower(strings.TrimSpace(h.Get(name)))
		if i := strings.IndexAny(v, ",; "); i >= 0 {
			v = v[:i]
		}
		if tag, _, _ := strings.Cut(v, "-"); len(tag) == 2 || len(tag) == 3 {
			return tag
		}
	}
	return ""
}
