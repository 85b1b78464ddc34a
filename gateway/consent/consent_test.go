package consent

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/node"
)

// trail keeps what was staged, as the ledger would.
type trail struct {
	mu   sync.Mutex
	recs []ledger.Record
	err  error
}

func (t *trail) Stage(b *pebble.Batch, recs ...ledger.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recs = append(t.recs, recs...)
	return t.err
}

func (t *trail) Notify() {}

func (t *trail) actions() (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.recs {
		out = append(out, r.Action)
	}
	return out
}

// clock is a settable time.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

var (
	day0  = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	mina  = address.MustParse("mina@example.org")
	tagMn = address.MustParse("Mina+shop@example.org")
)

func key(id string) address.Key {
	return address.Key{ID: id, Secret: []byte(strings.Repeat(id, 32)[:32])}
}

// tb is what helpers need of *testing.T, *testing.B and *rapid.T.
type tb interface {
	require.TestingT
	Helper()
	Cleanup(func())
	Logf(string, ...any)
	Fatalf(string, ...any)
}

func ringOf(t tb, ids ...string) *address.Keyring {
	var keys []address.Key
	for _, id := range ids {
		keys = append(keys, key(id))
	}
	ring, err := address.NewKeyring(keys...)
	require.NoError(t, err)
	return ring
}

// rig is a registry with what it stands on.
type rig struct {
	*Registry
	mini  *miniredis.Miniredis
	rdb   *redis.Client
	db    *pebble.DB
	trail *trail
	clock *clock
}

func memDB(t tb) *pebble.DB {
	o := node.Options()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func client(t tb, addr string) *redis.Client {
	rdb := redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialTimeout: 300 * time.Millisecond, Protocol: 2,
	})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func newRig(t tb, keys ...string) *rig {
	if len(keys) == 0 {
		keys = []string{"1"}
	}
	g := &rig{mini: miniredis.RunT(t), db: memDB(t), trail: &trail{}, clock: &clock{t: day0}}
	g.rdb = client(t, g.mini.Addr())
	var err error
	g.Registry, err = New(g.rdb, ringOf(t, keys...), g.db, g.trail, Options{Now: g.clock.now, Timeout: time.Second})
	require.NoError(t, err)
	return g
}

// again is the same node after a restart.
func (g *rig) again(t tb) *Registry {
	r, err := New(g.rdb, g.ring, g.db, g.trail, Options{Now: g.clock.now, Timeout: time.Second})
	require.NoError(t, err)
	return r
}

func given(a address.Address) Event {
	return Event{
		Action: Given, Controller: "acme", Purpose: "news", Address: a, Basis: Express, Method: "cli",
		Source: "https://example.org/signup", Wording: "Yes, send me the newsletter.", WordingVer: "v1",
		Language: "en", Jurisdiction: "EU", Actor: "operator:desk",
	}
}

func (g *rig) record(t tb, e Event) string {
	t.Helper()
	id, err := g.Record(context.Background(), e)
	require.NoError(t, err)
	g.clock.add(time.Second)
	return id
}

func (g *rig) suppress(t tb, s Suppression) string {
	t.Helper()
	id, err := g.Suppress(context.Background(), s)
	require.NoError(t, err)
	g.clock.add(time.Second)
	return id
}

func ask(t tb, r *Registry, a address.Address) Answer {
	t.Helper()
	out, err := r.Lookup(context.Background(), "acme", "news", 1, []address.Address{a})
	require.NoError(t, err)
	require.Len(t, out, 1)
	return out[0]
}

func unsub(a address.Address) Suppression {
	return Suppression{Controller: "acme", Address: a, Scope: ScopePurpose, Purpose: "news", Reason: Unsubscribed, Source: "page", Actor: "link"}
}

func TestConsentFromSignUpToUnsubscribeAndBack(t *testing.T) {
	g := newRig(t)
	require.Equal(t, StatusNone, ask(t, g.Registry, mina).Status)

	g.record(t, given(mina))
	a := ask(t, g.Registry, mina)
	require.Equal(t, StatusActive, a.Status)
	require.Equal(t, Express, a.Basis)
	require.Equal(t, StatusNone, ask(t, g.Registry, tagMn).Status, "consent is by exact form")

	id := g.suppress(t, unsub(tagMn))
	a = ask(t, g.Registry, mina)
	require.Equal(t, Unsubscribed, a.Suppressed, "suppression binds the wide form")
	require.Equal(t, id, a.Evidence)

	g.record(t, given(mina))
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed, "a plain give lifts nothing")

	require.NoError(t, g.Undo(context.Background(), id))
	require.Empty(t, ask(t, g.Registry, mina).Suppressed)
	require.Equal(t, []string{"given", "suppress", "given", "undo"}, g.trail.actions())
}

