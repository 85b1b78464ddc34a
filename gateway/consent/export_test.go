package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/stream"
)

// crowd records persons in every state, each under its own address.
func crowd(t *testing.T, g *rig) map[string]address.Address {
	t.Helper()
	who := map[string]address.Address{}
	for _, name := range []string{"active", "doi", "soft", "limited", "withdrawn", "unsubscribed", "all", "stream", "released", "bounced", "back"} {
		who[name] = address.MustParse("Some." + name + "+tag@example.org")
	}
	g.record(t, given(who["active"]))
	g.doi(t, who["doi"])
	soft := given(who["soft"])
	soft.Basis, soft.Conditions, soft.Wording, soft.WordingVer = SoftOpt, [4]bool{true, true, true, true}, "", ""
	g.record(t, soft)
	limited := given(who["limited"])
	limited.Expires, limited.IP = day0.AddDate(1, 0, 0), "192.0.2.7"
	g.record(t, limited)
	g.record(t, given(who["withdrawn"]))
	g.record(t, Event{Action: Withdrawn, Controller: "acme", Purpose: "news", Address: who["withdrawn"], Method: "page"})
	for name, s := range map[string]Suppression{
		"unsubscribed": {Scope: ScopePurpose, Purpose: "news", Reason: Unsubscribed}, "all": {Scope: ScopeAll, Reason: Manual},
		"stream": {Scope: ScopeStream, Stream: 1, Reason: Unsubscribed}, "released": {Scope: ScopeController, Reason: Manual},
		"bounced": {Scope: ScopeController, Reason: Bounced},
	} {
		g.record(t, given(who[name]))
		s.Controller, s.Address, s.Actor = "acme", who[name], "test"
		g.suppress(t, s)
	}
	require.NoError(t, g.Release(context.Background(), Release{Controller: "acme", Address: who["released"], Actor: "operator:desk", Reason: "wrong"}))
	g.suppress(t, unsub(who["back"]))
	g.clock.add(time.Hour)
	g.doi(t, who["back"])
	return who
}

// What is exported reads back, of one person by the address and of all by
// their keyed hashes: nobody becomes mailable who was not, the evidence is the
// same, and only an opt-out that a later sign-up had ended stands again.
func TestST_10_ExportReadsBack(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		who := crowd(t, g)
		var whole bytes.Buffer
		_, err := g.Export(ctx, ExportOptions{Controller: "acme"}, &whole)
		require.NoError(t, err)
		require.NotContains(t, whole.String(), "example.org,", "no address is held")
		alike := func(t *testing.T, to *rig, name string) {
			was, is := ask(t, g.Registry, who[name]), ask(t, to.Registry, who[name])
			switch name {
			case "withdrawn": // comes back as an opt-out of its own, for that purpose
				require.Equal(t, []any{Unsubscribed, ScopePurpose}, []any{is.Suppressed, is.Scope})
				return
			case "back":
				require.Equal(t, Unsubscribed, is.Suppressed, "an import lifts nothing")
				return
			}
			require.Equal(t, []any{was.Status, was.Basis, was.Suppressed, was.Scope}, []any{is.Status, is.Basis, is.Suppressed, is.Scope}, name)
			p, err := g.Profile(ctx, "acme", who[name])
			require.NoError(t, err)
			q, err := to.Profile(ctx, "acme", who[name])
			require.NoError(t, err)
			if was.Status == StatusActive {
				mine, theirs := p.Consents[0], q.Consents[0]
				require.Equal(t, mine.Expires, theirs.Expires, name)
				last, read := mine.History[len(mine.History)-1], theirs.History[len(theirs.History)-1]
				require.Equal(t, last.Time, read.Time, name)
				require.Equal(t, last.IP, read.IP)
				require.Equal(t, []any{last.Terms.Wording, last.Terms.WordingVer, last.Terms.Source, last.Terms.Conditions},
					[]any{read.Terms.Wording, read.Terms.WordingVer, read.Terms.Source, read.Terms.Conditions}, name)
			}
		}
		t.Run("whole", func(t *testing.T) {
			to := newRig(t)
			to.clock.add(time.Hour)
			rep, err := to.Import(ctx, bytes.NewReader(whole.Bytes()), ImportOptions{Controller: "acme", Name: "whole.csv"})
			require.NoError(t, err)
			for _, r := range rep.Refused {
				require.Contains(t, r.Reason, "no longer stood")
			}
			require.Equal(t, 1, rep.RefusedRows, "the one that was released")
			for name := range who {
				alike(t, to, name)
			}
		})
		t.Run("each person", func(t *testing.T) {
			to := newRig(t)
			to.clock.add(time.Hour)
			for name, a := range who {
				var out bytes.Buffer
				n, err := g.Export(ctx, ExportOptions{Controller: "acme", Address: a}, &out)
				require.NoError(t, err)
				require.Positive(t, n)
				require.Equal(t, n, strings.Count(out.String(), "\n"+a.Plain()+","), "the address as it was given: %s", out.String())
				_, err = to.Import(ctx, &out, ImportOptions{Controller: "acme", Name: name + ".csv"})
				require.NoError(t, err)
				alike(t, to, name)
			}
		})
		t.Run("made with a key not known here", func(t *testing.T) {
			var out bytes.Buffer
			n, err := g.Export(ctx, ExportOptions{Controller: "acme"}, &out)
			require.NoError(t, err)
			own := strings.Join(g.ring.Fingerprints(), " ")
			require.Equal(t, n, strings.Count(out.String(), own))
			for name, keys := range map[string]string{"another": "k9:0123456789abcdef", "one more": own + " k9:0123456789abcdef", "not told": ""} {
				to := newRig(t)
				rep, err := to.Import(ctx, strings.NewReader(strings.ReplaceAll(out.String(), own, keys)), ImportOptions{Controller: "acme", Suppress: Manual})
				require.NoError(t, err)
				require.Equal(t, []int{0, n}, []int{rep.Suppressed, rep.RefusedRows}, "%s: hashes that bind nobody are no opt-outs taken", name)
			}
		})
		t.Run("suppressions alone", func(t *testing.T) {
			var out bytes.Buffer
			n, err := g.Export(ctx, ExportOptions{Controller: "acme", Only: "suppressions"}, &out)
			require.NoError(t, err)
			require.Equal(t, 6, n)
			to := newRig(t)
			rep, err := to.Import(ctx, &out, ImportOptions{Controller: "acme", Suppress: Manual})
			require.NoError(t, err)
			require.Equal(t, []int{5, 1}, []int{rep.Suppressed, rep.RefusedRows})
		})
	})
}

