package spool

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/node"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Trail that writes records under the ledger's key space.
type recorder struct {
	mu      sync.Mutex
	records []ledger.Record
	notes   int
	fail    error
}

func (r *recorder) Stage(b *pebble.Batch, recs ...ledger.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	r.records = append(r.records, recs...)
	for i, rec := range recs {
		key := append([]byte{node.SpaceLedger}, fmt.Sprintf("%s/%d/%d", rec.Ref, len(r.records), i)...)
		if err := b.Set(key, []byte(rec.Action), nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorder) Notify() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes++
}

func openMem(t *testing.T, fs vfs.FS) *pebble.DB {
	t.Helper()
	o := node.Options()
	o.FS = fs
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	return db
}

// newStore opens a store in memory that the test's end closes.
func newStore(t *testing.T, trail Trail, opts Options) *Store {
	t.Helper()
	db := openMem(t, vfs.NewMem())
	s, err := New(db, "", trail, opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, db.Close())
	})
	return s
}

func message(rcpts ...string) *Message {
	m := &Message{
		Stream: 7, Client: "shop", ReversePath: address.MustParse("news@shop.example"), MessageID: "ab12",
		Header: []byte("From: news@shop.example\r\nSubject: hello\r\n"), Body: []byte("Hello\r\n"),
	}
	for _, r := range rcpts {
		m.Recipients = append(m.Recipients, Recipient{Address: address.MustParse(r)})
	}
	return m
}

func take(t *testing.T, s *Store) *Item {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	it, err := s.Take(ctx)
	require.NoError(t, err)
	return it
}

func waitStats(t *testing.T, s *Store, want func(Stats) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return want(s.Stats()) }, 10*time.Second, time.Millisecond)
}

func delivered(i int) Result {
	return Result{Recipient: i, State: Delivered, Attempt: true, Code: 250, Status: "2.0.0", Host: "mx"}
}

func TestAcceptTakeFinish(t *testing.T) {
	trail := &recorder{}
	s := newStore(t, trail, Options{})
	m := message("a@example.org", "b@example.net")
	require.NoError(t, s.Accept(t.Context(), m, ledger.Record{Ref: "x", Action: "allow"}))
	require.Len(t, m.ID, 26)
	require.Equal(t, 1, trail.notes)
	require.EqualValues(t, 1, s.Stats().Messages)

	it := take(t, s)
	require.Equal(t, m.ID, it.Message.ID)
	require.Equal(t, []int{0, 1}, it.Due)
	require.NoError(t, it.Finish([]Result{delivered(0), {Recipient: 1, State: Queued, Next: time.Now().Add(time.Hour), Attempt: true, Code: 450, Reply: "later"}}, nil,
		ledger.Record{Ref: m.ID, Action: "delivered"}))
	waitStats(t, s, func(st Stats) bool { return st.InHand == 0 })

	got, err := s.Get(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, Delivered, got.Recipients[0].State)
	require.Equal(t, Queued, got.Recipients[1].State)
	require.Equal(t, 1, got.Recipients[1].Attempts)
	require.Equal(t, "later", got.Recipients[1].Reply)
	require.Equal(t, m.Body, got.Body)

	n, err := s.Retry(t.Context(), Filter{Address: "b@example.net"})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	it = take(t, s)
	require.Equal(t, []int{1}, it.Due)
	require.NoError(t, it.Finish([]Result{delivered(1)}, nil))
	waitStats(t, s, func(st Stats) bool { return st.Messages == 0 && st.Bytes == 0 && st.Memory == 0 })
	_, err = s.Get(t.Context(), m.ID)
	require.ErrorIs(t, err, ErrNotFound)
	it2, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{node.SpaceSpool}, UpperBound: []byte{node.SpaceSpool + 1}})
	require.NoError(t, err)
	require.False(t, it2.First(), "a finished message leaves nothing behind")
	require.NoError(t, it2.Close())
}

func TestReopenKeepsWhatWaits(t *testing.T) {
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{3}, 32)} {
		t.Run(fmt.Sprintf("key of %d octets", len(key)), func(t *testing.T) {
			fs := vfs.NewMem()
			db := openMem(t, fs)
			s, err := New(db, "", nil, Options{Key: key})
			require.NoError(t, err)
			var ids []string
			for i := range 600 {
				m := message(fmt.Sprintf("r%d@example.org", i), "other@example.org")
				require.NoError(t, s.Accept(t.Context(), m))
				ids = append(ids, m.ID)
			}
			it := take(t, s)
			require.NoError(t, it.Record([]Result{delivered(0)}))
			require.NoError(t, s.Close())
			require.NoError(t, db.Close())

			db = openMem(t, fs)
			defer db.Close()
			s, err = New(db, "", nil, Options{Key: key})
			require.NoError(t, err)
			defer s.Close()
			require.EqualValues(t, 600, s.Stats().Messages)
			seen := map[string]bool{}
			for range ids {
				it := take(t, s)
				require.False(t, seen[it.Message.ID], "handed out twice")
				seen[it.Message.ID] = true
				if it.Message.ID == ids[0] {
					require.Equal(t, []int{1}, it.Due, "a recorded delivery is not repeated")
				}
				require.Equal(t, "Hello\r\n", string(it.Message.Body))
				var out []Result
				for _, i := range it.Due {
					out = append(out, delivered(i))
				}
				require.NoError(t, it.Finish(out, nil))
			}
			waitStats(t, s, func(st Stats) bool { return st.Messages == 0 && st.InHand == 0 && st.Memory == 0 })
			require.Len(t, seen, 600)
		})
	}
}

