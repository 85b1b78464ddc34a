package portal

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"regexp"
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
	"postern/queue"
	"postern/queue/fulfil"
)

const (
	alice = "alice@example.net"
	eve   = "operator:eve"
)

// world is the pages over the real queue and the real classifier, on an
// in-process Redis, with recording rooms below.
type world struct {
	t     testing.TB
	pages http.Handler
	q     *queue.Queue
	rdb   *redis.Client
	mr    *miniredis.Miniredis
	log   bytes.Buffer

	streams func() *stream.Set

	mu   sync.Mutex
	now  time.Time
	sent []queue.Outgoing
	stop []consent.Suppression
	told []queue.Notice
}

func (w *world) Suppress(_ context.Context, s consent.Suppression) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop = append(w.stop, s)
	return s.ID, nil
}

func (w *world) Submit(_ context.Context, m queue.Outgoing) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, m)
	return "spool", nil
}

func (w *world) Append(context.Context, ...ledger.Record) error { return nil }

func (w *world) clock() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now }

func (w *world) pass(d time.Duration) { w.mu.Lock(); w.now = w.now.Add(d); w.mu.Unlock() }

// shop is a system that holds one record and one file.
type shop struct{}

func (shop) Name() string { return "shop" }

func (shop) Do(_ context.Context, r fulfil.Request) (fulfil.Outcome, error) {
	return fulfil.Outcome{Status: fulfil.Done, Count: 1, Data: []byte(`{"name":"Alice"}`)}, nil
}

func newWorld(t testing.TB, change ...func(*Options, *queue.Options)) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}
	w.mr = miniredis.RunT(t)
	w.rdb = redis.NewClient(&redis.Options{Addr: w.mr.Addr(), MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = w.rdb.Close() })
	set, err := stream.NewSet(
		[]stream.Controller{
			{ID: "shop", Name: "Example Shop", Postal: "1 Example Street, 10000 Exampletown", Contact: "privacy@shop.example.org", PrivacyURL: "https://shop.example.org/privacy", Authority: "the data protection authority", Country: "DE", Language: "en", TimeZone: "Europe/Berlin", Domains: []string{"shop.example.org"}},
		},
		[]stream.Stream{{Name: "service", Number: 1, Kind: stream.Service, Controller: "shop", Mode: stream.Enforce}})
	require.NoError(t, err)
	ring, err := address.NewKeyring(address.Key{ID: "k1", Secret: bytes.Repeat([]byte{7}, 32)})
	require.NoError(t, err)
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	o := Options{Now: w.clock, EvenTime: time.Millisecond, Log: log}
	qo := queue.Options{
		VaultKey: bytes.Repeat([]byte{9}, 32), Keyring: ring, Now: w.clock, AckStream: map[string]string{"shop": "service"},
		LinkBase: map[string]string{"shop": "https://mail.example.com/case/"}, VaultDir: t.TempDir(), Log: log,
		Tick: 5 * time.Millisecond, Backoff: time.Millisecond, SendHold: time.Millisecond, Volatile: true,
		Connections: []queue.Connection{{Verbs: []fulfil.Verb{fulfil.Export}, Connector: shop{}}},
		Handling: map[string]queue.Handling{"shop": {
			Facts: []queue.Facts{{Language: "en", Purposes: "Orders", Categories: "Name", Recipients: "Parcel service", Storage: "Ten years", Source: "You", Automated: "None", Transfers: "None"}},
			Notices: []queue.ProcessingNotice{
				notice("en", "2026-01-01", "Name and orders."), notice("en", "2026-11-01", "Name, orders and returns."), notice("de", "2026-11-01", "Name, Bestellungen und Rücksendungen."),
				notice("en", "2027-01-01", "Things of the future."),
			},
		}},
	}
	for _, c := range change {
		c(&o, &qo)
	}
	w.streams = func() *stream.Set { return set }
	t.Cleanup(func() { // no log line names a person or holds a link, whatever happened (ST-5)
		require.NotContains(t, w.log.String(), "alice")
		require.NotContains(t, w.log.String(), "@")
		require.NotContains(t, w.log.String(), "/case/")
	})
	w.q, err = queue.New(w.rdb, queue.Deps{Optout: w, Sender: w, Trail: w, Streams: w.streams, Notify: func(_ context.Context, n queue.Notice) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, n)
		return nil
	}}, qo)
	require.NoError(t, err)
	require.NoError(t, w.q.PublishNotices(t.Context()))
	w.pages, err = NewHandler(w.q, reader(t), w.streams, o)
	require.NoError(t, err)
	return w
}

