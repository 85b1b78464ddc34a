package spool

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Limits are what a running store can be given anew.
type Limits struct {
	Messages int64         // Options.MaxMessages
	Bytes    int64         // Options.MaxBytes
	Expire   time.Duration // Options.Expire; of messages accepted from now on
}

// SetLimits puts others in place; zeros are the defaults of Options.
func (s *Store) SetLimits(l Limits) {
	o := Options{MaxMessages: l.Messages, MaxBytes: l.Bytes, Expire: l.Expire}.withDefaults("")
	s.limits.Store(&Limits{o.MaxMessages, o.MaxBytes, o.Expire})
}

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
	most := s.limits.Load()
	if n := s.messages.Load(); n >= most.Messages {
		return fmt.Errorf("%w: %d messages wait", ErrFull, n)
	}
	if n := s.bytes.Load(); n+size > most.Bytes {
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
