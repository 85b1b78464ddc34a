package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"postern/classifier"
	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/node"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/gateway/throttle"
	"postern/gateway/unsubscribe"
	"postern/queue"
	"postern/queue/fulfil"
	"postern/testmail/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an API on real rooms and a real Redis, as a program meets it. Every
// exchange is held against the document.
type world struct {
	t     testing.TB
	redis *env.RedisServer
	rdb   *redis.Client
	db    *pebble.DB
	trail *ledger.Ledger
	reg   *consent.Registry
	q     *queue.Queue
	spool *spool.Store
	a     *API
	srv   *httptest.Server
	log   *bytes.Buffer
	valid validator.Validator

	mu      sync.Mutex
	mailed  []unsubscribe.Confirmation
	sent    []queue.Outgoing
	modes   map[string]stream.Mode
	reached map[string]map[int]int // method and path → status → exchanges held against the document
}

func (w *world) Send(_ context.Context, c unsubscribe.Confirmation) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mailed = append(w.mailed, c)
	return nil
}

func (w *world) Submit(_ context.Context, m queue.Outgoing) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, m)
	return fmt.Sprintf("spool-%d", len(w.sent)), nil
}

func (w *world) Mode(name string) stream.Mode {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.modes[name]; m != "" {
		return m
	}
	return stream.Observe
}

func (w *world) ChangeMode(_ context.Context, name string, m stream.Mode, _ string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.modes[name] = m
	return nil
}

func testStreams(t testing.TB) func() *stream.Set {
	set, err := stream.NewSet(
		[]stream.Controller{{ID: "shop", Name: "Example Shop", Postal: "1 Market Street", Contact: "privacy@shop.example.org", PrivacyURL: "https://shop.example.org/privacy", Authority: "the authority", Country: "DE", Language: "en", TimeZone: "Europe/Berlin", Domains: []string{"shop.example.org"}}},
		[]stream.Stream{
			{Name: "service", Number: 1, Kind: stream.Service, Controller: "shop", Mode: stream.Enforce},
			{Name: "news", Number: 2, Kind: stream.Marketing, Controller: "shop", Purpose: "news", ListID: "news.shop.example.org", Title: "News", Mode: stream.Observe},
			{Name: "orders", Number: 3, Kind: stream.Transactional, Controller: "shop", Mode: stream.Enforce},
		})
	require.NoError(t, err)
	return func() *stream.Set { return set }
}

