package console

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/console/auth"
)

// What is done to a heap of cases loses no request in it: cases of two persons
// are not merged, and what asks for an answer is not closed without one.
func TestBulkLosesNothing(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	first, again := w.open(w.mail("one@example.com", "Erase me.", classifier.Erasure)), w.open(w.mail("one@example.com", "Erase me!", classifier.Erasure))
	other := w.open(w.mail("two@example.com", "Erase me, too.", classifier.Erasure))
	chat := w.open(w.mail("three@example.com", "Thank you."))
	bulk := func(act string, numbers ...string) int {
		resp, _ := b.post("/cases/bulk", url.Values{"act": {act}, "reason": {"done"}, "case": numbers, "confirm": {"1"}})
		return resp.StatusCode
	}
	require.Equal(t, http.StatusConflict, bulk("merge", first, again, other))
	require.True(t, w.state(other).Live())
	require.Equal(t, http.StatusConflict, bulk("close", other, chat))
	require.True(t, w.state(other).Live())
	require.Equal(t, queue.Closed, w.state(chat))
	merged := 0
	for _, no := range []string{first, again} {
		if w.state(no) == queue.Merged {
			merged++
		}
	}
	require.Equal(t, 1, merged)
}

// What many cases ask for is corrected at once; each keeps what it was said to
// ask before, and no label that does not exist is taken.
func TestBulkLabel(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	first := w.open(w.mail("alice@example.com", "About my data.", classifier.Access))
	second := w.open(w.mail("bob@example.com", "My data, please.", classifier.Objection, classifier.Access))
	require.Contains(t, b.get("/cases"), `<option value="erasure">`)
	for _, label := range []string{"", "lunch"} {
		resp, _ := b.post("/cases/bulk", url.Values{"act": {"label"}, "label": {label}, "case": {first, second}})
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	}
	require.Contains(t, b.done("/cases/bulk", url.Values{"act": {"label"}, "label": {"erasure"}, "case": {first, second}}), "was corrected.")
	for no, was := range map[string]string{first: "was Access", second: "was Objection, Access"} {
		k, _, err := w.q.Show(t.Context(), no)
		require.NoError(t, err)
		require.Equal(t, []classifier.Label{classifier.Erasure}, k.Labels)
		require.Contains(t, b.get("/cases/"+no), was)
	}
	resp, _ := b.post("/cases/bulk", url.Values{"act": {"label"}, "label": {"objection"}, "case": {first}})
	require.Equal(t, http.StatusConflict, resp.StatusCode, "a heap loses no request by its label")
	k, _, err := w.q.Show(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, []classifier.Label{classifier.Erasure}, k.Labels)
}

// A heap is closed after a page that says how many and which stay and why;
// nothing is changed by looking at it, and only what it named is closed.
func TestBulkClose(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	require.Contains(t, b.get("/account"), "anna")
	chat := w.open(w.mail("one@example.com", "Thank you."))
	answered := w.open(w.mail("two@example.com", "Which data?", classifier.Access))
	asks := w.open(w.mail("three@example.com", "Erase me.", classifier.Erasure))
	waits := w.open(w.mail("four@example.com", "Hello again."))
	breach := w.open(w.mail("five@example.com", "Your shop leaks.", classifier.BreachReport))
	over := w.open(w.mail("six@example.com", "Never mind."))
	act := func(no string, m queue.Move) {
		m.Actor = "operator:otto"
		_, err := w.q.Move(t.Context(), no, m)
		require.NoError(t, err)
	}
	act(answered, queue.Move{Action: queue.ActAnswer, Reason: "by-post"})
	act(waits, queue.Move{Action: queue.ActWait, Reason: "colleague"})
	act(over, queue.Move{Action: queue.ActClose, Reason: "done"})
	require.NoError(t, aware(w, breach))
	all := []string{chat, answered, asks, waits, breach, over}

	require.Contains(t, b.get("/cases"), `name="act" value="close"`)
	resp, page := b.post("/cases/bulk", url.Values{"act": {"close"}, "reason": {"no-request"}, "case": all})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, page, "2 cases will be closed")
	require.Contains(t, page, "4 cases stay as they are")
	for _, why := range []string{"has no answer yet", "waits: take it up again first", "its breach clock runs", "has ended already"} {
		require.Contains(t, page, why)
	}
	require.Equal(t, queue.Received, w.state(chat), "looking changes nothing")
	form := regexp.MustCompile(`name="case" value="([^"]+)"`).FindAllStringSubmatch(page, -1)
	require.Len(t, form, 2)

	resp, _ = b.post("/cases/bulk", url.Values{"act": {"close"}, "reason": {"because"}, "case": all, "confirm": {"1"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "no reason of the set")
	act(chat, queue.Move{Action: queue.ActLabel, Labels: []classifier.Label{classifier.Access}})
	resp, page = b.post("/cases/bulk", url.Values{"act": {"close"}, "reason": {"no-request"}, "case": {chat, answered}, "confirm": {"1"}})
	require.Equal(t, http.StatusConflict, resp.StatusCode, "one was corrected meanwhile")
	require.Contains(t, page, "1 case was changed.")
	require.Contains(t, page, chat)
	require.Contains(t, page, "has no answer yet")
	require.Equal(t, queue.Closed, w.state(answered))
	for _, no := range []string{chat, asks, waits, breach} {
		require.True(t, w.state(no).Live(), no)
	}
	resp, page = b.post("/cases/bulk", url.Values{"act": {"close"}, "reason": {"done"}, "case": {asks}})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, page, "None of the marked cases can be closed together.")
	require.NotContains(t, page, `name="confirm"`)

	resp, _ = b.post("/cases/bulk", url.Values{"act": {"assign"}, "owner": {"anna"}, "case": {chat, "PC-AAAA-AAAA"}})
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	k, _, err := w.q.Show(t.Context(), chat)
	require.NoError(t, err)
	require.Empty(t, k.Owner, "nothing is done where one of the heap is none")
}

