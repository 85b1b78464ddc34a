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

// What is done to a heap of cases loses no request in it: cases of two persons
// are not merged, and what asks for an answer is not closed without one.
func TestBulkLosesNothing(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	first, again := w.open(w.mail("one@example.com", "Erase me.", classifier.Erasure)), w.open(w.mail("one@example.com", "Erase me!", classifier.Erasure))
	other := w.open(w.mail("two@example.com", "Erase me, too.", classifier.Erasure))
	chat := w.open(w.mail("three@example.com", "Thank you."))
	bulk := func(act string, numbers ...string) int {
		resp, _ := b.post("/cases/bulk", url.Values{"act": {act}, "reason": {"done"}, "case": numbers})
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
