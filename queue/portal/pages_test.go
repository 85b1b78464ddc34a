package portal

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
)

// challenged is a case whose person was asked; it gives the path of the link.
func (w *world) challenged(labels ...classifier.Label) (no, path string) {
	w.t.Helper()
	no = w.open(labels...)
	require.NoError(w.t, w.q.Challenge(w.t.Context(), no, address.MustParse(alice), eve))
	n := w.mails()
	return no, w.mailed(n + 1)
}

func TestChallengeYes(t *testing.T) {
	w := newWorld(t)
	no, path := w.challenged(classifier.Access, classifier.Erasure)
	page := w.get(path)
	require.Equal(t, http.StatusOK, page.Code)
	for _, words := range []string{"Is this request from you?", "A copy of my data", "My data deleted", "2026-11-24", "Yes, I asked for this", "No, that was not me", "Example Shop"} {
		require.Contains(t, page.Body.String(), words)
	}
	require.NotContains(t, page.Body.String(), no, "whoever reads the link learns no more than was asked")
	require.NotContains(t, page.Body.String(), "alice")
	// What scanners and prefetchers do changes nothing.
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE"} {
		w.do(method, path, "act=yes", "Content-Type", "application/x-www-form-urlencoded")
	}
	w.get(path + "?act=yes")
	w.post(path, "")
	w.post(path, "act=other")
	w.do("POST", path, `{"act":"yes"}`, "Content-Type", "application/json")
	require.Equal(t, queue.Identity, w.show(no).State)

	done := w.post(path, "act=yes")
	require.Equal(t, http.StatusOK, done.Code)
	require.Contains(t, done.Body.String(), "Your request is confirmed.")
	require.Equal(t, queue.Opened, w.show(no).State)
	require.Contains(t, w.show(no).Flags, queue.FlagIdentified)

	// The used link is as any other that leads nowhere, and acts no more.
	unknown := w.get("/case/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	for _, method := range []string{"GET", "POST"} {
		used := w.do(method, path, "act=no", "Content-Type", "application/x-www-form-urlencoded")
		require.Equal(t, http.StatusNotFound, used.Code)
		require.Equal(t, strings.ReplaceAll(unknown.Body.String(), "/case/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", path), used.Body.String())
	}
	require.NotContains(t, w.show(no).Flags, queue.FlagNotMe)
}

func TestChallengeNo(t *testing.T) {
	w := newWorld(t)
	no, path := w.challenged(classifier.Erasure)
	require.Contains(t, w.post(path+"?lang=de", "act=no").Body.String(), "Danke, wir sind gewarnt.")
	require.Contains(t, w.show(no).Flags, queue.FlagNotMe)
	require.Equal(t, queue.Identity, w.show(no).State)
	require.Equal(t, "not-me", w.told[len(w.told)-1].Reason)
}

// Replaced and ended links look as unknown ones do.
func TestLinksThatLeadNowhereLookAlike(t *testing.T) {
	w := newWorld(t)
	no, first := w.challenged(classifier.Access)
	require.NoError(t, w.q.Challenge(t.Context(), no, address.MustParse(alice), eve))
	second := w.mailed(2)
	require.Equal(t, http.StatusOK, w.get(second).Code)
	w.pass(31 * 24 * time.Hour)
	want := ""
	for _, path := range []string{first, second, "/case/zzzz", "/case/" + strings.Repeat("z", 400)} {
		page := w.get(path)
		require.Equal(t, http.StatusNotFound, page.Code)
		body := strings.ReplaceAll(page.Body.String(), path, "PATH")
		require.True(t, want == "" || want == body, body)
		want = body
	}
	require.Contains(t, want, "This link is no longer valid.")
}

// Whoever tries links is stopped, in the same words for good ones.
func TestTryingLinksIsLimited(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *queue.Options) { o.Broken = 5 })
	_, path := w.challenged(classifier.Access)
	for range 5 {
		require.Equal(t, http.StatusNotFound, w.get("/case/nothing").Code)
	}
	require.Equal(t, http.StatusTooManyRequests, w.get("/case/nothing").Code)
	require.Equal(t, http.StatusTooManyRequests, w.get(path).Code)
	w.pass(time.Hour)
	require.Equal(t, http.StatusOK, w.get(path).Code)
}

