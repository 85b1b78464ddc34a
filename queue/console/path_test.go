package console

import (
	"context"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue"
	"postern/queue/console/auth"
	"postern/queue/fulfil"
	"postern/testmail/browser"
	"postern/testmail/env"
)

// sees waits until the page shows some words.
func sees(t *testing.T, p *browser.Page, words string) {
	t.Helper()
	env.Eventually(t, 30*time.Second, words, func() bool {
		return browser.Read(p, chromedp.Evaluate[bool](`document.body.innerText.includes(`+quoted(words)+`)`))
	})
}

func quoted(s string) string { return "`" + s + "`" }

// press types one key where the focus is.
func press(p *browser.Page, key string) {
	p.Do(chromedp.KeyEvent(key))
}

// TestWorkInBrowser does a day's work as a person does it: set-up by the code
// of the terminal, log in, keys, correct a label, undo, reply with preview,
// take back, extend, deny, propose and approve an erasure, lift a stop of
// advertising, a change that comes in while a page is open, and the same pages
// without their script.
func TestWorkInBrowser(t *testing.T) {
	crm := &eraser{}
	w := newWorld(t, func(_ *Options, q *queue.Options) {
		q.Connections = []queue.Connection{{Verbs: []fulfil.Verb{fulfil.Erase}, Connector: crm}}
		q.SendHold = time.Hour
	})
	b := browser.Start(t)
	p := b.Page(browser.View{Language: "en"})
	code, err := w.c.SetupCode(t.Context())
	require.NoError(t, err)
	p.Open(w.srv.URL + "/")
	sees(t, p, "Set up Postern")
	p.Do(chromedp.SendKeys(chromedp.CSS("#code"), code), chromedp.SendKeys(chromedp.CSS("#name"), "anna"), chromedp.SendKeys(chromedp.CSS("#password"), testPassword))
	p.Submit("button.first")
	sees(t, p, "The administrator was created.")

	access := w.open(w.mail("alice@example.com", "Which data do you hold about me?", classifier.Access))
	erase := w.open(w.mail("bob@example.com", "Please delete my data.", classifier.Erasure))
	p.Open(w.srv.URL + "/cases")
	press(p, "j")
	require.Equal(t, "cover", browser.Read(p, chromedp.Evaluate[string](`document.activeElement.className`)))
	press(p, "x")
	sees(t, p, "Marked:")
	press(p, "?")
	require.True(t, browser.Read(p, chromedp.Evaluate[bool](`document.getElementById("keys").open`)))
	p.Do(chromedp.KeyEvent("\u001b"))

	// Correct what is asked, and take it back.
	p.Open(w.srv.URL + "/cases/" + access)
	press(p, "l")
	require.True(t, browser.Read(p, chromedp.Evaluate[bool](`document.getElementById("label-form").open`)))
	p.Do(chromedp.Click(chromedp.CSS(`#label-form input[value=portability]`)))
	p.Submit("#label-form button")
	sees(t, p, "What is asked was corrected.")
	p.Submit(".done button")
	sees(t, p, "Corrected: Access, was Access, Portability")

	// A change by someone else while the page is open.
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- w.c.Run(ctx) }()
	p.Open(w.srv.URL + "/cases/" + access)
	_, err = w.q.Move(t.Context(), access, queue.Move{Action: queue.ActNote, Actor: "operator:otto", Note: "seen"})
	require.NoError(t, err)
	sees(t, p, "This case changed.")
	cancel()
	require.NoError(t, <-done)

	// Reply in own words: preview, send, take back.
	p.Open(w.srv.URL + "/cases/" + access)
	p.Do(chromedp.SendKeys(chromedp.CSS("#body"), "We hold your name and address."))
	p.Submit("#reply form[data-editing] button[value=preview]")
	sees(t, p, "We hold your name and address.")
	p.Submit("#reply button[value=send]")
	sees(t, p, "Until then it can be taken back.")
	p.Submit(".next .first")
	sees(t, p, "The letter was taken back.")

	// Extend and deny by the menu.
	p.Open(w.srv.URL + "/cases/" + access + "#extend")
	p.Do(chromedp.SendKeys(chromedp.CSS("#ext-w"), "many archives have to be searched"))
	p.Submit("#extend button")
	sees(t, p, "The letter leaves in 30 seconds.")
	p.Submit(".next .first")
	p.Open(w.srv.URL + "/cases/" + access + "#deny")
	p.Do(chromedp.SendKeys(chromedp.CSS("#den-w"), "you asked for the same last week"))
	p.Submit("#deny button")
	sees(t, p, "The letter leaves in 30 seconds.")

	// Identity waived with a reason, dry run, approval by typing the number.
	p.Open(w.srv.URL + "/cases/" + erase + "#identify")
	p.Do(chromedp.SendKeys(chromedp.CSS("#id-n"), "called back"))
	p.Submit("#identify button")
	sees(t, p, "See what would be deleted")
	p.Submit(".next .first")
	p.Submit("form[action$=dry] button")
	w.work(func() bool { tasks, _ := w.q.Tasks(t.Context(), erase); return len(tasks) == 1 && tasks[0].Done() })
	p.Open(w.srv.URL + "/cases/" + erase + "/erase")
	sees(t, p, "would erase")
	p.Do(chromedp.SendKeys(chromedp.CSS("#typed"), erase))
	p.Submit("button.red")
	sees(t, p, "The systems are deleting.")

	// A request that was none: closed, and its stop of advertising lifted with a reason.
	misread := w.open(w.mail("carla@example.com", "Please delete me from the list of speakers.", classifier.Erasure))
	p.Open(w.srv.URL + "/cases/" + misread + "/marketing")
	sees(t, p, "The case still asks for erasure")
	p.Open(w.srv.URL + "/cases/" + misread + "#close")
	p.Do(chromedp.SetValue(chromedp.CSS("#clo-r"), "no-request"))
	p.Submit("#close button")
	sees(t, p, "Stopped, as a withdrawal")
	p.Submit(`.facts a[href$="/marketing"]`)
	p.Submit("button[value=lift]")
	sees(t, p, "Say why it is lifted. Nothing was changed.")
	p.Do(chromedp.SendKeys(chromedp.CSS("#why"), "It was about the list of speakers."))
	p.Submit("button[value=lift]")
	sees(t, p, "The stop is lifted.")
	sees(t, p, "It was about the list of speakers.")

	// Without script: the same work, by the same forms.
	plain := b.Page(browser.View{Language: "en", NoScript: true, Width: 390, Height: 844})
	signIn(w, plain, "anna")
	sees(t, plain, "Today")
	plain.Open(w.srv.URL + "/cases/" + access + "?text=clarify")
	plain.Do(chromedp.SendKeys(chromedp.CSS("#v_question"), "Which account?"))
	plain.Submit("#reply form[data-editing] button[value=preview]")
	sees(t, plain, "Which account?")
}

