package console

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway"
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
	for _, path := range []string{"/sending", "/sending?range=days", "/sending/stream/news", "/sending/stream/news?range=days"} {
		b.Run(strings.ReplaceAll(strings.Trim(path, "/"), "/", "-"), func(b *testing.B) {
			var took []time.Duration
			weight := 0
			cookies := v.client.Jar.Cookies(must(b, o.srv.URL))
			handler := o.c.Handler()
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

func must(b *testing.B, raw string) *url.URL {
	b.Helper()
	u, err := url.Parse(raw)
	require.NoError(b, err)
	return u
}