func TestSameIdAfterUndoSuppressesAgain(t *testing.T) {
	g := newRig(t)
	s := unsub(mina)
	s.ID = "token-1"
	first := g.suppress(t, s)
	require.Equal(t, first, g.suppress(t, s), "while it stands it is the same")
	require.NoError(t, g.Undo(context.Background(), first))
	second := g.suppress(t, s)
	require.NotEqual(t, first, second)
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
	require.NoError(t, g.Undo(context.Background(), second))
	require.Empty(t, ask(t, g.Registry, mina).Suppressed)
}

func TestLookupKeepsOrderAndFailsQuicklyWithoutRedis(t *testing.T) {
	g := newRig(t)
	other := address.MustParse("other@example.net")
	g.record(t, given(other))
	out, err := g.Lookup(context.Background(), "acme", "news", 1, []address.Address{mina, other, mina})
	require.NoError(t, err)
	require.Equal(t, []Status{StatusNone, StatusActive, StatusNone}, []Status{out[0].Status, out[1].Status, out[2].Status})
	g.mini.Close()
	from := time.Now()
	_, err = g.Lookup(context.Background(), "acme", "news", 1, []address.Address{other})
	require.ErrorIs(t, err, ErrStoreUnavailable)
	require.Less(t, time.Since(from), 3*time.Second)
}

func TestSuppressWithRedisAwayBindsLater(t *testing.T) {
	g := newRig(t)
	g.record(t, given(mina))
	g.mini.SetError("LOADING")
	id, err := g.Suppress(context.Background(), unsub(mina))
	require.ErrorIs(t, err, ErrStoreUnavailable)
	require.NotEmpty(t, id)
	g.mini.SetError("")
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed, "from memory, before any retry")
	require.Equal(t, Unsubscribed, ask(t, g.again(t), mina).Suppressed, "from the journal, after a restart")
}

func TestRedisThatForgotIsNotBelieved(t *testing.T) {
	g := newRig(t)
	ctx := context.Background()
	e := given(mina)
	g.record(t, e)
	require.Empty(t, ask(t, g.Registry, mina).Suppressed)
	before, err := g.rdb.HGetAll(ctx, subjectKey(g.ring.Identify("acme", mina).ID)).Result()
	require.NoError(t, err)
	g.suppress(t, unsub(mina))
	g.mini.FlushAll()
	// An older state comes back.
	require.NoError(t, g.rdb.HSet(ctx, subjectKey(g.ring.Identify("acme", mina).ID), before).Err())
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
	g.mini.FlushAll()
	n, err := g.Replay(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
}

func TestImportOwnFormat(t *testing.T) {
	g := newRig(t)
	g.suppress(t, unsub(mina))
	in := "address,time,action,source,wording,wording_version\n" +
		"mina@example.org,2026-01-05T10:00:00Z,confirmed,https://example.org/f,Yes please,v2\n" +
		"new@example.org,2026-01-05T10:00:00Z,given,https://example.org/f,Yes please,v2\n" +
		"odd@example.org,,given,,,\n" +
		"not an address,2026-01-05T10:00:00Z,given,x,y,z\n" +
		"gone@example.org,2026-01-06 08:00:00,unsubscribed,,,\n"
	o := ImportOptions{Controller: "acme", Purpose: "news", Name: "list.csv"}
	dry := o
	dry.DryRun = true
	for range 2 {
		rep, err := g.Import(context.Background(), strings.NewReader(in), dry)
		require.NoError(t, err)
		require.Equal(t, []int{5, 1, 1, 1, 1, 1}, []int{rep.Rows, rep.Active, rep.Unproven, rep.Kept, rep.Suppressed, rep.RefusedRows})
		require.Equal(t, 5, rep.Refused[0].Line)
	}
	rep, err := g.Import(context.Background(), strings.NewReader(in), o)
	require.NoError(t, err)
	require.Equal(t, 1, rep.Active)
	require.Equal(t, StatusActive, ask(t, g.Registry, address.MustParse("new@example.org")).Status)
	require.Equal(t, StatusUnproven, ask(t, g.Registry, address.MustParse("odd@example.org")).Status)
	require.Equal(t, Unsubscribed, ask(t, g.Registry, address.MustParse("gone@example.org")).Suppressed)
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
	rep, err = g.Import(context.Background(), strings.NewReader(in), o)
	require.NoError(t, err)
	require.Equal(t, 4, rep.Repeated)
}
