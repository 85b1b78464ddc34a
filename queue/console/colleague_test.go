package console

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/ledger"
	"postern/queue"
	"postern/queue/console/auth"
)

// A colleague is asked from the page of a case: the mail leaves with a link
// behind which the question stands, the page tells how it goes, and a form that
// can't be used asks nobody and keeps what was typed.
func TestAskColleague(t *testing.T) {
	w := newWorld(t)
	b, reader := w.signedIn("anna", auth.Operator), w.signedIn("rita", auth.Auditor)
	no := w.open(w.mail("alice@example.com", "Which data do you hold about me?", classifier.Access))
	path := "/cases/" + no
	form := url.Values{"who": {"sales archive"}, "mail": {"archive@example.org"}, "words": {"Are there old orders?"}, "due": {"2026-11-30"}, "letter": {"1"}}
	with := func(name, value string) url.Values {
		out := url.Values{}
		for k, v := range form {
			out[k] = v
		}
		out.Set(name, value)
		return out
	}
	for _, bad := range []struct{ name, value, says string }{
		{"mail", "no address", "This is not a mail address."},
		{"words", " ", "Say who is asked"},
		{"who", "", "Say who is asked"},
		{"due", "2026-11-23", "This day is over"},
		{"due", "soon", "This day is over"},
	} {
		resp, page := b.post(path+"/colleague", with(bad.name, bad.value))
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, bad.name)
		require.Contains(t, page, bad.says)
		if bad.name != "who" {
			require.Contains(t, page, `value="sales archive"`, "what was typed stays")
		}
	}
	tasks, err := w.q.Tasks(t.Context(), no)
	require.NoError(t, err)
	require.Empty(t, tasks)

	require.Contains(t, b.done(path+"/colleague", form), "The colleague is asked")
	w.work(func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.sent) > 0 })
	tasks, err = w.q.Tasks(t.Context(), no)
	require.NoError(t, err)
	require.Len(t, tasks, 1)
	require.Equal(t, time.Date(2026, 11, 30, 22, 59, 59, 0, time.UTC), tasks[0].Due.UTC(), "the whole day in Berlin")
	page := reader.get(path)
	require.Contains(t, page, "sales archive")
	require.Contains(t, page, "due Mon 30 Nov")
	require.NotContains(t, page, "Show the link")

	resp, page := b.post(path+"/tasks/0/link", nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	link := regexp.MustCompile(`<code>https://mail\.shop\.example\.org/case/([^<]+)</code>`).FindStringSubmatch(page)
	require.Len(t, link, 2)
	require.Len(t, w.recorded(ledger.KindView, "task-link"), 1)
	seen, err := w.q.TaskByToken(t.Context(), link[1])
	require.NoError(t, err)
	require.Equal(t, "Are there old orders?", seen.Words)
	require.Contains(t, seen.Letter, "Which data do you hold about me?")
	resp, _ = b.post(path+"/tasks/1/link", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)

	resp, _ = b.post(path+"/colleague", form)
	require.Equal(t, http.StatusConflict, resp.StatusCode, "the same is under way")
	w.later(7 * 24 * time.Hour)
	b = w.signedIn("otto", auth.Operator) // the session is over by then
	require.Contains(t, b.get(path), ">overdue<")
	require.NoError(t, w.q.AnswerTask(t.Context(), link[1], queue.TaskAnswer{Nothing: true}))
	page = b.get(path)
	require.Contains(t, page, "nothing held")
	require.NotContains(t, page, "Show the link")
}
