package console

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/stream"
	"postern/queue"
	"postern/queue/console/auth"
	"postern/testmail/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a console on a real queue and a real Redis, with recording rooms
// below, as a browser meets it.
type world struct {
	t     testing.TB
	rdb   *redis.Client
	q     *queue.Queue
	users *auth.Store
	c     *Console
	srv   *httptest.Server
	deps  Deps

	mu      sync.Mutex
	now     time.Time
	records []ledger.Record
	sent    []queue.Outgoing
	bound   []consent.Suppression
	free    []consent.Release
	raw     map[string][]byte // originals by content hash
}

const testPassword = "a quiet test sentence"

func (w *world) Now() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

func (w *world) later(d time.Duration) { w.mu.Lock(); defer w.mu.Unlock(); w.now = w.now.Add(d) }

func (w *world) Append(_ context.Context, r ...ledger.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, r...)
	return nil
}

// recorded are the records of one kind so far.
func (w *world) recorded(kind ledger.Kind, action string) (out []ledger.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if r.Kind == kind && r.Action == action {
			out = append(out, r)
		}
	}
	return out
}

func (w *world) Submit(_ context.Context, m queue.Outgoing) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, m)
	return fmt.Sprintf("spool-%d", len(w.sent)), nil
}

func (w *world) Suppress(_ context.Context, s consent.Suppression) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bound = append(w.bound, s)
	return s.ID, nil
}

func (w *world) Release(_ context.Context, r consent.Release) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = append(w.free, r)
	return nil
}

// freed are the suppressions that were released so far.
func (w *world) freed() []consent.Release {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]consent.Release(nil), w.free...)
}

// Prove shows what was recorded, at places in the order of recording.
func (w *world) Prove(_ context.Context, f ledger.Filter) (ledger.Proof, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := ledger.Proof{PublicKey: "relay.example.org/test+00000000+key", Checkpoint: "relay.example.org/test\n2\nroot\n"}
	for i, r := range w.records {
		if r.Ref == f.Ref && r.Kind == f.Kind {
			out.Records = append(out.Records, ledger.ProvenItem{Index: int64(i), Record: r})
		}
	}
	return out, nil
}

func (w *world) original(_ context.Context, in queue.Incoming) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if raw, ok := w.raw[in.ContentHash]; ok {
		return raw, nil
	}
	return nil, queue.ErrUnknown
}

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

// newWorld makes a world at 10:00 UTC on Tuesday 24 November 2026; more may
// change options.
func newWorld(t testing.TB, more ...func(*Options, *queue.Options)) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC), raw: map[string][]byte{}}
	w.rdb = redis.NewClient(&redis.Options{Addr: env.Redis(t).Addr})
	t.Cleanup(func() { _ = w.rdb.Close() })
	ring, err := address.NewKeyring(address.Key{ID: "k1", Secret: bytes.Repeat([]byte{7}, 32)})
	require.NoError(t, err)
	set := testStreams(t)
	streams := func() *stream.Set { return set }
	o := Options{Now: w.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	qo := queue.Options{VaultKey: bytes.Repeat([]byte{9}, 32), Keyring: ring, Now: w.Now, VaultDir: t.TempDir(),
		AckStream: map[string]string{"shop": "service", "club": "club-service"}, Tick: 20 * time.Millisecond,
		LinkBase: map[string]string{"shop": "https://mail.shop.example.org/case/"},
		Log:      slog.New(slog.DiscardHandler)}
	for _, f := range more {
		f(&o, &qo)
	}
	w.q, err = queue.New(w.rdb, queue.Deps{Optout: w, Sender: w, Trail: w, Streams: streams}, qo)
	require.NoError(t, err)
	w.users, err = auth.New(w.rdb, auth.Options{Key: bytes.Repeat([]byte{5}, 32), Now: w.Now})
	require.NoError(t, err)
	w.deps = Deps{Cases: w.q, Users: w.users, Trail: w, Streams: streams, Original: w.original, Prover: w}
	w.c, err = New(w.deps, bytes.Repeat([]byte{3}, 32), o)
	require.NoError(t, err)
	w.srv = httptest.NewServer(w.c.Handler())
	t.Cleanup(w.srv.Close)
	return w
}

// user makes an account.
func (w *world) user(name string, roles ...auth.Role) {
	w.t.Helper()
	require.NoError(w.t, w.users.Create(w.t.Context(), name, testPassword, roles))
}

// visitor is one browser with cookies who does not follow redirects.
type visitor struct {
	w      *world
	client *http.Client
}

func (w *world) visitor() *visitor {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(w.t, err)
	tr := &http.Transport{}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &visitor{w, &http.Client{Jar: jar, Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signedIn is a visitor of a new user with these roles.
func (w *world) signedIn(name string, roles ...auth.Role) *visitor {
	w.t.Helper()
	w.user(name, roles...)
	b := w.visitor()
	resp, _ := b.do("POST", "/login", url.Values{"name": {name}, "password": {testPassword}})
	require.Equal(w.t, http.StatusSeeOther, resp.StatusCode)
	return b
}

// do sends a request; a form is sent as it is.
func (b *visitor) do(method, path string, form url.Values) (*http.Response, string) {
	b.w.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, b.w.srv.URL+path, body)
	require.NoError(b.w.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.send(req)
}

func (b *visitor) send(req *http.Request) (*http.Response, string) {
	b.w.t.Helper()
	resp, err := b.client.Do(req)
	require.NoError(b.w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(b.w.t, err)
	return resp, string(text)
}

// get fetches a page that has to be there.
func (b *visitor) get(path string) string {
	b.w.t.Helper()
	resp, text := b.do("GET", path, nil)
	require.Equal(b.w.t, http.StatusOK, resp.StatusCode, text)
	return text
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

// post sends a form with a token as the account page holds one, and gives the
// answer; 303 is followed by hand where a test wants to.
func (b *visitor) post(path string, form url.Values) (*http.Response, string) {
	b.w.t.Helper()
	m := tokenField.FindStringSubmatch(b.get("/account"))
	require.NotNil(b.w.t, m)
	if form == nil {
		form = url.Values{}
	}
	form.Set("token", m[1])
	return b.do("POST", path, form)
}

// done posts and wants to be sent on; it gives the page it is sent to.
func (b *visitor) done(path string, form url.Values) string {
	b.w.t.Helper()
	resp, text := b.post(path, form)
	require.Equal(b.w.t, http.StatusSeeOther, resp.StatusCode, text)
	return b.get(resp.Header.Get("Location"))
}

var uid uint32 = 100

// mail is a request by mail with the labels given, received at nine today.
func (w *world) mail(from, text string, labels ...classifier.Label) queue.Incoming {
	uid++
	id := fmt.Sprintf("%s-%d", from, uid)
	return queue.Incoming{
		Controller: "shop", Mailbox: "privacy", Folder: "INBOX", UIDValidity: 1, UID: uid,
		MessageID: id + "@mail.example.com", ContentHash: fmt.Sprintf("%064x", uid), Received: w.Now().Add(-time.Hour),
		From: address.MustParse(from), ReturnPath: from, Subject: "My data", Text: text,
		Grade: queue.Proven, GradeWhy: "DKIM aligned", MayReply: true,
		Result: classifier.Result{Language: "en", Kind: classifier.KindRequest, Decided: labels, Abstain: len(labels) == 0, Asker: "subject"},
	}
}

// open makes a case of a mail.
func (w *world) open(in queue.Incoming) string {
	w.t.Helper()
	ref, err := w.q.Open(w.t.Context(), in)
	require.NoError(w.t, err)
	return ref.Number
}
