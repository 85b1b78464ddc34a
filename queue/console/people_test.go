package console

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/ledger"
	"postern/queue/console/auth"
)

const agreed = "Ja, schicken Sie mir die Neuigkeiten von Example Shop per E-Mail. Ich kann das jederzeit widerrufen."

// known makes a person with consent, a bounce, an opt-out of long ago, a case
// and mail that was sent.
func (o *outbound) known(who string) {
	o.t.Helper()
	ctx, a := o.t.Context(), address.MustParse(who)
	at := o.Now().AddDate(0, -2, 0)
	for i, action := range []consent.Action{consent.Given, consent.Confirmed} {
		_, err := o.registry.Record(ctx, consent.Event{Time: at.Add(time.Duration(i) * time.Minute), Action: action, Controller: "shop", Purpose: "news", Address: a,
			Basis: consent.Express, Method: "form", Source: "https://shop.example.org/newsletter", Wording: agreed, WordingVer: "2026-03", Language: "de", Jurisdiction: "EU", Actor: "link"})
		require.NoError(o.t, err)
	}
	_, err := o.registry.Suppress(ctx, consent.Suppression{Time: o.Now().AddDate(0, 0, -3), Controller: "shop", Address: a, Scope: consent.ScopeController, Reason: consent.Bounced, Source: "delivery", Actor: "relay"})
	require.NoError(o.t, err)
	o.open(o.mail(who, "Please send me a copy of my data.", classifier.Access))
	id := o.ring.Identify("shop", a).ID
	for i := range 3 {
		ref, day := strings.Repeat("A", 25)+string(rune('A'+i)), o.Now().AddDate(0, 0, -7*(i+1))
		require.NoError(o.t, o.trail.Append(ctx,
			ledger.Record{Time: day, Kind: ledger.KindVerdict, Controller: "shop", Subject: id, Actor: "relay", Action: "allow", Stream: 2, Ref: ref, Message: strings.Repeat("ab", 32)},
			ledger.Record{Time: day.Add(2 * time.Second), Kind: ledger.KindDelivery, Controller: "shop", Subject: id, Actor: "relay", Action: "delivered", Stream: 2, Ref: ref, Message: strings.Repeat("ab", 32)}))
	}
	require.NoError(o.t, o.trail.Append(ctx, ledger.Record{Time: o.Now().AddDate(0, 0, -1), Kind: ledger.KindVerdict, Controller: "shop", Subject: id, Actor: "relay", Action: "deny", Reason: "suppressed", Stream: 2}))
}

func (o *outbound) people() *outbound {
	o.deps.Persons, o.deps.Records, o.deps.Prover = o.registry, o.trail, o.trail
	o.rebuild()
	return o
}

// person looks an address up and gives the path of its page.
func (b *visitor) person(who string) string {
	b.w.t.Helper()
	resp, text := b.post("/people", url.Values{"address": {who}})
	require.Equal(b.w.t, http.StatusSeeOther, resp.StatusCode, text)
	path := resp.Header.Get("Location")
	require.NotContains(b.w.t, path, "@")
	require.NotContains(b.w.t, path, strings.Split(who, "@")[0])
	return path
}

