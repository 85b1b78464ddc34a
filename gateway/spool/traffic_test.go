package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/node"
)

// What traffic tells of a message: before Accept, what Accept answered, and
// before Finish or Drop is asked to take it out of the spool.
const (
	begun    = "B"
	accepted = "A"
	refused  = "R"
	ended    = "E"
	reported = "S" // ended, and a report is to take its place
	broken   = "!" // handed out otherwise than accepted
)

// unsteady is a Trail that fails now and then, so that messages are refused.
type unsteady struct{}

func (unsteady) Stage(_ *pebble.Batch, recs ...ledger.Record) error {
	for _, r := range recs {
		if r.Action == "allow" && rand.IntN(20) == 0 {
			return errors.New("no room in the ledger")
		}
	}
	return nil
}

func (unsteady) Notify() {}

// trafficOptions keep little in memory, so that much is read back.
func trafficOptions() Options { return Options{Memory: 256 << 10, Pace: 2 * time.Millisecond} }

// traffic accepts, delivers, puts off, reports and drops messages until ctx
// ends, and tells each step before it is taken or once it is certain.
func traffic(ctx context.Context, s *Store, round int, tell func(what, id string)) {
	s.Flow(true)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				m := proven(fmt.Sprintf("%d-%d-%d", round, w, i))
				id := m.MessageID
				tell(begun, id)
				var err error
				if rec := (ledger.Record{Action: "allow"}); m.Client == "once" {
					_, err = s.AcceptOnce(ctx, id, m, rec)
				} else {
					err = s.Accept(ctx, m, rec)
				}
				switch {
				case err == nil:
					tell(accepted, id)
				case ctx.Err() == nil:
					tell(refused, id)
				}
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for {
				it, err := s.Take(ctx)
				if err != nil {
					return
				}
				deal(ctx, s, it, tell)
			}
		})
	}
	wg.Wait()
}

// deal gives one of the fates that messages have.
func deal(ctx context.Context, s *Store, it *Item, tell func(what, id string)) {
	m := it.Message
	id := m.MessageID
	if !sound(m) {
		tell(broken, id)
	}
	all := make([]Result, 0, len(it.Due))
	for _, i := range it.Due {
		all = append(all, delivered(i))
	}
	later := Result{Recipient: it.Due[0], State: Queued, Attempt: true, Code: 451, Next: time.Now().Add(time.Duration(rand.IntN(60)) * time.Millisecond)}
	var err error
	switch n := rand.IntN(20); {
	case n < 10 && len(it.Due) == left(m):
		tell(ended, id)
		err = it.Finish(all, nil)
	case n < 12 && len(it.Due) == left(m) && !strings.HasPrefix(id, "report-"):
		tell(reported, id)
		err = it.Finish(all, []*Message{proven("report-" + id)})
	case n < 14:
		err = it.Return(time.Duration(rand.IntN(10)) * time.Millisecond)
	case n < 17 && len(all) > 1:
		err = errors.Join(it.Record(all[1:]), it.Finish([]Result{later}, nil))
	case n < 18:
		later.State, later.Next = Held, time.Time{}
		err = it.Finish([]Result{later}, nil)
	case n < 19:
		err = it.Finish([]Result{later}, nil)
		if err == nil {
			tell(ended, id)
			_, err = s.Drop(ctx, Filter{IDs: []string{m.ID}}, "op")
		}
	default:
		err = it.Finish([]Result{later}, nil)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrNotFound) {
		tell(broken, id+" "+err.Error())
	}
}

// left counts the recipients that are not done.
func left(m *Message) (n int) {
	for i := range m.Recipients {
		if s := m.Recipients[i].State; s == Queued || s == Held {
			n++
		}
	}
	return n
}

// proven has a body that proves itself; some are stored in pieces.
func proven(id string) *Message {
	lines := 1 + rand.IntN(400)
	if rand.IntN(40) == 0 {
		lines = bodyChunk/18 + rand.IntN(20000)
	}
	body := bytes.Repeat([]byte("0123456789abcdef\r\n"), lines)
	sum := sha256.Sum256(body)
	m := &Message{MessageID: id, ReversePath: address.MustParse("news@shop.example"), Body: body,
		Header: []byte("X-Id: " + id + "\r\nX-Sum: " + hex.EncodeToString(sum[:]) + "\r\n")}
	if rand.IntN(8) == 0 && !strings.HasPrefix(id, "report-") {
		m.Client = "once"
	}
	for n := range 1 + rand.IntN(4) {
		m.Recipients = append(m.Recipients, Recipient{Address: address.MustParse(fmt.Sprintf("r%d@example.org", n))})
	}
	return m
}

