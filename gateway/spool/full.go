package spool

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fullness remembers the last look at the disk.
type fullness struct {
	checked atomic.Int64 // Unix nanoseconds
	free    atomic.Int64 // octets, counted down by what was accepted since
}

// diskEvery is how often the kernel is asked for free space.
const diskEvery = 200 * time.Millisecond

// checkRoom tells whether size more octets may be accepted; the error wraps
// ErrFull.
func (s *Store) checkRoom(size int64) error {
	if n := s.messages.Load(); n >= s.opts.MaxMessages {
		return fmt.Errorf("%w: %d messages wait", ErrFull, n)
	}
	if n := s.bytes.Load(); n+size > s.opts.MaxBytes {
		return fmt.Errorf("%w: %d octets wait", ErrFull, n)
	}
	if s.opts.Free == nil {
		return nil
	}
	now := time.Now().UnixNano()
	last := s.full.checked.Load()
	if now-last > int64(diskEvery) && s.full.checked.CompareAndSwap(last, now) {
		if err := s.lookAtDisk(); err != nil {
			return err
		}
	}
	if free := s.full.free.Add(-size); free < s.opts.Reserve {
		return fmt.Errorf("%w: %d octets are free on disk, %d are kept in reserve", ErrFull, free, s.opts.Reserve)
	}
	return nil
}

// lookAtDisk asks for free space. New does so before the first Accept.
func (s *Store) lookAtDisk() error {
	free, err := s.opts.Free()
	if err != nil {
		return fmt.Errorf("%w: free space is unknown: %w", ErrFull, err)
	}
	s.full.free.Store(free)
	return nil
}

// freeSpace asks the kernel for what an unprivileged process may still write.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for free space: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
