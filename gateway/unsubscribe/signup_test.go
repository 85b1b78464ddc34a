package unsubscribe

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
	"postern/gateway/throttle"
)

// withMail is a rig whose pages can send mail.
func withMail(t testing.TB, change ...func(*Options)) (*rig, *mailer) {
	m := &mailer{}
	g := newRig(t, append([]func(*Options){func(o *Options) {
		o.Mailer, o.PublicURL, o.EvenTime = m, "https://mail.example.com/", time.Millisecond
	}}, change...)...)
	return g, m
}

// signUpBody fills the form of the page as a browser would.
func signUpBody(t testing.TB, g *rig, path, typed string) string {
	t.Helper()
	body := g.do("GET", path, "").Body.String()
	_, rest, ok := strings.Cut(body, `name="wording" value="`)
	require.True(t, ok)
	wording, _, _ := strings.Cut(rest, `"`)
	return url.Values{"act": {"signup"}, "wording": {wording}, "address": {typed}}.Encode()
}

// CON-12, CON-4: sign-up is recorded as pending with the full wording, one mail
// goes to the address, and only a POST confirms.
func TestCON12_DoubleOptIn(t *testing.T) {
	g, m := withMail(t)
	w := g.post("/s/newsletter?lang=de", signUpBody(t, g, "/s/newsletter?lang=de", " someone@example.org "))
	require.Equal(t, http.StatusOK, w.Code)
	require.NotContains(t, w.Body.String(), "someone", "no address on a page")
	require.Len(t, g.reg.events, 1)
	e := g.reg.events[0]
	require.Equal(t, consent.Given, e.Action)
	require.True(t, e.Pending)
	require.False(t, e.Preticked)
	require.Equal(t, "someone@example.org", e.Address.Plain())
	require.Contains(t, e.Wording, "Ich möchte „Weekly letter“ von Example Shop")
	require.Equal(t, versionOf(e.Wording), e.WordingVer)
	require.Equal(t, "https://mail.example.com/s/newsletter", e.Source)
	require.Equal(t, "de", e.Language)
	require.Equal(t, consent.Express, e.Basis)

	require.Len(t, m.sent, 1)
	c := m.sent[0]
	require.Equal(t, e.Address, c.To)
	require.Contains(t, c.Text, c.Link)
	require.Contains(t, c.Text, "01.12.2026", "when the entry is deleted")
	path := strings.TrimPrefix(c.Link, "https://mail.example.com")

	given := consent.EventRecord{ID: address.SubjectID{4}.String() + "-abc", Time: when, Terms: consent.Terms{Wording: e.Wording}}
	g.reg.profile = consent.Profile{Consents: []consent.Consent{{History: []consent.EventRecord{given}}}}
	for _, method := range []string{"GET", "HEAD"} {
		w := g.do(method, path, "")
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "de", w.Header().Get("Content-Language"), "the language of the mail")
		if method == "GET" {
			require.Contains(t, w.Body.String(), "Ich möchte")
		}
	}
	for _, body := range []string{"", pairBody, "act=unsubscribe"} {
		g.post(path, body)
	}
	require.Len(t, g.reg.events, 1, "nothing of this confirms")
	require.Equal(t, http.StatusOK, g.post(path, "act=confirm").Code)
	require.Len(t, g.reg.events, 2)
	require.Equal(t, consent.Confirmed, g.reg.events[1].Action)
	require.Equal(t, given.ID, g.reg.events[1].Ref)
	require.Equal(t, "newsletter", g.reg.events[1].Purpose)

	g.reg.confirm = consent.ErrNotFound
	require.Equal(t, http.StatusGone, g.post(path, "act=confirm").Code)
	g.reg.confirm = errAway
	require.Equal(t, http.StatusServiceUnavailable, g.post(path, "act=confirm").Code)
	g.reg.confirm = nil
	g.now = g.now.Add(7*24*time.Hour + time.Second)
	require.Equal(t, http.StatusGone, g.post(path, "act=confirm").Code, "after the time it is over")
	require.Len(t, g.reg.events, 2)
	require.Equal(t, http.StatusNotFound, g.post(path[:len(path)-2], "act=confirm").Code)
}

// CON-2: a form that stood under another wording than the stored one is shown
// the page, so that nobody agrees to what they did not see.
func TestCON2_WordingMustBeTheShownOne(t *testing.T) {
	g, m := withMail(t)
	for _, body := range []string{
		"act=signup&address=someone%40example.org", "act=signup&wording=page-000000000000&address=someone%40example.org", pairBody, "",
	} {
		w := g.post("/s/newsletter", body)
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, w.Body.String(), `value="signup"`)
	}
	require.Empty(t, g.reg.events)
	require.Empty(t, m.sent)
}

