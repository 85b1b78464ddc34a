package queue

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9"

	"postern/classifier"
	"postern/testmail/env"
)

// BenchmarkOpen stores cases on a real Redis that syncs every write, with the
// opt-out bound before it returns.
func BenchmarkOpen(b *testing.B) {
	rdb := redis.NewClient(&redis.Options{Addr: env.Redis(b).Addr})
	defer rdb.Close()
	q := countingQueue(b, rdb, testStreams(b), slog.New(slog.DiscardHandler))
	for b.Loop() {
		if _, err := q.Open(ctx, mailFrom(fmt.Sprintf("p%d@example.com", uid), classifier.Objection)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList reads the live cases among 1,000.
func BenchmarkList(b *testing.B) {
	rdb := redis.NewClient(&redis.Options{Addr: env.Redis(b, "--appendfsync", "no").Addr})
	defer rdb.Close()
	q := countingQueue(b, rdb, testStreams(b), slog.New(slog.DiscardHandler))
	for i := range 1000 {
		if _, err := q.Open(ctx, mailFrom(fmt.Sprintf("p%d@example.com", i), classifier.Access)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := q.List(ctx, Filter{Live: true}); err != nil {
			b.Fatal(err)
		}
	}
}
