package gateway

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/delivery"
	"postern/gateway/dkim"
	"postern/gateway/header"
	"postern/gateway/ledger"
	"postern/gateway/node"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/gateway/unsubscribe"
	"postern/testmail/env"
)

// The rooms do what the engine asks of them.
var (
	_ Consent = (*consent.Registry)(nil)
	_ Spooler = (*spool.Store)(nil)
	_ Tokens  = (*unsubscribe.Codec)(nil)
	_ Trail   = (*ledger.Ledger)(nil)
	_ Signer  = (*dkim.Signer)(nil)
	_ Judge   = (*Engine)(nil)
)

// house is the engine among the real rooms.
type house struct {
	*bench
	registry *consent.Registry
	store    *spool.Store
	trail    *ledger.Ledger
	codec    *unsubscribe.Codec
	redis    *miniredis.Miniredis
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{redis: miniredis.RunT(t)}
	o := node.Options()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	rdb := redis.NewClient(&redis.Options{Addr: h.redis.Addr(), ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	secret := bytes.Repeat([]byte{7}, 32)
	h.trail, err = ledger.Open(db, t.TempDir(), ledger.Keys{Origin: "relay.example.org/test", Signer: secret, Master: secret}, ledger.Options{})
	require.NoError(t, err)
	ring, err := address.NewKeyring(address.Key{ID: "k1", Secret: secret})
	require.NoError(t, err)
	h.registry, err = consent.New(rdb, ring, db, h.trail, consent.Options{Timeout: time.Second})
	require.NoError(t, err)
	h.store, err = spool.New(db, "", h.trail, spool.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.store.Close()) })
	h.codec, err = unsubscribe.NewCodec(unsubscribe.TokenKey{ID: 1, Secret: secret})
	require.NoError(t, err)
	h.bench = newTestEngine(t, func(d *Deps, o *EngineOptions, sts []stream.Stream) {
		signing(t)(d, o, sts)
		d.Consent, d.Spool, d.Trail, d.Tokens, o.Now = h.registry, h.store, h.trail, h.codec, nil
	})
	return h
}

func (h *house) consents(t testing.TB, to string) {
	t.Helper()
	for _, action := range []consent.Action{consent.Given, consent.Confirmed} {
		_, err := h.registry.Record(t.Context(), consent.Event{Time: time.Now(), Action: action, Controller: "shop", Purpose: "newsletter",
			Address: address.MustParse(to), Basis: consent.Express, Method: "form", Source: "https://example.org/signup", Wording: "I want the news.",
			WordingVer: "1", Language: "en", Jurisdiction: "EU", Actor: "operator:test"})
		require.NoError(t, err)
	}
}

// TestClosedLoop is the path of one newsletter through all rooms: out with
// consent and a working token, and not out again once the token was used, even
// where it is in the spool already.
func TestClosedLoop(t *testing.T) {
	h := newHouse(t)
	const to = "Reader+news@example.com"
	raw := letter("a@news.example.org")
	_, err := h.Data(t.Context(), testEnvelope(to), raw)
	require.Equal(t, NoConsent, denialOf(t, err).Reason)

	h.consents(t, to)
	out, err := h.Data(t.Context(), testEnvelope(to), raw)
	require.NoError(t, err)
	item, err := h.store.Take(t.Context())
	require.NoError(t, err)
	require.Equal(t, out.ID, item.Message.ID)
	copies, refusals, err := h.Prepare(t.Context(), item.Message, item.Due)
	require.NoError(t, err)
	require.Empty(t, refusals)
	require.Equal(t, 2, verifySigned(t, copies[0]))
	link, _ := header.Parse(copies[0].Header).Get("List-Unsubscribe")
	text, _, _ := strings.Cut(strings.TrimPrefix(link, "<https://privacy.example.org/u/"), ">")
	require.LessOrEqual(t, len(text), tokenLength)
	token, err := h.codec.Open(text)
	require.NoError(t, err)
	require.EqualValues(t, 1, token.Stream)

	_, err = h.registry.Suppress(t.Context(), consent.Suppression{Time: time.Now(), Controller: "shop", Subject: token.Subject, Scope: consent.ScopeStream,
		Stream: token.Stream, Reason: consent.Unsubscribed, Source: "one-click", Actor: "link"})
	require.NoError(t, err)
	copies, refusals, err = h.Prepare(t.Context(), item.Message, item.Due)
	require.NoError(t, err)
	require.Empty(t, copies)
	require.Equal(t, "suppressed", refusals[0].Reason)
	for _, same := range []string{to, "READER@example.com"} {
		_, err = h.Data(t.Context(), testEnvelope(same), raw)
		require.Equal(t, "suppressed:unsubscribed", denialOf(t, err).label())
	}
	_, err = h.Data(t.Context(), testEnvelope(to), letter("a@example.org", "X-Postern-Stream: orders"))
	require.NoError(t, err, "orders still arrive")

	h.redis.Close()
	_, err = h.Data(t.Context(), testEnvelope(to), raw)
	require.Equal(t, StoreUnavailable, denialOf(t, err).Reason)
	_, refusals, err = h.Prepare(t.Context(), item.Message, item.Due)
	require.NoError(t, err)
	require.True(t, refusals[0].Defer)
	require.NoError(t, h.trail.Flush(t.Context()))
	actions := map[string]int{}
	require.NoError(t, h.trail.Query(t.Context(), ledger.Filter{}, func(e ledger.Entry) error {
		if e.Record.Kind == ledger.KindVerdict {
			actions[e.Record.Action]++
		}
		return nil
	}))
	require.Equal(t, map[string]int{"allow": 2, "deny": 4, "defer": 1}, actions)
}

