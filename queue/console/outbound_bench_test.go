package console

import (
	"encoding/binary"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/queue/console/auth"
)

// million counts ten million decisions of 20 streams over 40 days, as a busy
// site makes them.
func (o *outbound) million() {
	o.t.Helper()
	reasons := []gateway.Reason{gateway.NoConsent, gateway.Suppressed, gateway.ConsentWithdrawn, gateway.Unconfirmed, gateway.ConsentExpired, gateway.LooksMarketing}
	total := 0
	for h := range 40 * 24 {
		at := o.Now().Add(-time.Duration(h) * time.Hour)
		for s := range 20 {
			name := "news"
			if s > 0 {
				name = "stream-" + string(rune('a'+s))
			}
			for _, p := range []gateway.Passed{{Fate: gateway.FateAccepted, N: 240}, {Fate: gateway.FateDelivered, N: 230}, {Fate: gateway.FateDeferred, Reason: gateway.ReasonNextHop, N: 10}} {
				p.Stream, p.Time = name, at
				o.report.Count(p)
				total += p.N
			}
			for _, r := range reasons {
				o.report.Count(gateway.Passed{Stream: name, Fate: gateway.FateDenied, Reason: r, N: 8, Time: at})
				total += 8
			}
		}
		if h%48 == 47 {
			require.NoError(o.t, o.report.Flush(o.t.Context()))
		}
	}
	require.NoError(o.t, o.report.Flush(o.t.Context()))
	require.Greater(o.t, total, 10_000_000)
}

// BenchmarkSending serves the pages of Sending with ten million decisions
// behind them and tells the 95th percentile and the weight on the wire.
func BenchmarkSending(b *testing.B) {
	o := newOutbound(b)
	o.million()
	v := o.signedIn("anna", auth.Operator, auth.Admin)
	v.measure(b, "/sending", "/sending?range=days", "/sending/stream/news", "/sending/stream/news?range=days")
}

// measure opens pages and reports the 95th percentile in ms and the weight on
// the wire.
func (v *visitor) measure(b *testing.B, paths ...string) {
	b.Helper()
	for _, path := range paths {
		name := strings.ReplaceAll(strings.Trim(path, "/"), "/", "-")
		if strings.HasPrefix(path, "/people/") { // a sealed handle says nothing
			name = "person" + path[strings.LastIndexByte(path, '/'):]
			if strings.Count(path, "/") == 2 {
				name = "person"
			}
		}
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			weight := 0
			cookies := v.client.Jar.Cookies(must(b, v.w.srv.URL))
			handler := v.w.srv.Config.Handler
			for b.Loop() {
				r := httptest.NewRequest("GET", path, nil)
				r.Header.Set("Accept-Encoding", "gzip")
				for _, c := range cookies {
					r.AddCookie(c)
				}
				w := httptest.NewRecorder()
				begun := time.Now()
				handler.ServeHTTP(w, r)
				took = append(took, time.Since(begun))
				require.Equal(b, 200, w.Code)
				weight = w.Body.Len()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(float64(weight)/1024, "KiB")
		})
	}
}

// decided writes decisions into the ledger: of a tenth as many persons, over 40
// days, each allowed one with its outcome; 200 of them are of one person, and in
// the month 10,000 looks and a deletion run a day stand among them.
func (o *outbound) decided(n int, often string) {
	o.t.Helper()
	id := o.ring.Identify("shop", address.MustParse(often)).ID
	var stage []ledger.Record
	write := func(sync bool) {
		batch := o.db.NewBatch()
		for _, r := range stage {
			require.NoError(o.t, o.trail.Stage(batch, r))
		}
		require.NoError(o.t, batch.Commit(pebble.NoSync))
		require.NoError(o.t, batch.Close())
		stage = stage[:0]
		if sync {
			require.NoError(o.t, o.trail.Flush(o.t.Context()))
		}
	}
	from, step := o.Now().AddDate(0, 0, -40), 40*24*time.Hour/time.Duration(n)
	for i := range n {
		at := from.Add(time.Duration(i) * step)
		r := ledger.Record{Time: at, Kind: ledger.KindVerdict, Controller: "shop", Actor: "relay", Action: "allow", Stream: 2, Ref: fmt.Sprintf("%026d", i), Message: fmt.Sprintf("%064x", i)}
		binary.BigEndian.PutUint64(r.Subject[:], uint64(i%max(1, n/10))+1)
		if i%3 == 0 {
			r.Action, r.Reason, r.Ref = "deny", "suppressed", ""
		}
		if i%(n/200) == 0 {
			r.Subject = id
		}
		stage = append(stage, r)
		if i%(n/10_000) == 0 {
			stage = append(stage, ledger.Record{Time: at, Kind: ledger.KindView, Controller: "shop", Subject: r.Subject, Actor: fmt.Sprintf("operator:anna%d", i%7), Action: []string{"case", "person", "spool"}[i%3]})
		}
		if i%(n/40) == 0 {
			stage = append(stage, ledger.Record{Time: at, Kind: ledger.KindRetention, Actor: "rule", Action: "delete", Reason: "end-of-time", Data: map[string]string{"class": "cases", "count": "31", "before": at.AddDate(-3, 0, 0).Format(time.RFC3339)}})
		}
		if len(stage) >= 10_000 {
			write(i%100_000 < 10_000)
		}
	}
	write(true)
}

// BenchmarkPeopleAndProof serves the page of a person who was mailed 200 times
// and those of Proof with ten million decisions in the ledger (CONSOLE_RECORDS
// for another number) and tells the 95th percentile and the weight on the wire.
func BenchmarkPeopleAndProof(b *testing.B) {
	o := newOutbound(b).proofs()
	n := 10_000_000
	if count, err := strconv.Atoi(os.Getenv("CONSOLE_RECORDS")); err == nil {
		n = max(10_000, count)
	}
	begun := time.Now()
	o.known("maria@example.net")
	o.decided(n, "maria@example.net")
	b.Logf("%d records in %s", o.trail.Checkpoint().Size, time.Since(begun).Round(time.Second))
	v := o.signedIn("anna", auth.Operator, auth.Auditor)
	person := v.person("maria@example.net")
	require.GreaterOrEqual(b, strings.Count(v.get(person), "<td>News"), sentMost)
	v.measure(b, person, person+"/print", "/proof", "/proof/reports")
}

func must(b *testing.B, raw string) *url.URL {
	b.Helper()
	u, err := url.Parse(raw)
	require.NoError(b, err)
	return u
}
