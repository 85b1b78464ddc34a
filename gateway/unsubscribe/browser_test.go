package unsubscribe

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/stream"
	"postern/testmail/browser"
)

// scripts are the languages of the pictures, one of each script in the Union,
// with lists as they would be named.
var scripts = []struct{ tag, weekly, offers, tips string }{
	{"de", "Wochenbrief", "Angebote und Rabattaktionen", "Pflegetipps der Werkstatt"},
	{"el", "Εβδομαδιαίο δελτίο", "Προσφορές και εκπτώσεις", "Συμβουλές συντήρησης"},
	{"bg", "Седмичен бюлетин", "Оферти и намаления", "Съвети за поддръжка"},
}

var views = []browser.View{
	{Width: 390, Height: 844, Scheme: browser.Light}, {Width: 390, Height: 844, Scheme: browser.Dark},
	{Width: 1440, Height: 900, Scheme: browser.Light}, {Width: 1440, Height: 900, Scheme: browser.Dark},
}

// gallery walks through the pages with a browser that runs no script.
type gallery struct {
	*rooms
	t     *testing.T
	base  string
	page  *browser.Page
	tag   string
	into  string // pictures go here; none are taken where it is empty
	views []browser.View
}

// look checks the page that is open by axe-core in each view and takes its
// pictures where they are wanted.
func (g *gallery) look(name, words string) {
	g.t.Helper()
	require.Contains(g.t, g.page.Text(), words, name)
	for _, v := range g.views {
		v.NoScript = true
		g.page.Show(v)
		g.page.Accessible()
		require.Zero(g.t, browser.Read(g.page, chromedp.Evaluate[int]("document.documentElement.scrollWidth - innerWidth")), "%s at %d scrolls sideways", name, v.Width)
		if g.into != "" {
			g.page.Picture(filepath.Join(g.into, "public", fmt.Sprintf("%s-%s-%d-%s.png", name, g.tag, v.Width, v.Scheme)))
		}
	}
}

// open opens a page in the language of the walk.
func (g *gallery) open(name, path string, status int64, words string) {
	g.t.Helper()
	got := g.page.Open(g.base + path + "?lang=" + g.tag)
	require.Equal(g.t, status, got, name)
	g.look(name, words)
}

// press presses the button of the form with that act.
func (g *gallery) press(name, act string, status int64, words string) {
	g.t.Helper()
	require.Equal(g.t, status, g.page.Submit(fmt.Sprintf("form:has(input[value=%q]) button", act)), name)
	g.look(name, words)
}

// Every page a data subject may meet, walked through without script: axe-core
// finds nothing, nothing scrolls sideways, and the pictures go to the folder
// that POSTERN_SCREENSHOTS names (make screenshots).
func TestPagesInBrowser(t *testing.T) {
	into := os.Getenv("POSTERN_SCREENSHOTS")
	chromium := browser.Start(t)
	for i, l := range scripts {
		shown := views
		if into == "" { // without pictures: light and dark, and each once in another script
			shown = [][]browser.View{{views[0], views[3]}, {views[1]}, {views[2]}}[i]
		}
		t.Run(l.tag, func(t *testing.T) {
			list := func(name, title string, number uint16) stream.Stream {
				return stream.Stream{
					Name: name, Number: number, Kind: stream.Marketing, Controller: "shop", Purpose: name, ListID: name + ".example.com",
					Title: title, Mode: stream.Enforce, Language: l.tag,
				}
			}
			x := newRooms(t, list("weekly", l.weekly, 1), list("offers", l.offers, 2), list("tips", l.tips, 3))
			srv := httptest.NewServer(x)
			t.Cleanup(srv.Close)
			g := &gallery{rooms: x, t: t, base: srv.URL, tag: l.tag, into: into, views: shown}
			g.page = chromium.Page(browser.View{NoScript: true})
			g.walk(l.weekly)
		})
	}
}

func (g *gallery) walk(weekly string) {
	who := address.MustParse("someone@example.org")
	for _, list := range []string{"offers", "weekly"} {
		body := signUpBody(g.t, g.rig, "/s/"+list+"?lang="+g.tag, who.Plain())
		require.Equal(g.t, http.StatusOK, g.post("/s/"+list+"?lang="+g.tag, body).Code)
	}
	path := func(i int) string { return strings.TrimPrefix(g.mail.sent[i].Link, "https://mail.example.com") }
	require.Equal(g.t, http.StatusOK, g.post(path(0), "act=confirm").Code)
	g.open("confirm", path(1), 200, weekly)
	g.press("confirmed", "confirm", 200, weekly)
	g.now = g.now.Add(time.Hour)

	token := g.codec.Seal(g.ring.Identify("shop", who).ID, 1, g.now)
	g.open("preferences", "/p/"+token, 200, weekly)
	g.open("unsubscribe", "/u/"+token, 200, weekly)
	g.press("done", "unsubscribe", 200, weekly)
	g.press("undone", "undo", 200, "")
	g.page.Open(g.base + "/u/" + token + "?lang=" + g.tag)
	g.page.Do(chromedp.Click(chromedp.CSS("summary")))
	g.look("languages", "Malti")
	g.open("signup", "/s/tips", 200, "")
	g.page.Do(chromedp.SendKeys(chromedp.CSS("input[name=address]"), "someone.else@example.org"))
	g.press("signup-sent", "signup", 200, "")
	g.open("broken", "/u/"+token[:40], 404, "")
	g.page.Do(chromedp.SendKeys(chromedp.CSS("input[name=address]"), who.Plain()))
	g.press("fresh", "fresh", 200, "")
	g.open("nothing", "/nowhere", 404, "")
	g.open("preferences-again", "/p/"+token, 200, weekly)
	g.page.Do(chromedp.Click(chromedp.CSS(`input[name=list][value=weekly]`)))
	g.press("saved", "save", 200, weekly)
	g.open("preferences-off", "/p/"+token, 200, weekly)
	g.press("stopped", "stop", 200, "")
	g.now = g.now.Add(8 * 24 * time.Hour)
	g.open("confirm-over", path(1), 410, "")
}
