package queue

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/stream"
	"postern/queue/clock"
	"postern/testmail/env"
)

// seats are countries with their zones: both hemispheres of DST, none, and the
// half-hour ones.
var seats = []struct{ country, zone string }{
	{"DE", "Europe/Berlin"}, {"PT", "Europe/Lisbon"}, {"FI", "Europe/Helsinki"}, {"GB", "Europe/London"}, {"IE", "Europe/Dublin"}, {"CH", "Europe/Zurich"},
	{"US", "America/Los_Angeles"}, {"US", "Pacific/Honolulu"}, {"BR", "America/Sao_Paulo"}, {"PT", "Atlantic/Azores"}, {"FR", "Pacific/Auckland"}, {"NL", "Asia/Kathmandu"},
	{"FR", "Australia/Lord_Howe"}, {"XX", "No/Where"},
}

// TestYear simulates 10,000 receipts over a year across all regimes, seats and
// zones: every case is reminded of before it is overdue, in order, extended
// ones too.
func TestYear(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(6, 2026))
	regimes := []string{"", "GDPR", "UK", "CH", "CCPA", "LGPD", "nonsense"}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 10000 {
		s := seats[rng.IntN(len(seats))]
		c := stream.Controller{ID: fmt.Sprint(i), Country: s.country, TimeZone: s.zone}
		received := start.Add(time.Duration(rng.Int64N(int64(366 * 24 * time.Hour))))
		p := w.q.periodOf(c, regimes[rng.IntN(len(regimes))], received)
		what := fmt.Sprintf("%s %s %s received %s due %s", s.country, s.zone, p.rule.ID, received, p.due)
		require.NotEmpty(t, p.rule.ID, what)
		days := p.due.Sub(received).Hours() / 24
		require.Greater(t, days, 13.0, what)
		require.Less(t, days, 46.0, what)
		require.Equal(t, "23:59:59", p.due.Format(time.TimeOnly), "the last second of a local day, DST or not: "+what)
		if p.rule.Shift {
			require.True(t, p.calendar.Working(p.due), what)
		}
		requireReminded(t, p, received, what)
		if end, ok := p.rule.ExtendedEnd(received, p.calendar, p.loc); ok {
			require.True(t, end.After(p.due), what)
			p.due = end
			requireReminded(t, p, received.AddDate(0, 0, 20), what+" extended")
		}
	}
}

// requireReminded checks the reminders of one clock.
func requireReminded(t *testing.T, p period, from time.Time, what string) {
	t.Helper()
	at := p.reminders(from)
	members := remindMembers("PC-7K3Q-X9MD", at, from)
	require.Len(t, members, 4, what)
	before := 0
	for kind, when := range at {
		require.True(t, when.After(from), kind+" "+what)
		if kind == RemindOverdue {
			require.True(t, when.After(p.due), what)
			continue
		}
		require.True(t, when.Before(p.due), kind+" "+what)
		before++
	}
	require.Equal(t, 3, before, what)
	require.Equal(t, 3, p.calendar.Between(at[RemindDays].In(p.loc), p.due.In(p.loc)), what)
}

// TestYearOnRedis lets cases run through the queue itself for a year of days.
func TestYearOnRedis(t *testing.T) {
	srv := env.Redis(t, "--appendfsync", "no")
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer rdb.Close()
	w := newWorldOn(t, rdb)
	w.q.o.AckStream, w.q.o.Workers = nil, 4
	w.q.o.Log = slog.New(slog.DiscardHandler)
	rng := rand.New(rand.NewPCG(1, 2))
	first := map[string]string{}
	seen := 0
	for day := 0; day < 110; day += 2 {
		w.clock.Set(time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC).AddDate(0, 0, day))
		if day < 60 {
			for range 3 {
				in := mailFrom(fmt.Sprintf("p%d@example.com", uid), classifier.Access)
				in.Received = w.clock.Now().Add(-time.Duration(rng.IntN(20)) * time.Hour)
				in.Result.Regime = []string{"GDPR", "LGPD", "CCPA", "CH"}[rng.IntN(4)]
				_, err := w.q.Open(ctx, in)
				require.NoError(t, err)
			}
		}
		w.drain()
		for _, n := range w.notices[seen:] {
			if first[n.Case] == "" {
				require.NotEqual(t, RemindOverdue, n.Kind, "%s was overdue before anybody was reminded", n.Case)
				first[n.Case] = n.Kind
			}
			if n.Kind == RemindOverdue {
				require.False(t, w.clock.Now().Before(n.Due))
			}
		}
		seen = len(w.notices)
	}
	require.Len(t, first, 90, "each case was reminded of")
}

func TestStricterLawCounts(t *testing.T) {
	w := newWorld(t)
	in := mailFrom("alice@example.com", classifier.Access)
	in.Result.Regime = string(clock.BR)
	ref, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	c := w.show(ref.Number)
	require.Equal(t, "BR-ANSWER", c.Rule)
	require.Equal(t, "2026-12-09", c.Due.Format(time.DateOnly))
}
