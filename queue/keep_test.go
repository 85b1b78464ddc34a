package queue

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/ledger"
)

func TestSweep(t *testing.T) {
	w := newWorld(t)
	bare, held := w.open(classifier.Unsubscribe), w.open(classifier.Access)
	live := w.open(classifier.Access)
	_, err := w.q.Move(ctx, held, Move{Action: ActAnswer, Actor: "operator:eve", Reason: "by-post"})
	require.NoError(t, err)
	require.NoError(t, w.q.LegalHold(ctx, held, true, "operator:eve", "law suit"))
	first := w.show(bare).Mails[0]
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: "spam", Mail: mailFrom("carol@example.com")}))
	s, err := w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Zero(t, s)
	w.clock.Set(w.clock.Now().AddDate(4, 0, 0))
	s, err = w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, Swept{Cases: 1, Held: 1, Asides: 1}, s)
	_, _, err = w.q.Show(ctx, bare)
	require.ErrorIs(t, err, ErrUnknown)
	require.True(t, w.show(live).State.Live(), "an open case is never deleted")
	for _, k := range w.rdb.Keys(ctx, "*").Val() {
		require.NotContains(t, k, bare, "no key of its own is left")
	}

	again, err := w.q.Open(ctx, first)
	require.NoError(t, err)
	require.Equal(t, Ref{bare, false}, again, "a mail read again is known")
	late := mailFrom("alice@example.com", classifier.Access)
	late.MessageID, late.InReplyTo = first.MessageID, first.MessageID
	ref, err := w.q.Open(ctx, late)
	require.NoError(t, err)
	require.True(t, ref.New, "an answer to a deleted case is a new one, never lost")
}

// A case that a mail woke after it was found for deletion is not deleted, nor
// are its files: the mail would be lost with it.
func TestSweepSparesWhatCameToLife(t *testing.T) {
	w, no := collected(t, classifier.Access)
	files := func() []string {
		f, err := w.rdb.HGet(ctx, keyCase(no), "vault").Result()
		require.NoError(t, err)
		return splitWords(f)
	}
	require.NotEmpty(t, files())
	_, err := w.q.Move(ctx, no, Move{Action: ActAnswer, Actor: eve, Reason: "by-post"})
	require.NoError(t, err)
	w.clock.Set(w.clock.Now().AddDate(4, 0, 0))
	_, err = w.q.Open(ctx, intoCase(no, "alice@example.com", classifier.Access))
	require.NoError(t, err)
	gone, err := w.q.deleteCase(ctx, no)
	require.NoError(t, err)
	require.False(t, gone)
	n, err := w.q.sweepFiles(ctx, no)
	require.NoError(t, err)
	require.Zero(t, n)
	require.NotEmpty(t, files())
	require.Len(t, w.show(no).Mails, 2)
}

func TestByHand(t *testing.T) {
	w := newWorld(t)
	b := ByHand{Controller: "shop", Way: "post", Received: w.clock.Now().AddDate(0, 0, -3), Address: address.MustParse("alice@example.com"),
		Name: "A secret name", Text: "Stop, says the secret letter", Labels: []classifier.Label{classifier.Objection}, Language: "de", Actor: "operator:eve", Key: "scan-1"}
	ref, err := w.q.OpenByHand(ctx, b)
	require.NoError(t, err)
	again, err := w.q.OpenByHand(ctx, b)
	require.NoError(t, err)
	require.Equal(t, Ref{ref.Number, false}, again)
	w.drain()
	require.Len(t, w.bound, 1, "an objection on paper binds like one by mail")
	require.Empty(t, w.sent, "nothing proves the address: no automatic mail")
	require.Equal(t, "2026-12-21", w.show(ref.Number).Due.Format(time.DateOnly))
	requireSealed(t, w.rdb)
	for _, bad := range []ByHand{{}, {Controller: "shop", Way: "post", Actor: "operator:eve", Received: w.clock.Now().AddDate(0, 0, 1)}, {Controller: "nobody", Way: "post", Actor: "operator:eve", Received: b.Received}, {Controller: "shop", Way: "post", Received: b.Received}} {
		_, err := w.q.OpenByHand(ctx, bad)
		require.Error(t, err)
	}
}

