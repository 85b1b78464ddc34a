package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/keys"
	"postern/gateway/ledger"
	"postern/gateway/ledger/peers"
	"postern/gateway/spool"
	"postern/gateway/unsubscribe"
	"postern/queue/fulfil"
	"postern/testmail/env"
)

// relayNodes are two nodes of one installation: one Redis, one key file, a data
// folder each. stop ends one as a crash does, start runs it again.
type relayNodes struct {
	t    *testing.T
	cfg  [2]*Config
	addr string
	n    [2]*node
	end  [2]func()
}

func twoNodes(t *testing.T) *relayNodes {
	s := &relayNodes{t: t, addr: env.Redis(t).Addr}
	dir := t.TempDir()
	for i := range s.cfg {
		cfg := caseConfig(t)
		cfg.Hostname = []string{"mx1.example.org", "mx2.example.org"}[i]
		cfg.Keys, cfg.Data = filepath.Join(dir, "keys.toml"), filepath.Join(dir, cfg.Hostname)
		require.NoError(t, os.MkdirAll(cfg.Data, 0o700))
		s.cfg[i] = cfg
	}
	_, err := keys.Init(s.cfg[0].Keys, time.Now())
	require.NoError(t, err)
	for i := range s.cfg {
		s.start(i)
	}
	t.Cleanup(func() { s.stop(0); s.stop(1) })
	return s
}

func (s *relayNodes) start(i int) {
	rdb := redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true})
	n, err := openNode(context.Background(), s.cfg[i], nodeOptions{log: slog.New(slog.DiscardHandler), rdb: rdb})
	require.NoError(s.t, err)
	require.NoError(s.t, n.consent.Check(context.Background()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.books.Run(ctx) }()
	require.Eventually(s.t, func() bool {
		nodes, err := n.books.Nodes(ctx)
		heard, subErr := rdb.PubSubChannels(ctx, "pn:to:"+n.consent.Node()).Result()
		return err == nil && subErr == nil && len(nodes) > i && len(heard) == 1
	}, 10*time.Second, 10*time.Millisecond)
	s.n[i] = n
	s.end[i] = func() {
		cancel()
		require.NoError(s.t, <-done)
		require.Eventually(s.t, func() bool { // the server has noticed
			heard, err := rdb.PubSubChannels(context.Background(), "pn:to:"+n.consent.Node()).Result()
			return err == nil && len(heard) == 0
		}, 10*time.Second, 10*time.Millisecond)
		require.NoError(s.t, n.close())
		require.NoError(s.t, rdb.Close())
	}
}

func (s *relayNodes) stop(i int) {
	if s.end[i] != nil {
		s.end[i]()
		s.end[i] = nil
	}
}

// append writes a record into one node's ledger.
func (s *relayNodes) append(i int, who address.Address, r ledger.Record) {
	s.t.Helper()
	r.Controller, r.Actor = "example", "relay"
	r.Subject = s.n[i].ring.Identify("example", who).ID
	require.NoError(s.t, s.n[i].trail.Append(s.t.Context(), r))
}

func delivered(at time.Time, ref string) ledger.Record {
	return ledger.Record{Time: at, Kind: ledger.KindDelivery, Action: string(spool.Delivered), Stream: 1, Ref: ref}
}

// D10, GDPR Art. 15: a copy of data and the question who mailed a person are
// answered from all relay nodes. While one is away the answer is an error, so
// that the case stays open, and not half of it.
func TestD10_SendRecordOfAllNodes(t *testing.T) {
	s := twoNodes(t)
	anna := address.MustParse("anna@example.net")
	day := func(d int) time.Time { return time.Date(2026, 11, d, 9, 0, 0, 0, time.UTC) }
	s.append(0, anna, delivered(day(1), "one"))
	s.append(1, anna, delivered(day(2), "two"))
	s.append(0, anna, delivered(day(3), "three"))

	export := func(i int) (days []int, err error) {
		o, err := ownData{s.n[i]}.Do(t.Context(), fulfil.Request{Key: "k", Verb: fulfil.Export, Case: "PC-7K3Q-X9MD", Controller: "example", Address: anna.Plain()})
		if err != nil {
			return nil, err
		}
		var held struct{ Sent []sentMail }
		require.NoError(t, json.Unmarshal(o.Data, &held))
		for _, m := range held.Sent {
			days = append(days, m.Time.Day())
		}
		return days, nil
	}
	for i := range s.n {
		days, err := export(i)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3}, days, "whichever node is asked, by time")
	}
	bert := address.MustParse("bert@example.net")
	s.append(1, bert, delivered(day(2), "four"))
	subject := s.n[0].ring.Identify("example", bert).ID
	mailed, err := s.n[0].mailed(t.Context(), "example", subject)
	require.NoError(t, err)
	require.True(t, mailed, "the other node mailed him")

	s.stop(1)
	_, err = export(0)
	require.ErrorIs(t, err, peers.ErrAway)
	_, err = s.n[0].mailed(t.Context(), "example", subject)
	require.ErrorIs(t, err, peers.ErrAway)
	mailed, err = s.n[0].mailed(t.Context(), "example", s.n[0].ring.Identify("example", anna).ID)
	require.NoError(t, err)
	require.True(t, mailed, "what is known needs nobody else")

	s.start(1)
	days, err := export(0)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 3}, days, "a crash loses nothing")
}

