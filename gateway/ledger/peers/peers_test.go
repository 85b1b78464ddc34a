package peers

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/node"
	"postern/testmail/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = bytes.Repeat([]byte{7}, 32)

// house is one relay node of a test: its folder outlives its process.
type house struct {
	t      *testing.T
	name   string
	dir    string
	addr   string
	change func(*Options)

	db    *pebble.DB
	trail *ledger.Ledger
	*Peers
	stop func()
}

func newHouse(t *testing.T, name, redisAddr string, change func(*Options)) *house {
	h := &house{t: t, name: name, dir: t.TempDir(), addr: redisAddr, change: change}
	h.start()
	t.Cleanup(func() { h.crash() })
	return h
}

// start opens the node's folder and runs it.
func (h *house) start() {
	var err error
	h.db, err = node.Open(h.dir)
	require.NoError(h.t, err)
	h.trail, err = ledger.Open(h.db, h.dir+"/ledger", ledger.Keys{Origin: h.name + "/test", Signer: secret, Master: secret}, ledger.Options{})
	require.NoError(h.t, err)
	rdb := redis.NewClient(&redis.Options{Addr: h.addr, ContextTimeoutEnabled: true})
	o := Options{ID: "id-" + h.name, Name: h.name, Keys: [][]byte{secret}, Patience: 5 * time.Second, Page: 3}
	if h.change != nil {
		h.change(&o)
	}
	h.Peers, err = New(rdb, h.trail, o)
	require.NoError(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.stop = func() {
		cancel()
		require.NoError(h.t, <-done)
		require.Eventually(h.t, func() bool { // the server has noticed
			heard, err := rdb.PubSubNumSub(context.Background(), toPrefix+o.ID).Result()
			return err != nil || heard[toPrefix+o.ID] == 0 // or is gone itself
		}, 10*time.Second, 10*time.Millisecond)
		require.NoError(h.t, rdb.Close())
		require.NoError(h.t, h.db.Close())
		h.stop = nil
	}
	require.Eventually(h.t, func() bool { // it hears and is seen
		heard, err := rdb.PubSubNumSub(h.t.Context(), toPrefix+o.ID).Result()
		if err != nil || heard[toPrefix+o.ID] == 0 {
			return false
		}
		nodes, err := h.Nodes(h.t.Context())
		return err == nil && len(nodes) > 0
	}, 10*time.Second, 10*time.Millisecond)
}

func (h *house) crash() {
	if h.stop != nil {
		h.stop()
	}
}

func subject(n int) address.SubjectID { return address.SubjectID{15: byte(n)} }

func (h *house) sent(who int, ref string, at time.Time, action string) {
	require.NoError(h.t, h.trail.Append(h.t.Context(), ledger.Record{
		Time: at, Kind: ledger.KindDelivery, Controller: "shop", Subject: subject(who), Actor: "relay", Action: action, Ref: ref,
		Message: "m-" + ref, Data: map[string]string{"host": h.name},
	}))
}

func (h *house) refs(f ledger.Filter) (out []string, err error) {
	err = h.Query(h.t.Context(), f, func(e ledger.Entry) error {
		out = append(out, e.Ref)
		return nil
	})
	return out, err
}

var noon = time.Date(2026, 11, 29, 12, 0, 0, 123456789, time.UTC)

// D15: what was sent to a person is read from the ledgers of all nodes, page by
// page; a node that crashed is named until it runs again, and then nothing is
// missing.
func TestD15_LedgersOfAllNodesReadAsOne(t *testing.T) {
	srv := env.Redis(t)
	a, b, c := newHouse(t, "a", srv.Addr, nil), newHouse(t, "b", srv.Addr, nil), newHouse(t, "c", srv.Addr, nil)
	var want []string
	for i := range 11 {
		for _, h := range []*house{a, b} {
			ref := fmt.Sprint(h.name, i)
			h.sent(1, ref, noon, "delivered")
			want = append(want, ref)
		}
	}
	b.sent(2, "other", noon, "delivered")
	require.NoError(t, b.trail.Flush(t.Context())) // some in the tree, some not yet
	b.sent(1, "late", noon, "deferred")
	want = append(want, "late")
	for _, h := range []*house{a, b, c} { // whoever is asked
		got, err := h.refs(ledger.Filter{Subject: subject(1)})
		require.NoError(t, err)
		require.ElementsMatch(t, want, got, h.name)
	}

	var whole []ledger.Entry
	require.NoError(t, c.Query(t.Context(), ledger.Filter{Subject: subject(2)}, func(e ledger.Entry) error { whole = append(whole, e); return nil }))
	require.Len(t, whole, 1)
	require.Equal(t, ledger.Record{ID: whole[0].ID, Time: noon, Kind: ledger.KindDelivery, Controller: "shop", Subject: subject(2), Actor: "relay",
		Action: "delivered", Ref: "other", Message: "m-other", Data: map[string]string{"host": "b"}}, whole[0].Record, "every field travels")

	n := 0
	require.NoError(t, c.Query(t.Context(), ledger.Filter{Subject: subject(1)}, func(ledger.Entry) error {
		if n++; n == 4 {
			return ledger.ErrStop
		}
		return nil
	}))
	require.Equal(t, 4, n, "enough is enough, over nodes too")

	b.crash()
	got, err := a.refs(ledger.Filter{Subject: subject(1)})
	require.ErrorIs(t, err, ErrAway)
	require.ErrorContains(t, err, "b was last seen")
	require.Len(t, got, 11, "what the others know")
	_, err = a.Prove(t.Context(), ledger.Filter{Subject: subject(1)})
	require.ErrorIs(t, err, ErrAway)
	_, err = a.Outlast(t.Context(), noon, []address.SubjectID{subject(1)})
	require.ErrorIs(t, err, ErrAway)
	n = 0
	require.NoError(t, a.Query(t.Context(), ledger.Filter{Subject: subject(1)}, func(ledger.Entry) error { n++; return ledger.ErrStop }))
	require.Equal(t, 1, n, "what is known here needs nobody else")

	b.start() // its folder has kept all
	got, err = a.refs(ledger.Filter{Subject: subject(1)})
	require.NoError(t, err)
	require.ElementsMatch(t, want, got)
}

// Proofs of several logs are checked each against its own key.
func TestProofsOfAllNodes(t *testing.T) {
	srv := env.Redis(t)
	a, b := newHouse(t, "a", srv.Addr, nil), newHouse(t, "b", srv.Addr, nil)
	_, err := a.Prove(t.Context(), ledger.Filter{Subject: subject(1)})
	require.ErrorIs(t, err, ledger.ErrNoRecord)
	for i := range 7 {
		b.sent(1, fmt.Sprint("b", i), noon, "delivered")
	}
	a.sent(1, "a", noon, "delivered")
	proofs, err := a.Prove(t.Context(), ledger.Filter{Subject: subject(1)})
	require.NoError(t, err)
	require.Len(t, proofs, 2)
	require.Len(t, proofs[0].Records, 1)
	require.Len(t, proofs[1].Records, 7, "in parts, joined again")
	require.NoError(t, ledger.CheckProof(proofs[0], a.trail.PublicKey()))
	require.NoError(t, ledger.CheckProof(proofs[1], b.trail.PublicKey()))
}

// A person's key outlasts the mail of any node.
func TestOutlastAsksTheOthers(t *testing.T) {
	srv := env.Redis(t)
	counts := func(o *Options) { o.Counts = func(r ledger.Record) bool { return r.Action != "denied" } }
	a, b := newHouse(t, "a", srv.Addr, counts), newHouse(t, "b", srv.Addr, counts)
	b.sent(1, "new", noon, "delivered")
	b.sent(2, "old", noon.AddDate(-4, 0, 0), "delivered")
	b.sent(3, "refused", noon, "denied")
	a.sent(4, "own", noon, "delivered")
	kept, err := a.Outlast(t.Context(), noon.AddDate(-1, 0, 0), []address.SubjectID{subject(1), subject(2), subject(3), subject(4), subject(5)})
	require.NoError(t, err)
	require.Equal(t, map[address.SubjectID]bool{subject(1): true}, kept)
}

// Who can write to Redis learns nothing and makes no node answer; a node with
// another key file is away.
func TestForeignKeysGetNoAnswer(t *testing.T) {
	srv := env.Redis(t)
	var log bytes.Buffer
	a := newHouse(t, "a", srv.Addr, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	a.sent(1, "a", noon, "delivered")
	stranger := newHouse(t, "s", srv.Addr, func(o *Options) {
		o.Keys, o.Patience = [][]byte{bytes.Repeat([]byte{9}, 32)}, 200*time.Millisecond
	})
	got, err := stranger.refs(ledger.Filter{Subject: subject(1)})
	require.ErrorIs(t, err, ErrAway)
	require.Empty(t, got)
	a.crash() // what it logged is complete
	require.Contains(t, log.String(), "refused")

	_, err = New(stranger.rdb, stranger.trail, Options{ID: "x", Keys: [][]byte{{1}}})
	require.Error(t, err)
	_, err = New(stranger.rdb, stranger.trail, Options{Keys: [][]byte{secret}})
	require.Error(t, err)
}

// A node that died for good is taken out by an operator, never one that lives.
func TestRetire(t *testing.T) {
	srv := env.Redis(t)
	var later atomic.Int64
	clock := func(o *Options) {
		o.Seen, o.Now = time.Hour, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	}
	a, b := newHouse(t, "a", srv.Addr, clock), newHouse(t, "b", srv.Addr, clock)
	_, err := a.Retire(t.Context(), "id-b")
	require.ErrorIs(t, err, ErrNode, "it runs")
	_, err = a.Retire(t.Context(), "id-a")
	require.ErrorIs(t, err, ErrNode, "the own one")
	_, err = a.Retire(t.Context(), "id-z")
	require.ErrorIs(t, err, ErrNode)
	b.crash()
	later.Store(int64(5 * time.Hour))
	gone, err := a.Retire(t.Context(), "id-b")
	require.NoError(t, err)
	require.Equal(t, "b", gone.Name)
	_, err = a.refs(ledger.Filter{Subject: subject(1)})
	require.NoError(t, err)
	b.start()
	require.Eventually(t, func() bool {
		nodes, err := a.Nodes(t.Context())
		return err == nil && len(nodes) == 2
	}, 10*time.Second, 10*time.Millisecond, "who comes back is there again")
}

// A Redis that was away is found again by itself.
func TestRedisOutage(t *testing.T) {
	srv := env.Redis(t)
	a, b := newHouse(t, "a", srv.Addr, nil), newHouse(t, "b", srv.Addr, nil)
	b.sent(1, "b", noon, "delivered")
	srv.Kill()
	_, err := a.refs(ledger.Filter{Subject: subject(1)})
	require.Error(t, err)
	srv.Start()
	require.Eventually(t, func() bool {
		got, err := a.refs(ledger.Filter{Subject: subject(1)})
		return err == nil && len(got) == 1
	}, 30*time.Second, 100*time.Millisecond)
}