func TestStatusPage(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	form := w.get("/case")
	require.Contains(t, form.Body.String(), "How far is my request?")
	find := func(number, mail string) string {
		page := w.post("/case", url.Values{"act": {"find"}, "number": {number}, "address": {mail}}.Encode())
		require.Equal(t, http.StatusOK, page.Code)
		return page.Body.String()
	}
	// Known or not, the answer is one; a mail leaves only where both fit.
	want := find(no, "mallory@example.net")
	require.Equal(t, want, find("PC-0000-0000", alice))
	require.Equal(t, want, find("nonsense", "nonsense"))
	require.Equal(t, want, find(strings.ToLower(no), "Alice+tag@example.net"))
	path := w.mailed(1)
	require.Equal(t, want, find(no, alice))

	page := w.get(path).Body.String()
	for _, words := range []string{"Your request", no, "Received", "In work", "Answered", "2026-11-24", "2026-12-24", "A copy of my data", "Take the request back"} {
		require.Contains(t, page, words)
	}
	require.Contains(t, page, `<li aria-current="step"><strong>Received</strong>`)
	require.NotContains(t, page, "alice")
	require.Equal(t, http.StatusOK, w.post(path, url.Values{"act": {"add"}, "text": {"My customer number is 7."}}.Encode()).Code)
	require.Equal(t, "My customer number is 7.", w.show(no).Mails[1].Text)
	require.Contains(t, w.post(path, "act=add&text=+").Body.String(), "Your request", "an empty message is none")
	require.Len(t, w.show(no).Mails, 2)

	_, err := w.q.Move(t.Context(), no, queue.Move{Action: queue.ActStart, Actor: eve})
	require.NoError(t, err)
	require.Contains(t, w.get(path).Body.String(), `<li aria-current="step"><strong>In work</strong>`)
	require.Contains(t, w.post(path, "act=take").Body.String(), "Take this request back?")
	require.Equal(t, queue.Opened, w.show(no).State, "asked once more first")
	require.Contains(t, w.post(path, "act=take-sure").Body.String(), "The request is taken back.")
	require.Equal(t, queue.Withdrawn, w.show(no).State)
	page = w.get(path).Body.String()
	require.Contains(t, page, `<li aria-current="step"><strong>The request is taken back.</strong>`)
	require.NotContains(t, page, `value="take"`)
	w.pass(8 * 24 * time.Hour)
	require.Equal(t, http.StatusNotFound, w.get(path).Code)
}

// Whether number and address fit can't be told by the time the answer takes.
func TestFindTakesItsTime(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *queue.Options) { o.EvenTime = 150 * time.Millisecond })
	no := w.open(classifier.Access)
	for _, mail := range []string{alice, "mallory@example.net", "nonsense"} {
		begin := time.Now()
		require.Equal(t, http.StatusOK, w.post("/case", url.Values{"act": {"find"}, "number": {no}, "address": {mail}}.Encode()).Code)
		require.GreaterOrEqual(t, time.Since(begin), 150*time.Millisecond)
	}
}

// One client can't ask for many links, nor write without end.
func TestFormsAreLimited(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *queue.Options) { o.PerClient = 3 })
	for i := range 4 {
		page := w.post("/case", "act=find&number=PC-1&address=a%40example.net")
		require.Equal(t, map[bool]int{true: 200, false: 429}[i < 3], page.Code)
	}
	require.Equal(t, http.StatusOK, w.get("/case").Code)
	require.Equal(t, http.StatusTooManyRequests, w.post("/request/shop", ask("access", "subject", alice, "")).Code)
	require.Empty(t, w.numbers())
	other := w.do("POST", "/case", "act=find&number=PC-1&address=a%40example.net", "Content-Type", "application/x-www-form-urlencoded", "X-Forwarded-For", "192.0.2.7")
	require.Equal(t, http.StatusTooManyRequests, other.Code, "the word of a client about itself counts nothing")
}

// With the store away nothing is claimed.
func TestStoreAway(t *testing.T) {
	w := newWorld(t)
	_, path := w.challenged(classifier.Access)
	w.mr.SetError("LOADING")
	page := w.post(path, "act=yes")
	require.Equal(t, http.StatusServiceUnavailable, page.Code)
	require.Contains(t, page.Body.String(), "That could not be saved.")
	require.NotEmpty(t, page.Header().Get("Retry-After"))
	page = w.post("/request/shop", ask("access", "subject", alice, "words worth keeping"))
	require.Equal(t, http.StatusServiceUnavailable, page.Code)
	require.Contains(t, page.Body.String(), "words worth keeping", "what was typed stays")
	w.mr.SetError("")
	require.Equal(t, http.StatusOK, w.post(path, "act=yes").Code)
	require.NotContains(t, w.log.String(), "alice")
	require.NotContains(t, w.log.String(), path)
}

func TestNoticePage(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/notice", "/notice/shop"} {
		page := w.get(path).Body.String()
		for _, words := range []string{"How we handle your data", "In force since 2026-11-01", "Name, orders and returns.", "Place and transfers", "Version of 2026-01-01", "/notice/shop?lang=en&amp;version=2026-01-01", "/request/shop"} {
			require.Contains(t, page, words)
		}
		require.NotContains(t, page, "future")
		require.NotContains(t, page, "2027")
	}
	require.Contains(t, w.get("/notice/shop?version=2026-01-01").Body.String(), "Name and orders.")
	require.Contains(t, w.get("/notice/shop?lang=de").Body.String(), "Bestellungen und Rücksendungen")
	require.Contains(t, w.get("/notice/shop?lang=de").Body.String(), "Gilt seit 01.11.2026")
	page := w.get("/notice/shop?lang=el").Body.String()
	require.Contains(t, page, `<html lang="en">`, "no page in two languages")
	for _, path := range []string{"/notice/shop?version=2027-01-01", "/notice/shop?version=2020-01-01", "/notice/other", "/elsewhere", "/case/a/b"} {
		require.Equal(t, http.StatusNotFound, w.get(path).Code, path)
	}
	w.pass(60 * 24 * time.Hour)
	require.Contains(t, w.get("/notice/shop").Body.String(), "future")
}
