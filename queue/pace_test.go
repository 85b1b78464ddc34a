package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

// A case received on Tue 24 Nov 2026 in Germany is due on Thu 24 Dec; the three
// working days before are counted without weekend and holidays.
func TestPace(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	c := w.show(no)
	at := func(day string) Pace {
		t.Helper()
		now, err := time.ParseInLocation(time.DateTime, day, w.q.NewPacer().Zone("shop"))
		require.NoError(t, err)
		w.clock.Set(now)
		return w.q.NewPacer().Of(&c)
	}
	require.Equal(t, "Thu 24 Dec", c.Due.In(w.q.NewPacer().Zone("shop")).Format("Mon 2 Jan"))
	require.Equal(t, PaceCalm, at("2026-12-01 10:00:00").Level)
	require.Equal(t, 23, at("2026-12-01 10:00:00").Days)
	require.Equal(t, PaceWarn, at("2026-12-18 10:00:00").Level)
	require.Equal(t, PaceClose, at("2026-12-21 00:00:01").Level)
	require.Equal(t, PaceClose, at("2026-12-24 23:59:58").Level)
	require.Zero(t, at("2026-12-24 23:00:00").Days)
	late := at("2026-12-26 01:00:00")
	require.Equal(t, PaceLate, late.Level)
	require.Equal(t, -2, late.Days)
	c.State = Closed
	require.Equal(t, PaceEnded, at("2026-12-26 01:00:00").Level)
}