func TestReport(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(classifier.Access), w.open(classifier.Access, classifier.Erasure)
	w.open(classifier.Unsubscribe)
	w.clock.Set(w.clock.Now().AddDate(0, 0, 3)) // Tuesday to Friday
	_, err := w.q.Move(ctx, a, Move{Action: ActAnswer, Actor: "operator:eve", Reason: "by-post"})
	require.NoError(t, err)
	w.clock.Set(w.show(b).Due.AddDate(0, 0, 1))
	months, err := w.q.Report(ctx, 2026, time.November)
	require.NoError(t, err)
	require.Len(t, months, 2)
	require.Equal(t, "club", months[0].Controller)
	shop := months[1]
	require.Equal(t, 3, shop.Received)
	require.Equal(t, Tally{Cases: 2, Answered: 1, Live: 1, OnTime: 1, Late: 1, MedianDays: new(3.0), InTarget: 1}, shop.ByLabel[classifier.Access])
	require.Equal(t, Tally{Cases: 1, Live: 1, Late: 1}, shop.ByLabel[classifier.Erasure])

	auto, err := w.q.AutomaticActs(ctx, shop.From, shop.To, 2)
	require.NoError(t, err)
	require.Equal(t, 1, auto.Acts["close:bare-unsubscribe"])
	require.Equal(t, 1, auto.Acts["suppress:erasure-pending"])
	require.Len(t, auto.Sample, 2)
}

// prover proves what the world's trail holds.
type prover struct{ w *world }

func (p prover) Prove(_ context.Context, f ledger.Filter) (ledger.Proof, error) {
	var out ledger.Proof
	for _, r := range p.w.proofs {
		if r.Ref == f.Ref {
			out.Records = append(out.Records, ledger.ProvenItem{Record: r})
		}
	}
	return out, nil
}

func TestExport(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	for _, texts := range []bool{false, true} {
		var buf bytes.Buffer
		n, err := w.q.Export(ctx, &buf, ExportOptions{Prover: prover{w}, Texts: texts, Actor: "operator:eve"})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		z, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		require.NoError(t, err)
		files := map[string]string{}
		for _, f := range z.File {
			r, err := f.Open()
			require.NoError(t, err)
			raw, err := io.ReadAll(r)
			require.NoError(t, err)
			files[f.Name] = string(raw)
		}
		require.Contains(t, files["SHA256SUMS"], no+"/proof.json")
		var proof ledger.Proof
		require.NoError(t, json.Unmarshal([]byte(files[no+"/proof.json"]), &proof))
		require.NotEmpty(t, proof.Records)
		all := fmt.Sprint(files)
		require.Equal(t, texts, strings.Contains(all, "My secret words"))
		require.Equal(t, texts, strings.Contains(all, "alice@example.com"))
	}
	_, err := w.q.Export(ctx, io.Discard, ExportOptions{})
	require.Error(t, err)
	views := 0
	for _, r := range w.proofs {
		if r.Kind == ledger.KindView {
			views++
			require.Equal(t, "operator:eve", r.Actor)
		}
	}
	require.Equal(t, 2, views, "looking is on record")
}

// watchful is a prover that looks how much of the archive was written by the
// time a case is proven.
type watchful struct {
	prover
	out    *countingWriter
	before []int
}

type countingWriter struct{ n int }

