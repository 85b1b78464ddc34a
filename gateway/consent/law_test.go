package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/gateway/stream"
)

// both runs a test on the in-process Redis and on a real one.
func both(t *testing.T, f func(t *testing.T, g *rig)) {
	t.Run("in process", func(t *testing.T) { f(t, newRig(t)) })
	t.Run("redis-server", func(t *testing.T) { f(t, realRig(t)) })
}

// doi signs up and confirms, as the pages do.
func (g *rig) doi(t tb, a address.Address) {
	t.Helper()
	e := given(a)
	e.Method, e.Actor = "form", "link"
	id := g.record(t, e)
	g.record(t, Event{Action: Confirmed, Controller: "acme", Purpose: "news", Method: "link", Ref: id, Actor: "link"})
}

func refused(t tb, g *rig, e Event, why string) {
	t.Helper()
	_, err := g.Record(context.Background(), e)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, why)
}

func TestCON_1_NoRecordNoSend(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		g.record(t, given(mina))
		require.Equal(t, StatusActive, ask(t, g.Registry, mina).Status)
		for _, q := range []struct{ controller, purpose string }{{"acme", "other"}, {"globex", "news"}, {"acme", "New"}, {"acme", ""}} {
			out, err := g.Lookup(context.Background(), q.controller, q.purpose, 1, []address.Address{mina})
			require.NoError(t, err)
			require.Equal(t, StatusNone, out[0].Status, "%v", q)
		}
	})
}

func TestCON_2_RecordWithoutItsProofIsRefused(t *testing.T) {
	g := newRig(t)
	for why, change := range map[string]func(*Event){
		"ticked beforehand": func(e *Event) { e.Preticked = true },
		"purpose":           func(e *Event) { e.Purpose = "" },
		"wording version":   func(e *Event) { e.WordingVer = "" },
		"wording is":        func(e *Event) { e.Wording = " " },
		"source":            func(e *Event) { e.Source = "" },
		"method":            func(e *Event) { e.Method = "" },
		"controller":        func(e *Event) { e.Controller = "" },
		"address":           func(e *Event) { e.Address = address.Address{} },
		"basis":             func(e *Event) { e.Basis = "presumed" },
		"action":            func(e *Event) { e.Action = "granted" },
		"future":            func(e *Event) { e.Time = day0.Add(time.Hour) },
		"before e-mail":     func(e *Event) { e.Time = time.Unix(1, 0) },
		"UTF-8":             func(e *Event) { e.Wording = "\xff" },
		"16 KiB":            func(e *Event) { e.Wording = strings.Repeat("x", 17<<10) },
		"1 KiB":             func(e *Event) { e.UserAgent = strings.Repeat("x", 2<<10) },
	} {
		e := given(mina)
		change(&e)
		refused(t, g, e, why)
	}
	require.Empty(t, g.mini.Keys(), "nothing was stored")
	require.Empty(t, g.trail.actions())
}

func TestCON_3_WithdrawalChangesStateAndKeepsHistory(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		g.record(t, given(mina))
		g.record(t, given(tagMn))
		g.record(t, Event{Action: Withdrawn, Controller: "acme", Purpose: "news", Address: mina, Method: "page", Actor: "link"})
		require.Equal(t, StatusWithdrawn, ask(t, g.Registry, mina).Status)
		require.Equal(t, StatusWithdrawn, ask(t, g.Registry, tagMn).Status, "every form of the person, as it fails safe")
		p, err := g.Profile(context.Background(), "acme", mina)
		require.NoError(t, err)
		c := p.Consents[1]
		require.Equal(t, []Action{Given, Withdrawn}, []Action{c.History[0].Action, c.History[1].Action})
		require.Equal(t, "Yes, send me the newsletter.", c.History[0].Terms.Wording)

		// From a token, with the subject alone.
		g.record(t, given(mina))
		require.Equal(t, StatusActive, ask(t, g.Registry, mina).Status)
		who := g.ring.Identify("acme", mina).ID
		g.record(t, Event{Action: Objected, Controller: "acme", Purpose: "news", Subject: who, Method: "mail", Actor: "rule"})
		require.Equal(t, StatusObjected, ask(t, g.Registry, mina).Status)
	})
}

