package ledger

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/node"
)

func BenchmarkStage(b *testing.B) {
	l := open(b, memStore(b), b.TempDir(), Options{})
	batch := l.db.NewBatch()
	defer batch.Close()
	r := verdict(1)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%1000 == 0 {
			batch.Reset()
		}
		if err := l.Stage(batch, r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMillion tells what a log of a million records costs: run it with
// -benchtime 1x.
func BenchmarkMillion(b *testing.B) {
	const million = 1_000_000
	for b.Loop() {
		dir := b.TempDir()
		db, err := node.Open(dir)
		require.NoError(b, err)
		l := open(b, db, filepath.Join(dir, "ledger"), Options{})
		start := time.Now()
		var staging time.Duration
		for n := 0; n < million; n += 1000 {
			at := time.Now()
			batch := db.NewBatch()
			for i := range 1000 {
				r := verdict(n + i)
				r.Subject = subject((n + i) % 60_000)
				require.NoError(b, l.Stage(batch, r))
			}
			require.NoError(b, batch.Commit(nil))
			staging += time.Since(at)
			require.NoError(b, l.pass(b.Context(), false))
		}
		require.NoError(b, l.Flush(b.Context()))
		b.ReportMetric(float64(staging.Microseconds())/million, "µs/stage")
		b.ReportMetric(float64((time.Since(start)-staging).Microseconds())/million, "µs/sequence")
		start = time.Now()
		out := filepath.Join(dir, "export")
		require.NoError(b, l.Export(b.Context(), out))
		b.ReportMetric(time.Since(start).Seconds(), "s/export")
		b.ReportMetric(float64(db.Metrics().DiskSpaceUsage())/million, "B/record")
		require.NoError(b, db.Close())

		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start = time.Now()
		rep, err := Verify(b.Context(), out, l.PublicKey(), VerifyOptions{})
		b.ReportMetric(time.Since(start).Seconds(), "s/verify")
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapSys)/(1<<20), "MiB-heap")
		require.NoError(b, err)
		require.True(b, rep.OK())
		require.EqualValues(b, million, rep.Size)
	}
}
