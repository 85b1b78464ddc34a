package spool

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// AwaitReady ends with the last message that is waited for, and TakeReady then
// leases all of them in their order.
func TestAwaitReadyWaitsForCompany(t *testing.T) {
	s := newStore(t, nil, Options{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.AwaitReady(context.Background(), 3, time.Hour)
	}()
	waiting := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.enough == 3
	}
	require.Eventually(t, waiting, time.Minute, time.Millisecond)
	var ids []string
	for range 3 {
		require.True(t, waiting(), "two are not enough")
		m := message("anna@example.net")
		require.NoError(t, s.Accept(context.Background(), m))
		ids = append(ids, m.ID)
	}
	<-done
	var got []string
	for _, it := range s.TakeReady(5) {
		got = append(got, it.Message.ID)
		require.NoError(t, it.Finish([]Result{delivered(0)}, nil))
	}
	require.Equal(t, ids, got)
}

// It does not wait behind what is ready but better taken alone, nor when its
// time or its caller is over.
func TestAwaitReadyEnds(t *testing.T) {
	s := newStore(t, nil, Options{})
	s.AwaitReady(context.Background(), 1, time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.AwaitReady(ctx, 1, time.Hour)
	require.NoError(t, s.Accept(context.Background(), message("anna@example.net", "ben@example.net")))
	s.AwaitReady(context.Background(), 2, time.Hour)
	it := take(t, s)
	s.AwaitReady(context.Background(), 0, time.Hour)
	require.NoError(t, it.Finish([]Result{delivered(0), delivered(1)}, nil))
}
