package unsubscribe

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/consent"
	"postern/gateway/stream"
)

func subscribed(purposes ...string) (p consent.Profile) {
	for _, x := range purposes {
		p.Consents = append(p.Consents, consent.Consent{Purpose: x, Status: consent.StatusActive})
	}
	return p
}

// UNS-13: each list by itself, or everything of the controller.
func TestUNS13_Preferences(t *testing.T) {
	g := newRig(t)
	g.reg.profile = subscribed("newsletter", "offers")
	g.reg.profile.Suppressions = []consent.SuppressionRecord{{Scope: consent.ScopeStream, Stream: 2}}
	path := "/p/" + g.token(1)
	body := g.do("GET", path, "").Body.String()
	require.Contains(t, body, `name="list" value="newsletter" checked`)
	require.Contains(t, body, `name="list" value="offers">`, "stopped: no tick")
	require.NotContains(t, body, `value="old"`, "retired")
	require.NotContains(t, body, `value="rechnungen"`, "not advertising")
	require.Zero(t, g.reg.calls)

	w := g.post(path, "act=save&shown=newsletter&list=newsletter")
	require.Contains(t, w.Body.String(), "Nothing was changed.")
	require.Empty(t, g.reg.standing())

	w = g.post(path, "act=save&shown=newsletter&list=offers")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "No longer sent to you: “Weekly letter”.")
	require.Contains(t, w.Body.String(), "sign up with your address", "nothing is turned on by a tick")
	require.Len(t, g.reg.standing(), 1)
	require.Empty(t, g.reg.events)

	w = g.post(path, "act=stop")
	require.Contains(t, w.Body.String(), "Advertising is stopped.")
	require.Len(t, g.reg.standing(), 2)
	last := g.reg.standing()[1]
	require.Equal(t, consent.ScopeController, last.Scope)
	require.Equal(t, consent.ObjectedTo, last.Reason)
	g.post(formOf(t, w.Body.String(), "undo"), "act=undo")
	require.Len(t, g.reg.standing(), 1)
}

// UNS-4 holds for the preferences as well: the pair of RFC 8058 belongs to
// /u/ alone, and nothing but the own forms acts.
func TestUNS5_PreferencesOnlyOwnForms(t *testing.T) {
	g := newRig(t)
	g.reg.profile = subscribed("newsletter")
	for _, body := range []string{"", pairBody, "act=unsubscribe", "act=undo", strings.Repeat("x", 100<<10)} {
		require.Equal(t, http.StatusOK, g.post("/p/"+g.token(1), body).Code)
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE"} {
		g.do(method, "/p/"+g.token(1)+"?act=stop", "act=stop", "Content-Type", urlencoded)
	}
	require.Zero(t, g.reg.calls)
	require.Equal(t, http.StatusNotFound, g.do("GET", "/p/xyz", "").Code)
}

// With the store away the state is not shown, but the wish to stop can be tried.
func TestPreferencesStoreAway(t *testing.T) {
	g := newRig(t)
	g.reg.down = errAway
	w := g.do("GET", "/p/"+g.token(1), "")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotContains(t, w.Body.String(), "checkbox")
	w = g.post("/p/"+g.token(1), "act=save&shown=newsletter&list=offers")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), `name="shown" value="newsletter"`, "what was chosen is kept")
	require.Equal(t, http.StatusServiceUnavailable, g.post("/p/"+g.token(1), "act=stop").Code)
}

func TestReceives(t *testing.T) {
	st := stream.Stream{Name: "newsletter", Number: 1, Purpose: "newsletter"}
	for name, c := range map[string]struct {
		p    consent.Profile
		want bool
	}{
		"nothing known":    {consent.Profile{}, false},
		"active":           {subscribed("newsletter"), true},
		"another purpose":  {subscribed("offers"), false},
		"stream stopped":   {stopped(consent.SuppressionRecord{Scope: consent.ScopeStream, Stream: 1}), false},
		"other stream":     {stopped(consent.SuppressionRecord{Scope: consent.ScopeStream, Stream: 2}), true},
		"former stopped":   {stopped(consent.SuppressionRecord{Scope: consent.ScopeStream, Stream: 7}), false},
		"purpose stopped":  {stopped(consent.SuppressionRecord{Scope: consent.ScopePurpose, Purpose: "newsletter"}), false},
		"all stopped":      {stopped(consent.SuppressionRecord{Scope: consent.ScopeAll}), false},
		"undone":           {stopped(consent.SuppressionRecord{Scope: consent.ScopeAll, Ended: when}), true},
		"signed up again":  {stopped(consent.SuppressionRecord{Scope: consent.ScopeController, SignedUp: []string{"newsletter"}}), true},
		"signed up beside": {stopped(consent.SuppressionRecord{Scope: consent.ScopeController, SignedUp: []string{"offers"}}), false},
	} {
		require.Equal(t, c.want, receives(c.p, st, []uint16{7}), name)
	}
}

func stopped(s consent.SuppressionRecord) consent.Profile {
	p := subscribed("newsletter")
	p.Suppressions = []consent.SuppressionRecord{s}
	return p
}