func TestPerson(t *testing.T) {
	o := newOutbound(t).people()
	o.known("maria@example.net")
	b := o.signedIn("anna", auth.Operator)
	path := b.person("maria@example.net")
	page := b.get(path)
	for _, want := range []string{agreed, "2026-03", "https://shop.example.org/newsletter", "Confirmed", "bounce", "All advertising", "Access", "Delivered", "by form", "2026-03 · German"} {
		require.Contains(t, page, want)
	}
	require.Equal(t, 4, strings.Count(page[strings.Index(page, `class="stack sent"`):], "<td>News"), "a verdict and its outcome are one line")
	views := o.recorded(ledger.KindView, "person")
	require.Len(t, views, 2, "one for each controller")
	require.Equal(t, o.ring.Identify("shop", address.MustParse("maria@example.net")).ID, findView(views, "shop").Subject)
	for _, v := range views {
		require.NotContains(t, v.Data, "address")
	}

	require.Contains(t, b.get(path+"/print"), agreed)
	require.Len(t, o.recorded(ledger.KindView, "person-print"), 2)
	resp, body := b.do("GET", path+"/export", nil)
	require.Contains(t, resp.Header.Get("Content-Disposition"), "attachment")
	require.Contains(t, body, `"wording": "Ja, schicken Sie mir`)
	require.Contains(t, body, `"result": "delivered"`)
	require.Contains(t, body, `"number": "`)

	require.Contains(t, visible(b.get(b.person("nobody@example.com"))), "Nothing is held on this address in Postern.")
	resp, text := b.post("/people", url.Values{"address": {"no address"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, text, "no address")
}

// Who is mailed daily has more than a screen: what is handed out is whole.
func TestSendRecordIsWholeOutsideThePage(t *testing.T) {
	o := newOutbound(t).people()
	a := address.MustParse("daily@example.net")
	id := o.ring.Identify("shop", a).ID
	const mails = sentMost + 50
	var sent []ledger.Record
	for i := range mails {
		sent = append(sent, ledger.Record{Time: o.Now().Add(-time.Duration(i) * time.Hour), Kind: ledger.KindVerdict, Controller: "shop", Subject: id,
			Actor: "relay", Action: "deny", Reason: "suppressed", Stream: 2})
	}
	require.NoError(t, o.trail.Append(t.Context(), sent...))
	_, err := o.registry.Suppress(t.Context(), consent.Suppression{Time: o.Now(), Controller: "shop", Address: a, Scope: consent.ScopeController, Reason: consent.Bounced, Source: "delivery", Actor: "relay"})
	require.NoError(t, err)
	b := o.signedIn("anna", auth.Operator)
	path := b.person("daily@example.net")
	require.Equal(t, sentMost, strings.Count(b.get(path), "<td>News"))
	require.Equal(t, mails, strings.Count(b.get(path+"/print"), "<td>News"))
	_, body := b.do("GET", path+"/export", nil)
	require.Equal(t, mails, strings.Count(body, `"result": "deny"`))
}

func findView(list []ledger.Record, controller string) ledger.Record {
	for _, r := range list {
		if r.Controller == controller {
			return r
		}
	}
	return ledger.Record{}
}

// A handle opens in its session alone, and for half an hour.
func TestHandleIsOfItsSession(t *testing.T) {
	o := newOutbound(t).people()
	anna, otto := o.signedIn("anna", auth.Operator), o.signedIn("otto", auth.Auditor)
	path := anna.person("maria@example.net")
	for _, forged := range []string{path + "A", path[:len(path)-2], "/people/AAAA"} {
		resp, _ := anna.do("GET", forged, nil)
		require.Equal(t, "/people?done=person-over", resp.Header.Get("Location"), forged)
	}
	resp, _ := otto.do("GET", path, nil)
	require.Equal(t, "/people?done=person-over", resp.Header.Get("Location"))
	o.later(29 * time.Minute)
	anna.get(path)
	o.later(2 * time.Minute)
	resp, _ = anna.do("GET", path, nil)
	require.Equal(t, "/people?done=person-over", resp.Header.Get("Location"))
	require.Empty(t, o.recorded(ledger.KindView, "person-export"))
}

func TestActsOnAPerson(t *testing.T) {
	o := newOutbound(t).people()
	o.known("maria@example.net")
	maria := address.MustParse("maria@example.net")
	b := o.signedIn("anna", auth.Operator)
	path := b.person("maria@example.net")
	id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(b.get(path))[1]

	resp, text := b.post(path, url.Values{"act": {"release"}, "controller": {"shop"}, "id": {id}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, text, "Nothing was changed")
	done := b.done(path, url.Values{"act": {"release"}, "controller": {"shop"}, "id": {id}, "evidence": {"Their server was misconfigured that day, see ticket 17."}})
	require.Contains(t, done, "see ticket 17")
	require.Contains(t, done, "Ended")
	require.Len(t, o.ledgered(ledger.KindSuppression, "release"), 1)
	require.NotContains(t, o.ledgered(ledger.KindSuppression, "release")[0].Data, "why")

	require.Contains(t, b.done(path, url.Values{"act": {"withdraw"}, "controller": {"shop"}, "purpose": {"news"}}), "Withdrawn")
	answers, err := o.registry.Lookup(t.Context(), "shop", "news", 2, []address.Address{maria})
	require.NoError(t, err)
	require.Equal(t, consent.StatusWithdrawn, answers[0].Status)

	b.done(path, url.Values{"act": {"suppress"}, "controller": {"shop"}, "scope": {"all"}})
	answers, err = o.registry.Lookup(t.Context(), "shop", "news", 2, []address.Address{maria})
	require.NoError(t, err)
	require.Equal(t, consent.Manual, answers[0].Suppressed)
	require.Equal(t, "operator:anna", o.ledgered(ledger.KindSuppression, "suppress")[1].Actor)

	// What a person said themselves is not for an operator to end.
	own, err := o.registry.Suppress(t.Context(), consent.Suppression{Controller: "shop", Address: maria, Scope: consent.ScopeController, Reason: consent.Unsubscribed, Source: "one-click", Actor: "link"})
	require.NoError(t, err)
	resp, _ = b.post(path, url.Values{"act": {"release"}, "controller": {"shop"}, "id": {own}, "evidence": {"I just want it to be gone."}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)

	resp, _ = b.post(path, url.Values{"act": {"erase"}, "controller": {"shop"}, "way": {"post"}, "received": {"2026-11-20"}, "text": {"Delete all you have on me."}})
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	require.Contains(t, b.get(resp.Header.Get("Location")), "Erasure")

	auditor := o.signedIn("otto", auth.Auditor)
	own2 := auditor.person("maria@example.net")
	require.NotContains(t, auditor.get(own2), `name="act"`)
	resp, _ = auditor.post(own2, url.Values{"act": {"suppress"}, "controller": {"shop"}, "scope": {"all"}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
}
