package spool

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"postern/gateway/node"
)

// TestStartWithManyWaiting opens a spool in which much waits (200,000 messages
// in BenchmarkStart): it takes those of the next moments in hand, not all.
func TestStartWithManyWaiting(t *testing.T) {
	const waiting = 50_000
	dir := t.TempDir()
	db, err := node.Open(dir)
	require.NoError(t, err)
	s, err := New(db, dir, nil, Options{})
	require.NoError(t, err)
	octets := int64(0)
	for n := 0; n < waiting; {
		b := db.NewBatch()
		for range 2000 {
			m := message(fmt.Sprintf("r%d@example.org", n))
			_, err := s.stage(b, m, nil)
			require.NoError(t, err)
			octets += messageSize(m)
			n++
		}
		require.NoError(t, b.Commit(pebble.NoSync))
		require.NoError(t, b.Close())
	}
	require.NoError(t, s.Close())
	require.NoError(t, db.Close())

	db, err = node.Open(dir)
	require.NoError(t, err)
	defer db.Close()
	before := heapInUse()
	s, err = New(db, dir, nil, Options{})
	require.NoError(t, err)
	defer s.Close()
	for range 3 * scanBatch {
		it := take(t, s)
		require.NoError(t, it.Finish([]Result{delivered(0)}, nil))
		s.mu.Lock()
		inHand := len(s.inHand)
		s.mu.Unlock()
		require.LessOrEqual(t, inHand, 2*scanBatch+writeBatch)
	}
	grown := heapInUse() - before
	t.Logf("%d messages wait; the heap grew by %d octets", waiting, grown)
	require.Less(t, grown, int64(24<<20))
	waitStats(t, s, func(st Stats) bool {
		return st.Messages == waiting-3*scanBatch && st.Bytes < octets && st.Damaged == 0
	})
}

// heapInUse is what is in use after a collection, in octets.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
