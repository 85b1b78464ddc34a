package console

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/ledger"
	"postern/queue"
	"postern/queue/console/auth"
	"postern/queue/fulfil"
)

// eraser is a system that tells what it holds and deletes it.
type eraser struct{ asked []fulfil.Request }

func (e *eraser) Name() string { return "crm" }

func (e *eraser) Do(_ context.Context, r fulfil.Request) (fulfil.Outcome, error) {
	e.asked = append(e.asked, r)
	if r.Verb == fulfil.Erase {
		return fulfil.Outcome{Status: fulfil.Erased, Count: 7}, nil
	}
	return fulfil.Outcome{Status: fulfil.NotFound}, nil
}

// work runs the queue's workers until the condition holds.
func (w *world) work(until func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.q.Run(ctx) }()
	require.Eventually(w.t, until, 20*time.Second, 10*time.Millisecond)
	cancel()
	require.NoError(w.t, <-done)
}

func (w *world) state(no string) queue.State {
	w.t.Helper()
	k, _, err := w.q.Show(w.t.Context(), no)
	require.NoError(w.t, err)
	return k.State
}

// The acts that need no letter happen by their forms, each is an event under
// the operator's name, and what can be undone offers the way back.
func TestActs(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	w.user("otto", auth.Operator)
	w.user("rita", auth.Auditor)
	no := w.open(w.mail("alice@example.com", "Which data do you hold about me?", classifier.Access, classifier.Objection))
	path := "/cases/" + no

	page := b.done(path+"/move", url.Values{"act": {"assign"}, "owner": {"otto"}})
	require.Contains(t, page, "Assigned.")
	require.Contains(t, page, "Undo")
	resp, _ := b.post(path+"/move", url.Values{"act": {"assign"}, "owner": {"rita"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "an auditor works on no case")
	page = b.done(path+"/move", url.Values{"act": {"label"}, "label": {"erasure"}})
	require.Contains(t, page, "Corrected: Erasure, was Access, Objection")
	require.Contains(t, page, `name="label" value="access"`)
	b.done(path+"/move", url.Values{"act": {"label"}, "label": {"access", "objection"}})
	resp, _ = b.post(path+"/move", url.Values{"act": {"label"}, "label": {"lunch"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, b.done(path+"/move", url.Values{"act": {"note"}, "note": {"Called <b>twice</b>."}}), "Called &lt;b&gt;twice&lt;/b&gt;.")
	require.Contains(t, b.done(path+"/move", url.Values{"act": {"identify"}, "reason": {"called-back"}, "note": {"number on file"}}), "Identity is clear.")
	require.Contains(t, b.done(path+"/split", url.Values{"label": {"objection"}}), "A case of its own was made")
	at := w.Now().In(w.q.NewPacer().Zone("shop")).Add(-time.Hour).Format(minuteForm)
	resp, _ = b.post(path+"/breach", url.Values{"what": {"told"}, "at": {at}})
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, b.done(path+"/breach", url.Values{"what": {"aware"}, "at": {at}, "note": {"seen in logs"}}), "71 h 00 min left")
	page = b.done(path+"/breach", url.Values{"what": {"told"}, "at": {at}, "note": {"file 12"}})
	require.Contains(t, page, "Data breach: told")
	require.NotContains(t, page, "min left")
	require.Contains(t, b.done(path+"/legal-hold", url.Values{"on": {"1"}, "note": {"court order"}}), "Legal hold")
	b.done(path+"/legal-hold", url.Values{"on": {"0"}, "note": {"order lifted"}})
	require.Contains(t, b.done(path+"/move", url.Values{"act": {"wait"}, "reason": {"date"}, "until": {"2026-12-01"}}), "Waits until Tue 1 Dec")
	b.done(path+"/move", url.Values{"act": {"resume"}})
	require.Contains(t, b.done(path+"/move", url.Values{"act": {"close"}, "reason": {"no-request"}}), "The case is closed")
	require.Equal(t, queue.Closed, w.state(no))
	resp, page = b.post(path+"/move", url.Values{"act": {"resume"}})
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, page, "Nothing was changed and nothing left the house.")
	require.Contains(t, b.done(path+"/move", url.Values{"act": {"reopen"}, "reason": {"person-wrote"}}), "open again")

	_, events, err := w.q.Show(t.Context(), no)
	require.NoError(t, err)
	for _, e := range events {
		if e.Action == queue.ActClose {
			require.Equal(t, "operator:anna", e.Actor)
		}
	}
	other := w.open(w.mail("bob@example.com", "Please delete my data.", classifier.Erasure))
	resp, page = b.post("/cases/"+other+"/move", url.Values{"act": {"merge"}, "into": {no}})
	require.Equal(t, http.StatusConflict, resp.StatusCode, "two addresses")
	require.Contains(t, page, "say how it is known that both are one person")
	require.Contains(t, b.done("/cases/"+other+"/move", url.Values{"act": {"merge"}, "into": {no}, "same": {"He rang from the number on file."}}), no)
	require.Equal(t, queue.Merged, w.state(other))
}

// An objection to other processing than advertising is weighed, and ends with
// its outcome: upheld, or refused with grounds, authority and court (GDPR
// Art. 21(1), 12(4)).
func TestWeighing(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	weighed := func(from string) string {
		no := w.open(w.mail(from, "I object to the scoring of my orders.", classifier.Objection))
		path := "/cases/" + no
		require.Contains(t, b.get(path), `id="weigh"`)
		resp, _ := b.post(path+"/weighing", url.Values{"note": {""}})
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, "to which processing?")
		page := b.done(path+"/weighing", url.Values{"note": {"the scoring of orders"}})
		require.Contains(t, page, "The objection is being weighed. Meanwhile the data is restricted.")
		require.Contains(t, page, "Refuse with the grounds")
		require.NotContains(t, page, `id="weigh"`)
		resp, _ = b.post(path+"/weighing", url.Values{"note": {"again"}})
		require.Equal(t, http.StatusConflict, resp.StatusCode)
		resp, _ = b.post(path+"/move", url.Values{"act": {"close"}, "reason": {"done"}})
		require.Equal(t, http.StatusConflict, resp.StatusCode, "nobody told the person")
		return no
	}
	told := func(words string) {
		require.True(t, slices.ContainsFunc(w.sent, func(m queue.Outgoing) bool {
			return strings.Contains(strings.Join(strings.Fields(string(m.Body)), " "), words)
		}), words)
	}

	upheld := weighed("alice@example.com")
	resp, page := b.post("/cases/"+upheld+"/reply", url.Values{"text": {"upheld"}, "v_processing": {""}, "act": {"send"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, page, "A field is empty.")
	b.done("/cases/"+upheld+"/reply", url.Values{"text": {"upheld"}, "v_processing": {"the scoring of your orders"}, "act": {"send"}})
	w.later(31 * time.Second)
	w.work(func() bool { return w.state(upheld) == queue.Answered })
	told("that you objected to on 24 November 2026: the scoring of your orders.")

	refused := weighed("bob@example.com")
	b.done("/cases/"+refused+"/deny", url.Values{"reason": {"compelling-grounds"}})
	w.later(31 * time.Second)
	w.work(func() bool { return w.state(refused) == queue.Denied })
	told("because our compelling legitimate grounds override your interests, rights and freedoms. You can lodge a complaint with the supervisory authority (")
	told(") or go to court.")

	// What was restricted meanwhile is used again, but not before they are told.
	path, day := "/cases/"+refused, w.q.LiftFrom("shop").Format(time.DateOnly)
	require.Contains(t, b.get(path), `value="`+day+`"`)
	for _, form := range []url.Values{{"reason": {"made-up"}, "from": {day}}, {"reason": {"compelling-grounds"}, "from": {"soon"}}} {
		resp, _ := b.post(path+"/lifting", form)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	}
	resp, _ = b.post(path+"/lifting", url.Values{"reason": {"compelling-grounds"}, "from": {w.Now().Format(time.DateOnly)}})
	require.Equal(t, http.StatusConflict, resp.StatusCode, "today is too late")
	b.done(path+"/lifting", url.Values{"reason": {"compelling-grounds"}, "from": {day}})
	w.later(31 * time.Second)
	w.work(func() bool { return strings.Contains(b.get(path), "Told: the restriction ends on") })
	told("we will use your data again, because our compelling legitimate grounds override")
}

// A letter is previewed in the person's language and the operator's, held back,
// taken back, and sent; what was typed is kept where it can't be sent.
func TestReply(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	in := w.mail("alice@example.com", "Welche Daten haben Sie?", classifier.Access)
	in.Result.Language = "de"
	no := w.open(in)
	path := "/cases/" + no

	resp, page := b.post(path+"/reply", url.Values{"text": {"clarify"}, "v_question": {"Which account is meant?"}, "act": {"preview"}})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, page, "Ihre Anfrage")
	require.Contains(t, page, "for you, it is not sent")
	require.Contains(t, page, "To answer your request of")
	require.Empty(t, w.sent)
	resp, page = b.post(path+"/reply", url.Values{"text": {"clarify"}, "v_question": {""}, "act": {"send"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, page, "A field is empty.")

	free := url.Values{"text": {"free"}, "subject": {"Antwort\r\nBcc: victim@example.net"}, "body": {"Wir haben nichts gespeichert."}, "effect": {"answer"}, "act": {"send"}}
	require.Contains(t, b.done(path+"/reply", free), "The letter leaves in 30 seconds.")
	require.Contains(t, b.done(path+"/letters/0/take-back", nil), "Nothing left the house.")
	b.done(path+"/reply", free)
	w.later(31 * time.Second)
	w.work(func() bool { return w.state(no) == queue.Answered })
	resp, page = b.post(path+"/letters/1/take-back", nil)
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, page, "The letter has left already.")
	for _, m := range w.sent {
		require.NotContains(t, strings.ToLower(string(m.Header)), "\nbcc:", "a line end in a subject makes no header")
	}
	require.Contains(t, b.get(path), "The answer left.")
	require.Contains(t, b.get(path+"/letters/1"), "Wir haben nichts gespeichert.")
}

// An extension names reason and date; a refusal names its legal reason and,
// with four eyes, leaves by another person's hand.
func TestExtendAndDeny(t *testing.T) {
	w := newWorld(t, func(_ *Options, q *queue.Options) {
		q.Handling = map[string]queue.Handling{"shop": {FourEyes: []string{queue.EyesDeny, queue.EyesErase}}}
	})
	anna, max := w.signedIn("anna", auth.Operator, auth.Approver), w.signedIn("max", auth.Approver)
	no := w.open(w.mail("alice@example.com", "Which data do you hold?", classifier.Access))
	path := "/cases/" + no
	require.Contains(t, anna.get(path), "Extend to")
	anna.done(path+"/extend", url.Values{"reason": {"complex"}, "words": {"it concerns many archives"}})
	w.later(31 * time.Second)
	w.work(func() bool { k, _, _ := w.q.Show(t.Context(), no); return k.Extended })
	require.NotContains(t, anna.get(path), "Extend to")

	resp, _ := anna.post(path+"/deny", url.Values{"reason": {"made-up"}, "words": {"no"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, anna.done(path+"/deny", url.Values{"reason": {"excessive"}, "words": {"you asked eleven times this month"}}), "An approver was asked.")
	require.Contains(t, anna.get(path+"/denial"), "Another approver has to send it.")
	resp, _ = anna.post(path+"/denial", nil)
	require.Equal(t, http.StatusConflict, resp.StatusCode, "four eyes")
	require.Contains(t, max.get("/"), "Approvals wanted")
	require.Contains(t, max.get(path), "anna asks for the approval of this refusal.")
	require.Contains(t, max.get(path+"/denial"), "eleven times this month")
	max.done(path+"/denial", nil)
	w.later(31 * time.Second)
	w.work(func() bool { return w.state(no) == queue.Denied })
	require.NotContains(t, max.get("/"), "Approvals wanted")
}

// An erasure is seen before it is approved, by another person where the
// controller asks for that, by typing the number of this very case.
func TestApproveErasure(t *testing.T) {
	crm := &eraser{}
	w := newWorld(t, func(_ *Options, q *queue.Options) {
		q.Handling = map[string]queue.Handling{"shop": {FourEyes: []string{queue.EyesErase}}}
		q.Connections = []queue.Connection{{Verbs: []fulfil.Verb{fulfil.Erase}, Connector: crm}}
	})
	anna, max := w.signedIn("anna", auth.Operator, auth.Approver), w.signedIn("max", auth.Approver)
	operator := w.signedIn("otto", auth.Operator)
	no := w.open(w.mail("alice@example.com", "Please delete my data.", classifier.Erasure))
	other := w.open(w.mail("bob@example.com", "Please delete my data.", classifier.Erasure))
	path := "/cases/" + no
	require.NotContains(t, max.get(path+"/erase"), "Erase for good", "identity is open")
	resp, _ := max.post(path+"/erase/approve", url.Values{"typed": {no}})
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	anna.done(path+"/move", url.Values{"act": {"identify"}, "reason": {"called-back"}, "note": {"ok"}})

	anna.done(path+"/erase/dry", nil)
	w.work(func() bool { tasks, _ := w.q.Tasks(t.Context(), no); return len(tasks) == 1 && tasks[0].Done() })
	page := anna.get(path + "/erase")
	require.Contains(t, page, "would erase")
	require.Contains(t, page, "Ask for approval")
	anna.done(path+"/erase/ask", url.Values{"note": {"all clear"}})
	resp, _ = anna.post(path+"/erase/approve", url.Values{"typed": {no}})
	require.Equal(t, http.StatusConflict, resp.StatusCode, "who asks does not approve")
	resp, _ = operator.post(path+"/erase/approve", url.Values{"typed": {no}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode)

	require.Contains(t, max.get(path), "anna asks for the approval of this erasure.")
	resp, page = max.post(path+"/erase/approve", url.Values{"typed": {other}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, page, "Nothing was deleted.")
	for _, r := range crm.asked {
		require.True(t, r.DryRun, "nothing was deleted yet")
	}
	require.Contains(t, max.done(path+"/erase/approve", url.Values{"typed": {strings.ToLower(no)}}), "The systems are deleting.")
	w.work(func() bool { tasks, _ := w.q.Tasks(t.Context(), no); return len(tasks) == 2 && tasks[1].Done() })
	require.False(t, crm.asked[len(crm.asked)-1].DryRun)
	require.Contains(t, max.get(path+"?text=erased"), `value="crm"`, "the answer knows what was erased")
}

// Search finds by number and by exact address, never by GET; every look at
// what people wrote is recorded under the looker's name.
func TestSearchAndViews(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("rita", auth.Auditor)
	no := w.open(w.mail("alice@example.com", "Which data do you hold about me?", classifier.Access))
	resp, _ := b.post("/cases/search", url.Values{"q": {strings.ToLower(no)}})
	require.Equal(t, "/cases/"+no, resp.Header.Get("Location"))
	resp, page := b.post("/cases/search", url.Values{"q": {"Alice@Example.COM"}})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, page, "/cases/"+no)
	_, page = b.post("/cases/search", url.Values{"q": {"nobody@example.com"}})
	require.Contains(t, page, "No case belongs to this address or number.")
	require.Len(t, w.recorded(ledger.KindView, "search"), 2)

	page = b.get("/cases/" + no)
	require.Contains(t, page, "Which data do you hold about me?")
	require.NotContains(t, page, `action="/cases/`+no, "an auditor sees no form")
	views := w.recorded(ledger.KindView, "case")
	require.Len(t, views, 1)
	require.Equal(t, "operator:rita", views[0].Actor)
	require.Equal(t, no, views[0].Ref)
	b.get("/cases")
	require.NotEmpty(t, w.recorded(ledger.KindView, "list"))
	for _, r := range w.records {
		require.NotContains(t, fmt.Sprint(r), "example.com")
	}
}

// Cases of confidential mailboxes are for the role of that name.
func TestConfidential(t *testing.T) {
	w := newWorld(t)
	in := w.mail("alice@example.com", "Something about my colleague.", classifier.Complaint)
	in.Confidential = true
	no := w.open(in)
	b, dpo := w.signedIn("anna", auth.Operator), w.signedIn("dora", auth.Operator, auth.Confidential)
	resp, _ := b.do("GET", "/cases/"+no, nil)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.NotContains(t, b.get("/cases"), no)
	_, page := b.post("/cases/search", url.Values{"q": {"alice@example.com"}})
	require.NotContains(t, page, no)
	list := dpo.get("/cases")
	require.Contains(t, list, no)
	require.NotContains(t, list, "colleague", "a list says Confidential alone")
	require.Contains(t, dpo.get("/cases/"+no), "colleague")
	open := w.open(w.mail("alice@example.com", "Which data do you hold?", classifier.Access))
	resp, _ = b.post("/cases/"+open+"/move", url.Values{"act": {"merge"}, "into": {no}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode, "nor do they take over what an operator sees")
	dpo.done("/cases/"+open+"/move", url.Values{"act": {"merge"}, "into": {no}})
}

const rawMail = "From: Mallory <m@example.com>\r\nSubject: =?utf-8?q?=3Cscript=3Ealert(1)=3C/script=3E?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p onclick=x()>Hello</p><script>fetch('/account')</script><img src='https://tracker.example/p.gif'>\r\n" +
	"--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"../../etc/passwd\"\r\n\r\nroot\r\n" +
	"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"id.png\"\r\n\r\n%s\r\n--b--\r\n"

// What strangers send is text: scripts in subject, name, body, HTML and file
// names stay words; the frame may do nothing; files keep their last name alone.
func TestHostileMail(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	in := w.mail("m@example.com", `</textarea><script>alert(1)</script> please delete`, classifier.Erasure)
	in.Subject, in.FromName = `<script>alert("subject")</script>`, `"><img src=x onerror=alert(2)>`
	in.Result.Reasons = []classifier.Reason{{Label: classifier.Erasure, Words: "<script>alert(1)</script>", Weight: 2}, {Label: classifier.Erasure, Words: "delete", Weight: 1}}
	in.Attachments = []queue.Attachment{{Name: "../../etc/passwd", Type: "application/octet-stream", Size: 4}, {Name: "id.png", Type: "image/png", Size: 70}, {Name: "x.txt\r\nSet-Cookie: a=b", Type: "text/plain", Text: "<script>alert(3)</script>"}}
	var picture bytes.Buffer
	require.NoError(t, png.Encode(&picture, image.NewGray(image.Rect(0, 0, 2, 2))))
	w.raw[in.ContentHash] = []byte(fmt.Sprintf(rawMail, base64Lines(picture.Bytes())))
	no := w.open(in)
	path := "/cases/" + no

	for _, page := range []string{b.get(path), b.get("/cases"), b.get("/"), b.get(path + "/mails/0/files/2/text")} {
		require.NotContains(t, page, "<script>alert")
		require.NotContains(t, page, "<img src=x")
	}
	resp, body := b.do("GET", path+"/mails/0/html", nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, body, "Hello")
	policy := resp.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "sandbox;")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "allow-")
	require.Contains(t, b.get(path), `<iframe sandbox loading="lazy"`)

	resp, body = b.do("GET", path+"/mails/0/files/0", nil)
	require.Equal(t, "root", strings.TrimSpace(body))
	require.Equal(t, `attachment; filename=passwd`, resp.Header.Get("Content-Disposition"))
	require.Equal(t, "application/octet-stream", resp.Header.Get("Content-Type"))
	resp, body = b.do("GET", path+"/mails/0/files/1/picture", nil)
	require.Equal(t, "image/png", resp.Header.Get("Content-Type"))
	require.True(t, strings.HasPrefix(body, "\x89PNG"))
	for _, bad := range []string{"/mails/0/files/9", "/mails/9/html", "/mails/-1/original", "/mails/0/files/..%2f..%2fetc%2fpasswd", "/mails/0/files/0/picture"} {
		resp, _ = b.do("GET", path+bad, nil)
		require.GreaterOrEqual(t, resp.StatusCode, 400, bad)
		require.Less(t, resp.StatusCode, 500, bad)
	}
	resp, body = b.do("GET", path+"/mails/0/original", nil)
	require.Equal(t, string(w.raw[in.ContentHash]), body)
	require.True(t, strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment"))
	require.Len(t, w.recorded(ledger.KindView, "original"), 2)
	delete(w.raw, in.ContentHash)
	resp, _ = b.do("GET", path+"/mails/0/original", nil)
	require.Equal(t, http.StatusGone, resp.StatusCode)
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{
		"../../etc/passwd": "passwd", `C:\x\y.doc`: "y.doc", "": "file", "..": "file", ".htaccess": "htaccess", "a\r\nb: c": "a__b_ c", "invoice\u202etxt.exe": "invoice_txt.exe",
	} {
		require.Equal(t, want, fileName(in), "%q", in)
	}
	require.LessOrEqual(t, len([]rune(fileName(strings.Repeat("ä", 500)+".pdf"))), 100)
}

// Requests by hand, and mails set aside that were requests after all.
func TestByHandAndAside(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	form := url.Values{"controller": {"shop"}, "way": {"post"}, "received": {"2026-11-10"}, "label": {"access"}, "text": {"Wants a copy."}, "lang": {"de"}, "key": {"k1"}, "name": {"M. Example"}}
	page := b.done("/cases/new", form)
	require.Contains(t, page, "The case is open.")
	require.Contains(t, page, "Received Tue 10 Nov")
	first, _ := b.post("/cases/new", form)
	again, _ := b.post("/cases/new", form)
	require.Equal(t, first.Header.Get("Location"), again.Header.Get("Location"), "sent twice is one case")
	form.Set("received", "2027-01-01")
	resp, page := b.post("/cases/new", form)
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, page, "Wants a copy.", "what was typed stays")

	require.NoError(t, w.q.SetAside(t.Context(), queue.Aside{Why: "spam", Mail: w.mail("alice@example.com", "Please tell me what you hold.", classifier.Access)}))
	page = b.get("/aside")
	require.Contains(t, page, "alice@example.com")
	list, err := w.q.Asides(t.Context(), 10, 0)
	require.NoError(t, err)
	require.Contains(t, b.done("/aside/looked", url.Values{"until": {fmt.Sprint(list[0].Received.UnixMilli())}}), "Looked through")
	require.Contains(t, b.done("/aside/"+list[0].ID, nil), "with its true receipt date")
	require.Contains(t, b.get("/aside"), "Nothing is set aside.")
}

// Who writes in a case is seen by others.
func TestEditing(t *testing.T) {
	w := newWorld(t)
	anna, otto := w.signedIn("anna", auth.Operator), w.signedIn("otto", auth.Operator)
	no := w.open(w.mail("alice@example.com", "Which data?", classifier.Access))
	resp, _ := anna.post("/cases/"+no+"/editing", nil)
	require.Equal(t, http.StatusNoContent, resp.StatusCode)
	require.Contains(t, otto.get("/cases/"+no), "anna is writing in this case.")
	require.NotContains(t, anna.get("/cases/"+no), "is writing")
	w.later(2 * time.Minute)
	require.NotContains(t, otto.get("/cases/"+no), "is writing")
}

func base64Lines(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// giver is a system that gives what it holds.
type giver struct{}

func (giver) Name() string { return "shop" }

func (giver) Do(context.Context, fulfil.Request) (fulfil.Outcome, error) {
	return fulfil.Outcome{Status: fulfil.Done, Data: []byte(`{"name":"Alice","orders":[1,2]}`)}, nil
}

// The copy of the data: collected, looked through file by file, handed over
// with a code that goes another way.
func TestPackage(t *testing.T) {
	w := newWorld(t, func(_ *Options, q *queue.Options) {
		q.Connections = []queue.Connection{{Verbs: []fulfil.Verb{fulfil.Export}, Connector: giver{}}}
	})
	b, reader := w.signedIn("anna", auth.Operator), w.signedIn("rita", auth.Auditor)
	no := w.open(w.mail("alice@example.com", "Which data do you hold about me?", classifier.Access))
	path := "/cases/" + no
	resp, page := b.post(path+"/package/build", nil)
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, page, "That was not possible.")
	b.done(path+"/move", url.Values{"act": {"identify"}, "reason": {"called-back"}, "note": {"ok"}})
	require.Contains(t, b.get(path), "Collect the data")
	b.done(path+"/collect", nil)
	w.work(func() bool { tasks, _ := w.q.Tasks(t.Context(), no); return len(tasks) == 1 && tasks[0].Done() })
	require.Contains(t, b.get(path), "Look through the package")
	require.Contains(t, b.done(path+"/package/build", nil), "has to be looked through first")

	files, err := w.q.PackageFiles(t.Context(), no)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	resp, body := b.do("GET", path+"/package/files/"+files[0].ID, nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, body, "Alice")
	require.NotEmpty(t, w.recorded(ledger.KindView, "package-file"))
	resp, _ = b.post(path+"/package/release", url.Values{"way": {"phone"}})
	require.Equal(t, http.StatusConflict, resp.StatusCode, "not looked through")
	resp, _ = b.post(path+"/package/tick", url.Values{"file": {files[0].ID}, "act": {"exclude"}})
	require.Equal(t, http.StatusConflict, resp.StatusCode, "leaving out needs a reason")
	resp, _ = b.do("GET", path+"/package/files/"+files[0].ID+"?form=redacted", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode, "nothing is redacted yet")
	require.NotContains(t, b.get(path+"/package"), "?form=redacted")
	require.NoError(t, w.q.ReplaceFile(t.Context(), no, files[0].ID, []byte("A. and [redacted]"), "operator:anna", "another person"))
	require.Contains(t, reader.get(path+"/package"), `href="`+path+"/package/files/"+files[0].ID+`?form=redacted"`, "who reads sees what leaves")
	_, body = b.do("GET", path+"/package/files/"+files[0].ID+"?form=redacted", nil)
	require.Equal(t, "A. and [redacted]", body)
	_, body = b.do("GET", path+"/package/files/"+files[0].ID, nil)
	require.Contains(t, body, "Alice", "what was given stays to compare")
	for _, f := range files {
		b.done(path+"/package/tick", url.Values{"file": {f.ID}, "act": {"keep"}})
	}
	require.Contains(t, b.get(path+"/package"), "of the checklist have no answer yet.")
	answers := url.Values{}
	for _, key := range queue.CheckKeys {
		answers.Set("c_"+key, "Answered.")
	}
	b.done(path+"/package/checklist", answers)
	require.NotContains(t, reader.get(path+"/package"), "Hand over the package")
	resp, page = b.post(path+"/package/release", url.Values{"way": {"phone"}})
	require.Equal(t, http.StatusOK, resp.StatusCode, page)
	require.Contains(t, page, "It is shown this once.")
	w.later(31 * time.Second)
	w.work(func() bool { return w.state(no) == queue.Answered })
	require.NotContains(t, b.get(path+"/package"), "It is shown this once.")
}

// Corrections of labels are exported without the words people wrote.
func TestCorrections(t *testing.T) {
	w := newWorld(t)
	b, auditor := w.signedIn("anna", auth.Operator), w.signedIn("rita", auth.Auditor)
	no := w.open(w.mail("alice@example.com", "My secret words.", classifier.Access))
	b.done("/cases/"+no+"/move", url.Values{"act": {"label"}, "label": {"erasure"}})
	resp, _ := b.do("GET", "/cases/corrections", nil)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	got := auditor.get("/cases/corrections")
	require.Contains(t, got, `"was":["access"],"labels":["erasure"]`)
	require.NotContains(t, got, "secret")
}