// D15: no node destroys a person's key while another mailed them later, or
// can't be asked.
func TestD15_KeysOutlastTheMailOfEveryNode(t *testing.T) {
	s := twoNodes(t)
	active, gone := address.MustParse("active@example.net"), address.MustParse("gone@example.net")
	old, now := time.Date(2022, 5, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	s.append(0, active, delivered(old, "a"))
	s.append(0, gone, delivered(old, "b"))
	s.append(1, gone, delivered(old, "c"))
	s.append(1, active, delivered(now.AddDate(0, -1, 0), "d"))
	s.cfg[0].LegalHolds = nil
	readable := func(who address.Address) (count int) {
		require.NoError(t, s.n[0].trail.Query(t.Context(), ledger.Filter{Subject: s.n[0].ring.Identify("example", who).ID}, func(ledger.Entry) error { count++; return nil }))
		return count
	}
	s.stop(1)
	require.ErrorIs(t, s.n[0].lapsePersons(t.Context(), now), peers.ErrAway)
	require.Equal(t, 1, readable(gone), "in doubt a key stays")
	s.start(1)
	require.NoError(t, s.n[0].lapsePersons(t.Context(), now))
	require.Zero(t, readable(gone))
	require.Equal(t, 1, readable(active))
}

// CON-12: the page of evidence shows the confirmation mail whichever node sent it.
func TestCON12_ConfirmationMailOfAnotherNode(t *testing.T) {
	s := twoNodes(t)
	who := address.MustParse("anna@example.net")
	at := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	id, err := s.n[0].consent.Record(t.Context(), consent.Event{Time: at, Action: consent.Given, Pending: true, Controller: "example", Purpose: "newsletter", Address: who, Basis: consent.Express,
		Method: "form", Source: "https://shop.example.org/signup", Wording: "Yes, send me Example News.", WordingVer: "1", Actor: "link"})
	require.NoError(t, err)
	hash := gateway.MessageIDHash("<" + unsubscribe.MessageID(id, s.cfg[0].Public.URL) + ">")
	s.append(1, who, ledger.Record{Time: at.Add(time.Second), Kind: ledger.KindVerdict, Action: "allow", Message: hash, Ref: "m"})
	s.append(1, who, ledger.Record{Time: at.Add(time.Minute), Kind: ledger.KindDelivery, Action: "delivered", Message: hash, Ref: "m"})
	p, err := s.n[0].consent.Profile(t.Context(), "example", who)
	require.NoError(t, err)
	mails, err := s.n[0].confirmationMails(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, at.Add(time.Minute), mails[id].Delivered)
	require.Equal(t, at.Add(time.Second), mails[id].Accepted)
}

func TestRetireNodeVerb(t *testing.T) {
	s := twoNodes(t)
	n := s.n[0]
	_, err := n.retireNode(t.Context(), retireRequest{ID: "mx2.example.org", Actor: "operator:eve"})
	require.ErrorContains(t, err, "--reason")
	_, err = n.retireNode(t.Context(), retireRequest{ID: "mx2.example.org", Reason: "its disk is gone", Actor: "operator:eve"})
	require.ErrorIs(t, err, peers.ErrNode, "it runs")
	s.stop(1)
	text, err := json.Marshal(peers.Node{Name: "mx2.example.org", Seen: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	var other string
	nodes, err := n.books.Nodes(t.Context())
	require.NoError(t, err)
	for _, p := range nodes {
		if !p.Own {
			other = p.ID
		}
	}
	require.NoError(t, n.rdb.HSet(t.Context(), "pn:nodes", other, text).Err())
	_, err = n.retireNode(t.Context(), retireRequest{ID: "mx2.example.org", Reason: "its disk is gone", Actor: "operator:eve"})
	require.NoError(t, err)
	found := 0
	require.NoError(t, n.books.Query(t.Context(), ledger.Filter{Kind: ledger.KindConfig, Ref: other}, func(e ledger.Entry) error {
		require.Equal(t, "retire-node", e.Action)
		found++
		return nil
	}))
	require.Equal(t, 1, found)
}

// D11: Redis was put back from a backup while both nodes were stopped, and only
// one of them can be started again.
func TestD11_NodeThatTookOptOutsIsWaitedFor(t *testing.T) {
	s := twoNodes(t)
	ctx := t.Context()
	who := address.MustParse("anna@example.net")
	_, err := s.n[0].consent.Record(ctx, consent.Event{Action: consent.Given, Controller: "example", Purpose: "newsletter", Address: who, Basis: consent.Express, Method: "cli",
		Source: "https://shop.example.org/signup", Wording: "Yes, send me Example News.", WordingVer: "1", Actor: "operator:eve"})
	require.NoError(t, err)
	running, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.n[0].consent.Run(running) }()
	_, err = s.n[1].consent.Suppress(ctx, consent.Suppression{Controller: "example", Address: who, Scope: consent.ScopeController, Reason: consent.Unsubscribed, Source: "cli", Actor: "operator:eve"})
	require.NoError(t, err)
	lookup := func() ([]consent.Answer, error) {
		return s.n[0].consent.Lookup(ctx, "example", "newsletter", 1, []address.Address{who})
	}
	out, err := lookup()
	require.NoError(t, err)
	require.Equal(t, consent.Unsubscribed, out[0].Suppressed)
	end()
	require.NoError(t, <-done)
	other := s.n[1].consent.Node()
	s.stop(0)
	s.stop(1)
	rdb := redis.NewClient(&redis.Options{Addr: s.addr})
	defer rdb.Close()
	require.NoError(t, rdb.HDel(ctx, "pc:nodes", other).Err())
	require.NoError(t, rdb.Del(ctx, "pn:nodes").Err())
	keys, err := rdb.Keys(ctx, "pc:{*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	require.NoError(t, rdb.HDel(ctx, keys[0], "s").Err())

	n, err := openNode(ctx, s.cfg[0], nodeOptions{log: slog.New(slog.DiscardHandler), rdb: redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true})})
	require.NoError(t, err)
	s.n[0] = n
	defer func() { require.NoError(t, n.close()); require.NoError(t, n.rdb.Close()) }()
	n.cfg.Redis.AllowVolatile = true
	require.NoError(t, n.checkStores(ctx), "other mail can pass")
	_, err = lookup()
	require.ErrorIs(t, err, consent.ErrForgotten)
	require.ErrorContains(t, err, other, "the node is named")
	_, err = n.retireNode(ctx, retireRequest{ID: "mx9.example.org", Reason: "gone", Actor: "operator:eve"})
	require.ErrorIs(t, err, peers.ErrNode)
	_, err = n.retireNode(ctx, retireRequest{ID: other, Reason: "its disk is gone", Actor: "operator:eve"})
	require.NoError(t, err)
	_, err = lookup()
	require.NoError(t, err)
}

// D10: a node died while Redis was away. What it had taken by then, mail and a
// no, is taken over by another.
func TestD10_AdoptedFolderBringsItsOptOuts(t *testing.T) {
	s := twoNodes(t)
	ctx := t.Context()
	who := address.MustParse("anna@example.net")
	require.NoError(t, s.n[1].spool.Accept(ctx, &spool.Message{Stream: 1, Header: []byte("Subject: x\r\n"), Body: []byte("x\r\n"), Recipients: []spool.Recipient{{Address: who}}}))
	away, err := consent.New(redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1}), s.n[1].ring, s.n[1].db, nil, consent.Options{})
	require.NoError(t, err)
	_, err = away.Suppress(ctx, consent.Suppression{Controller: "example", Address: who, Scope: consent.ScopeController, Reason: consent.Unsubscribed, Source: "cli", Actor: "operator:eve"})
	require.ErrorIs(t, err, consent.ErrStoreUnavailable)
	s.stop(1)
	lookup := func() consent.Reason {
		out, err := s.n[0].consent.Lookup(ctx, "example", "newsletter", 1, []address.Address{who})
		require.NoError(t, err)
		return out[0].Suppressed
	}
	require.Empty(t, lookup())
	got, err := s.n[0].adopt(ctx, adoptRequest{s.cfg[1].Data})
	require.NoError(t, err)
	require.Equal(t, adoptReply{Count: 1, OptOuts: 1}, got)
	require.Equal(t, consent.Unsubscribed, lookup())
}
