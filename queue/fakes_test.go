package queue

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/stream"
)

// errDown is what a fake answers while it is set to fail.
var errDown = errors.New("down")

// world is a queue on an in-process Redis with recording rooms below it.
type world struct {
	t     *testing.T
	q     *Queue
	rdb   redis.UniversalClient
	clock *clockHand

	mu        sync.Mutex
	bound     map[string]consent.Suppression
	binds     int
	sent      map[string]Outgoing
	proofs    map[string]ledger.Record
	notices   []Notice
	commits   int // of the ledger
	failBind  bool
	failProof bool
	failSend  bool
	sendErr   error
	onBind    func(consent.Reason) // called before a suppression is bound
}

// clockHand is a clock that tests turn.
type clockHand struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clockHand) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clockHand) Set(t time.Time) { c.mu.Lock(); c.now = t; c.mu.Unlock() }

func (w *world) Suppress(_ context.Context, s consent.Suppression) (string, error) {
	if w.onBind != nil {
		w.onBind(s.Reason)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failBind {
		return "", errDown
	}
	w.binds++
	w.bound[s.ID] = s
	return s.ID, nil
}

func (w *world) Submit(_ context.Context, m Outgoing) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failSend {
		return "", errDown
	}
	if w.sendErr != nil {
		return "", w.sendErr
	}
	w.sent[m.Ref] = m
	return "spool-" + m.Ref, nil
}

func (w *world) Append(_ context.Context, records ...ledger.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failProof {
		return errDown
	}
	w.commits++
	for _, r := range records {
		if r.Kind == ledger.KindRetention {
			continue
		}
		w.proofs[r.ID] = r
	}
	return nil
}

func (w *world) notify(_ context.Context, n Notice) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices = append(w.notices, n)
	return nil
}

func (w *world) set(fn func()) { w.mu.Lock(); defer w.mu.Unlock(); fn() }

func testStreams(t testing.TB) *stream.Set {
	t.Helper()
	set, err := stream.NewSet(
		[]stream.Controller{
			{ID: "shop", Name: "Example Shop", Postal: "Marktplatz 1, 12345 Musterstadt", Contact: "privacy@shop.example.org", PrivacyURL: "https://shop.example.org/privacy", Authority: "the data protection authority", Country: "DE", Language: "de", TimeZone: "Europe/Berlin", Domains: []string{"shop.example.org"}},
			{ID: "club", Name: "Example Club", Contact: "privacy@club.example.net", Country: "FR", Language: "en", TimeZone: "Europe/Paris", Domains: []string{"club.example.net"}},
		},
		[]stream.Stream{
			{Name: "service", Number: 1, Kind: stream.Service, Controller: "shop", Mode: stream.Enforce},
			{Name: "news", Number: 2, Kind: stream.Marketing, Controller: "shop", Purpose: "news", ListID: "news.shop.example.org", Title: "News", Mode: stream.Enforce},
			{Name: "club-service", Number: 3, Kind: stream.Service, Controller: "club", Mode: stream.Enforce},
		})
	require.NoError(t, err)
	return set
}

func testKeyring(t testing.TB) *address.Keyring {
	t.Helper()
	ring, err := address.NewKeyring(address.Key{ID: "k1", Secret: bytes.Repeat([]byte{7}, 32)})
	require.NoError(t, err)
	return ring
}

func newWorld(t *testing.T) *world {
	t.Helper()
	mr := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	return newWorldOn(t, rdb)
}