// BenchmarkLookup asks a real Redis for one recipient from many goroutines,
// each look-up by itself and joined with those of the others.
func BenchmarkLookup(b *testing.B) {
	o := node.Options()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("state", o)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	rdb := redis.NewClient(&redis.Options{Addr: env.Redis(b).Addr, ContextTimeoutEnabled: true})
	b.Cleanup(func() { require.NoError(b, rdb.Close()) })
	ring, err := address.NewKeyring(address.Key{ID: "k1", Secret: bytes.Repeat([]byte{7}, 32)})
	require.NoError(b, err)
	registry, err := consent.New(rdb, ring, db, nil, consent.Options{})
	require.NoError(b, err)
	for _, c := range []struct {
		name string
		Consent
	}{{"direct", registry}, {"joined", newJoiner(registry, 5*time.Second)}} {
		for _, sessions := range []int{1, 20, 100} {
			b.Run(fmt.Sprintf("%s/%d", c.name, sessions), func(b *testing.B) {
				b.SetParallelism((sessions + 1) / 2)
				b.RunParallel(func(pb *testing.PB) {
					who := people(1, "reader")
					for pb.Next() {
						if _, err := c.Lookup(context.Background(), "shop", "newsletter", 1, who); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// BenchmarkAskAgain is what the second verdict costs (design D5): copies are
// prepared by 20 workers, in flights of one and of 16, with the answers at hand
// and with a real Redis asked. Processor time is told for each message, ours
// and that of Redis.
func BenchmarkAskAgain(b *testing.B) {
	o := node.Options()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("state", o)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	rdb := redis.NewClient(&redis.Options{Addr: env.Redis(b).Addr, ContextTimeoutEnabled: true})
	b.Cleanup(func() { require.NoError(b, rdb.Close()) })
	ring, err := address.NewKeyring(address.Key{ID: "k1", Secret: bytes.Repeat([]byte{7}, 32)})
	require.NoError(b, err)
	registry, err := consent.New(rdb, ring, db, nil, consent.Options{})
	require.NoError(b, err)
	h := &house{registry: registry}
	for i := range 16 {
		h.consents(b, fmt.Sprintf("p%d@example.com", i))
	}
	for _, asked := range []bool{false, true} {
		for _, flight := range []int{1, 16} {
			b.Run(fmt.Sprintf("asked=%v/flight=%d", asked, flight), func(b *testing.B) {
				e := newTestEngine(b, func(d *Deps, o *EngineOptions, _ []stream.Stream) {
					if o.Now = nil; asked {
						d.Consent = registry
					}
				})
				var reqs []delivery.Request
				for i := range flight {
					to := fmt.Sprintf("p%d@example.com", i)
					e.consent.set(to, consent.Answer{Status: consent.StatusActive})
					reqs = append(reqs, delivery.Request{Message: e.accept(b, letter("a@news.example.org"), to), Due: []int{0}})
				}
				ours, theirs := processorTime(), redisTime(b, rdb)
				b.SetParallelism(10)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						for _, p := range e.PrepareAll(context.Background(), reqs) {
							if p.Err != nil || len(p.Copies) != 1 {
								b.Errorf("%v, refused: %v", p.Err, p.Refusals)
								return
							}
						}
					}
				})
				b.StopTimer()
				messages := float64(b.N * flight)
				b.ReportMetric(float64((processorTime()-ours).Microseconds())/messages, "cpu-us/message")
				b.ReportMetric(float64((redisTime(b, rdb)-theirs).Microseconds())/messages, "redis-cpu-us/message")
			})
		}
	}
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// redisTime is what the Redis server has used so far.
func redisTime(b *testing.B, rdb *redis.Client) (sum time.Duration) {
	info, err := rdb.Info(b.Context(), "cpu").Result()
	require.NoError(b, err)
	for line := range strings.Lines(info) {
		if name, v, _ := strings.Cut(strings.TrimSpace(line), ":"); name == "used_cpu_sys" || name == "used_cpu_user" {
			s, err := strconv.ParseFloat(v, 64)
			require.NoError(b, err)
			sum += time.Duration(s * float64(time.Second))
		}
	}
	return sum
}

// TestOwnMailLeavesOnce: who asks again for a mail that was spooled already
// gets its id; another text or recipient is another mail.
func TestOwnMailLeavesOnce(t *testing.T) {
	h := newHouse(t)
	mail := Outgoing{To: address.MustParse("who@example.com"), Header: []byte("From: a@example.org\r\nSubject: Receipt\r\n"), Body: []byte("We have it.\r\n"), Ref: "case:1:ack:0"}
	first, err := h.Submit(t.Context(), mail)
	require.NoError(t, err)
	again, err := h.Submit(t.Context(), mail)
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.EqualValues(t, 1, h.store.Stats().Messages)
	for _, change := range []func(*Outgoing){
		func(o *Outgoing) { o.Ref = "case:1:ack:1" },
		func(o *Outgoing) { o.To = address.MustParse("other@example.com") },
		func(o *Outgoing) { o.Body = []byte("We have more.\r\n") },
		func(o *Outgoing) { o.Ref = "" },
	} {
		o := mail
		change(&o)
		id, err := h.Submit(t.Context(), o)
		require.NoError(t, err)
		require.NotEqual(t, first, id)
	}
	require.EqualValues(t, 5, h.store.Stats().Messages)
}