func (c *countingWriter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

func (p *watchful) Prove(ctx context.Context, f ledger.Filter) (ledger.Proof, error) {
	p.before = append(p.before, p.out.n)
	return p.prover.Prove(ctx, f)
}

// TestExportIsWrittenAsItIsRead: what was read of earlier cases has left by the
// time a later one is read, so that an archive may be larger than memory.
func TestExportIsWrittenAsItIsRead(t *testing.T) {
	w := newWorld(t)
	const count = 150
	for i := range count {
		_, err := w.q.Open(ctx, mailFrom(fmt.Sprintf("person%d@example.com", i), classifier.Access))
		require.NoError(t, err)
	}
	out := &countingWriter{}
	p := &watchful{prover: prover{w}, out: out}
	n, err := w.q.Export(ctx, out, ExportOptions{Prover: p, Actor: eve})
	require.NoError(t, err)
	require.Equal(t, count, n)
	require.Len(t, p.before, count)
	each := out.n / count
	for i, written := range p.before {
		require.GreaterOrEqual(t, written, (i-20)*each/2, "before case %d", i) // the rest: buffers, directory and sums at the end
	}
	n, err = w.q.Export(ctx, io.Discard, ExportOptions{Actor: eve, Filter: Filter{Limit: 70, Offset: 100}})
	require.NoError(t, err)
	require.Equal(t, 50, n)
	n, err = w.q.Export(ctx, io.Discard, ExportOptions{Actor: eve, Filter: Filter{Limit: 70}})
	require.NoError(t, err)
	require.Equal(t, 70, n)
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	reg := prometheus.NewRegistry()
	o := w.q.o
	o.Metrics = reg
	q, err := New(w.rdb, w.q.d, o)
	require.NoError(t, err)
	w.q = q
	w.open(classifier.Access)
	w.open(classifier.Unsubscribe)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP postern_queue_live_cases Cases whose clock runs.
# TYPE postern_queue_live_cases gauge
postern_queue_live_cases 1
# HELP postern_queue_overdue_cases Live cases whose due date is over.
# TYPE postern_queue_overdue_cases gauge
postern_queue_overdue_cases 0
`), "postern_queue_live_cases", "postern_queue_overdue_cases"))
	_, err = New(w.rdb, w.q.d, o)
	require.Error(t, err, "registered twice")
}

func TestOperatorsAreMailed(t *testing.T) {
	w := newWorld(t)
	w.q.o.Operators = map[string][]string{"shop": {"dpo@shop.example.org", "deputy@shop.example.org"}}
	no := w.open(classifier.BreachReport)
	got := 0
	for ref, m := range w.sent {
		if strings.HasPrefix(ref, "notice:"+no) {
			got++
			require.Contains(t, string(m.Header), "Auto-Submitted: auto-generated")
			require.Contains(t, decodeQP(t, m.Body), "Diesen Fall muss sofort ein Mensch ansehen.", "in the controller's language")
			require.Contains(t, decodeQP(t, m.Body), "Grund: jemand meldet eine Datenschutzverletzung")
			require.Contains(t, string(m.Header), "Content-Language: de")
			require.NotContains(t, string(m.Header)+string(m.Body), "alice")
			require.NotContains(t, string(m.Body), "secret")
		}
	}
	require.Equal(t, 2, got)
}

func TestUndoLink(t *testing.T) {
	w := newWorld(t)
	w.q.d.UndoLink = func(controller string, subject address.SubjectID, id string, _ time.Time) string {
		require.Equal(t, "shop", controller)
		require.False(t, subject.IsZero())
		return "https://mail.shop.example.org/undo/" + sha(id)[:8]
	}
	no := w.open(classifier.Objection)
	require.Contains(t, decodeQP(t, w.sent["case:"+no+":ack:0"].Body), "https://mail.shop.example.org/undo/")
	ref, err := w.q.Open(ctx, mailFrom("bob@example.com", classifier.Objection, classifier.Unsubscribe))
	require.NoError(t, err)
	w.drain()
	require.Contains(t, decodeQP(t, w.sent["case:"+ref.Number+":ack:0"].Body), "reply to this mail", "two opt-outs are not undone by one link")
}
