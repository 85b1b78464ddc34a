package queue_test

import (
	"context"
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
	"postern/intake"
	"postern/queue"
)

// asks is a classifier that finds a request in everything: the worst partner
// for a loop.
type asks struct{}

func (asks) Classify(classifier.Input) classifier.Result {
	return classifier.Result{Language: "en", Kind: classifier.KindRequest, Asker: "subject", Decided: []classifier.Label{classifier.Access},
		Labels: []classifier.LabelScore{{Label: classifier.Access, Score: 0.99}}}
}

// site is one company with a gateway of its own.
type site struct {
	domain string
	q      *queue.Queue
	mu     sync.Mutex
	sent   []queue.Outgoing
}

func (s *site) Suppress(_ context.Context, x consent.Suppression) (string, error) { return x.ID, nil }
func (s *site) Append(context.Context, ...ledger.Record) error                    { return nil }
func (s *site) Submit(_ context.Context, m queue.Outgoing) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, m)
	return "id", nil
}

// take hands out what left since the last time.
func (s *site) take() []queue.Outgoing {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.sent
	s.sent = nil
	return out
}

func newSite(t *testing.T, domain string) *site {
	t.Helper()
	s := &site{domain: domain}
	mr := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	set, err := stream.NewSet(
		[]stream.Controller{{ID: "c", Name: domain, Contact: "privacy@" + domain, Country: "DE", Language: "en", TimeZone: "Europe/Berlin", Domains: []string{domain}}},
		[]stream.Stream{{Name: "service", Number: 1, Kind: stream.Service, Controller: "c", Mode: stream.Enforce}})
	require.NoError(t, err)
	ring, err := address.NewKeyring(address.Key{ID: "k", Secret: []byte(strings.Repeat("k", 32))})
	require.NoError(t, err)
	s.q, err = queue.New(rdb, queue.Deps{Optout: s, Sender: s, Trail: s, Streams: func() *stream.Set { return set }},
		queue.Options{VaultKey: []byte(strings.Repeat("v", 32)), Keyring: ring, AckStream: map[string]string{"c": "service"}, Tick: 5 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	return s
}

// receive is a mail as it comes out of the mailbox, Return-Path on top.
func (s *site) receive(t *testing.T, uid uint32, from string, raw []byte) {
	t.Helper()
	in, v := intake.Facts(append([]byte("Return-Path: <"+from+">\r\n"), raw...), time.Now(),
		intake.Mailbox{Name: "privacy", Controller: "c", Addresses: []string{"privacy@" + s.domain}}, asks{})
	in.Folder, in.UIDValidity, in.UID = "INBOX", 1, uid
	if v.Aside != "" {
		require.NoError(t, s.q.SetAside(context.Background(), queue.Aside{Why: v.Aside, Mail: in}))
	} else {
		_, err := s.q.Open(context.Background(), in)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.q.Run(ctx) }()
	require.Eventually(t, func() bool { f, err := s.q.Figures(context.Background()); return err == nil && f.Work == 0 }, 10*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

// TestTwoGateways: two companies' privacy mailboxes set on each other stop
// after one receipt (AR-11), even where the receipt's envelope and the header
// that names it automatic were lost on the way.
func TestTwoGateways(t *testing.T) {
	for _, strip := range []string{"", "envelope", "envelope and Auto-Submitted"} {
		t.Run("lost: "+strip, func(t *testing.T) {
			one, two := newSite(t, "one.example.org"), newSite(t, "two.example.net")
			one.receive(t, 1, "privacy@two.example.net", []byte("From: privacy@two.example.net\r\nTo: privacy@one.example.org\r\nSubject: access\r\nMessage-ID: <start@two.example.net>\r\n\r\nPlease send me my data.\r\n"))
			total, uid := 0, uint32(2)
			from, to := one, two
			for range 20 {
				mails := from.take()
				if len(mails) == 0 {
					break
				}
				for _, m := range mails {
					total++
					require.True(t, m.ReversePath.IsZero())
					raw := string(m.Header) + "\r\n" + string(m.Body)
					path := ""
					if strip != "" {
						path = "privacy@" + from.domain
					}
					if strings.Contains(strip, "Auto-Submitted") {
						raw = strings.Replace(raw, "Auto-Submitted: auto-replied\r\n", "", 1)
					}
					to.receive(t, uid, path, []byte(raw))
					uid++
				}
				from, to = to, from
			}
			require.Equal(t, 1, total, "one receipt, then silence")
		})
	}
}