// A third person's mailbox is not filled, and the answers do not differ.
func TestSignUpIsNoMailBombAndNoOracle(t *testing.T) {
	g, m := withMail(t, func(o *Options) { o.PerClient = 1000 })
	var bodies []string
	for i := range 10 {
		form := "victim+" + strings.Repeat("x", i) + "@example.org" // one mailbox under many tags
		w := g.post("/s/newsletter", signUpBody(t, g, "/s/newsletter", form))
		require.Equal(t, http.StatusOK, w.Code)
		bodies = append(bodies, w.Body.String())
	}
	require.Len(t, m.sent, 3)
	for _, b := range bodies {
		require.Equal(t, bodies[0], b)
	}
	g.now = g.now.Add(25 * time.Hour)
	g.post("/s/newsletter", signUpBody(t, g, "/s/newsletter", "victim@example.org"))
	require.Len(t, m.sent, 4)
}

func TestSignUpLimitsClients(t *testing.T) {
	g, m := withMail(t, func(o *Options) { o.PerClient, o.TrustProxy = 2, true })
	send := func(n int, from string) int {
		r := httptest.NewRequest("POST", "/s/newsletter", strings.NewReader(signUpBody(t, g, "/s/newsletter", fmt.Sprintf("p%d@example.org", n))))
		r.Header.Set("Content-Type", urlencoded)
		r.Header.Set("X-Forwarded-For", "198.51.100.9, "+from)
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, 200, send(1, "2001:db8:1:2::1"))
	require.Equal(t, 200, send(2, "2001:db8:1:2:ffff::2"))
	require.Equal(t, 429, send(3, "2001:db8:1:2::3"), "one /64 is one client")
	require.Equal(t, 200, send(4, "192.0.2.1"))
	require.Len(t, m.sent, 3)

	g, m = withMail(t, func(o *Options) { o.Total = 1 })
	require.Equal(t, 200, send(5, "192.0.2.1"))
	require.Equal(t, 429, send(6, "192.0.2.2"), "all together are limited too")
	require.Len(t, m.sent, 1)
}

// A third person's mailbox is not filled through several nodes, and where the
// common count can't be asked nothing is sent and everybody is told so.
func TestSignUpLimitsAreShared(t *testing.T) {
	mr := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr(), MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { require.NoError(t, rdb.Close()) })
	shared := func(o *Options) { o.Limits = throttle.New(rdb, []byte("s"), time.Second) }
	var sent int
	for range 3 { // nodes
		g, m := withMail(t, shared)
		g.reg.profile = consent.Profile{Subjects: []address.SubjectID{g.subject}, Consents: []consent.Consent{{Purpose: "newsletter", Status: consent.StatusActive}}}
		for range 3 {
			require.Equal(t, http.StatusOK, g.post("/s/newsletter", signUpBody(t, g, "/s/newsletter", "victim@example.org")).Code)
			require.Equal(t, http.StatusOK, g.post("/fresh", "act=fresh&address=victim%40example.org").Code)
		}
		sent += len(m.sent)
	}
	require.Equal(t, 6, sent, "three of each kind a day, over all nodes")
	for range 8 {
		g, _ := withMail(t, shared)
		require.Contains(t, []int{http.StatusOK, http.StatusTooManyRequests}, g.post("/s/newsletter", signUpBody(t, g, "/s/newsletter", "other@example.org")).Code)
	}
	g, _ := withMail(t, shared)
	require.Equal(t, http.StatusTooManyRequests, g.post("/fresh", "act=fresh&address=other%40example.org").Code, "one client, many nodes")
	for _, key := range mr.Keys() {
		require.NotContains(t, key, "victim")
	}
	mr.Close()
	g, m := withMail(t, shared)
	for _, typed := range []string{"known@example.org", "unknown@example.org"} {
		require.Equal(t, http.StatusServiceUnavailable, g.post("/s/newsletter", signUpBody(t, g, "/s/newsletter", typed)).Code)
		require.Equal(t, http.StatusServiceUnavailable, g.post("/fresh", url.Values{"act": {"fresh"}, "address": {typed}}.Encode()).Code)
	}
	require.Empty(t, m.sent)
	require.Empty(t, g.reg.events)
	require.Equal(t, http.StatusOK, g.post("/u/"+g.token(1), pairBody).Code, "an opt-out is not limited")
}

func TestSignUpRefusals(t *testing.T) {
	g, m := withMail(t)
	for _, typed := range []string{"", "someone", "a b@example.org", "x@example.org\r\nBcc: y@example.org"} {
		w := g.post("/s/newsletter", signUpBody(t, g, "/s/newsletter", typed))
		require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	}
	for _, name := range []string{"old", "rechnungen", "none"} {
		require.Equal(t, http.StatusNotFound, g.do("GET", "/s/"+name, "").Code, name)
	}
	g.reg.down = errAway
	require.Equal(t, http.StatusServiceUnavailable, g.post("/s/newsletter", signUpBody(t, g, "/s/newsletter", "a@example.org")).Code)
	require.Empty(t, m.sent, "no mail without a stored sign-up")
	require.Equal(t, http.StatusNotFound, newRig(t).do("GET", "/s/newsletter", "").Code, "no page where no mail can be sent")
	_, err := NewHandler(g.reg, nil, nil, Options{})
	require.Error(t, err)
}

