package portal

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/stream"
	"postern/queue"
)

func ask(right, who, mail, text string) string {
	return url.Values{"act": {"ask"}, "right": {right}, "who": {who}, "address": {mail}, "text": {text}}.Encode()
}

func TestRequestForm(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/request", "/request/shop"} {
		page := w.get(path)
		require.Equal(t, http.StatusOK, page.Code)
		require.Equal(t, len(choices)+len(askers), strings.Count(page.Body.String(), `type="radio"`))
		require.Contains(t, page.Body.String(), "Request to Example Shop")
		require.Contains(t, page.Body.String(), `action="/request/shop"`)
	}
	require.Equal(t, http.StatusNotFound, w.get("/request/other").Code)

	// The text is read as a mail's would be, and the address is asked.
	page := w.post("/request/shop", ask("access", "subject", alice, "Please send me a copy of all my personal data, and then delete my account and everything you hold about me."))
	require.Equal(t, http.StatusOK, page.Code)
	require.Contains(t, page.Body.String(), "Your request has arrived.")
	path := w.mailed(1)
	require.Len(t, w.numbers(), 1)
	no := w.numbers()[0]
	require.NotContains(t, page.Body.String(), no)
	c := w.show(no)
	require.ElementsMatch(t, []classifier.Label{classifier.Access, classifier.Erasure}, c.Labels)
	require.Equal(t, queue.Identity, c.State)
	require.Equal(t, alice, c.Mails[0].From.Plain())
	require.Equal(t, http.StatusOK, w.post(path, "act=yes").Code)
	require.Equal(t, queue.Opened, w.show(no).State)
	for _, k := range w.mr.Keys() {
		require.NotContains(t, k, "alice")
	}
}

// Whoever types, however often and whatever is known, the answer is one; the
// mailbox gets no more than its share, and no request is lost.
func TestRequestFormFillsNoMailbox(t *testing.T) {
	w := newWorld(t)
	var want string
	for i := range 6 {
		page := w.post("/request/shop", ask("erasure", "subject", "Alice+"+strings.Repeat("x", i)+"@EXAMPLE.net", "number "+strings.Repeat("i", i)))
		require.Equal(t, http.StatusOK, page.Code)
		require.True(t, want == "" || want == page.Body.String())
		want = page.Body.String()
	}
	require.Equal(t, want, w.post("/request/shop", ask("access", "subject", "someone.else@example.com", "")).Body.String())
	w.mailed(4) // three of them and the other person's
	require.Len(t, w.numbers(), 7)
	stopped := map[string]bool{}
	for _, s := range w.stop {
		stopped[s.Case] = true
	}
	require.Len(t, stopped, 6, "what binds at once does so with or without mail")
	w.pass(25 * time.Hour)
	w.post("/request/shop", ask("erasure", "subject", alice, "next day"))
	w.mailed(5)
}

// Sent twice by a double click it is one case.
func TestRequestTwice(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		require.Equal(t, http.StatusOK, w.post("/request/shop", ask("access", "subject", alice, "once")).Code)
	}
	require.Len(t, w.numbers(), 1)
}

func TestRequestFormFaults(t *testing.T) {
	w := newWorld(t)
	for name, body := range map[string]string{
		"no right":             ask("", "subject", alice, "x"),
		"unknown right":        ask("everything", "subject", alice, "x"),
		"no asker":             ask("access", "", alice, "x"),
		"other without words":  ask("other", "subject", alice, " "),
		"agent without words":  ask("access", "agent", alice, ""),
		"no address":           ask("access", "subject", "", "x"),
		"address with a break": ask("access", "subject", "a@example.net\r\nBcc: b@example.net", "x"),
		"no public domain":     ask("access", "subject", "a@localhost", "x"),
		"two addresses":        ask("access", "subject", "a@example.net,b@example.net", "x"),
		"too long":             ask("access", "subject", alice, strings.Repeat("x", maxMessage+1)),
	} {
		page := w.post("/request/shop", body)
		require.Equal(t, http.StatusUnprocessableEntity, page.Code, name)
	}
	page := w.post("/request/shop", ask("rectification", "agent", "broken", `typed "words" </textarea><b>`)).Body.String()
	require.Contains(t, page, `typed &#34;words&#34; &lt;/textarea&gt;&lt;b&gt;`, "what was typed stays, as text")
	require.Contains(t, page, `value="rectification" required checked`)
	require.Contains(t, page, `value="agent" required checked`)
	for _, kind := range []string{"application/json", "text/plain"} {
		require.Equal(t, http.StatusOK, w.do("POST", "/request/shop", ask("access", "subject", alice, "x"), "Content-Type", kind).Code)
	}
	require.Equal(t, http.StatusOK, w.post("/request/shop", ask("access", "subject", alice, strings.Repeat("x", 70<<10))).Code, "shown again, not read")
	require.Equal(t, http.StatusMethodNotAllowed, w.do("PUT", "/request/shop", "").Code)
	require.Equal(t, http.StatusNoContent, w.do("OPTIONS", "/request/shop", "").Code)
	require.Empty(t, w.numbers())
	require.Zero(t, w.mails())
}

// An authority is answered by a person; a business customer gets the receipt.
func TestRequestOfOthers(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, http.StatusOK, w.post("/request/shop", ask("other", "authority", "office@example.gov", "We ask you to explain.")).Code)
	require.Equal(t, http.StatusOK, w.post("/request/shop", ask("other", "company", "buyer@example.com", "Please send your processing agreement.")).Code)
	require.Len(t, w.numbers(), 2)
	w.work("the receipt", func() bool { return w.mails() == 1 })
	require.Equal(t, "buyer@example.com", w.sent[0].To.Plain())
}

// A controller's own host shows its form and notice and nobody else's.
func TestPagesByHost(t *testing.T) {
	w := newWorld(t)
	set, err := stream.NewSet([]stream.Controller{
		{ID: "shop", Name: "Example Shop", PublicURL: "https://mail.shop.example", Language: "en"},
		{ID: "club", Name: "Example Club", PublicURL: "https://mail.club.example", Language: "en"},
		{ID: "guild", Name: "Example Guild", Language: "en"},
	}, nil)
	require.NoError(t, err)
	h, err := NewHandler(w.q, reader(t), func() *stream.Set { return set }, Options{Now: w.clock})
	require.NoError(t, err)
	get := func(host, path string) (int, string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://"+host+path, nil))
		return rec.Code, rec.Body.String()
	}
	for _, c := range []struct {
		host, path, has, not string
		code                 int
	}{
		{"mail.shop.example", "/request", "Example Shop", "Example Club", 200},
		{"mail.shop.example", "/notice", "Name, orders and returns.", "Example Club", 200},
		{"mail.shop.example", "/request/club", "Example Shop", "Example Club", 404},
		{"mail.club.example:8443", "/notice/shop", "Example Club", "Example Shop", 404},
		{"mail.club.example", "/request/club", "Example Club", "Example Shop", 200},
		{"unknown.example", "/request", "Example Guild", "<form", 200},
		{"unknown.example", "/case/nothing", "", "Example", 404},
	} {
		code, page := get(c.host, c.path)
		require.Equal(t, c.code, code, c)
		require.Contains(t, page, c.has, c)
		require.NotContains(t, page, c.not, c)
	}
}
