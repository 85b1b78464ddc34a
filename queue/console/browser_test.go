package console

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue"
	"postern/queue/console/auth"
	"postern/queue/reply"
	"postern/testmail/browser"
)

// reason is a word the classifier saw in a sentence.
func reason(l classifier.Label, words, sentence string) classifier.Reason {
	return classifier.Reason{Label: l, Words: words, Weight: 1.8, Rule: "sentence: " + sentence}
}

// staged is a world with a queue as a privacy team meets it on a Tuesday:
// every state, several languages, a subject of 300 signs, a case with twelve
// labels. It gives the numbers by name.
func staged(w *world) map[string]string {
	no := map[string]string{}
	at := func(days int) time.Time { return w.Now().AddDate(0, 0, -days) }
	add := func(name string, in queue.Incoming) {
		in.Received = in.Received.AddDate(0, 0, 0)
		no[name] = w.open(in)
	}
	in := w.mail("maria@example.net", "Sehr geehrte Damen und Herren,\n\nich verlange Auskunft nach Art. 15 DSGVO, welche Daten Sie über mich gespeichert haben. Danach löschen Sie bitte alle meine Daten.\n\nBitte bestätigen Sie den Eingang.\n\nFreundliche Grüße\nMaria\n-- \nGesendet von unterwegs", classifier.Access, classifier.Erasure)
	in.Received, in.FromName, in.Result.Language, in.Subject = at(29), "Maria", "de", "Auskunft und Löschung"
	in.Result.Reasons = []classifier.Reason{
		reason(classifier.Access, "Auskunft", "ich verlange Auskunft nach Art. 15 DSGVO, welche Daten Sie über mich gespeichert haben."),
		reason(classifier.Access, "DSGVO", "ich verlange Auskunft nach Art. 15 DSGVO, welche Daten Sie über mich gespeichert haben."),
		reason(classifier.Erasure, "löschen", "Danach löschen Sie bitte alle meine Daten."),
	}
	in.Result.Labels = []classifier.LabelScore{{Label: classifier.Access, Score: 0.97}, {Label: classifier.Erasure, Score: 0.91}, {Label: classifier.Objection, Score: 0.12}}
	in.Attachments = []queue.Attachment{{Name: "Vollmacht.pdf", Type: "application/pdf", Size: 184_320, Text: "Hiermit bevollmächtige ich ..."}, {Name: "ausweis.png", Type: "image/png", Size: 912_000}}
	in.Quoted = "> Vielen Dank für Ihre Bestellung.\n> Ihr Shop"
	add("access", in)

	in = w.mail("jan@example.com", "Please delete my account and all data you hold about me.", classifier.Erasure)
	in.Received = at(34)
	in.Result.Reasons = []classifier.Reason{reason(classifier.Erasure, "delete", "Please delete my account and all data you hold about me.")}
	add("late", in)
	in = w.mail("eleni@example.gr", "Αγαπητοί κύριοι, δεν θέλω να λαμβάνω πλέον διαφημιστικά μηνύματα. Παρακαλώ διαγράψτε με από τη λίστα σας.", classifier.Objection)
	in.Result.Language = "el"
	add("greek", in)
	in = w.mail("ivan@example.bg", "Здравейте, моля да ми изпратите копие от всички лични данни, които съхранявате за мен.", classifier.Access)
	in.Result.Language, in.Received, in.Grade, in.GradeWhy = "bg", at(12), queue.Likely, "SPF pass"
	add("bulgarian", in)
	in = w.mail("unsure@example.org", "Hello, I wrote to you last month about my things. What is happening with it?")
	in.Received = at(3)
	add("read", in)
	in = w.mail("dpa@authority.example", "We ask you to comment on the attached complaint within two weeks.", classifier.AuthorityLetter)
	in.Received, in.Result.Asker, in.Grade = at(1), "authority", queue.Unknown
	add("authority", in)
	in = w.mail("long@example.com", strings.Repeat("This is a very long letter without a single clear wish in it. ", 30), labels[:12]...)
	in.Subject, in.Received, in.Grade, in.GradeWhy = strings.TrimSpace(strings.Repeat("A subject that a stranger wrote and that never ends ", 6))[:300], at(22), queue.Contradicted, "DKIM failed"
	add("long", in)
	in = w.mail("secret@example.com", "Something about a colleague.", classifier.Complaint)
	in.Confidential, in.Received = true, at(5)
	add("confidential", in)
	for i := range 9 {
		in = w.mail(fmt.Sprintf("person%d@example.com", i), "Bitte schicken Sie mir keine Werbung mehr. Ich widerspreche der Nutzung meiner Daten zu Werbezwecken.", classifier.Objection)
		in.Received, in.Result.Language = at(30), "de"
		in.Result.Reasons = []classifier.Reason{reason(classifier.Objection, "widerspreche", "Ich widerspreche der Nutzung meiner Daten zu Werbezwecken.")}
		add(fmt.Sprintf("objection%d", i), in)
	}
	move := func(name string, m queue.Move) {
		m.Actor = "operator:anna"
		_, err := w.q.Move(w.t.Context(), no[name], m)
		require.NoError(w.t, err)
	}
	move("bulgarian", queue.Move{Action: queue.ActIdentify, Reason: "called-back", Note: "called back under the number on file"})
	move("access", queue.Move{Action: queue.ActAssign, Owner: "anna"})
	move("objection8", queue.Move{Action: queue.ActClose, Reason: "done"})
	require.NoError(w.t, w.q.AskApproval(w.t.Context(), no["objection0"], queue.Approval{What: queue.EyesDeny, By: "operator:otto", Note: "looked at twice", Draft: &queue.Draft{
		Step: reply.Denied, Effect: queue.ActDeny, Reason: "manifestly-unfounded", Actor: "operator:otto", Values: reply.Values{"reason": "es dieselbe Anfrage zum zwölften Mal ist"}}}))
	_, _, err := w.q.Reply(w.t.Context(), no["objection1"], queue.Draft{Subject: "Ihr Widerspruch", Text: "Wir haben die Werbung beendet.", Effect: queue.ActAnswer, Actor: "operator:anna"})
	require.NoError(w.t, err)
	for i, why := range []string{"spam", "auto_reply", "bounce"} {
		in = w.mail(fmt.Sprintf("aside%d@example.com", i), "I am out of the office until Monday.")
		in.Subject = "Out of office"
		require.NoError(w.t, w.q.SetAside(w.t.Context(), queue.Aside{Why: why, Mail: in}))
	}
	return no
}

