package throttle

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each subject of each limit has its own count, which starts anew with the
// next window; looking does not count.
func TestLocal(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	l := NewLocal(func() time.Time { return now })
	few, more := Limit{Name: "few", Most: 2, Window: time.Hour}, Limit{Name: "more", Most: 3, Window: 2 * time.Hour}
	take := func(limit Limit, who string) bool {
		ok, err := l.Take(context.Background(), limit, who)
		require.NoError(t, err)
		return ok
	}
	require.False(t, l.Spent(few, "a"))
	require.True(t, take(few, "a"))
	require.True(t, take(few, "a"))
	require.True(t, l.Spent(few, "a"))
	require.False(t, take(few, "a"))
	require.True(t, take(few, "b"))
	require.True(t, take(more, "a"))
	now = now.Add(time.Hour)
	require.False(t, l.Spent(few, "a"))
	require.True(t, take(few, "a"))
	require.True(t, take(more, "a"))
	require.True(t, take(more, "a"))
	require.False(t, take(more, "a"))
}

// down fails to count.
type down struct{ asked int }

func (d *down) Take(context.Context, Limit, string) (bool, error) {
	d.asked++
	return false, errors.New("down")
}

// What this process refuses is not asked elsewhere, and what can't be counted
// is refused.
func TestChain(t *testing.T) {
	d := &down{}
	limit := Limit{Name: "one", Most: 1, Window: time.Hour}
	c := Chain{NewLocal(time.Now), d}
	ok, err := c.Take(context.Background(), limit, "a")
	require.Error(t, err)
	require.False(t, ok)
	ok, err = c.Take(context.Background(), limit, "a")
	require.NoError(t, err)
	require.False(t, ok)
	require.Equal(t, 1, d.asked)
}