// aware starts the breach clock of a case.
func aware(w *world, no string) error {
	_, err := w.q.Aware(w.t.Context(), no, queue.Awareness{At: w.Now(), Actor: "operator:otto", Note: "The log shows it."})
	return err
}

// A deletion service's hundred mails are acknowledged together: each person once,
// in their language, held back like every letter; who has a receipt or can't be
// written to is named.
func TestBulkAcknowledge(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	first := w.open(w.mail("one@example.com", "Erase me.", classifier.Erasure))
	w.work(func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.sent) == 1 })
	quiet := w.mail("two@example.com", "Löschen Sie mich.", classifier.Erasure)
	quiet.MayReply, quiet.NoReplyWhy, quiet.Result.Language = false, "list", "de"
	second := w.open(quiet)
	nobody := w.mail("three@example.com", "Erase me.", classifier.Erasure)
	nobody.From, nobody.ReturnPath, nobody.MayReply = address.Address{}, "", false
	third := w.open(nobody)
	over := w.open(w.mail("four@example.com", "Thank you."))
	_, err := w.q.Move(t.Context(), over, queue.Move{Action: queue.ActClose, Reason: "done", Actor: "operator:otto"})
	require.NoError(t, err)
	all := []string{first, second, third, over}

	resp, page := b.post("/cases/bulk", url.Values{"act": {"acknowledge"}, "case": all})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, page, "1 receipt will be sent")
	for _, why := range []string{"has its receipt", "has no address", "has ended already"} {
		require.Contains(t, page, why)
	}
	letters, _, err := w.q.Letters(t.Context(), second)
	require.NoError(t, err)
	require.Empty(t, letters, "looking sends nothing")

	require.Contains(t, b.done("/cases/bulk", url.Values{"act": {"acknowledge"}, "case": {second}, "confirm": {"1"}}), "The receipts leave in 30 seconds.")
	letters, states, err := w.q.Letters(t.Context(), second)
	require.NoError(t, err)
	require.Equal(t, []string{"waiting"}, states)
	require.Equal(t, "de", letters[0].Language)
	require.Contains(t, letters[0].Text, second)
	resp, page = b.post("/cases/bulk", url.Values{"act": {"acknowledge"}, "case": all, "confirm": {"1"}})
	require.Equal(t, http.StatusConflict, resp.StatusCode, "nobody gets a second one")
	require.Contains(t, page, "No case was changed.")
	require.NoError(t, w.q.TakeBack(t.Context(), second, 0, "operator:anna"))
	resp, page = b.post("/cases/bulk", url.Values{"act": {"acknowledge"}, "case": {second}})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, page, "1 receipt will be sent", "one taken back is none")
}
