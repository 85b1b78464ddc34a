package consent

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/node"
	"postern/testmail/env"
)

func TestST_8_RedisHasToKeepWhatItIsGiven(t *testing.T) {
	ctx := context.Background()
	good := client(t, env.Redis(t).Addr)
	require.NoError(t, CheckDurability(ctx, good, Durability{}))
	for name, c := range map[string]struct {
		set  [2]string
		want string
	}{
		"no AOF":      {[2]string{"appendonly", "no"}, "appendonly"},
		"lazy fsync":  {[2]string{"appendfsync", "everysec"}, "appendfsync"},
		"may evict":   {[2]string{"maxmemory-policy", "allkeys-lru"}, "noeviction"},
		"evict, soft": {[2]string{"maxmemory-policy", "volatile-ttl"}, "noeviction"},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := client(t, env.Redis(t).Addr)
			require.NoError(t, rdb.ConfigSet(ctx, c.set[0], c.set[1]).Err())
			for _, o := range []Durability{{}, {Asserted: true}} {
				err := CheckDurability(ctx, rdb, o)
				require.ErrorIs(t, err, ErrVolatile)
				require.ErrorContains(t, err, c.want)
			}
			require.NoError(t, CheckDurability(ctx, rdb, Durability{AllowVolatile: true}))
		})
	}
	t.Run("CONFIG and INFO forbidden", func(t *testing.T) {
		require.NoError(t, good.Do(ctx, "ACL", "SETUSER", "relay", "on", ">secret", "~pc:*", "+@all", "-config", "-info").Err())
		rdb := redis.NewClient(&redis.Options{Addr: good.Options().Addr, Username: "relay", Password: "secret"})
		t.Cleanup(func() { _ = rdb.Close() })
		require.ErrorIs(t, CheckDurability(ctx, rdb, Durability{}), ErrVolatile)
		require.NoError(t, CheckDurability(ctx, rdb, Durability{Asserted: true}))
	})
	t.Run("in process", func(t *testing.T) {
		g := newRig(t)
		require.ErrorIs(t, CheckDurability(ctx, g.rdb, Durability{}), ErrVolatile)
		require.NoError(t, CheckDurability(ctx, g.rdb, Durability{AllowVolatile: true}))
	})
	dead := client(t, env.FreeAddr(t))
	require.ErrorIs(t, CheckDurability(ctx, dead, Durability{}), ErrStoreUnavailable)
}

// TestUNS_7_OptOutSurvivesPowerLoss looks at what the journal's file system
// holds for certain when Suppress has answered.
func TestUNS_7_OptOutSurvivesPowerLoss(t *testing.T) {
	fs := vfs.NewCrashableMem()
	open := func(fs *vfs.MemFS) *pebble.DB {
		o := node.Options()
		o.FS = fs
		db, err := pebble.Open("state", o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	g := newRig(t)
	var err error
	g.Registry, err = New(g.rdb, g.ring, open(fs), nil, Options{Now: g.clock.now})
	require.NoError(t, err)
	g.record(t, given(mina))
	id := g.suppress(t, unsub(mina))
	after := fs.CrashClone(vfs.CrashCloneCfg{}) // only what was synced
	g.mini.FlushAll()
	r, err := New(g.rdb, g.ring, open(after), nil, Options{Now: g.clock.now})
	require.NoError(t, err)
	require.Equal(t, id, ask(t, r, mina).Evidence)
}

func TestCheckRefusesForeignKeys(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		with := func(keys ...string) *Registry {
			r, err := New(g.rdb, ringOf(t, keys...), memDB(t), nil, Options{Now: g.clock.now})
			require.NoError(t, err)
			return r
		}
		require.NoError(t, g.Check(ctx))
		require.NoError(t, with("1").Check(ctx))
		require.ErrorIs(t, with("2").Check(ctx), ErrForeignKey, "a fresh key")
		require.ErrorIs(t, with("2", "1").Check(ctx), ErrForeignKey, "not yet admitted")
		require.ErrorIs(t, with("2").AdmitKeys(ctx), ErrForeignKey, "it would lose sight of everybody")
		require.NoError(t, with("2", "1").AdmitKeys(ctx))
		require.NoError(t, with("2", "1").Check(ctx))
		require.ErrorIs(t, g.Check(ctx), ErrForeignKey, "the node without the new key")
		g.suppress(t, unsub(mina))
		require.NoError(t, g.rdb.Del(ctx, keyFingerprints).Err())
		require.ErrorIs(t, with("1").Check(ctx), ErrForeignKey, "persons without fingerprints")
	})
}

