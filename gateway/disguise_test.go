package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/delivery"
	"postern/gateway/spool"
	"postern/gateway/stream"
)

// TestD2_AdvertisingUnderAnotherStream: the client may not use the stream that
// its mail names, and its own is only observed. Who said no to that advertising
// does not get it by the rules of the client's stream.
func TestD2_AdvertisingUnderAnotherStream(t *testing.T) {
	b := newTestEngine(t, nil)
	b.SetMode("people", stream.Observe)
	b.SetMode("news", stream.Observe)
	b.consent.set("left@example.com", consent.Answer{Status: consent.StatusActive, Suppressed: consent.ObjectedTo, Scope: consent.ScopeController})
	send := func(to string, extra ...string) error {
		env := testEnvelope(to)
		env.Grant = &Grant{Client: "crm", Streams: []string{"people"}, Default: "people"}
		_, err := b.Data(t.Context(), env, letter("a@example.org", extra...))
		return err
	}
	for _, field := range []string{"X-Postern-Stream: news", "List-Id: News <news.example.org>", "X-PM-Message-Stream: news"} {
		require.Equal(t, "suppressed:objected", denialOf(t, send("left@example.com", field)).label(), field)
		require.NoError(t, send("yes@example.com", field))
		require.EqualValues(t, 1, b.shelf.last(t).Stream, "it is personalised as what it is")
		require.Equal(t, StreamDenied, b.report.would[len(b.report.would)-1].Reason)
	}
	require.NoError(t, send("left@example.com"), "mail that names none is the client's own")
	b.SetMode("news", stream.Enforce)
	require.Equal(t, StreamDenied, denialOf(t, send("yes@example.com", "X-Postern-Stream: news")).Reason)
}

// TestSMTP12_GeneratedIsNoAnswer: a client for newsletters alone has no other
// automatic mail than answers and bounces, whatever its tool writes.
func TestSMTP12_GeneratedIsNoAnswer(t *testing.T) {
	b := newTestEngine(t, nil)
	b.consent.set("left@example.com", consent.Answer{Status: consent.StatusActive, Suppressed: consent.Unsubscribed, Scope: consent.ScopeStream})
	send := func(g *Grant, auto string) error {
		env := testEnvelope("left@example.com")
		env.ReversePath, env.Grant = address.Address{}, g
		_, err := b.Data(t.Context(), env, letter("a@news.example.org", "Auto-Submitted: "+auto))
		return err
	}
	newsletters := &Grant{Client: "tool", Streams: []string{"news"}, Default: "news"}
	require.Equal(t, Suppressed, denialOf(t, send(newsletters, "auto-generated")).Reason)
	require.NoError(t, send(newsletters, "auto-replied"))
	require.NoError(t, send(testGrant(), "auto-generated"), "a client with other mail may mean it")
}

// TestSMTP3_WhoWasLetInIsToldOfFailures: a reverse-path that acceptance takes
// for the client's own gets the reports of what fails later.
func TestSMTP3_WhoWasLetInIsToldOfFailures(t *testing.T) {
	b := newTestEngine(t, nil)
	for path, want := range map[string]bool{
		"bounce@example.org": true, "bounce@mail.example.org": true, "b@news.example.org": true, "b@tool.example.com": true,
		"x@badexample.org": false, "x@example.net": false,
	} {
		for _, number := range []uint16{1, 99} { // 99: taken out of the configuration meanwhile
			m := &spool.Message{Stream: number, Client: "tool", ReversePath: address.MustParse(path)}
			require.Equal(t, want, b.MayReport(m, []string{"example.com"}), path)
		}
	}
	require.False(t, b.MayReport(&spool.Message{Stream: 1}, []string{"example.com"}), "never to <>")
}

// TestNumbersAreGivenOnce: the number of a newsletter comes to be that of
// another kind of mail while newsletters wait.
func TestNumbersAreGivenOnce(t *testing.T) {
	b := newTestEngine(t, nil)
	m := b.accept(t, letter("a@news.example.org"), "yes@example.com")
	require.True(t, m.Marketing)
	edited := func(edit func(*stream.Stream)) *stream.Set {
		sts := testStreams()
		edit(&sts[0])
		set, err := stream.NewSet([]stream.Controller{{ID: "shop", Domains: []string{"example.org"}}, {ID: "other"}}, sts)
		require.NoError(t, err)
		return set
	}
	orders := edited(func(st *stream.Stream) { st.Name, st.Kind, st.ListID = "parcels", stream.Transactional, "" })
	require.ErrorContains(t, b.SetStreams(orders), "number 1 was that of \"news\"")
	require.ErrorContains(t, b.SetStreams(edited(func(st *stream.Stream) { st.Controller = "other" })), "number 1")
	require.NoError(t, b.SetStreams(edited(func(st *stream.Stream) { st.Name, st.Retired = "old-news", true })))

	// Restarted with such a configuration, when nothing can be compared.
	again := newTestEngine(t, func(_ *Deps, _ *EngineOptions, sts []stream.Stream) {
		sts[0].Name, sts[0].Kind, sts[0].ListID = "parcels", stream.Transactional, ""
	})
	again.consent.set("yes@example.com", consent.Answer{Suppressed: consent.ObjectedTo, Scope: consent.ScopeController})
	out := again.PrepareAll(t.Context(), []delivery.Request{{Message: m, Due: []int{0}}})
	require.Empty(t, out[0].Copies)
	require.ErrorContains(t, out[0].Err, "marketing")
}
