package main

import (
	"math/rand/v2"
	"slices"
	"strings"

	"postern/classifier"
)

// letter is a made-up mail with what must and may be found in it.
type letter struct {
	lang   string
	in     classifier.Input
	labels []string // outputs that must be found, sorted
	ok     []string // outputs that may be found
	weight float64
	source string
}

// writer composes letters of one language from phrases it may use.
type writer struct {
	lang *language
	use  func(*phrase) bool
	r    *rand.Rand
}

// pick returns a phrase of a section, or nil if none may be used.
func (w *writer) pick(section string) *phrase {
	all := w.lang.sections[section]
	if len(all) == 0 {
		return nil
	}
	// one in five of those that are often mistaken, where there are any
	start, hard := w.r.IntN(len(all)), w.chance(20)
	for i := range all {
		if p := all[(start+i)%len(all)]; w.use(p) && (!hard || p.hard) {
			return p
		}
	}
	if !hard {
		return nil
	}
	for i := range all {
		if p := all[(start+i)%len(all)]; w.use(p) {
			return p
		}
	}
	return nil
}

// say spins a phrase of a section, "" if there is none.
func (w *writer) say(section string) string {
	if p := w.pick(section); p != nil {
		return spin(p.text, w.r)
	}
	return ""
}

func (w *writer) chance(percent int) bool { return w.r.IntN(100) < percent }

// neighbours may be said beside a label without harm: the blank that a letter
// for it leaves.
var neighbours = map[string][]string{
	"objection":        {"unsubscribe"},
	"unsubscribe":      {"objection", "withdraw_consent"},
	"complaint":        {"follow_up"},
	"authority_letter": {"complaint", "information"},
	"breach_report":    {"complaint"},
	"follow_up":        {"complaint"},
}

// labelled lists the sections that ask something.
func (w *writer) labelled() []string {
	var out []string
	for _, s := range w.lang.order {
		if !neutralSections[s] && s != "spam" && s != "reply" && s != "agent" && !strings.HasPrefix(s, "follow_up") && !strings.HasSuffix(s, ".s") {
			out = append(out, s)
		}
	}
	return out
}

// document labels colour a whole letter and do not mix with others.
var documents = map[string]bool{"authority_letter": true, "dpa_request": true, "assistance_request": true}

// compose writes one letter.
func (w *writer) compose() letter {
	l := letter{lang: w.lang.tag, weight: 1}
	sections := w.labelled()
	dice := w.r.IntN(100)
	switch {
	case dice < 62 && len(sections) > 0:
		w.request(&l, sections)
	case dice < 69:
		w.followUp(&l, sections)
	case dice < 73:
		w.plain(&l, "spam", 1+w.r.IntN(2))
	case dice < 78:
		w.plain(&l, "reply", 1+w.r.IntN(3))
	case dice < 85:
		w.kept(&l)
	default:
		w.plain(&l, "other", 1+w.r.IntN(2))
	}
	w.quote(&l)
	slices.Sort(l.labels)
	l.labels = slices.Compact(l.labels)
	for _, a := range l.labels {
		l.ok = append(l.ok, neighbours[a]...)
	}
	return l
}

// quote puts an earlier mail below the text of some letters: a reminder's first
// request, which it still asks for, or the newsletter that is answered. Thanks
// and talk quote requests as well, without asking anything.
func (w *writer) quote(l *letter) {
	if len(l.in.Text) == 0 {
		return
	}
	var lines []string
	switch {
	case slices.Contains(l.labels, "follow_up") && w.chance(45):
		// what the text names is what is quoted
		s := []string{"access", "access", "erasure", "erasure", "rectification", "objection", "portability"}[w.r.IntN(7)]
		for _, k := range l.labels {
			if k != "follow_up" && k != "complaint" && k != "agent" {
				s = k
			}
		}
		p := w.pick(s)
		if p == nil {
			return
		}
		lines = append(lines, w.say("greet"), w.render(p), w.say("recital"))
		l.labels = append(l.labels, p.labels...)
	case (len(l.labels) == 0 || slices.Contains(l.labels, "reply")) && w.chance(30):
		s := w.labelled()
		lines = append(lines, w.say(s[w.r.IntN(len(s))]))
	case !slices.Contains(l.labels, "follow_up") && w.chance(12):
		lines = append(lines, w.say("reply"), w.say("spam"))
	}
	for i, line := range lines {
		if i == 0 {
			l.in.Text += "\n\n"
		}
		if line != "" {
			l.in.Text += "> " + line + "\n"
		}
	}
}