func TestCON_4_EvidenceIsCompleteAndWordingWhole(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		e := given(mina)
		e.PolicyURL, e.IP, e.UserAgent, e.MailRef = "https://example.org/privacy", "192.0.2.7", "Agent/1", "mail-1"
		e.Method = "form"
		e.Wording = strings.Repeat("Ja, ich möchte den Newsletter. ", 100)
		id := g.record(t, e)
		confirmed := g.record(t, Event{Action: Confirmed, Controller: "acme", Purpose: "news", Method: "link", Ref: id, IP: "192.0.2.8"})
		p, err := g.Profile(context.Background(), "acme", mina)
		require.NoError(t, err)
		require.Len(t, p.Consents, 1)
		c := p.Consents[0]
		require.Equal(t, StatusActive, c.Status)
		require.Equal(t, confirmed, c.Evidence)
		first, second := c.History[0], c.History[1]
		require.Equal(t, EventRecord{
			ID: id, Time: day0, Action: Given, Pending: true, Expires: day0.Add(7 * 24 * time.Hour), IP: "192.0.2.7", Agent: "Agent/1", Mail: "mail-1",
			Terms: Terms{
				Schema: 1, Controller: "acme", Purpose: "news", Basis: Express, Method: "form", Source: e.Source, Wording: e.Wording, WordingVer: "v1",
				Language: "en", Jurisdiction: "EU", PolicyURL: e.PolicyURL, Actor: "operator:desk",
			},
		}, first)
		require.Equal(t, id, second.Ref)
		require.Equal(t, e.Wording, second.Terms.Wording)
		require.Equal(t, "192.0.2.8", second.IP)
		for _, rec := range g.trail.recs {
			require.Equal(t, ledger.KindConsent, rec.Kind)
			require.Len(t, rec.Data["terms"], 64, "the ledger can prove the wording")
		}
	})
}