func sound(m *Message) bool {
	sum := sha256.Sum256(m.Body)
	return string(m.Header) == "X-Id: "+m.MessageID+"\r\nX-Sum: "+hex.EncodeToString(sum[:])+"\r\n" && len(m.Recipients) > 0
}

// book keeps what was told.
type book struct {
	begun, accepted, refused, ended, reported map[string]bool
	faults                                    []string
	unanswered                                int
}

func newBook() *book {
	return &book{begun: map[string]bool{}, accepted: map[string]bool{}, refused: map[string]bool{}, ended: map[string]bool{}, reported: map[string]bool{}}
}

func (b *book) note(what, id string) {
	switch what {
	case begun:
		b.begun[id] = true
	case accepted:
		b.accepted[id] = true
		delete(b.begun, id)
	case refused:
		b.refused[id] = true
		delete(b.begun, id)
	case ended:
		b.ended[id] = true
		delete(b.reported, id) // the report ordered before a crash has not come
	case reported:
		b.ended[id], b.reported[id] = true, true
	case broken:
		b.faults = append(b.faults, id)
	}
}

// check holds a spool that was found after a crash against the book.
func (b *book) check(t *testing.T, db *pebble.DB, dir string) {
	t.Helper()
	require.Empty(t, b.faults)
	s, err := New(db, dir, nil, Options{Pace: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	list, err := s.List(t.Context(), Filter{Unlimited: true, WithBody: true})
	require.NoError(t, err)
	found, ids, octets := map[string]bool{}, map[string]bool{}, int64(0)
	b.unanswered = 0
	for i := range list {
		m := &list[i]
		id := m.MessageID
		require.True(t, sound(m), "message %s was found changed", id)
		require.False(t, found[id], "message %s is there twice", id)
		require.False(t, b.refused[id], "message %s was refused and kept", id)
		require.Positive(t, left(m), "message %s is kept though it is done", id)
		require.True(t, b.accepted[id] || b.begun[id] || b.reported[strings.TrimPrefix(id, "report-")], "message %s comes from nowhere", id)
		found[id], ids[m.ID] = true, true
		octets += int64(len(m.Header)) + m.BodySize + 2
		if b.begun[id] {
			b.unanswered++
		}
		if m.Client == "once" {
			_, of, err := s.onceID(onceKey(id))
			require.NoError(t, err)
			require.Equal(t, m.ID, of, "the token of message %s came with it", id)
		}
	}
	for id := range b.accepted {
		require.True(t, found[id] || b.ended[id], "message %s was accepted and lost", id)
	}
	for id := range b.reported {
		report := "report-" + id
		require.True(t, found[id] || found[report] || b.ended[report], "message %s went without its report", id)
		require.False(t, found[id] && found[report], "message %s is there beside its report", id)
	}
	st := s.Stats()
	require.Zero(t, st.Damaged)
	require.EqualValues(t, len(list), st.Messages)
	require.Equal(t, octets, st.Bytes)
	b.owned(t, db, ids)
}

// owned wants every key of the spool to belong to a message that is there.
func (b *book) owned(t *testing.T, db *pebble.DB, ids map[string]bool) {
	t.Helper()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{node.SpaceSpool}, UpperBound: []byte{node.SpaceSpool + 1}})
	require.NoError(t, err)
	defer func() { require.NoError(t, it.Close()) }()
	index := map[string]int{}
	for ok := it.First(); ok; ok = it.Next() {
		switch k := it.Key(); k[1] {
		case keyMeta, keyBody, keyState, keyPending:
			require.True(t, ids[msgID(k[2:18]).String()], "key %q belongs to no message", k)
		case keyHeld:
			index[msgID(k[2:18]).String()]++
		case keyDue:
			_, id, err := parseDueKey(k)
			require.NoError(t, err)
			index[id.String()]++
		}
	}
	require.NoError(t, it.Error())
	require.Len(t, index, len(ids))
	for id, n := range index {
		require.True(t, ids[id])
		require.Equal(t, 1, n, "message %s has its one place in the index", id)
	}
}

// empty delivers all that is left; nothing of it stays.
func (b *book) empty(t *testing.T, db *pebble.DB, dir string) {
	t.Helper()
	s, err := New(db, dir, nil, Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.Release(t.Context(), Filter{}, "op")
	require.NoError(t, err)
	for taken := time.Now(); s.Stats().Messages > 0; {
		ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		it, err := s.Take(ctx)
		stop()
		if errors.Is(err, context.DeadlineExceeded) && time.Since(taken) < time.Minute {
			continue // the last outcomes are being written, or a pause goes on
		}
		require.NoError(t, err)
		taken = time.Now()
		require.True(t, sound(it.Message))
		var all []Result
		for _, i := range it.Due {
			all = append(all, delivered(i))
		}
		require.NoError(t, it.Finish(all, nil))
	}
	b.owned(t, db, nil)
}
