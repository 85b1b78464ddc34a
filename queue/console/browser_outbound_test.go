package console

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/queue/console/auth"
	"postern/testmail/browser"
)

// stagedOutbound is an outbound world with everything its pages can show.
func stagedOutbound(t *testing.T) *outbound {
	t.Helper()
	o := newOutbound(t).proofs().rules()
	o.traffic()
	o.observed(40)
	o.known("maria@example.net")
	for i := range 6 {
		o.wait(2, fmt.Sprintf("person%d@example.com", i))
		o.later(time.Minute)
	}
	for i := range 4 {
		o.open(o.mail(fmt.Sprintf("stop%d@example.com", i), "No more advertising please.", classifier.Objection))
	}
	at := o.Now().Add(-time.Hour)
	var recs []ledger.Record
	for _, x := range []struct{ class, count, before, oldest string }{
		{"cases", "3", "2023-11-22T10:00:00Z", "2023-11-25T08:00:00Z"}, {"aside", "112", "2026-08-26T10:00:00Z", "2026-08-27T08:00:00Z"}, {"verdicts", "48210", "2026-08-26T10:00:00Z", ""},
	} {
		recs = append(recs, ledger.Record{Time: at, Kind: ledger.KindRetention, Actor: "rule", Action: "delete", Reason: "end-of-time",
			Data: map[string]string{"class": x.class, "count": x.count, "before": x.before, "oldest": x.oldest}})
	}
	for _, who := range []string{"anna", "otto"} {
		for i, what := range []string{"case", "case", "person", "attachment"} {
			recs = append(recs, ledger.Record{Time: at.Add(time.Duration(i) * time.Minute), Kind: ledger.KindView, Actor: "operator:" + who, Action: what})
		}
	}
	require.NoError(t, o.trail.Append(t.Context(), recs...))
	require.NoError(t, o.trail.Flush(t.Context()))
	return o
}

// look checks the page that is open: axe-core finds nothing and nothing is
// wider than the window; with POSTERN_SCREENSHOTS set a picture is kept.
func look(t *testing.T, p *browser.Page, name string) {
	t.Helper()
	for _, f := range p.Axe() {
		t.Errorf("%s: %s", name, f)
	}
	fits(t, p, name)
	if shots() != "" {
		p.Picture(filepath.Join(shots(), name))
	}
}

