package gateway

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

func trafficStore(t testing.TB) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: env.Redis(t).Addr})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestTrafficAddsUpOverNodesAndGrains(t *testing.T) {
	ctx, rdb := t.Context(), trafficStore(t)
	one, two := NewReport(rdb, nil), NewReport(rdb, nil)
	at := time.Date(2026, 11, 24, 9, 58, 0, 0, time.UTC)
	one.Count(Passed{"news", FateAccepted, "", 3, at})
	two.Count(Passed{"news", FateAccepted, "", 4, at.Add(5 * time.Minute)})
	two.Count(Passed{"news", FateDenied, NoConsent, 2, at})
	two.Count(Passed{"service", FateDelivered, "", 1, at})
	require.NoError(t, one.Flush(ctx))
	require.NoError(t, two.Flush(ctx))

	day, err := one.Traffic(ctx, Daily, at, 30, "news")
	require.NoError(t, err)
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	require.Equal(t, []Tally{{midnight, "news", FateAccepted, "", 7}, {midnight, "news", FateDenied, NoConsent, 2}}, day)

	hours, err := one.Traffic(ctx, Hourly, at.Add(time.Hour), 24, "news")
	require.NoError(t, err)
	require.Equal(t, []Tally{
		{midnight.Add(9 * time.Hour), "news", FateAccepted, "", 3}, {midnight.Add(9 * time.Hour), "news", FateDenied, NoConsent, 2},
		{midnight.Add(10 * time.Hour), "news", FateAccepted, "", 4},
	}, hours)

	all, err := one.Traffic(ctx, TenMinutes, at, 1, "")
	require.NoError(t, err)
	require.Len(t, all, 3)
	sum, err := two.Traffic(ctx, Daily, at, 1, AllStreams)
	require.NoError(t, err)
	require.Equal(t, []Tally{{midnight, AllStreams, FateAccepted, "", 7}, {midnight, AllStreams, FateDelivered, "", 1}, {midnight, AllStreams, FateDenied, NoConsent, 2}}, sum)
	for _, key := range []string{trafficKey(Daily, midnight.Unix(), false), trafficKey(TenMinutes, midnight.Add(9*time.Hour+50*time.Minute).Unix(), true)} {
		ttl, err := rdb.TTL(ctx, key).Result()
		require.NoError(t, err)
		require.Positive(t, ttl, "bounded: %s ends by itself", key)
	}
	_, err = one.Traffic(ctx, "x", at, 1, "")
	require.Error(t, err)
}

// What Redis did not take is written later, once.
func TestTrafficSurvivesAnOutage(t *testing.T) {
	r, mr := testReport(t)
	at := time.Date(2026, 11, 24, 9, 58, 0, 0, time.UTC)
	r.Count(Passed{"news", FateAccepted, "", 3, at})
	mr.SetError("LOADING")
	require.Error(t, r.Flush(t.Context()))
	r.Count(Passed{"news", FateAccepted, "", 2, at})
	require.Error(t, r.Flush(t.Context()))
	mr.SetError("")
	require.NoError(t, r.Flush(t.Context()))
	require.NoError(t, r.Flush(t.Context()))
	got, err := r.Traffic(t.Context(), Hourly, at, 1, "")
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.EqualValues(t, 5, got[0].Count)
}

func TestEveryRecipientIsCountedOnce(t *testing.T) {
	c := &counted{}
	e := &Engine{opts: EngineOptions{Report: c}.withDefaults()}
	e.countAll("news", 3, Outcome{Recipients: []error{nil, &Denial{Reason: NoConsent}, nil}}, nil)
	e.countAll("news", 2, Outcome{}, &Denial{Reason: StoreUnavailable, Defer: true})
	var got []string
	for _, p := range c.passed {
		got = append(got, fmt.Sprintf("%s %s %s %d", p.Stream, p.Fate, p.Reason, p.N))
	}
	require.Equal(t, []string{"news denied no-consent 1", "news accepted  2", "news deferred store-unavailable 2"}, got)
}

// BenchmarkCount is what a decision pays for being counted.
func BenchmarkCount(b *testing.B) {
	r := NewReport(nil, nil)
	now := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Count(Passed{Stream: "news", Fate: FateDenied, Reason: NoConsent, N: 1, Time: now})
		}
	})
}