// A broken link leads to a form; its answer is the same for known and unknown.
func TestFreshLinkIsNoOracle(t *testing.T) {
	g, m := withMail(t)
	action := formOf(t, g.do("GET", "/u/broken", "").Body.String(), "fresh")
	unknown := g.post(action, "act=fresh&address=nobody%40example.org")
	require.Empty(t, m.sent)
	g.reg.profile = consent.Profile{Subjects: []address.SubjectID{g.subject}, Consents: []consent.Consent{{Purpose: "newsletter", Status: consent.StatusActive}}}
	known := g.post(action, "act=fresh&address=someone%40example.org")
	require.Equal(t, unknown.Body.String(), known.Body.String())
	require.Equal(t, unknown.Code, known.Code)
	require.Len(t, m.sent, 1)
	require.Contains(t, m.sent[0].Text, "Weekly letter\nhttps://mail.example.com/u/")
	require.NotContains(t, m.sent[0].Text, "Offers")
	require.Equal(t, http.StatusOK, g.post(strings.TrimPrefix(m.sent[0].Link, "https://mail.example.com"), pairBody).Code)
	require.Equal(t, g.subject, g.reg.standing()[0].Subject)
}

// The API signs people up in the same way as the page: pending, one mail, the
// words kept, the mailbox spared.
func TestCON12_InviteByAPI(t *testing.T) {
	x := newRooms(t)
	ctx := t.Context()
	i, err := NewInviter(x.real, x.codec, Options{Now: func() time.Time { return x.now }, Mailer: x.mail, PublicURL: "https://mail.example.com", PerAddress: 2})
	require.NoError(t, err)
	inv := Invitation{
		Controller: stream.Controller{ID: "shop", Name: "Example Shop", TimeZone: "Europe/Berlin"},
		Stream:     stream.Stream{Name: "newsletter", Number: 1, Kind: stream.Marketing, Controller: "shop", Purpose: "newsletter", Title: "Weekly letter"},
		To:         address.MustParse("someone@example.org"), Language: "de", Method: "api", Source: "https://shop.example.com/checkout",
		Wording: "Ja, schickt mir den Wochenbrief.", WordingVer: "2026-11", Actor: "api:shop",
	}
	id, err := i.Invite(ctx, inv)
	require.NoError(t, err)
	require.Len(t, x.mail.sent, 1)
	sent := x.mail.sent[0]
	require.Equal(t, []string{"de", MessageID(id, "https://mail.example.com")}, []string{sent.Language, sent.MessageID})
	p, err := x.real.Profile(ctx, "shop", inv.To)
	require.NoError(t, err)
	require.Equal(t, consent.StatusPending, p.Consents[0].Status)
	require.Equal(t, []string{inv.Wording, inv.WordingVer, inv.Source, "api"},
		[]string{p.Consents[0].History[0].Terms.Wording, p.Consents[0].History[0].Terms.WordingVer, p.Consents[0].History[0].Terms.Source, p.Consents[0].History[0].Terms.Method})
	shown := x.do("GET", strings.TrimPrefix(sent.Link, "https://mail.example.com"), "").Body.String()
	require.Contains(t, shown, "<blockquote>Ja, schickt mir den Wochenbrief.</blockquote>")
	require.Equal(t, http.StatusOK, x.post(strings.TrimPrefix(sent.Link, "https://mail.example.com"), "act=confirm").Code)
	status, _ := x.status(t, inv.To)
	require.Equal(t, consent.StatusActive, status)

	inv.To, inv.Wording, inv.WordingVer = address.MustParse("Other+tag@example.org"), "", ""
	_, err = i.Invite(ctx, inv)
	require.NoError(t, err)
	inv.To = address.MustParse("other@example.org")
	_, err = i.Invite(ctx, inv)
	require.NoError(t, err)
	_, err = i.Invite(ctx, inv)
	require.ErrorIs(t, err, ErrEnough)
	require.Len(t, x.mail.sent, 3)
	text, version := i.Wording(inv)
	require.Contains(t, text, "Ich möchte „Weekly letter“ von Example Shop")
	require.Equal(t, versionOf(text), version)

	for _, bad := range []func(*Invitation){
		func(v *Invitation) { v.Stream.Kind = stream.Transactional }, func(v *Invitation) { v.Stream.Retired = true },
		func(v *Invitation) { v.Stream.Controller = "other" }, func(v *Invitation) { v.To = address.Address{} }, func(v *Invitation) { v.Wording = "no version" },
	} {
		v := inv
		bad(&v)
		_, err := i.Invite(ctx, v)
		require.ErrorIs(t, err, consent.ErrRefused)
	}
	_, err = NewInviter(x.real, x.codec, Options{})
	require.Error(t, err)
}

