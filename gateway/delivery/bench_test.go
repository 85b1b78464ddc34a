package delivery

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/node"
	"postern/gateway/spool"
	"postern/testmail/smarthost"
)

// BenchmarkRelay takes messages through a spool on disk to a next hop on
// loopback: what is measured is accept, delivery, the hop itself and the
// removal, all sharing the cores.
func BenchmarkRelay(b *testing.B) {
	for _, c := range []struct {
		name              string
		size, writers, to int
		personal          bool
		offer             []string
	}{
		{"4KiB/20", 4 << 10, 20, 1, false, nil},
		{"4KiB/100", 4 << 10, 100, 1, false, nil},
		{"4KiB/20/chunking", 4 << 10, 20, 1, false, []string{"CHUNKING"}},
		{"50KiB/20", 50 << 10, 20, 1, false, nil},
		{"4KiB/shared50", 4 << 10, 20, 50, false, nil},
		{"4KiB/personal50", 4 << 10, 20, 50, true, nil},
	} {
		b.Run(c.name, func(b *testing.B) { benchRelay(b, c.size, c.writers, c.to, c.personal, c.offer) })
	}
}

func benchRelay(b *testing.B, size, writers, rcpts int, personal bool, offer []string) {
	arrived := make(chan struct{}, 1)
	var count atomic.Int64
	want := int64(b.N)
	if personal {
		want *= int64(rcpts)
	}
	var mu sync.Mutex
	delays := make([]time.Duration, 0, want)
	sink, err := smarthost.New(smarthost.Options{Discard: true, Offer: offer, OnMessage: func(m *smarthost.Message) {
		at := bytes.Index(m.Data, []byte("X-Sent: "))
		sent, _ := strconv.ParseInt(string(m.Data[at+8:at+8+19]), 10, 64)
		mu.Lock()
		delays = append(delays, time.Since(time.Unix(0, sent)))
		mu.Unlock()
		if count.Add(1) == want {
			arrived <- struct{}{}
		}
	}})
	require.NoError(b, err)
	defer sink.Close()
	dir := b.TempDir()
	db, err := node.Open(dir)
	require.NoError(b, err)
	defer db.Close()
	store, err := spool.New(db, dir, nil, spool.Options{})
	require.NoError(b, err)
	defer store.Close()
	var prep Preparer = plain{}
	if personal {
		prep = plain{each}
	}
	d, err := New(store, prep, Options{Smarthosts: []Smarthost{{Address: sink.Addr()}}})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	defer func() { cancel(); <-done }()

	to := address.MustParse("someone@example.org")
	from := address.MustParse("news@shop.example")
	body := bytes.Repeat([]byte(strings.Repeat("x", 70)+"\r\n"), size/72)
	var left atomic.Int64
	left.Store(int64(b.N))
	accepts := make([][]time.Duration, writers)
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				start := time.Now()
				m := &spool.Message{ReversePath: from, Body: body, Recipients: make([]spool.Recipient, rcpts),
					Header: fmt.Appendf(nil, "X-Sent: %019d\r\nFrom: news@shop.example\r\nSubject: hello\r\n", start.UnixNano())}
				for i := range m.Recipients {
					m.Recipients[i].Address = to
					if personal {
						m.Recipients[i].Subject[0] = 1
					}
				}
				if err := store.Accept(ctx, m); err != nil {
					b.Error(err)
					return
				}
				accepts[w] = append(accepts[w], time.Since(start))
			}
		})
	}
	wg.Wait()
	<-arrived
	waitEmpty(store)
	b.StopTimer()
	var all []time.Duration
	for _, a := range accepts {
		all = append(all, a...)
	}
	b.ReportMetric(float64(b.N*rcpts)/b.Elapsed().Seconds(), "rcpt/s")
	b.ReportMetric(quantile(all, 0.5), "accept-p50-ms")
	b.ReportMetric(quantile(all, 0.99), "accept-p99-ms")
	b.ReportMetric(quantile(delays, 0.99), "arrive-p99-ms")
	b.ReportMetric(peakRSS(), "peak-MB")
}

func quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return 0
	}
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	return float64(d[int(float64(len(d)-1)*q)].Microseconds()) / 1000
}

// peakRSS is the highest memory of this process so far, in MB.
func peakRSS() float64 {
	b, _ := os.ReadFile("/proc/self/status")
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "VmHWM:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return 0
}

// BenchmarkBacklog lets messages pile up while the next hop is away and takes
// the time until they are gone with it back, while more are accepted.
func BenchmarkBacklog(b *testing.B) {
	for _, size := range []int{4 << 10, 50 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			sink, err := smarthost.New(smarthost.Options{Discard: true})
			require.NoError(b, err)
			defer sink.Close()
			dir := b.TempDir()
			db, err := node.Open(dir)
			require.NoError(b, err)
			defer db.Close()
			store, err := spool.New(db, dir, nil, spool.Options{})
			require.NoError(b, err)
			defer store.Close()
			accept := func(n int) {
				var wg sync.WaitGroup
				var left atomic.Int64
				left.Store(int64(n))
				for range 20 {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							m := letter("someone@example.org")
							m.Body = bytes.Repeat([]byte(strings.Repeat("x", 70)+"\r\n"), size/72)
							if err := store.Accept(b.Context(), m); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			}
			start := time.Now()
			accept(b.N)
			filled := time.Since(start)
			d, err := New(store, plain{}, Options{Smarthosts: []Smarthost{{Address: sink.Addr()}}})
			require.NoError(b, err)
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			b.ResetTimer()
			go func() { done <- d.Run(ctx) }()
			accept(b.N / 5)
			waitEmpty(store)
			b.StopTimer()
			cancel()
			<-done
			require.EqualValues(b, b.N+b.N/5, sink.Count())
			b.ReportMetric(float64(b.N)/filled.Seconds(), "fill/s")
			b.ReportMetric(float64(sink.Count())/b.Elapsed().Seconds(), "drain/s")
			b.ReportMetric(peakRSS(), "peak-MB")
		})
	}
}

// BenchmarkLarge relays messages of 25 MB, four at a time: memory is the point.
func BenchmarkLarge(b *testing.B) { benchRelay(b, 25<<20, 4, 1, false, nil) }

// waitEmpty waits until nothing is spooled any more.
func waitEmpty(store *spool.Store) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for store.Stats().Messages > 0 {
		<-tick.C
	}
}