// fits fails the test where something is wider than the window, and names it.
func fits(t *testing.T, p *browser.Page, name string) {
	t.Helper()
	over := browser.Read(p, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`))
	if over > 0 {
		widest := browser.Read(p, chromedp.Evaluate[string](`[...document.querySelectorAll("main *, header *")].filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest(".chips, .tabs, .rail, .scroll")).map(e => e.tagName + "." + e.className).slice(0, 4).join(", ")`))
		assert.LessOrEqual(t, over, 0, "%s is wider than the window: %s", name, widest)
	}
}

// TestOutboundInBrowser opens every outbound page on a phone in light and at a
// desk in dark; with POSTERN_SCREENSHOTS set in all of them.
func TestOutboundInBrowser(t *testing.T) {
	o := stagedOutbound(t)
	o.user("anna", auth.Operator, auth.Approver, auth.Admin, auth.Auditor)
	b := browser.Start(t)
	list, err := o.spool.List(t.Context(), spool.Filter{})
	require.NoError(t, err)
	pages := []struct{ name, path string }{
		{"sending", "/sending"}, {"stream", "/sending/stream/news"}, {"stream-days", "/sending/stream/news?range=days"}, {"mode", "/sending/stream/news/mode?to=enforce"},
		{"spool", "/sending/spool"}, {"message", "/sending/spool/" + list[0].ID}, {"drop", "/sending/spool/" + list[0].ID + "/drop"},
		{"people", "/people"}, {"proof", "/proof"}, {"automatic", "/proof/automatic"}, {"reports", "/proof/reports"}, {"processing", "/proof/processing"},
		{"settings", "/settings"}, {"systems", "/settings/systems"}, {"texts", "/settings/texts?lang=el"}, {"text", "/settings/texts/el/receipt"}, {"wording", "/settings/wordings/de/news"},
	}
	for _, lang := range []string{"en", "de"} {
		user, err := o.users.User(t.Context(), "anna")
		require.NoError(t, err)
		user.Language = lang
		require.NoError(t, o.users.Prefer(t.Context(), user))
		for _, width := range []int64{390, 1440} {
			for _, scheme := range []browser.Scheme{browser.Light, browser.Dark} {
				usual := width == 390 && scheme == browser.Light && lang == "de" || width == 1440 && scheme == browser.Dark && lang == "en"
				if shots() == "" && !usual {
					continue
				}
				p := b.Page(browser.View{Width: width, Height: 900, Scheme: scheme, Language: lang})
				name := func(page string) string { return fmt.Sprintf("console-%s-%d-%s-%s.png", page, width, scheme, lang) }
				signIn(o.world, p, "anna")
				for _, page := range pages {
					require.EqualValues(t, 200, p.Open(o.srv.URL+page.path), page.name)
					look(t, p, name(page.name))
				}
				p.Open(o.srv.URL + "/people")
				p.Do(chromedp.SendKeys(chromedp.CSS("#address"), "maria@example.net"))
				p.Submit("main button.first")
				look(t, p, name("person"))
				p.Submit(`a[href$="/print"]`)
				look(t, p, name("person-print"))
				p.Open(o.srv.URL + "/proof")
				p.Do(chromedp.SendKeys(chromedp.CSS("#q"), "maria@example.net"))
				p.Submit(`form[action="/proof/prove"] button`)
				look(t, p, name("proven"))
			}
		}
	}
}

// TestOutboundPathsInBrowser drives the paths as an administrator does: a step
// up the ladder with its confirmation, undo, a message held, a person looked up.
func TestOutboundPathsInBrowser(t *testing.T) {
	o := stagedOutbound(t)
	o.user("anna", auth.Operator, auth.Admin)
	p := browser.Start(t).Page(browser.View{Width: 1440, Height: 900})
	text := func() string {
		return browser.Read(p, chromedp.Evaluate[string](`document.querySelector("main").innerText`))
	}
	signIn(o.world, p, "anna")
	p.Open(o.srv.URL + "/sending")
	p.Submit(`a[href="/sending/stream/news"]`)
	require.Contains(t, text(), "Observed since")
	p.Submit(`.ladder a.first`)
	require.Contains(t, text(), "Annotate News?")
	require.Equal(t, stream.Observe, o.engine.Mode("news"), "nothing before it is confirmed")
	p.Submit("main button.first")
	require.Contains(t, text(), "The mode is set")
	require.Equal(t, stream.Annotate, o.engine.Mode("news"))
	p.Submit(".done button")
	require.Contains(t, text(), "what it was before")
	require.Equal(t, stream.Observe, o.engine.Mode("news"))

	p.Open(o.srv.URL + "/sending/spool")
	p.Submit(`button[value="hold"]`)
	require.Contains(t, text(), "It is held")
	require.EqualValues(t, 1, o.spool.Stats().Held)

	p.Open(o.srv.URL + "/people")
	p.Do(chromedp.SendKeys(chromedp.CSS("#address"), "maria@example.net"))
	p.Submit("main button.first")
	require.Contains(t, text(), agreed)
	where := browser.Read(p, chromedp.Location())
	require.NotRegexp(t, regexp.MustCompile(`maria|example\.net`), strings.TrimPrefix(where, o.srv.URL))
	p.Do(chromedp.Click(chromedp.CSS(`details:has(input[value="release"]) > summary`)),
		chromedp.SendKeys(chromedp.CSS(`textarea[name="evidence"]`), "Their server was misconfigured, see ticket 17."))
	p.Submit(`details:has(input[value="release"]) button`)
	require.Contains(t, text(), "The suppression has ended")

	p.Open(o.srv.URL + "/proof/automatic")
	p.Submit(`button[value="right"]`)
	require.Contains(t, text(), "Error rate 0 %")
	require.NotEmpty(t, o.recorded(ledger.KindView, "person"))
}
