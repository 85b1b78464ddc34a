package wire

import (
	"container/list"
	"context"
	"math/bits"
	"sync"
	"time"
)

// Budget bounds the octets that all messages being received may hold at once.
// A nil *Budget has no bound.
type Budget struct {
	total int64

	mu      sync.Mutex
	used    int64
	waiting list.List // of *claim, first come first served
}

// claim is one message that waits for memory.
type claim struct {
	n       int64
	granted chan struct{}
}

// NewBudget allows total octets.
func NewBudget(total int64) *Budget { return &Budget{total: total} }

// Used tells how many octets are taken.
func (b *Budget) Used() int64 {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// acquire waits for n octets, in order of asking, for so long or until ctx ends.
func (b *Budget) acquire(ctx context.Context, wait time.Duration, n int64) error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	if b.waiting.Len() == 0 && b.used+n <= b.total {
		b.used += n
		b.mu.Unlock()
		return nil
	}
	c := &claim{n, make(chan struct{})}
	place := b.waiting.PushBack(c)
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
		return b.giveUp(place, c, ctx.Err())
	}
}

// giveUp takes a claim back, unless it was granted at the same moment.
func (b *Budget) giveUp(place *list.Element, c *claim, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-c.granted:
		return nil
	default:
	}
	b.waiting.Remove(place)
	b.grant() // a smaller one may stand behind it
	return err
}

// try takes n octets if they are free, before those that wait: a message
// under way ends sooner than one that has not begun.
func (b *Budget) try(n int64) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.total {
		return false
	}
	b.used += n
	return true
}

func (b *Budget) release(n int64) {
	if b == nil || n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.grant()
}

// grant serves the claims that fit, first come first served.
func (b *Budget) grant() {
	for e := b.waiting.Front(); e != nil; e = b.waiting.Front() {
		c := e.Value.(*claim)
		if b.used+c.n > b.total {
			return
		}
		b.used += c.n
		close(c.granted)
		b.waiting.Remove(e)
	}
}

// Pooled buffers are powers of two between these; larger ones are left to the
// garbage collector.
const (
	minClass = 13 // 8 KiB
	maxClass = 20 // 1 MiB
)

var pools [maxClass + 1]sync.Pool

// bufferSize is what a buffer of n octets really takes.
func bufferSize(n int64) int64 {
	class := max(bits.Len64(uint64(max(n, 1)-1)), minClass)
	if class > maxClass {
		return n
	}
	return 1 << class
}

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