// CON-8: who asks, for what, how to reach them, where the notice is and how to
// take it back stand at the sign-up and where it is confirmed; the notice shown
// is kept with the evidence.
func TestCON8_InformationIsGiven(t *testing.T) {
	x := newRooms(t)
	form := x.do("GET", "/s/newsletter", "").Body.String()
	require.Equal(t, http.StatusOK, x.post("/s/newsletter", signUpBody(t, x.rig, "/s/newsletter", "someone@example.org")).Code)
	confirm := x.do("GET", strings.TrimPrefix(x.mail.sent[0].Link, "https://mail.example.com"), "").Body.String()
	for _, page := range []string{form, confirm} {
		for _, part := range []string{"Example Shop, 1 Example Street, 10000 Exampletown", "mailto:privacy@example.com", "https://www.example.com/privacy", "Weekly letter", "at any time"} {
			require.Contains(t, page, part)
		}
	}
	p, err := x.real.Profile(t.Context(), "shop", address.MustParse("someone@example.org"))
	require.NoError(t, err)
	require.Equal(t, "https://www.example.com/privacy", p.Consents[0].History[0].Terms.PolicyURL)
}

// CON-14: the opt-out takes one page and one button, asks for nothing, and works
// long after the mail was sent.
func TestCON14_OptOutOnOnePage(t *testing.T) {
	g := newRig(t)
	link := "/u/" + g.codec.Seal(g.subject, 1, g.now)
	g.now = g.now.AddDate(0, 0, 400)
	page := g.do("GET", link, "").Body.String()
	require.Equal(t, 1, strings.Count(page, "<form"))
	require.NotContains(t, page, "required", "nothing has to be filled in")
	require.NotContains(t, page, `type="password"`)
	w := g.post(formOf(t, page, "unsubscribe"), "act=unsubscribe")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "You are unsubscribed.")
	require.Len(t, g.reg.standing(), 1)
}

// Each controller's own host shows its pages and no other's, and stands in its
// mails; a mailed link works at every host, for nobody may lose an opt-out.
func TestPagesByHost(t *testing.T) {
	g, m := withMail(t)
	set, err := stream.NewSet(
		[]stream.Controller{{ID: "shop", Name: "Example Shop", PublicURL: "https://mail.shop.example", Language: "en"}, {ID: "club", Name: "Example Club", PublicURL: "https://mail.club.example", Language: "en"}},
		[]stream.Stream{
			{Name: "newsletter", Number: 1, Kind: stream.Marketing, Controller: "shop", Purpose: "newsletter", ListID: "news.example.com", Title: "Weekly letter", Mode: stream.Enforce},
			{Name: "club", Number: 2, Kind: stream.Marketing, Controller: "club", Purpose: "club", ListID: "club.example.com", Title: "Club letter", Mode: stream.Enforce},
		})
	require.NoError(t, err)
	g.Handler, err = NewHandler(g.reg, func() *stream.Set { return set }, g.codec, Options{
		Now: func() time.Time { return g.now }, Mailer: m, PublicURL: "https://mail.example.com", EvenTime: time.Millisecond})
	require.NoError(t, err)
	const shop, club, both = "http://mail.shop.example", "http://mail.club.example:8080", "http://unknown.example"
	for at, want := range map[string]int{shop + "/s/newsletter": 200, shop + "/s/club": 404, club + "/s/club": 200, club + "/s/newsletter": 404, both + "/s/club": 200} {
		require.Equal(t, want, g.do("GET", at, "").Code, at)
	}
	require.Contains(t, g.do("GET", shop+"/u/broken", "").Body.String(), "Example Shop")
	page := g.do("GET", both+"/u/broken", "").Body.String()
	require.NotContains(t, page, "Example Shop")
	require.NotContains(t, page, "Example Club")
	for _, host := range []string{shop, club, both} {
		require.Contains(t, g.do("GET", host+"/u/"+g.token(1), "").Body.String(), "Weekly letter", host)
	}
	require.Equal(t, 200, g.post(shop+"/s/newsletter", signUpBody(t, g, shop+"/s/newsletter", "someone@example.org")).Code)
	require.Len(t, m.sent, 1)
	require.True(t, strings.HasPrefix(m.sent[0].Link, "https://mail.shop.example/c/"), m.sent[0].Link)
	require.Equal(t, "https://mail.shop.example/s/newsletter", g.reg.events[0].Source)
}