func newWorld(t testing.TB, more ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, redis: env.Redis(t), modes: map[string]stream.Mode{}, reached: map[string]map[int]int{}, log: &bytes.Buffer{}}
	w.rdb = redis.NewClient(&redis.Options{Addr: w.redis.Addr, MaxRetries: -1, DialerRetries: 1, DialTimeout: time.Second, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = w.rdb.Close() })
	dir := t.TempDir()
	var err error
	w.db, err = node.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.db.Close() })
	w.trail, err = ledger.Open(w.db, dir+"/ledger", ledger.Keys{Origin: "test/postern", Signer: bytes.Repeat([]byte{1}, 32), Master: bytes.Repeat([]byte{2}, 32)}, ledger.Options{})
	require.NoError(t, err)
	ring, err := address.NewKeyring(address.Key{ID: "k1", Secret: bytes.Repeat([]byte{7}, 32)})
	require.NoError(t, err)
	streams := testStreams(t)
	outbox := NewOutbox(w.trail, w.db, nil)
	w.reg, err = consent.New(w.rdb, ring, w.db, outbox, consent.Options{Sweep: -1})
	require.NoError(t, err)
	require.NoError(t, w.reg.Check(t.Context()))
	hooks, err := NewSubscriptions(w.rdb, fulfil.Reach{netip.MustParsePrefix("127.0.0.0/8")}, nil, bytes.Repeat([]byte{4}, 32))
	require.NoError(t, err)
	hooks.Added = outbox.Attend
	t.Cleanup(hooks.Close)
	w.q, err = queue.New(w.rdb, queue.Deps{Optout: w.reg, Sender: w, Trail: w.trail, Streams: streams}, queue.Options{
		VaultKey: bytes.Repeat([]byte{9}, 32), Keyring: ring, VaultDir: dir + "/vault", AckStream: map[string]string{"shop": "service"},
		Tick: 20 * time.Millisecond, SendHold: time.Hour, Log: slog.New(slog.DiscardHandler), Subscribed: hooks.Hooks,
		Handling:    map[string]queue.Handling{"shop": {FourEyes: []string{queue.EyesErase, queue.EyesDeny}}},
		LinkBase:    map[string]string{"shop": "https://mail.example.org/case/"},
		Connections: []queue.Connection{{Verbs: fulfil.Verbs(), Connector: crm{}}},
	})
	require.NoError(t, err)
	w.spool, err = spool.New(w.db, dir, w.trail, spool.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.spool.Close() })
	codec, err := unsubscribe.NewCodec(unsubscribe.TokenKey{ID: 1, Secret: bytes.Repeat([]byte{8}, 32)})
	require.NoError(t, err)
	limits := throttle.New(w.rdb, bytes.Repeat([]byte{6}, 32), time.Second)
	signUps, err := unsubscribe.NewInviter(w.reg, codec, unsubscribe.Options{PublicURL: "https://mail.example.org", Mailer: w, Limits: limits})
	require.NoError(t, err)
	o := Options{Key: bytes.Repeat([]byte{5}, 32), Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, f := range more {
		f(&o)
	}
	w.a, err = New(Deps{
		Redis: w.rdb, Tokens: NewTokens(w.rdb, w.trail, nil), Cases: w.q, Index: w.q.NewIndex(), Consent: w.reg, SignUps: signUps, Spool: w.spool,
		Ledger: w.trail, Modes: w, Report: gateway.NewReport(w.rdb, nil), Streams: streams, Keyring: ring, Limits: limits, Hooks: hooks,
		Faults: func(context.Context) []string { return nil },
	}, o)
	require.NoError(t, err)
	w.srv = httptest.NewServer(w.a.Handler())
	t.Cleanup(w.srv.Close)
	doc, err := libopenapi.NewDocument(w.a.document)
	require.NoError(t, err)
	v, errs := validator.NewValidator(doc)
	require.Empty(t, errs)
	w.valid = v

	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { _ = w.q.Run(ctx); done <- struct{}{} }()
	go func() { _ = outbox.Run(ctx, w.q); done <- struct{}{} }()
	t.Cleanup(func() { stop(); <-done; <-done })
	return w
}

// crm is a system that takes up exports and answers later, can't restrict, and
// does all else at once.
type crm struct{}

func (crm) Name() string { return "crm" }

func (crm) Do(_ context.Context, r fulfil.Request) (fulfil.Outcome, error) {
	switch r.Verb {
	case fulfil.Export:
		return fulfil.Outcome{Status: fulfil.Accepted}, nil
	case fulfil.Restrict:
		return fulfil.Outcome{Status: fulfil.Failed, Note: "not possible here"}, nil
	case fulfil.Erase:
		return fulfil.Outcome{Status: fulfil.Erased, Count: 3}, nil
	}
	return fulfil.Outcome{Status: fulfil.Done}, nil
}

// client is a program with a token.
type client struct {
	w     *world
	token string
	key   string // Idempotency-Key of its next request
	match string // If-None-Match of its next request
	since string // If-Match of its next request
	bad   bool   // its next request breaks the document on purpose
}

func (w *world) client(name string, scopes ...Scope) *client {
	w.t.Helper()
	text, _, err := w.a.d.Tokens.Create(w.t.Context(), name, scopes, 0, "operator:anna", "anna")
	require.NoError(w.t, err)
	return &client{w: w, token: text}
}

// exchange is an answer with its body.
type exchange struct {
	*http.Response
	body []byte
}