// JSON lines hold a profile each, as JSON-LD a document each.
func TestExportProfiles(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		who := crowd(t, g)
		other := given(mina)
		other.Controller = "globex"
		g.record(t, other)
		for _, linked := range []bool{false, true} {
			var out bytes.Buffer
			n, err := g.ExportProfiles(ctx, ExportOptions{Controller: "acme"}, stream.Controller{ID: "acme", Name: "Acme"}, linked, &out)
			require.NoError(t, err)
			require.Equal(t, len(who), n)
			require.NotContains(t, out.String(), "@example.org")
			dec := json.NewDecoder(&out)
			for range n {
				var doc map[string]any
				require.NoError(t, dec.Decode(&doc))
				if linked {
					require.NotEmpty(t, doc["@context"])
				} else {
					require.Len(t, doc["subject"], 26)
				}
			}
		}
		var one bytes.Buffer
		n, err := g.ExportProfiles(ctx, ExportOptions{Controller: "acme", Address: who["doi"]}, stream.Controller{}, false, &one)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Contains(t, one.String(), `"status":"active"`)
	})
}

// A list of suppressions is taken as it comes: a bare list of addresses, a
// table with reasons; nothing in it gives or lifts anything.
func TestImportSuppressionsOnly(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		g.record(t, given(mina))
		o := ImportOptions{Controller: "acme", Name: "blocklist.txt", Suppress: Manual, Actor: "operator:desk"}
		rep, err := g.Import(ctx, strings.NewReader("mina@example.org\nnobody\nother@example.org\n"), o)
		require.NoError(t, err)
		require.Equal(t, []int{3, 2, 1}, []int{rep.Rows, rep.Suppressed, rep.RefusedRows})
		require.Equal(t, 2, rep.Refused[0].Line)
		got := ask(t, g.Registry, mina)
		require.Equal(t, []any{Manual, ScopeController}, []any{got.Suppressed, got.Scope})

		rep, err = g.Import(ctx, strings.NewReader("address,action,time,scope,source,wording,wording_version\n"+
			"mina@example.org,confirmed,2026-02-01,,x,y,z\n"+ // no way to give or revive by this verb
			"two@example.org,complaint,2026-02-01,,,,\nthree@example.org,,,all,,,\nfour@example.org,,,nowhere,,,\n"), o)
		require.NoError(t, err)
		require.Equal(t, []int{2, 2, 0}, []int{rep.Suppressed, rep.RefusedRows, rep.Active})
		require.Equal(t, Manual, ask(t, g.Registry, mina).Suppressed)
		require.Equal(t, Complained, ask(t, g.Registry, address.MustParse("two@example.org")).Suppressed)
		require.Equal(t, ScopeAll, ask(t, g.Registry, address.MustParse("three@example.org")).Scope)
		again, err := g.Import(ctx, strings.NewReader("address,action,time\ntwo@example.org,complaint,2026-02-01\n"), o)
		require.NoError(t, err)
		require.Equal(t, 1, again.Repeated)

		for i, bad := range []string{",abcdefgh,00,given", fmt.Sprintf(",%s,zz,given", g.ring.Identify("acme", mina).ID)} {
			rep, err := g.Import(ctx, strings.NewReader("address,subject,form,action\n"+bad+"\n"), ImportOptions{Controller: "acme", Purpose: "news"})
			require.NoError(t, err)
			require.Equal(t, 1, rep.RefusedRows, i)
		}
	})
}
