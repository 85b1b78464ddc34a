package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
)

// benchCases is how many cases stand behind the lists.
const benchCases = 100_000

// fillCases writes cases as the queue stores them: copies of one it made, with
// due dates, states and labels of their own.
func fillCases(b *testing.B, w *world, n int) {
	b.Helper()
	ctx := b.Context()
	no := w.open(alice, "What do you hold on me?", "access")
	found := w.rdb.Keys(ctx, "*case:"+no).Val()
	require.Len(b, found, 1)
	base := strings.TrimSuffix(found[0], "case:"+no)
	fields := w.rdb.HGetAll(ctx, found[0]).Val()
	labels, now := []string{"access", "erasure", "objection", "rectification"}, time.Now()
	for start := 0; start < n; start += 1000 {
		_, err := w.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := start; i < start+1000; i++ {
				number := fmt.Sprintf("PC-%04d-%04d", i/10000, i%10000)
				due := now.Add(time.Duration(i%60-10) * 24 * time.Hour).UnixMilli()
				fields["due"], fields["labels"], fields["state"] = fmt.Sprint(due), labels[i%len(labels)], "open"
				if i%5 != 0 {
					fields["state"], fields["ended"] = "closed", fmt.Sprint(now.Add(-time.Duration(i)*time.Minute).UnixMilli())
				} else {
					delete(fields, "ended")
					p.ZAdd(ctx, base+"due", redis.Z{Score: float64(due), Member: number})
				}
				p.HSet(ctx, base+"case:"+number, fields)
				p.ZAdd(ctx, base+"all", redis.Z{Score: float64(due), Member: number})
			}
			return nil
		})
		require.NoError(b, err)
	}
}

// percentile of times.
func percentile(times []time.Duration, p int) time.Duration {
	slices.Sort(times)
	return times[min(len(times)-1, len(times)*p/100)]
}

func bench(b *testing.B, w *world, token, method, path string, body []byte) {
	b.Helper()
	h := w.a.Handler()
	var times []time.Duration
	for b.Loop() {
		req := httptest.NewRequest(method, Base+path, bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		start := time.Now()
		h.ServeHTTP(rec, req)
		times = append(times, time.Since(start))
		if rec.Code != http.StatusOK {
			b.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	b.ReportMetric(float64(percentile(times, 50).Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(percentile(times, 95).Microseconds())/1000, "p95-ms")
}

// BenchmarkAPI asks with 100,000 cases and 100,000 people behind it: lists,
// one case, and the look-up of one and of a thousand addresses.
func BenchmarkAPI(b *testing.B) {
	w := newWorld(b, func(o *Options) { o.PerMinute = 1 << 30 })
	token := w.client("bench", CasesRead, ConsentRead, SuppressionsRead).token
	fillCases(b, w, benchCases)
	var csv strings.Builder
	csv.WriteString("address,time,purpose,wording,source,language\n")
	for i := range benchCases {
		fmt.Fprintf(&csv, "p%d@example.com,2026-11-01T00:00:00Z,news,\"Yes, send me News.\",https://shop.example.org/signup,en\n", i)
	}
	_, err := w.reg.Import(b.Context(), strings.NewReader(csv.String()), consent.ImportOptions{Controller: "shop"})
	require.NoError(b, err)
	for i := 0; i < benchCases; i += 100 { // one person in a hundred
		_, err := w.reg.Suppress(b.Context(), consent.Suppression{Controller: "shop", Address: address.MustParse(fmt.Sprintf("p%d@example.com", i)), Scope: consent.ScopeController,
			Reason: consent.Unsubscribed, Source: "page", Actor: "link", Time: time.Now()})
		require.NoError(b, err)
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("p%d@example.com", i*7)
	}
	thousand, err := json.Marshal(object{"stream": "news", "addresses": many})
	require.NoError(b, err)
	one, err := json.Marshal(object{"stream": "news", "addresses": many[:1]})
	require.NoError(b, err)
	for _, c := range []struct {
		name, method, path string
		body               []byte
	}{
		{"list", "GET", "/cases?live=true", nil},
		{"list-filtered", "GET", "/cases?label=erasure&state=open&due_before=2030-01-01", nil},
		{"list-last-page", "GET", "/cases?state=closed&cursor=" + writeCursor("true", fmt.Sprint(-time.Now().Add(-99_000*time.Minute).UnixMilli()), "PC-0000-0000"), nil},
		{"suppressions", "GET", "/suppressions?limit=1000", nil},
		{"check-1", "POST", "/consent/check", one},
		{"check-1000", "POST", "/consent/check", thousand},
	} {
		b.Run(c.name, func(b *testing.B) { bench(b, w, token, c.method, c.path, c.body) })
	}
}