// plain writes a letter from one neutral or hostile section.
func (w *writer) plain(l *letter, section string, n int) {
	var body []string
	for range n {
		p := w.pick(section)
		if p == nil {
			continue
		}
		body = append(body, w.render(p))
		l.labels = append(l.labels, p.labels...)
		l.ok = append(l.ok, p.ok...)
	}
	if section != "reply" {
		l.in.Subject = w.neutralSubject()
	}
	if section == "reply" && w.chance(50) {
		body = append(body, w.say("recital"))
	}
	l.in.Text = w.wrap(body)
}

// kept writes a letter that says what must not be done, with or without a
// request beside it.
func (w *writer) kept(l *letter) {
	body := []string{w.say("keep")}
	if w.chance(40) {
		w.add(l, &body, w.lang.sections, "access", "objection", "unsubscribe", "rectification", "information", "portability")
	}
	if w.chance(40) {
		body = append(body, w.say("context"))
	}
	w.r.Shuffle(len(body), func(i, j int) { body[i], body[j] = body[j], body[i] })
	l.in.Subject, l.in.Text = w.neutralSubject(), w.wrap(body)
}

// add appends a phrase of one of the sections and its labels.
func (w *writer) add(l *letter, body *[]string, have map[string][]*phrase, sections ...string) {
	s := sections[w.r.IntN(len(sections))]
	if len(have[s]) == 0 {
		return
	}
	if p := w.pick(s); p != nil {
		*body = append(*body, w.render(p))
		l.labels = append(l.labels, p.labels...)
		l.ok = append(l.ok, p.ok...)
	}
}

// request writes a letter with one to three requests among law and story.
func (w *writer) request(l *letter, sections []string) {
	first := sections[w.r.IntN(len(sections))]
	wanted := []string{first}
	if !documents[first] && w.chance(25) {
		for range 1 + w.r.IntN(2) {
			if s := sections[w.r.IntN(len(sections))]; !documents[s] {
				wanted = append(wanted, s)
			}
		}
	}
	var ops []string
	for _, s := range wanted {
		n := 1
		if documents[s] || w.chance(20) {
			n = 1 + w.r.IntN(3)
		}
		for range n {
			if p := w.pick(s); p != nil {
				ops = append(ops, w.render(p))
				l.labels = append(l.labels, p.labels...)
				l.ok = append(l.ok, p.ok...)
			}
		}
	}
	if len(wanted) == 1 {
		switch d := w.r.IntN(100); {
		case d < 45:
			l.in.Subject = w.say(first + ".s")
		case d < 75:
			l.in.Subject = w.neutralSubject()
		}
		alone := 8
		if first == "unsubscribe" {
			alone = 30
		}
		if l.in.Subject != "" && w.chance(alone) && len(w.lang.sections[first+".s"]) > 0 && !documents[first] {
			l.in.Subject = w.say(first + ".s")
			return // subject-only mail
		}
	} else if w.chance(60) {
		l.in.Subject = w.neutralSubject()
	}
	if w.chance(14) { // bare
		l.in.Text = strings.Join(ops, " ")
		return
	}
	body := w.surround(ops)
	if w.chance(8) {
		if p := w.pick("agent"); p != nil && !documents[first] {
			body = append([]string{w.render(p)}, body...)
			l.labels = append(l.labels, "agent")
		}
	}
	l.in.Text = w.wrap(body)
}

// surround puts story before and law, threats and names after the requests.
func (w *writer) surround(ops []string) []string {
	var body []string
	for range w.r.IntN(3) {
		body = append(body, w.say("context"))
	}
	body = append(body, ops...)
	law := w.r.IntN(4)
	if w.chance(25) {
		law = 4 + w.r.IntN(12)
	}
	for range law {
		body = append(body, w.say([]string{"recital", "recital", "recital", "context", "threat"}[w.r.IntN(5)]))
	}
	if w.chance(30) {
		body = append(body, w.say("threat"))
	}
	switch w.r.IntN(10) {
	case 0, 1, 2:
		body = append(body, w.say("id"))
	case 3, 4:
		lines := []string{w.say("id")}
		for range 1 + w.r.IntN(3) {
			lines = append(lines, head(w.r))
		}
		body = append(lines, body...)
	case 5:
		body = append(body, head(w.r))
	}
	return body
}

