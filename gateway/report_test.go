package gateway

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
	"postern/gateway/stream"
)

func testReport(t *testing.T) (*Report, *miniredis.Miniredis) {
	t.Helper()
	mr := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr(), MaxRetries: -1})
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	return NewReport(rdb, nil), mr
}

func TestReportCounts(t *testing.T) {
	r, mr := testReport(t)
	day := engineClock
	for range 3 {
		r.Would(Would{Stream: "news", Reason: NoConsent, Client: "crm", Sender: "example.org", Day: day})
	}
	r.Would(Would{Stream: "news", Reason: Unconfirmed, Client: "c|m", Sender: "example.org", Day: day})
	r.Would(Would{Stream: "news", Reason: NoConsent, Client: "crm", Sender: "example.org", Day: day.AddDate(0, 0, 1)})
	require.NoError(t, r.Flush(t.Context()))
	r.Would(Would{Stream: "news", Reason: NoConsent, Client: "crm", Sender: "example.org", Day: day})

	mr.SetError("away")
	require.Error(t, r.Flush(t.Context()))
	mr.SetError("")
	require.NoError(t, r.Flush(t.Context()), "what could not be written is kept")
	require.NoError(t, r.Flush(t.Context()), "and written once")

	rows, err := r.WouldBlock(t.Context(), day, day.AddDate(0, 0, 2))
	require.NoError(t, err)
	require.Equal(t, []Row{
		{"2026-11-24", "news", NoConsent, "crm", "example.org", 4},
		{"2026-11-24", "news", Unconfirmed, "c_m", "example.org", 1},
		{"2026-11-25", "news", NoConsent, "crm", "example.org", 1},
	}, rows)
	require.Positive(t, mr.TTL(reportPrefix+"2026-11-24"))
	mr.SetError("away")
	_, err = r.WouldBlock(t.Context(), day, day)
	require.Error(t, err)
}

func TestReportIsBounded(t *testing.T) {
	r, _ := testReport(t)
	for i := range reportFields + 100 {
		r.Would(Would{Stream: "s", Sender: fmt.Sprintf("d%d.example", i), Day: engineClock})
	}
	require.Equal(t, reportFields, r.size)
}

func TestReportRunWritesAtTheEnd(t *testing.T) {
	r, mr := testReport(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.Would(Would{Stream: "news", Reason: NoConsent, Client: "crm", Day: engineClock})
	cancel()
	require.NoError(t, <-done)
	require.Equal(t, "1", mr.HGet(reportPrefix+"2026-11-24", "news|no-consent|crm|"))
}

func TestModesLast(t *testing.T) {
	report, mr := testReport(t)
	now := engineClock
	edit := func(d *Deps, o *EngineOptions, _ []stream.Stream) {
		o.Modes, o.Now = report, func() time.Time { return now }
	}
	one, two := newTestEngine(t, edit), newTestEngine(t, edit)
	require.NoError(t, one.ChangeMode(t.Context(), "news", stream.Observe, "operator:a"))
	require.Equal(t, stream.Observe, one.Mode("news"))
	rec := one.shelf.recs[0]
	require.Equal(t, ledger.KindConfig, rec.Kind)
	require.Equal(t, "observe", rec.Reason)
	require.Equal(t, "enforce", rec.Data["before"])

	require.Equal(t, stream.Enforce, two.Mode("news"))
	require.NoError(t, two.LoadModes(t.Context()))
	require.Equal(t, stream.Observe, two.Mode("news"), "another node follows")

	require.Error(t, one.ChangeMode(t.Context(), "news", "off", "x"))
	require.Error(t, one.ChangeMode(t.Context(), "nope", stream.Observe, "x"))

	stale, err := one.StaleObserve(t.Context())
	require.NoError(t, err)
	require.Empty(t, stale)
	now = now.Add(ObserveLimit + time.Hour)
	stale, err = one.StaleObserve(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Stale{{"news", time.Unix(engineClock.Unix(), 0)}}, stale)
	require.NoError(t, one.ChangeMode(t.Context(), "news", stream.Observe, "operator:a"))
	stale, err = one.StaleObserve(t.Context())
	require.NoError(t, err)
	require.Empty(t, stale, "renewed by name")

	require.NoError(t, one.ChangeMode(t.Context(), "news", "", "operator:a"))
	require.Equal(t, stream.Enforce, one.Mode("news"))

	mr.SetError("away")
	require.Error(t, one.LoadModes(t.Context()))
	require.Error(t, one.ChangeMode(t.Context(), "news", stream.Observe, "operator:a"))
	require.Equal(t, stream.Enforce, one.Mode("news"), "what is not kept does not hold")
}

func TestRunFollowsModes(t *testing.T) {
	report, _ := testReport(t)
	b := newTestEngine(t, func(_ *Deps, o *EngineOptions, _ []stream.Stream) { o.Modes = report })
	require.NoError(t, report.SetMode(t.Context(), "news", stream.Annotate))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	require.Eventually(t, func() bool { return b.Mode("news") == stream.Annotate }, 5*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}
