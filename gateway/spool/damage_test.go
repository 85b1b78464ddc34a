package spool

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"postern/gateway/node"
)

func TestDamagedMessageIsSetAside(t *testing.T) {
	for _, c := range []struct {
		name  string
		space byte
		value []byte // nil: removed
	}{
		{"envelope unreadable", keyMeta, []byte{storedClear, 99, 1, 2, 3}},
		{"body gone", keyBody, nil},
		{"body cut", keyBody, []byte{storedClear, 'H'}},
		{"states unreadable", keyState, []byte{200, 1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			s := newStore(t, &recorder{}, Options{Memory: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
			bad, good := message("bad@example.org"), message("good@example.org")
			later := time.Now().Add(time.Hour)
			bad.Recipients[0].Next = later
			require.NoError(t, s.Accept(t.Context(), bad))
			key := idKey(c.space, ulid.MustParse(bad.ID))
			if c.value == nil {
				require.NoError(t, s.db.Delete(key, pebble.Sync))
			} else {
				require.NoError(t, s.db.Set(key, c.value, pebble.Sync))
			}
			e := &entry{id: ulid.MustParse(bad.ID), due: later.UnixNano()}
			b := s.db.NewBatch() // as if its time had come
			require.NoError(t, dropIndex(b, e))
			e.due = 1
			require.NoError(t, setIndex(b, e))
			require.NoError(t, b.Commit(pebble.Sync))
			s.mu.Lock()
			s.waitFor(1, e.id)
			s.mu.Unlock()
			require.NoError(t, s.Accept(t.Context(), good))

			it := take(t, s)
			require.Equal(t, good.ID, it.Message.ID, "what is damaged stands in nobody's way")
			require.NoError(t, it.Finish([]Result{delivered(0)}, nil))
			waitStats(t, s, func(st Stats) bool { return st.Damaged >= 1 && st.Held == 1 && st.Messages == 1 })
			require.Contains(t, log.String(), bad.ID)
			require.NotContains(t, log.String(), "example.org")
			if c.space == keyBody {
				return // its envelope is still there for an operator
			}
			n, err := s.Drop(t.Context(), Filter{IDs: []string{bad.ID}}, "op")
			require.NoError(t, err)
			require.Equal(t, 1, n)
			waitStats(t, s, func(st Stats) bool { return st.Messages == 0 && st.Held == 0 })
		})
	}
}

func TestIndexEntryWithoutMessageGoesAway(t *testing.T) {
	s := newStore(t, nil, Options{})
	good := message("good@example.org")
	require.NoError(t, s.Accept(t.Context(), good))
	it := take(t, s)
	ghost := &entry{id: ulid.MustParse(good.ID), due: 5}
	require.NoError(t, s.db.Set(dueKey(5, ghost.id), nil, pebble.Sync)) // a second entry of the same message
	lost := ulid.Make()
	require.NoError(t, s.db.Set(dueKey(6, lost), nil, pebble.Sync)) // one of no message
	s.messages.Add(1)
	s.mu.Lock()
	s.waitFor(5, ghost.id)
	s.mu.Unlock()
	s.signal()
	require.NoError(t, it.Finish([]Result{{Recipient: 0, State: Queued, Next: time.Now().Add(20 * time.Millisecond)}}, nil))
	it = take(t, s)
	require.Equal(t, good.ID, it.Message.ID)
	require.NoError(t, it.Finish([]Result{delivered(0)}, nil))
	waitStats(t, s, func(st Stats) bool { return st.Messages == 0 && st.Damaged == 1 })
}

func TestDamagedLogIsReported(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, node.DamagedFolder), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, node.DamagedFolder, "000004-99-octets.log"), nil, 0o600))
	db := openMem(t, vfs.NewMem())
	defer db.Close()
	s, err := New(db, dir, nil, Options{})
	require.NoError(t, err)
	defer s.Close()
	require.EqualValues(t, 1, s.Stats().Damaged)
}

