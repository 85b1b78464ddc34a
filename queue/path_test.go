package queue_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/node"
	"postern/gateway/stream"
	"postern/queue"
	"postern/queue/fulfil"
	"postern/queue/reply"
	"postern/testmail/env"
)

const hookSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// shop is a company's own system: a customer database behind a webhook.
type shop struct {
	mu    sync.Mutex
	names map[string]string
	seen  map[string]int
}

// ServeHTTP answers the verbs of connectors.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct{ Data fulfil.Request }
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[m.Data.Key]++
	o := fulfil.Outcome{Status: fulfil.Done, Count: 1}
	name, known := s.names[m.Data.Address]
	switch {
	case m.Data.Verb == fulfil.Stop:
	case !known:
		o = fulfil.Outcome{Status: fulfil.NotFound}
	case m.Data.Verb == fulfil.Export:
		o.Data, _ = json.Marshal(map[string]string{"name": name})
	case m.Data.Verb == fulfil.Rectify:
		s.names[m.Data.Address] = m.Data.Facts["name"]
	case m.Data.Verb == fulfil.Restrict:
		o.Status = fulfil.Restricted
	case m.Data.Verb == fulfil.Erase:
		delete(s.names, m.Data.Address)
		o.Status = fulfil.Erased
	}
	_ = json.NewEncoder(w).Encode(o)
}

// outbox keeps what left.
type outbox struct {
	mu   sync.Mutex
	sent []queue.Outgoing
}

// Submit takes a mail.
func (o *outbox) Submit(_ context.Context, m queue.Outgoing) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, m)
	return m.Ref, nil
}

var confirmLink = regexp.MustCompile(`https://mail\.example\.org/case/([a-z2-7]+)`)

