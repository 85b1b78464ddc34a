package console

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/gateway/node"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/gateway/unsubscribe"
)

// outbound is a world with the relay's rooms below the console: a ledger, a
// registry, a spool and an engine on the same Redis and a store of their own.
type outbound struct {
	*world
	db       *pebble.DB
	trail    *ledger.Ledger
	registry *consent.Registry
	spool    *spool.Store
	report   *gateway.Report
	engine   *gateway.Engine
	ring     *address.Keyring
}

func newOutbound(t testing.TB) *outbound {
	t.Helper()
	o := &outbound{world: newWorld(t)}
	dir := t.TempDir()
	var err error
	o.db, err = node.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.db.Close()) })
	o.trail, err = ledger.Open(o.db, filepath.Join(dir, "ledger"), ledger.Keys{Origin: "mx.example.org/postern",
		Signer: bytes.Repeat([]byte{1}, 32), Master: bytes.Repeat([]byte{2}, 32)}, ledger.Options{Now: o.Now})
	require.NoError(t, err)
	o.ring, err = address.NewKeyring(address.Key{ID: "k1", Secret: bytes.Repeat([]byte{7}, 32)})
	require.NoError(t, err)
	o.registry, err = consent.New(o.rdb, o.ring, o.db, o.trail, consent.Options{Now: o.Now})
	require.NoError(t, err)
	o.spool, err = spool.New(o.db, dir, o.trail, spool.Options{Now: o.Now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.spool.Close()) })
	o.report = gateway.NewReport(o.rdb, nil)
	codec, err := unsubscribe.NewCodec(unsubscribe.TokenKey{ID: 1, Secret: bytes.Repeat([]byte{4}, 32)})
	require.NoError(t, err)
	o.engine, err = gateway.NewEngine(gateway.Deps{Streams: o.deps.Streams(), Consent: o.registry, Spool: o.spool, Tokens: codec, Trail: o.trail},
		gateway.EngineOptions{Hostname: "mx.example.org", PublicURL: "https://mail.example.org", MailtoDomain: "mail.example.org", Report: o.report, Modes: o.report, Now: o.Now})
	require.NoError(t, err)
	o.deps.Modes, o.deps.Traffic, o.deps.Spool = o.engine, o.report, o.spool
	o.rebuild()
	return o
}

// rebuild makes the console anew with the dependencies as they are now.
func (o *outbound) rebuild() {
	o.t.Helper()
	var err error
	o.c, err = New(o.deps, bytes.Repeat([]byte{3}, 32), o.c.o)
	require.NoError(o.t, err)
	o.srv.Config.Handler = o.c.Handler()
}

// wait spools a message for one recipient of a stream.
func (o *outbound) wait(number uint16, to string) string {
	o.t.Helper()
	addr := address.MustParse(to)
	m := &spool.Message{ID: ulid.MustNew(ulid.Timestamp(o.Now()), ulid.DefaultEntropy()).String(), Received: o.Now(), Stream: number, Client: "crm", ReversePath: address.MustParse("news@shop.example.org"),
		Expires: o.Now().Add(5 * 24 * time.Hour), Header: []byte("Subject: News\r\n"), Body: []byte("Hello\r\n"), BodySize: 7,
		Recipients: []spool.Recipient{{Address: addr, State: spool.Queued, Next: o.Now().Add(time.Hour), Attempts: 1, Code: 451, Status: "4.7.1", Reply: "Greylisted, try again later", Host: "relay-1"}}}
	require.NoError(o.t, o.spool.Accept(o.t.Context(), m))
	return m.ID
}

// traffic counts two days of mail of the stream news and of service.
func (o *outbound) traffic() {
	o.t.Helper()
	for h := range 48 {
		at := o.Now().Add(-time.Duration(h) * time.Hour)
		n := 900 + 400*((h*7)%5) - 8*h
		for _, p := range []gateway.Passed{
			{Stream: "news", Fate: gateway.FateAccepted, N: n},
			{Stream: "news", Fate: gateway.FateDelivered, N: n - n/12},
			{Stream: "news", Fate: gateway.FateDeferred, Reason: gateway.ReasonNextHop, N: n / 12},
			{Stream: "news", Fate: gateway.FateDenied, Reason: gateway.NoConsent, N: n / 9},
			{Stream: "news", Fate: gateway.FateDenied, Reason: gateway.Suppressed, N: n / 30},
			{Stream: "news", Fate: gateway.FateFailed, Reason: gateway.ReasonNextHop, N: h % 3},
			{Stream: "service", Fate: gateway.FateAccepted, N: 40},
			{Stream: "service", Fate: gateway.FateDelivered, N: 40},
		} {
			if p.N > 0 {
				p.Time = at
				o.report.Count(p)
			}
		}
	}
	for d := range 7 {
		for _, sender := range []string{"shop.example.org", "news.shop.example.org", "crm.shop.example.org"} {
			for range 12 - d {
				o.report.Would(gateway.Would{Stream: "news", Reason: gateway.NoConsent, Client: "crm", Sender: sender, Day: o.Now().AddDate(0, 0, -d)})
			}
		}
	}
	require.NoError(o.t, o.report.Flush(o.t.Context()))
}

// observed puts the stream news under observation for some days.
func (o *outbound) observed(days int) {
	o.t.Helper()
	require.NoError(o.t, o.engine.ChangeMode(o.t.Context(), "news", stream.Observe, "operator:anna"))
	_, err := o.report.Observed(o.t.Context(), "news", true, o.Now().AddDate(0, 0, -days))
	require.NoError(o.t, err)
}

// ledgered are the records of the node's ledger of one kind and action.
func (o *outbound) ledgered(kind ledger.Kind, action string) (out []ledger.Record) {
	o.t.Helper()
	require.NoError(o.t, o.trail.Query(o.t.Context(), ledger.Filter{Kind: kind}, func(e ledger.Entry) error {
		if action == "" || e.Action == action {
			out = append(out, e.Record)
		}
		return nil
	}))
	return out
}

// visible is a page without its markup, for tests of what is read.
func visible(page string) string {
	var b strings.Builder
	in := false
	for _, r := range page {
		switch {
		case r == '<':
			in = true
		case r == '>':
			in = false
			b.WriteByte(' ')
		case !in:
			b.WriteRune(r)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
