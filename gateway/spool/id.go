package spool

import (
	"bufio"
	"crypto/rand"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// idSource makes ULIDs that rise within one process.
type idSource struct {
	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy
	last    uint64
}

func newIDSource() *idSource {
	return &idSource{entropy: ulid.Monotonic(bufio.NewReaderSize(rand.Reader, 512), 1<<32)}
}

func (s *idSource) next(now time.Time) (ulid.ULID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, ulid.Timestamp(now)) // a clock set back makes no id twice
	return ulid.New(s.last, s.entropy)
}
