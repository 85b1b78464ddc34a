package consent

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/testmail/env"
)

// realRig is a registry on a real redis-server.
func realRig(t testing.TB, keys ...string) *rig {
	if len(keys) == 0 {
		keys = []string{"1"}
	}
	g := &rig{db: memDB(t), trail: &trail{}, clock: &clock{t: day0}}
	g.rdb = client(t, env.Redis(t).Addr)
	var err error
	g.Registry, err = New(g.rdb, ringOf(t, keys...), g.db, g.trail, Options{Now: g.clock.now})
	require.NoError(t, err)
	return g
}

func person(i int) address.Address {
	return address.MustParse("person" + strconv.Itoa(i) + "@example.org")
}

// csvOf makes an import of n persons with full evidence by double opt-in.
func csvOf(n int) string {
	var b strings.Builder
	b.WriteString("address,action,time,source,wording,wording_version\n")
	for i := range n {
		fmt.Fprintf(&b, "person%d@example.org,confirmed,%s,https://example.org/signup,Yes please,v1\n", i, day0.Add(-time.Duration(i)*time.Second).Format(time.RFC3339))
	}
	return b.String()
}

func (g *rig) fill(t tb, n int) {
	rep, err := g.Import(context.Background(), strings.NewReader(csvOf(n)), ImportOptions{Controller: "acme", Purpose: "newsletter", Jurisdiction: "EU"})
	require.NoError(t, err)
	require.Equal(t, n, rep.Active)
}

func usedMemory(t tb, rdb *redis.Client) int {
	text, err := rdb.Info(context.Background(), "memory").Result()
	require.NoError(t, err)
	n, err := strconv.Atoi(infoField(text, "used_memory"))
	require.NoError(t, err)
	return n
}

// TestMemoryPerSubject holds the aim of at most 300 bytes of Redis for one
// subject with one purpose and its evidence.
func TestMemoryPerSubject(t *testing.T) {
	const n = 20_000
	g := realRig(t)
	before := usedMemory(t, g.rdb)
	g.fill(t, n)
	imported := (usedMemory(t, g.rdb) - before) / n
	t.Logf("imported: %d bytes a subject", imported)
	require.LessOrEqual(t, imported, 300)
	key := subjectKey(g.ring.Identify("acme", person(1)).ID)
	enc, err := g.rdb.ObjectEncoding(context.Background(), key).Result()
	require.NoError(t, err)
	require.Equal(t, "listpack", enc)

	// A double opt-in of our own is two events and an entry that lifts.
	e := given(address.MustParse("doi@example.org"))
	e.Method, e.Purpose = "form", "newsletter"
	g.record(t, e)
	e.Action, e.Method, e.Wording = Confirmed, "link", ""
	g.record(t, e)
	key = subjectKey(g.ring.Identify("acme", e.Address).ID)
	used, err := g.rdb.MemoryUsage(context.Background(), key, 0).Result()
	require.NoError(t, err)
	t.Logf("double opt-in: %d bytes", used)
	require.LessOrEqual(t, used, int64(300))
	enc, err = g.rdb.ObjectEncoding(context.Background(), key).Result()
	require.NoError(t, err)
	require.Equal(t, "listpack", enc)
}

func BenchmarkLookup(b *testing.B) {
	const n = 50_000
	g := realRig(b)
	g.fill(b, n)
	for _, batch := range []int{1, 50} {
		b.Run(strconv.Itoa(batch), func(b *testing.B) {
			ctx := context.Background()
			b.RunParallel(func(pb *testing.PB) {
				at := 0
				addrs := make([]address.Address, batch)
				for pb.Next() {
					for i := range addrs {
						at = (at + 7919) % n
						addrs[i] = person(at)
					}
					out, err := g.Lookup(ctx, "acme", "newsletter", 1, addrs)
					if err != nil || out[0].Status != StatusActive {
						b.Error("lookup", err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "recipients/s")
		})
	}
}