// do sends a request and holds it and its answer against the document. A body
// that is a string is sent as it is.
func (c *client) do(method, path string, body any) exchange {
	c.w.t.Helper()
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	default:
		var err error
		raw, err = json.Marshal(b)
		require.NoError(c.w.t, err)
	}
	make := func() *http.Request {
		req, err := http.NewRequest(method, c.w.srv.URL+Base+path, bytes.NewReader(raw))
		require.NoError(c.w.t, err)
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		if c.match != "" {
			req.Header.Set("If-None-Match", c.match)
		}
		if c.since != "" {
			req.Header.Set("If-Match", c.since)
		}
		if c.key != "" {
			req.Header.Set("Idempotency-Key", c.key)
		}
		return req
	}
	resp, err := c.w.srv.Client().Do(make())
	require.NoError(c.w.t, err)
	got, err := io.ReadAll(resp.Body)
	require.NoError(c.w.t, err)
	require.NoError(c.w.t, resp.Body.Close())
	if !c.bad {
		ok, faults := c.w.valid.ValidateHttpRequest(make())
		require.True(c.w.t, ok, "%s %s: request: %+v", method, path, faults)
	}
	if !c.bad || resp.StatusCode != http.StatusMethodNotAllowed {
		resp.Body = io.NopCloser(bytes.NewReader(got))
		if resp.Header.Get("Content-Type") != "application/x-ndjson" && resp.Header.Get("Content-Type") != "application/ld+json" {
			ok, faults := c.w.valid.ValidateHttpResponse(make(), resp)
			require.True(c.w.t, ok, "%s %s: answer %d %s: %+v", method, path, resp.StatusCode, got, faults)
		}
	}
	_, pattern := c.w.a.Handler().(*http.ServeMux).Handler(make())
	c.w.mu.Lock()
	if c.w.reached[pattern] == nil {
		c.w.reached[pattern] = map[int]int{}
	}
	c.w.reached[pattern][resp.StatusCode]++
	c.w.mu.Unlock()
	c.key, c.match, c.since, c.bad = "", "", "", false
	return exchange{resp, got}
}

// get and post want a status and decode the answer.
func (c *client) get(path string, into any) { c.w.t.Helper(); c.want("GET", path, nil, 200, into) }

func (c *client) want(method, path string, body any, status int, into any) exchange {
	c.w.t.Helper()
	x := c.do(method, path, body)
	require.Equal(c.w.t, status, x.StatusCode, "%s %s: %s", method, path, x.body)
	if into != nil {
		require.NoError(c.w.t, json.Unmarshal(x.body, into))
	}
	return x
}

// refused wants a problem of a kind.
func (c *client) refused(method, path string, body any, word string) Problem {
	c.w.t.Helper()
	x := c.do(method, path, body)
	var p Problem
	require.NoError(c.w.t, json.Unmarshal(x.body, &p), "%s", x.body)
	require.Equal(c.w.t, "urn:postern:problem:"+word, p.Type, "%s", x.body)
	require.Equal(c.w.t, "application/problem+json", x.Header.Get("Content-Type"))
	require.Equal(c.w.t, x.StatusCode, p.Status)
	return p
}

type object = map[string]any

var uid uint32 = 100

// incoming is a mail that asks for what the labels say.
func (w *world) incoming(from, text string, labels ...classifier.Label) queue.Incoming {
	uid++
	return queue.Incoming{
		Controller: "shop", Mailbox: "privacy", Folder: "INBOX", UIDValidity: 1, UID: uid, MessageID: fmt.Sprintf("%d@mail.example.com", uid),
		ContentHash: fmt.Sprintf("%064x", uid), Received: time.Now().Add(-time.Hour), From: address.MustParse(from), ReturnPath: from,
		Subject: "My data", Text: text, Grade: queue.Proven, GradeWhy: "DKIM aligned", MayReply: true,
		Result: classifier.Result{Language: "en", Kind: classifier.KindRequest, Decided: labels, Abstain: len(labels) == 0, Asker: "subject"},
	}
}

// open makes a case of a mail.
func (w *world) open(from, text string, labels ...classifier.Label) string {
	w.t.Helper()
	ref, err := w.q.Open(w.t.Context(), w.incoming(from, text, labels...))
	require.NoError(w.t, err)
	return ref.Number
}