func TestD8_KeyRotationLosesNobody(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		open := func(keys ...string) *rig {
			n := *g
			r, err := New(g.rdb, ringOf(t, keys...), g.db, g.trail, Options{Now: g.clock.now, Tick: 5 * time.Millisecond})
			require.NoError(t, err)
			n.Registry = r
			return &n
		}
		g.doi(t, mina)
		g.record(t, given(tagMn))
		tom := address.MustParse("tom@example.net")
		g.record(t, given(tom))
		tomID := g.suppress(t, unsub(tom))
		wait := given(address.MustParse("wait@example.net"))
		wait.Method = "form"
		waitID := g.record(t, wait)
		oldTom := g.ring.Identify("acme", tom).ID

		n := open("2", "1")
		require.Equal(t, StatusActive, ask(t, n.Registry, mina).Status, "before anything moved")
		require.Equal(t, Unsubscribed, ask(t, n.Registry, tom).Suppressed)
		runCtx, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- n.Run(runCtx) }()
		newMina := n.ring.Identify("acme", mina)
		env.Eventually(t, 5*time.Second, "what was looked up to move", func() bool {
			had, err := g.rdb.HExists(ctx, subjectKey(newMina.ID), consentField(newMina.Exact, "news")).Result()
			return err == nil && had && len(n.moves) == 0
		})
		stop()
		require.NoError(t, <-done)
		require.Equal(t, StatusActive, ask(t, n.Registry, mina).Status, "moved")
		require.Equal(t, StatusActive, ask(t, n.Registry, tagMn).Status, "not seen yet")
		require.Equal(t, Unsubscribed, ask(t, n.Registry, tom).Suppressed)
		require.Equal(t, Unsubscribed, ask(t, g.Registry, tom).Suppressed, "a node that does not know yet sees the opt-out")
		p, err := n.ProfileSubject(ctx, "acme", oldTom)
		require.NoError(t, err)
		require.Len(t, p.Suppressions, 1, "an old token's page")

		// Links of before still work: confirm, undo, unsubscribe.
		require.NoError(t, n.settle(ctx, "acme", wait.Address))
		n.record(t, Event{Action: Confirmed, Controller: "acme", Purpose: "news", Method: "link", Ref: waitID})
		require.Equal(t, StatusActive, ask(t, n.Registry, wait.Address).Status)
		require.NoError(t, n.Undo(ctx, tomID))
		require.Empty(t, ask(t, n.Registry, tom).Suppressed)
		s := unsub(address.Address{})
		s.Subject = oldTom
		n.suppress(t, s)
		require.Equal(t, Unsubscribed, ask(t, n.Registry, tom).Suppressed)
		_, err = n.Erase(ctx, "acme", tagMn, "PC-9", "operator:desk")
		require.NoError(t, err)
		p, err = n.Profile(ctx, "acme", mina)
		require.NoError(t, err)
		require.Empty(t, p.Consents, "erased under both keys")
	})
}

// cluster starts a Redis Cluster of two masters.
func cluster(t *testing.T) *redis.ClusterClient {
	ctx := context.Background()
	var addrs []string
	var nodes []*redis.Client
	for range 2 {
		bus := env.FreePort(t)
		s := env.Redis(t, "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(bus), "--cluster-node-timeout", "2000")
		addrs = append(addrs, s.Addr)
		nodes = append(nodes, client(t, s.Addr))
		if len(nodes) == 2 {
			var port string
			_, err := fmt.Sscanf(s.Addr, "127.0.0.1:%s", &port)
			require.NoError(t, err)
			require.NoError(t, nodes[0].Do(ctx, "CLUSTER", "MEET", "127.0.0.1", port, bus).Err())
		}
	}
	require.NoError(t, nodes[0].ClusterAddSlotsRange(ctx, 0, 8191).Err())
	require.NoError(t, nodes[1].ClusterAddSlotsRange(ctx, 8192, 16383).Err())
	for _, n := range nodes {
		env.Eventually(t, 20*time.Second, "the cluster to be whole", func() bool {
			info, err := n.ClusterInfo(ctx).Result()
			return err == nil && infoField(info, "cluster_state") == "ok" && infoField(info, "cluster_size") == "2"
		})
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestD11_RedisCluster(t *testing.T) {
	ctx := context.Background()
	c := cluster(t)
	db, clk := memDB(t), &clock{t: day0}
	r, err := New(c, ringOf(t, "2", "1"), db, &trail{}, Options{Now: clk.now})
	require.NoError(t, err)
	require.NoError(t, r.Check(ctx))
	require.NoError(t, CheckDurability(ctx, c, Durability{}))
	var addrs []address.Address
	for i := range 60 {
		addrs = append(addrs, person(i))
		_, err := r.Record(ctx, given(person(i)))
		require.NoError(t, err)
		if i%3 == 0 {
			_, err = r.Suppress(ctx, unsub(person(i)))
			require.NoError(t, err)
		}
	}
	look := func() {
		out, err := r.Lookup(ctx, "acme", "news", 1, addrs)
		require.NoError(t, err)
		for i, a := range out {
			require.Equal(t, StatusActive, a.Status)
			require.Equal(t, i%3 == 0, a.Suppressed != "", "person %d", i)
		}
	}
	look()
	n := 0
	require.NoError(t, r.Suppressions(ctx, "acme", func(SuppressionRecord) error { n++; return nil }))
	require.Equal(t, 20, n, "both masters are listed")
	paged := map[string]bool{}
	for at := ""; ; {
		page, next, err := r.SuppressionsPage(ctx, "acme", at, 7, func(SuppressionRecord) bool { return true })
		require.NoError(t, err)
		for _, s := range page {
			paged[s.ID] = true
		}
		if at = next; at == "" {
			break
		}
	}
	require.Len(t, paged, 20, "and both in pages")
	swept, err := r.SweepNow(ctx)
	require.NoError(t, err)
	require.Equal(t, 60, swept.Subjects)

	// One master forgets its opt-outs; Run notices another server and replays.
	ids, err := r.runIDs(ctx)
	require.NoError(t, err)
	require.Len(t, ids, 2)
	for addr := range ids {
		ids[addr] = "another"
	}
	require.NoError(t, c.ForEachMaster(ctx, func(ctx context.Context, m *redis.Client) error {
		keys, err := m.Keys(ctx, subjectPrefix+"*").Result()
		for _, k := range keys {
			err = errors.Join(err, m.HDel(ctx, k, fieldSuppression).Err())
		}
		return err
	}))
	_, err = r.look(ctx, ids)
	require.NoError(t, err)
	look()
}