// TestWholePath leads each right from the mail to the proof on a real Redis,
// the real registry and the real ledger: mail, case, identity, approval, the
// company's system, answer, closed, archive.
func TestWholePath(t *testing.T) {
	ctx := context.Background()
	srv := env.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer rdb.Close()
	dir := t.TempDir()
	db, err := node.Open(dir)
	require.NoError(t, err)
	defer db.Close()
	trail, err := ledger.Open(db, dir+"/ledger", ledger.Keys{Origin: "relay.example.org/postern", Signer: bytes.Repeat([]byte{1}, 32), Master: bytes.Repeat([]byte{2}, 32)}, ledger.Options{})
	require.NoError(t, err)
	ring, err := address.NewKeyring(address.Key{ID: "k", Secret: bytes.Repeat([]byte{3}, 32)})
	require.NoError(t, err)
	registry, err := consent.New(rdb, ring, db, trail, consent.Options{})
	require.NoError(t, err)
	require.NoError(t, registry.Check(ctx))
	set, err := stream.NewSet(
		[]stream.Controller{{ID: "c", Name: "Example Shop", Contact: "privacy@shop.example.org", Authority: "the authority", Country: "DE", Language: "en", TimeZone: "Europe/Berlin", Domains: []string{"shop.example.org"}}},
		[]stream.Stream{{Name: "service", Number: 1, Kind: stream.Service, Controller: "c", Mode: stream.Enforce},
			{Name: "news", Number: 2, Kind: stream.Marketing, Controller: "c", Purpose: "news", ListID: "news.shop.example.org", Title: "News", Mode: stream.Enforce}})
	require.NoError(t, err)
	company := &shop{names: map[string]string{}, seen: map[string]int{}}
	server := httptest.NewServer(company)
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	hook, err := fulfil.NewWebhook(fulfil.WebhookOptions{Name: "shop-db", URL: server.URL, Secrets: []string{hookSecret}, Client: server.Client()})
	require.NoError(t, err)
	out := &outbox{}
	q, err := queue.New(rdb, queue.Deps{Optout: registry, Sender: out, Trail: trail, Streams: func() *stream.Set { return set }},
		queue.Options{VaultKey: bytes.Repeat([]byte{4}, 32), VaultDir: dir + "/vault", Keyring: ring, AckStream: map[string]string{"c": "service"}, AcksPerSender: 99,
			LinkBase: map[string]string{"c": "https://mail.example.org/case/"}, SendHold: time.Millisecond, Tick: 5 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
			Connections: []queue.Connection{{Verbs: []fulfil.Verb{fulfil.Export, fulfil.Erase, fulfil.Verify, fulfil.Rectify, fulfil.Restrict, fulfil.Stop}, Connector: hook}}})
	require.NoError(t, err)
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 4)
	go func() { done <- q.Run(run) }()
	go func() { done <- trail.Run(run) }()
	defer func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
	}()

	rights := []struct {
		label  classifier.Label
		verb   fulfil.Verb
		answer reply.Step
		values reply.Values
		stops  consent.Reason
	}{
		{classifier.Access, fulfil.Export, reply.Ready, reply.Values{"until": "X", "link": "L", "code_way": "W"}, ""},
		{classifier.Portability, fulfil.Export, reply.Ready, reply.Values{"until": "X", "link": "L", "code_way": "W"}, ""},
		{classifier.Rectification, fulfil.Rectify, reply.Rectified, reply.Values{"systems": "shop-db"}, ""},
		{classifier.Restriction, fulfil.Restrict, reply.Restricted, reply.Values{"systems": "shop-db"}, ""},
		{classifier.Objection, fulfil.Stop, reply.Stopped, nil, consent.ObjectedTo},
		{classifier.WithdrawConsent, fulfil.Stop, reply.Stopped, nil, consent.WithdrawnBy},
		{classifier.OptOutSale, fulfil.Stop, reply.Stopped, nil, consent.Unsubscribed},
		{classifier.Erasure, fulfil.Erase, reply.Erased, reply.Values{"systems": "shop-db", "kept": "nothing"}, consent.Erased},
	}
	const op = "operator:eve"
	for i, r := range rights {
		t.Run(string(r.label), func(t *testing.T) {
			who := address.MustParse(string(r.label) + "@example.com")
			company.mu.Lock()
			company.names[who.Plain()] = "A Name"
			company.mu.Unlock()
			ref, err := q.Open(ctx, queue.Incoming{Controller: "c", Mailbox: "privacy", Folder: "INBOX", UIDValidity: 1, UID: uint32(i + 1), MessageID: string(r.label) + "@mail.example.com",
				ContentHash: string(r.label), Received: time.Now().Add(-time.Hour), From: who, ReturnPath: who.Plain(), Text: "words", Grade: queue.Proven, MayReply: true,
				Result: classifier.Result{Language: "en", Kind: classifier.KindRequest, Decided: []classifier.Label{r.label}}})
			require.NoError(t, err)
			no := ref.Number
			if r.stops != "" {
				a, err := registry.Lookup(ctx, "c", "news", 2, []address.Address{who})
				require.NoError(t, err)
				require.NotEmpty(t, a[0].Suppressed, "bound when Open returned")
			}
			state := func(want queue.State) {
				t.Helper()
				require.Eventually(t, func() bool { c, _, err := q.Show(ctx, no); return err == nil && c.State == want }, 10*time.Second, 5*time.Millisecond, want)
			}
			if r.verb != fulfil.Stop {
				require.NoError(t, q.Challenge(ctx, no, address.Address{}, op))
				state(queue.Identity)
				letters, _, err := q.Letters(ctx, no)
				require.NoError(t, err)
				require.NoError(t, q.Confirm(ctx, confirmLink.FindStringSubmatch(letters[0].Text)[1], true))
				_, err = q.Fulfil(ctx, no, queue.Order{Verb: r.verb, Actor: op, Approve: no, Facts: map[string]string{"name": "Another Name"}})
				require.NoError(t, err)
			}
			require.Eventually(t, func() bool {
				tasks, err := q.Tasks(ctx, no)
				for _, x := range tasks {
					if !x.Done() || x.Status == fulfil.Failed {
						return false
					}
				}
				return err == nil && len(tasks) > 0
			}, 10*time.Second, 5*time.Millisecond)
			if r.verb != fulfil.Stop {
				state(queue.Opened)
			}
			if r.verb == fulfil.Export {
				data, err := q.TaskData(ctx, no, 0)
				require.NoError(t, err)
				require.JSONEq(t, `{"name":"A Name"}`, string(data))
			}
			_, _, err = q.Reply(ctx, no, queue.Draft{Step: r.answer, Values: r.values, Effect: queue.ActAnswer, Actor: op})
			require.NoError(t, err)
			state(queue.Answered)
			_, err = q.Move(ctx, no, queue.Move{Action: queue.ActClose, Actor: op, Reason: "done"})
			require.NoError(t, err)
		})
	}
	company.mu.Lock()
	require.NotContains(t, company.names, "erasure@example.com")
	require.Equal(t, "Another Name", company.names["rectification@example.com"])
	for key, n := range company.seen {
		require.Equal(t, 1, n, key)
	}
	company.mu.Unlock()
	require.Eventually(t, func() bool { f, err := q.Figures(ctx); return err == nil && f.Work == 0 }, 10*time.Second, 5*time.Millisecond)

	var buf bytes.Buffer
	n, err := q.Export(ctx, &buf, queue.ExportOptions{Prover: trail, Actor: op})
	require.NoError(t, err)
	require.Equal(t, len(rights), n)
	z, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	require.NoError(t, err)
	proofs := 0
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		raw, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "@example.com", f.Name)
		if !strings.HasSuffix(f.Name, "/proof.json") {
			continue
		}
		var p ledger.Proof
		require.NoError(t, json.Unmarshal(raw, &p))
		require.NoError(t, ledger.CheckProof(p, trail.PublicKey()))
		acts := map[string]bool{}
		for _, item := range p.Records {
			acts[item.Record.Action] = true
		}
		require.True(t, acts["open"] && acts["answer"] && acts["close"], "the proof tells the whole way")
		proofs++
	}
	require.Equal(t, len(rights), proofs)
	// The archive verifies offline, and no change to it goes unnoticed.
	file := filepath.Join(dir, "cases.zip")
	verify := func(raw []byte) queue.ExportReport {
		t.Helper()
		require.NoError(t, os.WriteFile(file, raw, 0o600))
		rep, err := queue.VerifyExport(file, trail.PublicKey())
		require.NoError(t, err)
		return rep
	}
	rep := verify(buf.Bytes())
	require.Empty(t, rep.Faults)
	require.Equal(t, len(rights), rep.Cases)
	require.Equal(t, rep.Events, rep.Proven, "every event of every case")
	victim := z.File[1].Name // events.json of the first case
	for want, change := range map[string]func(name string, raw []byte) (string, []byte){
		"was changed": func(name string, raw []byte) (string, []byte) {
			return name, bytes.Replace(raw, []byte(`"actor": "rule"`), []byte(`"actor": "operator:mallory"`), 1)
		},
		"told otherwise": func(name string, raw []byte) (string, []byte) {
			return name, bytes.Replace(raw, []byte(`"actor": "rule"`), []byte(`"actor": "operator:mallory"`), 1)
		},
		"is missing":           func(string, []byte) (string, []byte) { return "", nil },
		"was added":            func(_ string, raw []byte) (string, []byte) { return "more.json", raw },
		"events can't be read": func(name string, _ []byte) (string, []byte) { return name, []byte("{") },
	} {
		rep := verify(rezipped(t, z, victim, change))
		require.Contains(t, strings.Join(rep.Faults, "\n"), want)
	}
	_, err = queue.VerifyExport(file, "another+00000000+AAAA")
	require.NoError(t, err, "a wrong key is a fault of every case, no error of the archive")
}

// rezipped is an archive with one of its files changed; an empty name drops it.
func rezipped(t *testing.T, z *zip.Reader, victim string, change func(string, []byte) (string, []byte)) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		raw, err := io.ReadAll(r)
		require.NoError(t, err)
		name := f.Name
		if name == victim {
			name, raw = change(name, raw)
		}
		if name == "" {
			continue
		}
		member, err := w.Create(name)
		require.NoError(t, err)
		_, err = member.Write(raw)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}
