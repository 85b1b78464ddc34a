package intake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/intake/report"
	"postern/queue"
	"postern/testmail/mailbox"
)

// errAway is what the fakes answer while they are switched off.
var errAway = errors.New("store away")

// store is Cases, Aside, Optouts and Bounces in one, keyed as the queue does.
type store struct {
	mu      sync.Mutex
	away    bool
	calls   int
	cases   map[string]queue.Incoming // by content
	aside   map[string]string
	optouts map[string]string
	bounces []report.Bounce
	reports []report.Complaint
	onOpen  func()
}

func newStore() *store {
	return &store{cases: map[string]queue.Incoming{}, aside: map[string]string{}, optouts: map[string]string{}}
}

func (s *store) set(away bool) { s.mu.Lock(); s.away = away; s.mu.Unlock() }

func (s *store) OpenAll(_ context.Context, mails []queue.Incoming) ([]queue.Ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refs := make([]queue.Ref, len(mails))
	for i, in := range mails {
		s.calls++
		if s.onOpen != nil {
			s.onOpen()
		}
		if s.away {
			return nil, errAway
		}
		_, known := s.cases[in.ContentHash]
		s.cases[in.ContentHash] = in
		refs[i] = queue.Ref{Number: in.ContentHash[:8], New: !known}
	}
	return refs, nil
}

func (s *store) SetAside(_ context.Context, list ...queue.Aside) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errAway
	}
	for _, a := range list {
		s.aside[a.Mail.ContentHash] = a.Why
	}
	return nil
}

func (s *store) OptOut(_ context.Context, token string, in queue.Incoming) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errAway
	}
	s.optouts[in.ContentHash] = token
	return nil
}

func (s *store) Bounced(_ context.Context, b report.Bounce) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bounces = append(s.bounces, b)
	return nil
}

func (s *store) Complained(_ context.Context, c report.Complaint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, c)
	return nil
}

func (s *store) counts() (cases, aside, optouts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.cases), len(s.aside), len(s.optouts)
}

// words is a classifier for tests: a label per plain word.
type words struct{ panics string }

func (w words) Classify(in classifier.Input) classifier.Result {
	low := strings.ToLower(in.Subject + " " + in.Text)
	if w.panics != "" && strings.Contains(low, w.panics) {
		panic("asked to")
	}
	res := classifier.Result{Language: "en", Kind: classifier.KindOther}
	for word, l := range map[string]classifier.Label{"erase": classifier.Erasure, "copy of my data": classifier.Access, "unsubscribe": classifier.Unsubscribe} {
		if strings.Contains(low, word) {
			res.Decided = append(res.Decided, l)
			res.Labels = append(res.Labels, classifier.LabelScore{Label: l, Score: 0.95})
			res.Kind = classifier.KindRequest
		}
	}
	res.Abstain = len(res.Decided) == 0
	return res
}

// rig is a poller on a memory mailbox and an in-process Redis.
type rig struct {
	t     *testing.T
	imap  *mailbox.Server
	redis *miniredis.Miniredis
	rdb   *redis.Client
	store *store
	box   Mailbox
	opts  Options
	cls   Classifier
}

func newRig(t *testing.T, opts mailbox.Options) *rig {
	t.Helper()
	srv, err := mailbox.New(opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = srv.Close() })
	mr := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	return &rig{t: t, imap: srv, redis: mr, rdb: rdb, store: newStore(), cls: words{},
		box: Mailbox{Name: "privacy", Controller: "acme", Address: srv.Addr(), TLS: TLSNone, User: "privacy@example.org",
			Password: func() (string, error) { return "secret", nil }, Folders: []string{"INBOX"}, Done: "Done", Keyword: "$PosternStored",
			Addresses: []string{"privacy@example.org"}, PollEvery: 200 * time.Millisecond},
		opts: Options{BackoffMax: 50 * time.Millisecond, Lease: time.Second, Command: 5 * time.Second},
	}
}

// start runs a poller until the returned function is called.
func (r *rig) start() (p *Poller, stop func()) {
	r.t.Helper()
	p, err := New([]Mailbox{r.box}, Deps{Cases: r.store, Aside: r.store, Optouts: r.store, Bounces: r.store, Classifier: r.cls, State: NewRedisState(r.rdb)}, r.opts)
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				require.NoError(r.t, err)
			case <-time.After(20 * time.Second):
				r.t.Fatal("the poller does not stop")
			}
		})
	}
	r.t.Cleanup(stop)
	return p, stop
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 15*time.Second, 5*time.Millisecond, what)
}

// letterFrom is a plain mail.
func letterFrom(id, subject, body string) []byte {
	return []byte("Return-Path: <ada@example.net>\r\nReceived: from mx.example.net by mx.example.org; Tue, 24 Nov 2026 10:00:00 +0000\r\n" +
		"From: Ada <ada@example.net>\r\nTo: privacy@example.org\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + "@example.net>\r\n" +
		"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n" + strings.ReplaceAll(body, "\n", "\r\n") + "\r\n")
}

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return ctx, cancel
}

// all is a copy of the cases.
func (s *store) all() []queue.Incoming {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []queue.Incoming
	for _, in := range s.cases {
		out = append(out, in)
	}
	return out
}

func (s *store) opened() int { s.mu.Lock(); defer s.mu.Unlock(); return s.calls }

func writeText(t testing.TB, path, text string) {
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755))
}