// A stored script does not run: not in the page of the case, not in the frame
// that shows the mail as it was sent, which fetches nothing either.
func TestHostileMailInBrowser(t *testing.T) {
	w := newWorld(t)
	w.user("anna", auth.Operator)
	in := w.mail("m@example.com", `<script>document.title = "owned"</script> please delete`, classifier.Erasure)
	in.Subject = `<img src=x onerror='document.title="owned"'>`
	w.raw[in.ContentHash] = []byte("From: m@example.com\r\nContent-Type: text/html\r\n\r\n<p id=seen>as sent</p><script>top.document.title='owned'; document.body.append('ran')</script><img src='" + w.srv.URL + "/account'><form action='" + w.srv.URL + "/logout' method=post><button>x</button></form>")
	no := w.open(in)
	p := browser.Start(t).Page(browser.View{Language: "en"})
	signIn(w, p, "anna")
	p.Open(w.srv.URL + "/cases/" + no)
	p.Do(chromedp.Click(chromedp.CSS(".as-sent summary")))
	env.Eventually(t, 30*time.Second, "the frame", func() bool { return len(w.recorded("view", "original")) > 0 })
	p.Open(w.srv.URL + "/cases/" + no + "/mails/0/html")
	sees(t, p, "as sent")
	require.NotContains(t, p.Text(), "ran")
	require.NotEqual(t, "owned", browser.Read(p, chromedp.Evaluate[string](`document.title`)))
	p.Open(w.srv.URL + "/cases/" + no)
	require.NotEqual(t, "owned", browser.Read(p, chromedp.Evaluate[string](`document.title`)))
	require.Contains(t, p.Text(), "please delete")
}
