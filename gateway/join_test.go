package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
)

// gate is a registry whose look-ups wait until they are let through.
type gate struct {
	mu     sync.Mutex
	sizes  []int
	open   chan struct{}
	failed func([]address.Address) error
}

func (g *gate) Lookup(ctx context.Context, _, _ string, _ uint16, addrs []address.Address) ([]consent.Answer, error) {
	g.mu.Lock()
	g.sizes = append(g.sizes, len(addrs))
	g.mu.Unlock()
	select {
	case <-g.open:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if g.failed != nil {
		if err := g.failed(addrs); err != nil {
			return nil, err
		}
	}
	out := make([]consent.Answer, len(addrs))
	for i, a := range addrs {
		out[i].Evidence = a.Plain()
	}
	return out, nil
}

func (g *gate) calls() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int(nil), g.sizes...)
}

func people(n int, of string) []address.Address {
	out := make([]address.Address, n)
	for i := range out {
		out[i] = address.MustParse(fmt.Sprintf("%s-%d@example.com", of, i))
	}
	return out
}

// waits waits until so many seats wait in the only lane.
func (j *joiner) waits(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, l := range j.lanes {
			return len(l.waiting) == n
		}
		return false
	}, 5*time.Second, time.Millisecond)
}

func (j *joiner) idle(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, l := range j.lanes {
		require.Zero(t, l.flights)
		require.Empty(t, l.waiting)
	}
}

func TestLookupsAreJoined(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	j := newJoiner(g, 10*time.Second)
	var wg sync.WaitGroup
	ask := func(name string, n int) {
		wg.Go(func() {
			addrs := people(n, name)
			got, err := j.Lookup(context.Background(), "shop", "news", 1, addrs)
			assert.NoError(t, err)
			for i, a := range addrs {
				assert.Equal(t, a.Plain(), got[i].Evidence, "each gets its own")
			}
		})
	}
	ask("first", 1)
	ask("second", 1)
	require.Eventually(t, func() bool { return len(g.calls()) == joinFlights }, 5*time.Second, time.Millisecond)
	for i := range 20 {
		ask(fmt.Sprintf("w%d", i), 1+i%3)
	}
	j.waits(t, 20)
	close(g.open)
	wg.Wait()
	calls := g.calls()
	require.LessOrEqual(t, len(calls), 4, "those who waited flew together")
	sum := 0
	for _, n := range calls {
		sum += n
	}
	require.Equal(t, 2+39, sum)
	j.idle(t)
}

func TestJoinedLookupIsBounded(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	j := newJoiner(g, 10*time.Second)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			_, err := j.Lookup(context.Background(), "shop", "news", 1, people(100, fmt.Sprint(i)))
			assert.NoError(t, err)
		})
	}
	j.waits(t, 10)
	close(g.open)
	wg.Wait()
	for _, n := range g.calls() {
		require.LessOrEqual(t, n, joinAddresses)
	}
	_, err := j.Lookup(context.Background(), "shop", "news", 1, people(1000, "many"))
	require.NoError(t, err)
	require.Equal(t, 1000, g.calls()[len(g.calls())-1], "a large one flies alone")
	j.idle(t)
}

func TestOneDamagedRecordStaysAlone(t *testing.T) {
	damaged := errors.New("damaged")
	for name, c := range map[string]struct {
		err  error
		hurt int
	}{"damaged": {damaged, 1}, "store away": {fmt.Errorf("x: %w", consent.ErrStoreUnavailable), 5}} {
		t.Run(name, func(t *testing.T) {
			g := &gate{open: make(chan struct{}), failed: func(addrs []address.Address) error {
				for _, a := range addrs {
					if a.Local() == "w3-0" {
						return c.err
					}
				}
				return nil
			}}
			j := newJoiner(g, 10*time.Second)
			var wg sync.WaitGroup
			var mu sync.Mutex
			failures := 0
			ask := func(name string) {
				wg.Go(func() {
					_, err := j.Lookup(context.Background(), "shop", "news", 1, people(1, name))
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						failures++
					}
				})
			}
			ask("a")
			ask("b")
			require.Eventually(t, func() bool { return len(g.calls()) == joinFlights }, 5*time.Second, time.Millisecond)
			for i := range 5 {
				ask(fmt.Sprintf("w%d", i))
			}
			j.waits(t, 5)
			close(g.open)
			wg.Wait()
			if c.hurt == 1 {
				require.Equal(t, 1, failures)
			} else {
				require.Positive(t, failures)
			}
			j.idle(t)
		})
	}
}

func TestWhoGivesUpDoesNotStopTheRest(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	j := newJoiner(g, 50*time.Millisecond)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*5*time.Millisecond)
			defer cancel()
			_, err := j.Lookup(ctx, "shop", "news", 1, people(1, fmt.Sprint(i)))
			assert.Error(t, err)
		})
	}
	wg.Wait()
	j.idle(t)
	close(g.open)
	got, err := j.Lookup(t.Context(), "shop", "news", 1, people(1, "after"))
	require.NoError(t, err)
	require.Len(t, got, 1)
}

// clumsy panics once.
type clumsy struct{ Consent }

func (clumsy) Lookup(context.Context, string, string, uint16, []address.Address) ([]consent.Answer, error) {
	panic("fault")
}

func TestFaultDoesNotBlockTheLane(t *testing.T) {
	j := newJoiner(clumsy{}, time.Second)
	for range 5 {
		require.Panics(t, func() { _, _ = j.Lookup(t.Context(), "shop", "news", 1, people(1, "x")) })
	}
	j.idle(t)
}
