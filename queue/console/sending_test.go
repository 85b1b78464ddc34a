package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/queue/console/auth"
)

func TestSending(t *testing.T) {
	o := newOutbound(t)
	o.traffic()
	o.observed(40)
	b := o.signedIn("anna", auth.Operator, auth.Admin)
	page := b.get("/sending")
	require.Contains(t, page, `class="badge danger">Over 30 days`)
	require.Contains(t, page, "No consent")
	require.Regexp(t, `data-label="Accepted">900<`, page, "the last hour alone")
	require.Contains(t, page, `Sending</span> <span class="count">1`)
	require.Contains(t, page, "<svg viewBox=\"0 0 767 120\"")
	require.NotContains(t, page, "style=")

	page = b.get("/sending/stream/news")
	require.Contains(t, visible(page), "189 recipients got mail that enforcing refuses.")
	require.Contains(t, page, "crm.shop.example.org")
	require.Contains(t, page, "The file says: Enforce.")
	require.Contains(t, b.get("/sending/stream/news?range=days"), "Day (UTC)")
	resp, _ := b.do("GET", "/sending/stream/nothing", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

// One click up the ladder, confirmed; recorded, over the file, and taken back.
func TestModeIsSetAndUndone(t *testing.T) {
	o := newOutbound(t)
	o.observed(40)
	b := o.signedIn("anna", auth.Admin)
	require.Contains(t, b.get("/sending/stream/news"), "Observed since")
	renewed := b.done("/sending/stream/news/mode", url.Values{"to": {"observe"}})
	require.Contains(t, renewed, "Observing goes on for 30 days")
	require.NotContains(t, renewed, "Observed since")

	require.Contains(t, b.get("/sending/stream/news/mode?to=annotate"), "Annotate News?")
	page := b.done("/sending/stream/news/mode", url.Values{"to": {"annotate"}})
	require.Contains(t, page, "The mode is set")
	require.Equal(t, stream.Annotate, o.engine.Mode("news"))
	modes, err := o.report.Modes(t.Context())
	require.NoError(t, err)
	require.Equal(t, stream.Annotate, modes["news"], "kept in Redis for all nodes")
	recs := o.ledgered(ledger.KindConfig, "mode")
	require.Equal(t, "operator:anna", recs[len(recs)-1].Actor)
	require.Equal(t, "annotate", recs[len(recs)-1].Reason)
	require.Equal(t, "observe", recs[len(recs)-1].Data["before"])

	require.Contains(t, page, `name="to" value="observe"`, "undo names what was before")
	page = b.done("/sending/stream/news/mode", url.Values{"to": {"observe"}, "undo": {"1"}})
	require.Contains(t, page, "what it was before")
	require.Equal(t, stream.Observe, o.engine.Mode("news"))

	b.done("/sending/stream/news/mode", url.Values{"to": {"file"}})
	require.Equal(t, stream.Enforce, o.engine.Mode("news"))
	require.Contains(t, b.get("/sending/stream/news"), "As the file says.")
	resp, _ := b.post("/sending/stream/news/mode", url.Values{"to": {"anything"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}

func TestSpool(t *testing.T) {
	o := newOutbound(t)
	id, other := o.wait(2, "maria@example.net"), o.wait(1, "jan@example.com")
	b := o.signedIn("anna", auth.Operator)
	page := b.get("/sending/spool")
	require.Contains(t, page, "Greylisted, try again later")
	require.NotContains(t, page, "maria@example.net", "no address before somebody looks")
	require.Contains(t, b.get("/sending"), "2 messages wait.")
	require.NotContains(t, b.get("/sending/spool?stream=news"), other)

	require.Contains(t, b.get("/sending/spool/"+id), "maria@example.net")
	require.Len(t, o.recorded(ledger.KindView, "spool"), 1)

	require.Contains(t, b.done("/sending/spool/"+id, url.Values{"act": {"hold"}}), "It is held")
	require.EqualValues(t, 1, o.spool.Stats().Held)
	require.Contains(t, b.get("/sending/spool?held=1"), id)
	require.NotContains(t, b.get("/sending/spool?held=1"), other)
	b.done("/sending/spool/"+id, url.Values{"act": {"release"}})
	b.done("/sending/spool/"+id, url.Values{"act": {"retry"}})
	m, err := o.spool.Get(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, spool.Queued, m.Recipients[0].State)
	require.WithinDuration(t, o.Now(), m.Recipients[0].Next, time.Second)

	resp, text := b.post("/sending/spool/"+id+"/drop", url.Values{"typed": {"nothing"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, text, "Nothing was dropped")
	require.Contains(t, b.done("/sending/spool/"+id+"/drop", url.Values{"typed": {strings.ToLower(tail(id))}}), "It is dropped")
	_, err = o.spool.Get(t.Context(), id)
	require.ErrorIs(t, err, spool.ErrNotFound)
	dropped := o.ledgered(ledger.KindDelivery, string(spool.Dropped))
	require.Len(t, dropped, 1)
	require.Equal(t, "operator:anna", dropped[0].Actor)
	resp, _ = b.do("GET", "/sending/spool/none", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestChart(t *testing.T) {
	for n, want := range map[int64]int64{0: 2, 1: 2, 3: 4, 7: 10, 11: 20, 4001: 6000, 1_000_000: 1_000_000} {
		require.Equal(t, want, niceTop(n), n)
	}
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	c := newChart([]time.Time{at, at.Add(time.Hour)}, []string{"a", "b"}, func(i int) []int64 { return [][]int64{{60, 40}, {0, 0}}[i] })
	require.Equal(t, []chartPart{{"a", 48, 72, 60}, {"b", 0, 48, 40}}, c.Bars[0].Parts)
	require.Equal(t, 31, c.Width)
	require.False(t, c.Empty)
	require.Equal(t, int64(60), c.Keys[0].Total)
	require.Equal(t, []chartLine{{0, 100}, {60, 50}, {120, 0}}, c.Lines)
}