func notice(lang, version, data string) queue.ProcessingNotice {
	return queue.ProcessingNotice{Language: lang, Version: version, Data: data, ThirdParties: "The parcel service.", Retention: "Ten years.", Place: "The EU.", Security: "Encryption.", Changes: "We write to you."}
}

// reader is the classifier, loaded once.
var loaded = sync.OnceValues(classifier.New)

func reader(t testing.TB) *classifier.Classifier {
	c, err := loaded()
	require.NoError(t, err)
	return c
}

// work lets the queue's workers run until cond holds.
func (w *world) work(what string, cond func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.q.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(w.t, <-done)
	}()
	require.Eventually(w.t, func() bool { w.pass(10 * time.Millisecond); return cond() }, 30*time.Second, 5*time.Millisecond, what)
}

// mails counts what was sent so far.
func (w *world) mails() int { w.mu.Lock(); defer w.mu.Unlock(); return len(w.sent) }

var linkPattern = regexp.MustCompile(`https://mail\.example\.com(/case/[a-z0-9]+)`)

// mailed works until there are n mails and gives the path of the last one's
// link.
func (w *world) mailed(n int) string {
	w.t.Helper()
	w.work("mails to leave", func() bool { return w.mails() >= n })
	require.Equal(w.t, n, w.mails())
	raw, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(w.sent[n-1].Body)))
	require.NoError(w.t, err)
	m := linkPattern.FindSubmatch(raw)
	require.NotNil(w.t, m, "%s", raw)
	return string(m[1])
}

// open makes a case of a mail.
func (w *world) open(labels ...classifier.Label) string {
	w.t.Helper()
	id := strings.Repeat("x", w.mails()+1) + string(labels[0])
	ref, err := w.q.Open(w.t.Context(), queue.Incoming{
		Controller: "shop", Mailbox: "privacy", Folder: id, MessageID: id + "@mail.example.net", ContentHash: id, Received: w.clock(),
		From: address.MustParse(alice), ReturnPath: alice, Subject: "Confidential subject", Text: "Confidential words", Grade: queue.Proven, NoReplyWhy: "test",
		Result: classifier.Result{Language: "en", Kind: classifier.KindRequest, Decided: labels, Asker: "subject"},
	})
	require.NoError(w.t, err)
	return ref.Number
}

func (w *world) show(no string) queue.Case {
	w.t.Helper()
	c, _, err := w.q.Show(w.t.Context(), no)
	require.NoError(w.t, err)
	return c
}

// numbers lists the cases there are.
func (w *world) numbers() []string {
	w.t.Helper()
	list, err := w.q.List(w.t.Context(), queue.Filter{})
	require.NoError(w.t, err)
	var out []string
	for _, c := range list {
		out = append(out, c.Number)
	}
	return out
}

// do sends one request; head is pairs of field and value.
func (w *world) do(method, path, body string, head ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	rec := httptest.NewRecorder()
	w.pages.ServeHTTP(rec, r)
	// Whatever is asked, no answer is kept, framed, indexed or told onwards.
	require.Equal(w.t, "no-store", rec.Header().Get("Cache-Control"))
	require.Equal(w.t, "no-referrer", rec.Header().Get("Referrer-Policy"))
	require.Contains(w.t, rec.Header().Get("X-Robots-Tag"), "noindex")
	require.Equal(w.t, "nosniff", rec.Header().Get("X-Content-Type-Options"))
	require.Contains(w.t, rec.Header().Get("Content-Security-Policy"), "default-src 'none'")
	require.Empty(w.t, rec.Header().Values("Set-Cookie"))
	require.NotContains(w.t, rec.Body.String(), "<script")
	require.NotContains(w.t, rec.Body.String(), "style=")
	require.NotContains(w.t, rec.Body.String(), "Confidential", "no page shows a mail")
	return rec
}

func (w *world) get(path string) *httptest.ResponseRecorder { return w.do(http.MethodGet, path, "") }

func (w *world) post(path, body string) *httptest.ResponseRecorder {
	return w.do(http.MethodPost, path, body, "Content-Type", "application/x-www-form-urlencoded")
}
