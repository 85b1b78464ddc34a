package throttle

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

func limiter(t *testing.T, addr string) *Limiter {
	rdb := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	return New(rdb, []byte("secret"), time.Second)
}

// Several nodes together let through no more than the limit, each subject of
// it has its own, and it starts anew when the window is over.
func TestNodesShareALimit(t *testing.T) {
	mr := miniredis.RunT(t)
	limit := Limit{Name: "mail", Most: 3, Window: 24 * time.Hour}
	a, b := limiter(t, mr.Addr()), limiter(t, mr.Addr())
	ctx := context.Background()
	for i := range 10 {
		l := []*Limiter{a, b}[i%2]
		ok, err := l.Take(ctx, limit, "someone@example.org")
		require.NoError(t, err)
		require.Equal(t, i < 3, ok)
		mr.FastForward(time.Hour)
	}
	ok, err := a.Take(ctx, limit, "other@example.org")
	require.NoError(t, err)
	require.True(t, ok)
	mr.FastForward(14 * time.Hour)
	ok, err = b.Take(ctx, limit, "someone@example.org")
	require.NoError(t, err)
	require.True(t, ok, "24 h after the first one, not after the last that was refused")
	for _, key := range mr.Keys() {
		require.True(t, strings.HasPrefix(key, "pl:mail:"), key)
		require.NotContains(t, key, "example")
		require.Positive(t, mr.TTL(key))
	}
}

// On a real Redis, many at once: the count is exact.
func TestAtomicOnRedis(t *testing.T) {
	addr := env.Redis(t).Addr
	limit := Limit{Name: "mail", Most: 20, Window: time.Minute}
	var through atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range 8 {
		l := limiter(t, addr)
		wg.Go(func() {
			for range 25 {
				ok, err := l.Take(context.Background(), limit, "x")
				if err != nil {
					errs <- err
					return
				}
				if ok {
					through.Add(1)
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	require.NoError(t, <-errs)
	require.EqualValues(t, 20, through.Load())
}

// Where it can't be counted it is refused.
func TestFailsClosed(t *testing.T) {
	mr := miniredis.RunT(t)
	l := limiter(t, mr.Addr())
	mr.Close()
	ok, err := l.Take(context.Background(), Limit{Name: "mail", Most: 3, Window: time.Hour}, "x")
	require.ErrorIs(t, err, ErrUnavailable)
	require.False(t, ok)
	_, err = l.Take(context.Background(), Limit{Name: "mail"}, "x")
	require.ErrorIs(t, err, ErrUnavailable)
}