func (w *writer) followUp(l *letter, sections []string) {
	about := []string{"follow_up", "follow_up+erasure", "follow_up+access", "follow_up+rectification", "follow_up+unsubscribe", "follow_up+objection"}
	p := w.pick(about[max(0, w.r.IntN(9)-3)])
	if p == nil {
		p = w.pick("follow_up")
	}
	if p == nil {
		return
	}
	l.labels = append(l.labels, p.labels...)
	body := []string{w.render(p)}
	if q := w.pick("follow_up"); q != nil && w.chance(30) {
		body = append(body, w.render(q))
	}
	if w.chance(35) && len(sections) > 0 {
		w.add(l, &body, w.lang.sections, sections...)
	}
	if w.chance(40) {
		body = append(body, w.say("threat"))
	}
	if w.chance(50) {
		body = w.surround(body)
	}
	l.in.Subject = w.say("follow_up.s")
	if sub := w.say(strings.Join(p.labels, "+") + ".s"); sub != "" {
		l.in.Subject = sub
	}
	if l.in.Subject == "" || w.chance(40) {
		l.in.Subject = w.neutralSubject()
	}
	l.in.Text = w.wrap(body)
}

// head is a line of a letter's head or foot, which every language writes alike.
func head(r *rand.Rand) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	initials := string(rune('A'+r.IntN(26))) + ". " + string(rune('A'+r.IntN(26))) + "."
	switch r.IntN(9) {
	case 0:
		return initials
	case 1:
		return fill(pick("PLACE", "COMPANY", "COMPANY Ltd", "COMPANY GmbH", "COMPANY Marketing S.A.", "COMPANY Lists Ltd", "COMPANY Mail Order", "COMPANY Media", "COMPANY Direct"), r)
	case 2:
		return fill(pick("Email", "E-mail", "E-Mail", "Mail", "e-mail", "EMAIL")+pick(": ", " ", " - ")+"user.name@example.org", r)
	case 3:
		return fill(pick("Tel", "Tel.", "Phone", "Fax", "Mobile", "ID", "Ref", "No", "Nr", "Nr.", "N.º", "Account", "User", "Login", "IBAN")+pick(": ", " ")+"NUM", r)
	case 4:
		return pick("Marketing", "Marketing team", "Privacy team", "CRM", "Newsletter team", "HR", "IT", "Support", "Legal", "DPO", "Online Marketing", "Customer Care")
	case 5:
		return initials + ", " + pick("Marketing", "HR", "IT", "DPO", "user.name@example.org", "client@example.com")
	case 6:
		return pick("BY EMAIL", "By email and post", "Via e-mail", "By registered post", "PER E-MAIL", "Per e-mail", "Par e-mail", "Via PEC")
	case 7:
		return fill("DATE", r)
	}
	return fill("PLACE", r)
}

func (w *writer) neutralSubject() string {
	if w.chance(30) {
		return ""
	}
	return w.say("subject")
}

func (w *writer) render(p *phrase) string { return noise(spin(p.text, w.r), w.r, 6) }

// wrap joins sentences into paragraphs between greeting and closing.
func (w *writer) wrap(body []string) string {
	var b strings.Builder
	if g := w.say("greet"); g != "" && w.chance(75) {
		b.WriteString(g + "\n\n")
	}
	for i, s := range body {
		if s == "" {
			continue
		}
		if i > 0 {
			b.WriteString([]string{" ", "\n", "\n\n"}[w.r.IntN(3)])
		}
		b.WriteString(s)
		if !strings.ContainsAny(s[len(s)-1:], ".!?:;") && !strings.HasSuffix(s, "。") {
			b.WriteString(".")
		}
	}
	if c := w.say("close"); c != "" && w.chance(75) {
		b.WriteString("\n\n" + c + "\nA. Subject")
	}
	return b.String()
}

// noise makes typing errors in percent of the sentences.
func noise(s string, r *rand.Rand, percent int) string {
	if r.IntN(100) >= percent {
		return s
	}
	runes := []rune(s)
	for range 1 + len(runes)/50 {
		if len(runes) < 12 {
			break
		}
		i := 1 + r.IntN(len(runes)-3)
		switch r.IntN(3) {
		case 0:
			runes[i], runes[i+1] = runes[i+1], runes[i]
		case 1:
			runes = append(runes[:i], runes[i+1:]...)
		case 2:
			runes = slices.Insert(runes, i, runes[i])
		}
	}
	return string(runes)
}