func TestSpillsToDiskAndBack(t *testing.T) {
	s := newStore(t, nil, Options{Memory: 5000})
	const n = 700
	for range n {
		require.NoError(t, s.Accept(t.Context(), message("a@example.org")))
	}
	require.LessOrEqual(t, s.Stats().Memory, int64(5000))
	for range n {
		it := take(t, s)
		require.NoError(t, it.Finish([]Result{delivered(0)}, nil))
	}
	waitStats(t, s, func(st Stats) bool { return st.Messages == 0 && st.InHand == 0 && st.Memory == 0 })
}

func TestLimits(t *testing.T) {
	s := newStore(t, nil, Options{MaxMessages: 2})
	require.NoError(t, s.Accept(t.Context(), message("a@example.org")))
	require.NoError(t, s.Accept(t.Context(), message("a@example.org")))
	require.ErrorIs(t, s.Accept(t.Context(), message("a@example.org")), ErrFull)
	require.True(t, s.Stats().Full)
	require.NoError(t, take(t, s).Finish([]Result{delivered(0)}, nil))
	waitStats(t, s, func(st Stats) bool { return st.Messages == 1 })
	require.NoError(t, s.Accept(t.Context(), message("a@example.org")))

	free := int64(1000)
	s = newStore(t, nil, Options{Free: func() (int64, error) { return free, nil }, Reserve: 500})
	require.NoError(t, s.Accept(t.Context(), message("a@example.org")))
	big := message("a@example.org")
	big.Body = bytes.Repeat([]byte("x\r\n"), 200)
	require.ErrorIs(t, s.Accept(t.Context(), big), ErrFull)
}

func TestHoldReleaseDrop(t *testing.T) {
	trail := &recorder{}
	s := newStore(t, trail, Options{})
	leased := message("leased@example.org")
	require.NoError(t, s.Accept(t.Context(), leased))
	it := take(t, s)
	waiting := message("waiting@example.org")
	require.NoError(t, s.Accept(t.Context(), waiting))

	n, err := s.Hold(t.Context(), Filter{}, "op")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.NoError(t, it.Return(0), "an order that came meanwhile is obeyed")
	waitStats(t, s, func(st Stats) bool { return st.Held == 2 && st.InHand == 0 })

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Take(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	n, err = s.Release(t.Context(), Filter{IDs: []string{waiting.ID}}, "op")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	it = take(t, s)
	require.Equal(t, waiting.ID, it.Message.ID)
	require.NoError(t, it.Finish([]Result{delivered(0)}, nil))

	n, err = s.Drop(t.Context(), Filter{State: Held}, "op")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	waitStats(t, s, func(st Stats) bool { return st.Messages == 0 && st.Held == 0 })
	require.Equal(t, "operator:op", trail.records[len(trail.records)-1].Actor)
	require.Equal(t, "dropped", trail.records[len(trail.records)-1].Action)
}

func TestFailedTrailKeepsNothing(t *testing.T) {
	trail := &recorder{fail: fmt.Errorf("no ledger")}
	s := newStore(t, trail, Options{})
	require.Error(t, s.Accept(t.Context(), message("a@example.org"), ledger.Record{}))
	require.Zero(t, s.Stats().Messages)
	list, err := s.List(t.Context(), Filter{})
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestReturnPausesInMemory(t *testing.T) {
	s := newStore(t, nil, Options{})
	require.NoError(t, s.Accept(t.Context(), message("a@example.org")))
	require.NoError(t, take(t, s).Return(20*time.Millisecond))
	it := take(t, s)
	require.Equal(t, 1, it.Pauses)
	require.Zero(t, it.Message.Recipients[0].Attempts)
	require.NoError(t, it.Finish([]Result{delivered(0)}, nil))
	waitStats(t, s, func(st Stats) bool { return st.Messages == 0 })
}

func TestAcceptKeepsToThePaceOfDelivery(t *testing.T) {
	s := newStore(t, nil, Options{Backlog: 3, Pace: time.Hour})
	s.Flow(true)
	personal := message("a@example.org", "b@example.org", "c@example.org")
	for i := range personal.Recipients {
		personal.Recipients[i].Subject[0] = byte(i + 1)
	}
	require.NoError(t, s.Accept(t.Context(), personal))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Accept(ctx, message("d@example.org")), context.DeadlineExceeded, "three copies wait")

	done := make(chan error, 1)
	go func() { done <- s.Accept(t.Context(), message("d@example.org")) }()
	it := take(t, s)
	require.NoError(t, <-done, "a taken message makes room")
	require.NoError(t, it.Finish([]Result{delivered(0), delivered(1), delivered(2)}, nil))

	for range 2 {
		require.NoError(t, s.Accept(t.Context(), message("e@example.org")))
	}
	s.Flow(false)
	require.NoError(t, s.Accept(t.Context(), message("f@example.org")), "without deliveries there is no pace to keep")
	waitStats(t, s, func(st Stats) bool { return st.Messages == 4 })
}

// What is being accepted counts too, so that many sessions at once can't
// overrun the backlog.
func TestPaceCountsWhatIsBeingAccepted(t *testing.T) {
	const backlog, sessions = 3, 20
	s := newStore(t, nil, Options{Backlog: backlog, Pace: time.Hour})
	s.Flow(true)
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan error, sessions)
	for range sessions {
		go func() { accepted <- s.Accept(ctx, message("a@example.org")) }()
	}
	for range backlog {
		require.NoError(t, <-accepted)
	}
	cancel()
	for range sessions - backlog {
		require.ErrorIs(t, <-accepted, context.Canceled)
	}
	require.EqualValues(t, backlog, s.Stats().Messages)
}
