package console

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue"
	"postern/queue/console/auth"
)

// The stop that a request for erasure placed is shown with the case and decided
// on a page of its own, under the same guards as elsewhere: not lifted while
// erasure is asked for, nor without a reason, nor twice; who decided and why is
// in the case and in the ledger.
func TestDecideStop(t *testing.T) {
	w := newWorld(t)
	b, auditor := w.signedIn("anna", auth.Operator), w.signedIn("otto", auth.Auditor)
	plain := w.open(w.mail("bob@example.com", "Which data?", classifier.Access))
	resp, _ := b.do("GET", "/cases/"+plain+"/marketing", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode, "it placed none")
	require.NotContains(t, b.get("/cases/"+plain), "/marketing")

	no := w.open(w.mail("alice@example.com", "Please delete my data.", classifier.Erasure))
	path := "/cases/" + no + "/marketing"
	decide := func(stop, why string) (int, string) {
		resp, text := b.post(path, url.Values{"stop": {stop}, "why": {why}})
		return resp.StatusCode, text
	}
	page := b.get("/cases/" + no)
	require.Contains(t, page, "Stopped for this request")
	require.Contains(t, page, path)
	page = auditor.get("/cases/" + no)
	require.Contains(t, page, "Stopped for this request")
	require.NotContains(t, page, path)
	page = b.get(path)
	require.Contains(t, page, "The case still asks for erasure")
	require.NotContains(t, page, `value="lift"`)
	status, page := decide("lift", "They like it.")
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, page, "Nothing was changed")
	require.Contains(t, page, "They like it.", "what was typed stays")
	status, _ = decide("maybe", "x")
	require.Equal(t, http.StatusBadRequest, status)

	page = b.done("/cases/"+no+"/move", url.Values{"act": {"close"}, "reason": {"no-request"}})
	require.Contains(t, page, "Stopped, as a withdrawal")
	require.Contains(t, page, "Decided: advertising stays stopped")
	page = b.get(path)
	require.NotContains(t, page, `value="keep"`, "that is decided")
	status, page = decide("lift", " ")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, page, "Say why it is lifted.")
	require.Empty(t, w.freed())

	page = b.done(path, url.Values{"stop": {"lift"}, "why": {"They asked for the newsletter by phone."}})
	require.Contains(t, page, "What else the person said no to stands.")
	w.work(func() bool { state, _, _ := w.q.StopOf(t.Context(), no); return state == queue.StopLifted })
	require.Len(t, w.freed(), 1)
	page = b.get("/cases/" + no)
	require.Contains(t, page, "The stop was lifted")
	require.Contains(t, page, "They asked for the newsletter by phone.")
	require.NotContains(t, page, path)
	require.NotContains(t, b.get(path), `value="lift"`)
	status, _ = decide("lift", "again")
	require.Equal(t, http.StatusConflict, status)
	require.Len(t, w.freed(), 1)
	w.work(func() bool {
		for _, r := range w.recorded("case", "note") {
			if r.Ref == no && r.Reason == "marketing-lift" && r.Actor == "operator:anna" {
				return true
			}
		}
		return false
	})
}
