package console

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue"
	"postern/queue/console/auth"
)

var seenField = regexp.MustCompile(`name="seen" value="([^"]+)"`)

// A page that stands open while the person writes again ends no case: who acts
// on it is shown the mail first.
func TestOpenPageEndsNothingUnread(t *testing.T) {
	w := newWorld(t, func(_ *Options, q *queue.Options) {
		q.Handling = map[string]queue.Handling{"shop": {FourEyes: []string{queue.EyesDeny}}}
	})
	b, max := w.signedIn("anna", auth.Operator), w.signedIn("max", auth.Approver)
	in := w.mail("alice@example.com", "Which data?", classifier.Information)
	no := w.open(in)
	path := "/cases/" + no
	b.done(path+"/move", url.Values{"act": {"start"}})
	seen := seenField.FindStringSubmatch(b.get(path))
	require.NotNil(t, seen)
	require.Nil(t, seenField.FindStringSubmatch(b.get("/cases")))
	b.done(path+"/deny", url.Values{"reason": {"excessive"}, "words": {"it is the eleventh"}, "seen": {seen[1]}})

	again := w.mail("alice@example.com", "And delete it all.")
	again.InReplyTo = in.MessageID
	require.Equal(t, no, w.open(again))
	for to, form := range map[string]url.Values{
		"/move":  {"act": {"close"}, "reason": {"done"}, "seen": {seen[1]}},
		"/reply": {"text": {"free"}, "body": {"We hold nothing."}, "effect": {"answer"}, "act": {"send"}, "seen": {seen[1]}},
	} {
		resp, text := b.post(path+to, form)
		require.Equal(t, http.StatusConflict, resp.StatusCode, to)
		require.Contains(t, text, "And delete it all.", "the mail is on the page that answers")
		require.True(t, w.state(no).Live(), to)
	}
	resp, _ := b.post("/cases/bulk", url.Values{"act": {"close"}, "reason": {"done"}, "confirm": {"1"}, "case": {no}})
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, max.get(path+"/denial"), "eleventh")
	resp, _ = max.post(path+"/denial", nil)
	require.Equal(t, http.StatusConflict, resp.StatusCode, "the refusal was written before")

	seen = seenField.FindStringSubmatch(b.get(path))
	b.done(path+"/move", url.Values{"act": {"close"}, "reason": {"no-request"}, "seen": {seen[1]}})
	require.Equal(t, queue.Closed, w.state(no))
}