// shots is where pictures go; none are kept where it is not set.
func shots() string { return os.Getenv("POSTERN_SCREENSHOTS") }

// signIn logs a browser in by the form, as a person does.
func signIn(w *world, p *browser.Page, name string) {
	w.t.Helper()
	require.Equal(w.t, int64(200), p.Open(w.srv.URL+"/login"))
	p.Do(chromedp.SendKeys(chromedp.CSS("#name"), name), chromedp.SendKeys(chromedp.CSS("#password"), testPassword))
	p.Submit("button.first")
}

// TestPagesInBrowser opens every page on a phone in light and at a desk in
// dark: axe-core finds nothing, nothing is wider than the window. With
// POSTERN_SCREENSHOTS set it does so at both widths, in both schemes and both
// languages, and keeps a picture of each.
func TestPagesInBrowser(t *testing.T) {
	w := newWorld(t)
	w.user("anna", auth.Operator, auth.Approver, auth.Admin)
	w.user("otto", auth.Auditor)
	no := staged(w)
	b := browser.Start(t)
	pages := []struct{ name, path string }{
		{"today", "/"}, {"cases", "/cases"}, {"cases-none", "/cases?view=approval"}, {"cases-ended", "/cases?view=ended"},
		{"case", "/cases/" + no["access"]}, {"case-late", "/cases/" + no["late"]}, {"case-greek", "/cases/" + no["greek"]}, {"case-read", "/cases/" + no["read"]},
		{"case-long", "/cases/" + no["long"]}, {"case-ended", "/cases/" + no["objection8"]}, {"case-reply", "/cases/" + no["bulgarian"] + "?text=clarify"},
		{"erase", "/cases/" + no["late"] + "/erase"}, {"byhand", "/cases/new"}, {"aside", "/aside"}, {"denial", "/cases/" + no["objection0"] + "/denial"}, {"letter", "/cases/" + no["objection1"] + "/letters/0"}, {"case-held", "/cases/" + no["objection1"]},
		{"file", "/cases/" + no["access"] + "/mails/0/files/0/text"}, {"package", "/cases/" + no["access"] + "/package"}, {"proof", "/cases/" + no["access"] + "/proof"}, {"account", "/account"}, {"users", "/users"}, {"missing", "/cases/nothing"},
	}
	for _, lang := range []string{"en", "de"} {
		user, err := w.users.User(t.Context(), "anna")
		require.NoError(t, err)
		user.Language = lang
		require.NoError(t, w.users.Prefer(t.Context(), user))
		for _, width := range []int64{390, 1440} {
			for _, scheme := range []browser.Scheme{browser.Light, browser.Dark} {
				usual := width == 390 && scheme == browser.Light && lang == "en" || width == 1440 && scheme == browser.Dark && lang == "de"
				if shots() == "" && !usual {
					continue
				}
				p := b.Page(browser.View{Width: width, Height: 900, Scheme: scheme, Language: lang})
				name := func(page string) string { return fmt.Sprintf("console-%s-%d-%s-%s.png", page, width, scheme, lang) }
				p.Open(w.srv.URL + "/login")
				look(t, p, name("login"))
				signIn(w, p, "anna")
				for _, page := range pages {
					p.Open(w.srv.URL + page.path)
					look(t, p, name(page.name))
				}
				p.Open(w.srv.URL + "/cases")
				p.Do(chromedp.SendKeys(chromedp.CSS("#q"), "maria@example.net"))
				p.Submit(".search button")
				look(t, p, name("search"))
			}
		}
	}
}
