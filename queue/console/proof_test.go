package console

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/queue/console/auth"
)

// proofs gives a world the pages of Proof, with a ledger that can be checked.
func (o *outbound) proofs() *outbound {
	o.t.Helper()
	o.people()
	o.deps.Log = o.trail
	o.deps.Verify = func(ctx context.Context) (ledger.Report, error) {
		dir := filepath.Join(o.t.TempDir(), "export")
		if err := o.trail.Export(ctx, dir); err != nil {
			return ledger.Report{}, err
		}
		return ledger.Verify(ctx, dir, o.trail.PublicKey(), ledger.VerifyOptions{})
	}
	o.deps.Processing = func() []Processing {
		return []Processing{
			{Controller: "shop", Activity: "relay", Hosts: []string{"relay-1"}, Expire: 5 * 24 * time.Hour, Verdicts: 90 * 24 * time.Hour},
			{Controller: "shop", Activity: "consent"}, {Controller: "shop", Activity: "suppression"}, {Controller: "shop", Activity: "ledger"},
			{Controller: "shop", Activity: "requests", Systems: []string{"crm"}, Cases: 1098 * 24 * time.Hour, Aside: 90 * 24 * time.Hour},
		}
	}
	o.rebuild()
	return o
}

func TestProofPage(t *testing.T) {
	o := newOutbound(t).proofs()
	o.known("maria@example.net")
	ctx, at := t.Context(), o.Now().Add(-time.Hour)
	require.NoError(t, o.trail.Append(ctx,
		ledger.Record{Time: at, Kind: ledger.KindRetention, Actor: "rule", Action: "delete", Reason: "end-of-time", Data: map[string]string{"class": "aside", "count": "12", "before": "2026-08-26T10:00:00Z", "oldest": "2026-08-27T08:00:00Z"}},
		ledger.Record{Time: at, Kind: ledger.KindView, Actor: "operator:otto", Action: "case", Ref: "C-1"},
		ledger.Record{Time: at, Kind: ledger.KindView, Actor: "operator:otto", Action: "case", Ref: "C-2"},
		ledger.Record{Time: at.AddDate(0, -2, 0), Kind: ledger.KindView, Actor: "operator:former", Action: "case", Ref: "C-3"}))
	require.NoError(t, o.trail.Flush(ctx))
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- o.c.Run(run) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-done) })

	b := o.signedIn("anna", auth.Auditor)
	page := visible(b.get("/proof"))
	require.Contains(t, page, "Mail set aside 12 Wed 26 Aug Thu 27 Aug by rule")
	require.Contains(t, page, "otto Case 2")
	require.NotContains(t, page, "former")
	require.Contains(t, visible(b.get("/proof?month=2026-09")), "former")
	require.Contains(t, b.get("/proof"), "mx.example.org/postern")
	require.NoError(t, o.trail.Append(ctx, ledger.Record{Time: o.Now(), Kind: ledger.KindView, Actor: "operator:otto", Action: "case", Ref: "C-4"}))
	for range 2 {
		require.Contains(t, visible(b.get("/proof")), "otto Case 3", "what was counted before, and what came since")
	}

	b.done("/proof/verify", nil)
	require.Eventually(t, func() bool { return strings.Contains(b.get("/proof"), "nothing was changed, removed or inserted") }, 20*time.Second, 20*time.Millisecond)
	require.Len(t, o.recorded(ledger.KindConfig, "ledger-verify"), 1)
	page = visible(b.get("/proof/processing"))
	require.Contains(t, page, "Relaying mail")
	require.Contains(t, page, "1,098 days after the case ended")
	b.done("/account/preferences", url.Values{"language": {"de"}, "keys": {"on"}})
	require.Contains(t, visible(b.get("/proof/processing")), "1.098 Tage nach dem Ende des Falls")
	resp, _ := b.do("GET", "/proof?month=2199-01", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

// What is found by address or Message-ID is proven: the downloaded proof
// checks offline.
func TestProve(t *testing.T) {
	o := newOutbound(t).proofs()
	o.known("maria@example.net")
	require.NoError(t, o.trail.Append(t.Context(), ledger.Record{Time: o.Now(), Kind: ledger.KindVerdict, Controller: "shop",
		Subject: o.ring.Identify("shop", address.MustParse("jan@example.com")).ID, Actor: "relay", Action: "deny", Reason: "no-consent", Stream: 2, Message: gateway.MessageIDHash("<m1@shop.example.org>")}))
	b := o.signedIn("anna", auth.Operator)
	resp, page := b.post("/proof/prove", url.Values{"q": {"<m1@shop.example.org>"}})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, visible(page), "Verdict Denied No consent News")
	_, page = b.post("/proof/prove", url.Values{"q": {"maria@example.net"}})
	require.Contains(t, page, "Delivered")
	require.Contains(t, page, "Consent confirmed")
	require.NotEmpty(t, o.recorded(ledger.KindView, "proof"))
	resp, body := b.post("/proof/prove", url.Values{"q": {"maria@example.net"}, "form": {"json"}})
	require.Contains(t, resp.Header.Get("Content-Disposition"), "proof.json")
	var proofs []ledger.Proof
	require.NoError(t, json.Unmarshal([]byte(body), &proofs))
	require.Len(t, proofs, 1)
	require.NoError(t, ledger.CheckProof(proofs[0], o.trail.PublicKey()))
	_, page = b.post("/proof/prove", url.Values{"q": {"nobody@example.com"}})
	require.Contains(t, page, "knows nothing of it")
	resp, _ = b.post("/proof/prove", url.Values{"q": {"what is this"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}

func TestAutomaticSampleAndReports(t *testing.T) {
	o := newOutbound(t).proofs()
	no := o.open(o.mail("maria@example.net", "Stop sending me advertising.", classifier.Objection))
	o.open(o.mail("jan@example.com", "Send me my data.", classifier.Access))
	b := o.signedIn("anna", auth.Operator)
	page := b.get("/proof/automatic")
	require.Contains(t, page, no)
	require.Contains(t, page, "No opt-out was taken back by an operator. No closed case was opened again.", "counts of none are words")
	page = b.done("/proof/automatic/"+no, url.Values{"verdict": {"right"}, "month": {"2026-11"}})
	require.Contains(t, page, "Error rate 0 %: the one judged case was right.")
	page = b.done("/proof/automatic/"+no, url.Values{"verdict": {"wrong"}, "month": {"2026-11"}})
	require.Contains(t, page, "Error rate 100 %: 1 of 1 judged cases were wrong.")
	require.Contains(t, visible(b.get("/proof/reports")), "Objection 1")
	require.Contains(t, b.get("/proof/reports"), "working days: none.")
	require.Contains(t, visible(b.get("/proof/reports?month=2026-10")), "No request came in this month.")

	resp, body := b.post("/proof/export", url.Values{"controller": {"shop"}})
	require.Equal(t, "application/zip", resp.Header.Get("Content-Type"))
	z, err := zip.NewReader(bytes.NewReader([]byte(body)), int64(len(body)))
	require.NoError(t, err)
	names := map[string]bool{}
	for _, f := range z.File {
		names[f.Name] = true
	}
	require.True(t, names["SHA256SUMS"] && names[no+"/case.json"], names)
	require.False(t, names[no+"/mails.json"], "texts only where asked")
	resp, _ = b.post("/proof/export", url.Values{"controller": {"shop"}, "texts": {"1"}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode, "texts are for auditors and approvers")
}