func newWorldOn(t *testing.T, rdb redis.UniversalClient) *world {
	t.Helper()
	w := &world{t: t, rdb: rdb, clock: &clockHand{now: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)},
		bound: map[string]consent.Suppression{}, sent: map[string]Outgoing{}, proofs: map[string]ledger.Record{}}
	set := testStreams(t)
	q, err := New(rdb, Deps{Optout: w, Sender: w, Trail: w, Streams: func() *stream.Set { return set }, Notify: w.notify, Tokens: w.token},
		Options{VaultKey: bytes.Repeat([]byte{9}, 32), Keyring: testKeyring(t), Now: w.clock.Now,
			AckStream: map[string]string{"shop": "service", "club": "club-service"},
			ReplyPath: map[string]string{"shop": "case@bounce.shop.example.org"}, LinkBase: map[string]string{"shop": "https://mail.shop.example.org/case/"},
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Tick: 10 * time.Millisecond, Backoff: time.Millisecond})
	require.NoError(t, err)
	w.q = q
	return w
}

// token reads the one token that tests use.
func (w *world) token(text string) (address.SubjectID, uint16, error) {
	if text != "goodtoken" {
		return address.SubjectID{}, 0, errors.New("does not authenticate")
	}
	return w.q.o.Keyring.Identify("shop", address.MustParse("token-owner@example.com")).ID, 2, nil
}

// drain runs the worker until no work is left that is due now.
func (w *world) drain() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.q.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(w.t, <-done)
	}()
	require.Eventually(w.t, func() bool {
		// The stream last: what the clocks move goes there.
		later, err := w.rdb.ZCount(ctx, keyLater, "-inf", millis(w.clock.Now())).Result()
		due, err2 := w.rdb.ZCount(ctx, keyRemind, "-inf", millis(w.clock.Now())).Result()
		n, err3 := w.rdb.XLen(ctx, keyWork).Result()
		return err == nil && err2 == nil && err3 == nil && n+later+due == 0
	}, 20*time.Second, 5*time.Millisecond)
}

var uid uint32 = 100

// mailFrom is a request mail with the labels given.
func mailFrom(from string, labels ...classifier.Label) Incoming {
	uid++
	id := from + "-" + time.Duration(uid).String()
	return Incoming{
		Controller: "shop", Mailbox: "privacy", Folder: "INBOX", UIDValidity: 1, UID: uid,
		MessageID: id + "@mail.example.com", ContentHash: sha(id), Received: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC),
		From: address.MustParse(from), ReturnPath: from, Subject: "My secret subject", Text: "My secret words",
		Grade: Proven, MayReply: true,
		Result: classifier.Result{Language: "en", Kind: classifier.KindRequest, Decided: labels, Asker: "subject"},
	}
}

// secrets are words that must never be in Redis in clear.
var secrets = []string{"secret", "alice", "example.com", "mail.example"}

// requireSealed looks at every value in Redis.
func requireSealed(t *testing.T, rdb redis.UniversalClient) {
	t.Helper()
	ctx := context.Background()
	keys, err := rdb.Keys(ctx, "*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, k := range keys {
		require.Contains(t, k, "{queue}", "every key is in one slot")
		dump := k
		switch kind := rdb.Type(ctx, k).Val(); kind {
		case "hash":
			for f, v := range rdb.HGetAll(ctx, k).Val() {
				dump += " " + f + "=" + v
			}
		case "list":
			for _, v := range rdb.LRange(ctx, k, 0, -1).Val() {
				dump += " " + v
			}
		case "zset":
			for _, v := range rdb.ZRange(ctx, k, 0, -1).Val() {
				dump += " " + v
			}
		case "set":
			for _, v := range rdb.SMembers(ctx, k).Val() {
				dump += " " + v
			}
		case "stream":
			for _, m := range rdb.XRange(ctx, k, "-", "+").Val() {
				for _, v := range m.Values {
					dump += " " + v.(string)
				}
			}
		case "string":
			dump += " " + rdb.Get(ctx, k).Val()
		default:
			t.Fatalf("key of type %s", kind)
		}
		for _, s := range secrets {
			require.NotContains(t, dump, s)
		}
	}
}

// unfolded is a letter's text on one line: where it was wrapped does not matter.
func unfolded(text string) string { return strings.Join(strings.Fields(text), " ") }
