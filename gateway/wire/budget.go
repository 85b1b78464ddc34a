package wire

import (
	"context"
	"math/bits"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Budget bounds the octets that all messages being received may hold at once.
// A nil *Budget has no bound.
type Budget struct {
	sem   *semaphore.Weighted
	total int64
	mu    sync.Mutex
	used  int64
}

// NewBudget allows total octets.
func NewBudget(total int64) *Budget {
	return &Budget{sem: semaphore.NewWeighted(total), total: total}
}

// Used tells how many octets are taken.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// acquire waits for n octets, in order of asking, until ctx ends.
func (b *Budget) acquire(ctx context.Context, n int64) error {
	if b == nil {
		return nil
	}
	if err := b.sem.Acquire(ctx, n); err != nil {
		return err
	}
	b.count(n)
	return nil
}

// try takes n octets if they are free.
func (b *Budget) try(n int64) bool {
	if b == nil {
		return true
	}
	if !b.sem.TryAcquire(n) {
		return false
	}
	b.count(n)
	return true
}

func (b *Budget) release(n int64) {
	if b == nil || n == 0 {
		return
	}
	b.sem.Release(n)
	b.count(-n)
}

func (b *Budget) count(n int64) {
	b.mu.Lock()
	b.used += n
	b.mu.Unlock()
}

// Pooled buffers are powers of two between these; larger ones are left to the
// garbage collector.
const (
	minClass = 13 // 8 KiB
	maxClass = 20 // 1 MiB
)

var pools [maxClass + 1]sync.Pool

// getBuffer gives an empty buffer with room for at least n octets.
func getBuffer(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return make([]byte, 0, n)
	}
	if p, ok := pools[class].Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// putBuffer takes a buffer of getBuffer back.
func putBuffer(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < minClass || class > maxClass || cap(b) != 1<<class {
		return
	}
	b = b[:0]
	pools[class].Put(&b)
}