func TestAdopt(t *testing.T) {
	key := bytes.Repeat([]byte{9}, 32)
	dir := t.TempDir()
	db, err := node.Open(dir)
	require.NoError(t, err)
	dead, err := New(db, dir, nil, Options{Key: key})
	require.NoError(t, err)
	var ids []string
	for range 5 {
		m := message("a@example.org", "b@example.org")
		require.NoError(t, dead.Accept(t.Context(), m))
		ids = append(ids, m.ID)
	}
	it := take(t, dead)
	require.NoError(t, it.Record([]Result{delivered(0)}))
	_, err = dead.Hold(t.Context(), Filter{IDs: ids[4:]}, "op")
	require.NoError(t, err)
	require.NoError(t, dead.Close())

	s := newStore(t, nil, Options{Key: key})
	_, err = s.Adopt(t.Context(), dir)
	require.ErrorIs(t, err, node.ErrBusy, "the other node still runs")
	require.NoError(t, db.Close())
	n, err := s.Adopt(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.EqualValues(t, 1, s.Stats().Held)
	for range 4 {
		it := take(t, s)
		require.Contains(t, ids, it.Message.ID)
		if it.Message.ID == ids[0] {
			require.Equal(t, []int{1}, it.Due, "a delivery on record is not repeated")
		}
		require.Equal(t, "Hello\r\n", string(it.Message.Body))
	}
	n, err = s.Adopt(t.Context(), dir)
	require.NoError(t, err)
	require.Zero(t, n, "a second run finds nothing")
}

func TestWrongKeyLosesNothing(t *testing.T) {
	fs := vfs.NewMem()
	db := openMem(t, fs)
	defer db.Close()
	right, wrong := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	s, err := New(db, "", nil, Options{Key: right})
	require.NoError(t, err)
	m := message("a@example.org")
	require.NoError(t, s.Accept(t.Context(), m))
	require.NoError(t, s.Close())

	s, err = New(db, "", nil, Options{Key: wrong})
	require.NoError(t, err)
	_, err = s.Get(t.Context(), m.ID)
	require.ErrorIs(t, err, ErrDamaged)
	require.NoError(t, s.Close())

	s, err = New(db, "", nil, Options{Key: right})
	require.NoError(t, err)
	defer s.Close()
	got, err := s.Get(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, m.Body, got.Body)
	_, err = New(db, "", nil, Options{Key: []byte("short")})
	require.ErrorContains(t, err, "32 are needed")
}

func TestNothingInClearWithKey(t *testing.T) {
	fs := vfs.NewMem()
	db := openMem(t, fs)
	s, err := New(db, "", nil, Options{Key: bytes.Repeat([]byte{1}, 32)})
	require.NoError(t, err)
	m := message("secret-person@example.org")
	m.Body = []byte("secret-body\r\n")
	require.NoError(t, s.Accept(t.Context(), m))
	it := take(t, s)
	require.NoError(t, it.Finish([]Result{{Recipient: 0, State: Queued, Next: time.Now().Add(time.Hour), Reply: "secret-reply"}}, nil))
	require.NoError(t, s.Close())
	require.NoError(t, db.Flush())
	iter, err := db.NewIter(nil)
	require.NoError(t, err)
	n := 0
	for ok := iter.First(); ok; ok = iter.Next() {
		require.NotContains(t, string(iter.Value()), "secret")
		n++
	}
	require.Equal(t, 4, n)
	require.NoError(t, iter.Close())
	require.NoError(t, db.Close())
}

// BenchmarkStart opens a spool in which 200,000 messages wait.
func BenchmarkStart(b *testing.B) {
	const waiting = 200_000
	dir := b.TempDir()
	db, err := node.Open(dir)
	require.NoError(b, err)
	s, err := New(db, dir, nil, Options{Memory: 1, Pace: -1})
	require.NoError(b, err)
	body := bytes.Repeat([]byte("0123456789abcdef\r\n"), 230) // 4 KiB
	const writers = 32
	done := make(chan error, writers)
	start := time.Now()
	for range writers {
		go func() {
			for range waiting / writers {
				m := message("someone@example.org")
				m.Body = body
				if err := s.Accept(b.Context(), m); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range writers {
		require.NoError(b, <-done)
	}
	filled := time.Since(start)
	require.NoError(b, s.Close())
	require.NoError(b, db.Close())
	runtime.GC()
	for b.Loop() {
		db, err := node.Open(dir)
		require.NoError(b, err)
		s, err := New(db, dir, nil, Options{})
		require.NoError(b, err)
		it, err := s.Take(b.Context())
		require.NoError(b, err)
		require.NoError(b, it.Return(0))
		require.EqualValues(b, waiting, s.Stats().Messages)
		require.NoError(b, s.Close())
		require.NoError(b, db.Close())
	}
	b.StopTimer()
	b.ReportMetric(waiting/filled.Seconds(), "fill/s")
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.Sys)/(1<<20), "sys-MB")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "start-ms")
}

func TestMessageWithManyRecipients(t *testing.T) {
	s := newStore(t, nil, Options{Memory: 1})
	m := message()
	for i := range 1000 {
		m.Recipients = append(m.Recipients, message(fmt.Sprintf("r%d@example.org", i)).Recipients[0])
	}
	require.NoError(t, s.Accept(t.Context(), m))
	it := take(t, s)
	require.Len(t, it.Due, 1000)
	var out []Result
	for i := range 999 {
		out = append(out, delivered(i))
	}
	out = append(out, Result{Recipient: 999, State: Queued, Next: time.Now()})
	require.NoError(t, it.Finish(out, nil))
	it = take(t, s)
	require.Equal(t, []int{999}, it.Due)
	require.NoError(t, it.Finish([]Result{delivered(999)}, nil))
	waitStats(t, s, func(st Stats) bool { return st.Messages == 0 })
}