func TestCON_6_ReceiptNamesRecordAndSchemaOnly(t *testing.T) {
	g := newRig(t)
	g.doi(t, mina)
	p, err := g.Profile(context.Background(), "acme", mina)
	require.NoError(t, err)
	var out bytes.Buffer
	c := stream.Controller{ID: "acme", Name: "Acme", Contact: "privacy@example.org", Authority: "Example Authority"}
	require.NoError(t, p.WriteReceipt(&out, p.Consents[0], c, day0))
	var receipt struct {
		ID     string `json:"dct:identifier"`
		Type   string `json:"@type"`
		Schema string `json:"dct:conformsTo"`
		Record struct {
			ID      string           `json:"dct:identifier"`
			Version string           `json:"dct:hasVersion"`
			Status  string           `json:"dpv:hasConsentStatus"`
			Basis   string           `json:"dpv:hasLegalBasis"`
			Events  []map[string]any `json:"dpv:hasActivity"`
			Notice  map[string]any   `json:"dpv:hasNotice"`
		} `json:"dpv:hasRecordOfActivity"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &receipt))
	require.Equal(t, "dpv:ConsentReceipt", receipt.Type)
	require.Contains(t, receipt.Schema, "27560")
	require.Equal(t, p.Consents[0].Evidence, receipt.Record.ID)
	require.Equal(t, "1", receipt.Record.Version)
	require.Equal(t, "dpv:ConsentGiven", receipt.Record.Status)
	require.Equal(t, "eu-gdpr:A6-1-a", receipt.Record.Basis)
	require.Len(t, receipt.Record.Events, 2)
	require.Equal(t, "dpv:ConsentRequested", receipt.Record.Events[0]["@type"])
	require.Equal(t, "Yes, send me the newsletter.", receipt.Record.Notice["dct:description"])
	require.NotContains(t, strings.ToLower(out.String()), "mina")
	out.Reset()
	require.NoError(t, p.WriteRecords(&out, c))
	require.True(t, json.Valid(out.Bytes()))
}

func TestCON_7_ChildrenNeedTheirParents(t *testing.T) {
	g := newRig(t)
	e := given(mina)
	e.Age = 15
	refused(t, g, e, "parental")
	e.Jurisdiction = "UK"
	g.record(t, e)
	e = given(tagMn)
	e.Age, e.Guardian = 9, true
	g.record(t, e)
	p, err := g.Profile(context.Background(), "acme", tagMn)
	require.NoError(t, err)
	guardians := 0
	for _, c := range p.Consents {
		for _, h := range c.History {
			if h.Guardian {
				guardians++
			}
		}
	}
	require.Equal(t, 1, guardians)
	g.opts.Rules = []Rule{{Jurisdiction: "EU", AdultAge: 16, KnowAge: true}}
	refused(t, g, given(mina), "age is unknown")
}

func TestCON_9_ObjectionIsAbsolute(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		g.record(t, given(mina))
		g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopeController, Reason: ObjectedTo, Source: "privacy-mail", Case: "PC-1", Actor: "rule"})
		for _, purpose := range []string{"news", "events", "survey"} {
			out, err := g.Lookup(context.Background(), "acme", purpose, 9, []address.Address{mina, tagMn})
			require.NoError(t, err)
			for _, a := range out {
				require.Equal(t, ObjectedTo, a.Suppressed)
				require.Equal(t, ScopeController, a.Scope)
			}
		}
		again := given(mina)
		again.Method = "console"
		g.record(t, again)
		again.Action = Confirmed
		g.record(t, again)
		require.Equal(t, ObjectedTo, ask(t, g.Registry, mina).Suppressed, "nobody speaks for the person")
	})
}

func TestCON_10_SoftOptInNeedsAllFourConditions(t *testing.T) {
	g := newRig(t)
	for mask := range 16 {
		e := given(mina)
		e.Basis, e.Wording, e.WordingVer, e.Source = SoftOpt, "", "", "order 1"
		for i := range e.Conditions {
			e.Conditions[i] = mask>>i&1 == 1
		}
		if mask != 15 {
			refused(t, g, e, "four conditions")
			continue
		}
		g.record(t, e)
	}
	a := ask(t, g.Registry, mina)
	require.Equal(t, []any{StatusActive, SoftOpt}, []any{a.Status, a.Basis})
}

func TestCON_11_SoftOptInIsRecordedAsFourFacts(t *testing.T) {
	g := newRig(t)
	e := given(mina)
	e.Basis, e.Jurisdiction, e.Conditions = SoftOpt, "DE", [4]bool{true, true, true, true}
	g.record(t, e)
	p, err := g.Profile(context.Background(), "acme", mina)
	require.NoError(t, err)
	require.Equal(t, [4]bool{true, true, true, true}, p.Consents[0].History[0].Terms.Conditions)
	require.Equal(t, StatusActive, p.Consents[0].Status)
}

func TestCON_12_DoubleOptIn(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		e := given(mina)
		e.Method = "form"
		id := g.record(t, e)
		require.Equal(t, StatusPending, ask(t, g.Registry, mina).Status)
		su, err := g.Pending(ctx, id)
		require.NoError(t, err)
		require.Equal(t, []any{"news", e.Wording, day0.Add(7 * 24 * time.Hour)}, []any{su.Terms.Purpose, su.Terms.Wording, su.Expires})
		_, err = g.Pending(ctx, eventID{1}.of(g.ring.Identify("acme", mina).ID))
		require.ErrorIs(t, err, ErrNotFound)

		g.clock.add(8 * 24 * time.Hour)
		require.Equal(t, StatusNone, ask(t, g.Registry, mina).Status)
		_, err = g.Pending(ctx, id)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = g.Record(ctx, Event{Action: Confirmed, Controller: "acme", Purpose: "news", Method: "link", Ref: id})
		require.ErrorIs(t, err, ErrNotFound)
		_, err = g.Record(ctx, Event{Action: Confirmed, Controller: "acme", Purpose: "news", Method: "link", Address: mina})
		require.ErrorIs(t, err, ErrRefused)
		done, err := g.SweepNow(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, done.Deleted, "the sign-up is gone from the store")

		g.doi(t, mina)
		require.Equal(t, StatusActive, ask(t, g.Registry, mina).Status)
		g.clock.add(30 * 24 * time.Hour)
		done, err = g.SweepNow(ctx)
		require.NoError(t, err)
		require.Zero(t, done.Vanished+done.Deleted+done.Expired)
		require.Equal(t, StatusActive, ask(t, g.Registry, mina).Status)

		de := given(address.MustParse("de@example.org"))
		de.Jurisdiction = "DE"
		g.record(t, de)
		require.Equal(t, StatusPending, ask(t, g.Registry, de.Address).Status, "the rule of the place wants a confirmation")
	})
}

func TestCON_12_DoubleOptInLiftsOwnOptOutsOnly(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		for _, reason := range reasonCodes[1:] {
			for _, scope := range scopeCodes[1:] {
				a := address.MustParse(string(reason) + "-" + string(scope) + "@example.org")
				tagged := address.MustParse(string(reason) + "-" + string(scope) + "+x@example.org")
				g.record(t, given(tagged))
				g.suppress(t, Suppression{Controller: "acme", Address: a, Scope: scope, Stream: 1, Purpose: "news", Reason: reason, Actor: "test"})
				require.Equal(t, reason, ask(t, g.Registry, a).Suppressed)
				g.doi(t, a)
				want := reason
				if scope != ScopeAll && (reason == Unsubscribed || reason == WithdrawnBy || reason == ObjectedTo || reason == Erased) {
					want = ""
				}
				require.Equal(t, want, ask(t, g.Registry, a).Suppressed, "%s %s", reason, scope)
				require.Equal(t, reason, ask(t, g.Registry, tagged).Suppressed, "only for the form that was typed in")
				if scope == ScopeController {
					out, err := g.Lookup(context.Background(), "acme", "other", 1, []address.Address{a})
					require.NoError(t, err)
					require.Equal(t, reason, out[0].Suppressed, "only for that purpose")
				}
			}
		}
		// A sign-up from before the opt-out lifts nothing when it is clicked after it.
		e := given(mina)
		e.Method = "form"
		id := g.record(t, e)
		g.suppress(t, unsub(mina))
		g.record(t, Event{Action: Confirmed, Controller: "acme", Purpose: "news", Method: "link", Ref: id})
		require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
	})
}

func TestCON_15_ImpliedConsentEnds(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		e := given(mina)
		e.Basis, e.Jurisdiction = Implied, "CA"
		refused(t, g, e, "expiry")
		e.Expires = day0.Add(3 * year)
		refused(t, g, e, "longer")
		e.Expires = day0.Add(180 * 24 * time.Hour)
		g.record(t, e)
		e.Jurisdiction = "EU"
		refused(t, g, e, "not known")
		require.Equal(t, StatusActive, ask(t, g.Registry, mina).Status)
		g.clock.add(181 * 24 * time.Hour)
		require.Equal(t, StatusExpired, ask(t, g.Registry, mina).Status)
		for _, want := range []int{1, 0} {
			done, err := g.SweepNow(context.Background())
			require.NoError(t, err)
			require.Equal(t, want, done.Expired)
		}
		p, err := g.Profile(context.Background(), "acme", mina)
		require.NoError(t, err)
		require.Equal(t, Expired, p.Consents[0].History[1].Action)
		require.Equal(t, StatusExpired, p.Consents[0].Status)
	})
}

func TestCON_16_RulesHaveDates(t *testing.T) {
	g := newRig(t)
	change := day0.Add(-24 * time.Hour)
	g.opts.Rules = append(DefaultRules(), Rule{Jurisdiction: "UK", From: change, SoftOptIn: false, MaxAge: 48 * time.Hour})
	e := given(mina)
	e.Basis, e.Jurisdiction, e.Conditions = SoftOpt, "UK", [4]bool{true, true, true, true}
	refused(t, g, e, "soft opt-in is not known")
	e.Time = change.Add(-time.Hour)
	g.record(t, e)
	e = given(tagMn)
	e.Jurisdiction = "UK"
	g.record(t, e)
	require.Equal(t, StatusActive, ask(t, g.Registry, tagMn).Status)
	g.clock.add(49 * time.Hour)
	require.Equal(t, StatusExpired, ask(t, g.Registry, tagMn).Status)
	require.Equal(t, StatusActive, ask(t, g.Registry, mina).Status)
}

func TestCON_18_MarketingSuppressionNeverBlocksOtherMail(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		ctx := context.Background()
		plain := func(stream uint16) Answer {
			out, err := g.Lookup(ctx, "acme", "", stream, []address.Address{mina})
			require.NoError(t, err)
			return out[0]
		}
		g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopeController, Reason: ObjectedTo})
		g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopePurpose, Purpose: "news", Reason: Unsubscribed})
		g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopeStream, Stream: 1, Reason: Unsubscribed})
		require.Empty(t, plain(7).Suppressed, "a password reset passes")
		require.Equal(t, Unsubscribed, plain(1).Suppressed)
		g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopeAll, Reason: Manual})
		require.Equal(t, Manual, plain(7).Suppressed)
		require.Equal(t, ScopeAll, ask(t, g.Registry, mina).Scope, "the widest is told")
	})
}

func TestUNS_13_ScopesReachAsFarAsTheySay(t *testing.T) {
	both(t, func(t *testing.T, g *rig) {
		g.record(t, given(mina))
		g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopeStream, Stream: 2, Reason: Unsubscribed})
		require.Empty(t, ask(t, g.Registry, mina).Suppressed)
		out, err := g.Lookup(context.Background(), "acme", "news", 2, []address.Address{mina})
		require.NoError(t, err)
		require.Equal(t, Unsubscribed, out[0].Suppressed)
		out, err = g.Lookup(context.Background(), "globex", "news", 2, []address.Address{mina})
		require.NoError(t, err)
		require.Empty(t, out[0].Suppressed, "ends at the controller")
	})
}

// TestCON_12_JurisdictionInAnyCase: "de" is Germany, where a sign-up counts once
// it is confirmed.
func TestCON_12_JurisdictionInAnyCase(t *testing.T) {
	for _, where := range []string{"DE", "de", " De "} {
		g := newRig(t)
		e := given(mina)
		e.Jurisdiction = where
		g.record(t, e)
		require.Equal(t, StatusPending, ask(t, g.Registry, mina).Status, where)
	}
}

// TestUNS_13_SuccessorOfAList: a list that took the place of another mails whom
// that one mailed, and nobody who had unsubscribed from it.
func TestUNS_13_SuccessorOfAList(t *testing.T) {
	g := newRig(t)
	g.opts.Former = func(stream uint16) []uint16 { return map[uint16][]uint16{1: {2, 3}}[stream] }
	g.record(t, given(mina))
	ask2 := func() Reason {
		out, err := g.Lookup(context.Background(), "acme", "news", 2, []address.Address{mina})
		require.NoError(t, err)
		return out[0].Suppressed
	}
	require.Empty(t, ask(t, g.Registry, mina).Suppressed)
	g.suppress(t, Suppression{Controller: "acme", Address: mina, Scope: ScopeStream, Stream: 3, Reason: Unsubscribed})
	require.Equal(t, Unsubscribed, ask(t, g.Registry, mina).Suppressed)
	require.Empty(t, ask2(), "the other one is its own")
	g.doi(t, mina)
	require.Empty(t, ask(t, g.Registry, mina).Suppressed, "who signs up to it gets it")
}

func TestMetricsCountByClosedSets(t *testing.T) {
	g := newRig(t)
	reg := prometheus.NewRegistry()
	var err error
	g.Registry, err = New(g.rdb, g.ring, g.db, g.trail, Options{Now: g.clock.now, Metrics: reg})
	require.NoError(t, err)
	g.record(t, given(mina))
	ask(t, g.Registry, mina)
	s := unsub(mina)
	s.Source = "import:mina@example.org.csv"
	g.suppress(t, s)
	families, err := reg.Gather()
	require.NoError(t, err)
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
		require.NotContains(t, f.String(), "mina")
	}
	require.Equal(t, []string{"postern_consent_events_total", "postern_consent_lookup_seconds", "postern_consent_lookups_total",
		"postern_consent_optouts_total", "postern_consent_waiting"}, names)
	_, err = New(g.rdb, g.ring, g.db, g.trail, Options{Metrics: reg})
	require.ErrorContains(t, err, "register consent metrics")
}
