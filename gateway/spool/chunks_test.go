package spool

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
	"postern/gateway/node"
)

// spoolKeys counts what the spool holds in the store.
func spoolKeys(t *testing.T, db *pebble.DB) (n int) {
	t.Helper()
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{node.SpaceSpool}, UpperBound: []byte{node.SpaceSpool + 1}})
	require.NoError(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	require.NoError(t, it.Close())
	return n
}

func TestLargeBodies(t *testing.T) {
	for _, key := range [][]byte{nil, bytes.Repeat([]byte{3}, 32)} {
		for _, size := range []int{0, 1, bodyChunk - 1, bodyChunk, bodyChunk + 1, 2 * bodyChunk, 5*bodyChunk + 77} {
			t.Run(fmt.Sprintf("%d octets, key of %d", size, len(key)), func(t *testing.T) {
				fs := vfs.NewMem()
				db := openMem(t, fs)
				s, err := New(db, "", nil, Options{Key: key, Memory: 1})
				require.NoError(t, err)
				m := message("a@example.org")
				m.Body = make([]byte, size)
				for i := range m.Body {
					m.Body[i] = byte(i * 7)
				}
				want := bytes.Clone(m.Body)
				require.NoError(t, s.Accept(t.Context(), m))
				require.NoError(t, s.Close())
				require.NoError(t, db.Close())

				db = openMem(t, fs)
				defer db.Close()
				s, err = New(db, "", nil, Options{Key: key})
				require.NoError(t, err)
				defer s.Close()
				it := take(t, s)
				require.True(t, bytes.Equal(want, it.Message.Body))
				require.NoError(t, it.Finish([]Result{delivered(0)}, nil))
				waitStats(t, s, func(st Stats) bool { return st.Messages == 0 })
				require.Zero(t, spoolKeys(t, db))
			})
		}
	}
}

func TestUnacceptedPiecesAreSwept(t *testing.T) {
	db := openMem(t, vfs.NewMem())
	defer db.Close()
	s, err := New(db, "", nil, Options{})
	require.NoError(t, err)
	require.NoError(t, s.putChunks(ulid.Make(), make([]byte, 3*bodyChunk))) // and the process dies here
	require.NoError(t, s.Close())
	require.Equal(t, 4, spoolKeys(t, db))
	s, err = New(db, "", nil, Options{})
	require.NoError(t, err)
	defer s.Close()
	require.Zero(t, spoolKeys(t, db))

	trail := &recorder{fail: fmt.Errorf("no ledger")}
	s.trail = trail
	big := message("a@example.org")
	big.Body = make([]byte, 2*bodyChunk)
	require.Error(t, s.Accept(t.Context(), big, ledger.Record{}))
	require.Zero(t, spoolKeys(t, db), "what was refused leaves nothing")
}

func TestLargeReportIsSpawned(t *testing.T) {
	s := newStore(t, nil, Options{})
	require.NoError(t, s.Accept(t.Context(), message("a@example.org")))
	report := message("sender@example.org")
	report.Body = make([]byte, 2*bodyChunk)
	require.NoError(t, take(t, s).Finish([]Result{{Recipient: 0, State: Failed}}, []*Message{report}))
	it := take(t, s)
	got, err := s.Get(t.Context(), it.Message.ID)
	require.NoError(t, err)
	require.Len(t, got.Body, 2*bodyChunk)
	require.NoError(t, it.Finish([]Result{{Recipient: 0, State: Queued, Next: time.Now().Add(time.Hour)}}, nil))
	waitStats(t, s, func(st Stats) bool { return st.InHand == 0 && st.Messages == 1 })
}
