package spool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A token is taken once, also by those who ask at the same moment and after
// the message has left; it is forgotten with time.
func TestAcceptOnce(t *testing.T) {
	now := time.Now()
	s := newStore(t, nil, Options{Now: func() time.Time { return now }})
	ids := make(chan string, 8)
	for range cap(ids) {
		go func() {
			id, err := s.AcceptOnce(t.Context(), "case:1:ack", message("a@example.org"))
			if err != nil {
				id = err.Error()
			}
			ids <- id
		}()
	}
	first := <-ids
	for range cap(ids) - 1 {
		require.Equal(t, first, <-ids)
	}
	require.EqualValues(t, 1, s.Stats().Messages)
	it := take(t, s)
	require.Equal(t, first, it.Message.ID)
	require.NoError(t, it.Finish([]Result{delivered(0)}, nil))
	waitStats(t, s, func(st Stats) bool { return st.Messages == 0 })

	again, err := s.AcceptOnce(t.Context(), "case:1:ack", message("a@example.org"))
	require.NoError(t, err)
	require.Equal(t, first, again)
	other, err := s.AcceptOnce(t.Context(), "case:2:ack", message("a@example.org"))
	require.NoError(t, err)
	require.NotEqual(t, first, other)

	now = now.Add(onceFor + time.Hour)
	again, err = s.AcceptOnce(t.Context(), "case:1:ack", message("a@example.org"))
	require.NoError(t, err)
	require.NotEqual(t, first, again)
	_, known, err := s.onceID(onceKey("case:2:ack"))
	require.NoError(t, err)
	require.Empty(t, known, "old tokens are removed")
}

// A refused message leaves no token behind.
func TestAcceptOnceRefused(t *testing.T) {
	s := newStore(t, nil, Options{MaxMessages: 1})
	require.NoError(t, s.Accept(t.Context(), message("a@example.org")))
	_, err := s.AcceptOnce(t.Context(), "t", message("b@example.org"))
	require.ErrorIs(t, err, ErrFull)
	_, known, err := s.onceID(onceKey("t"))
	require.NoError(t, err)
	require.Empty(t, known)
}
