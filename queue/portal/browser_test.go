package portal

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/fulfil"
	"postern/testmail/browser"
)

var views = []browser.View{
	{Width: 390, Height: 844, Scheme: browser.Light}, {Width: 390, Height: 844, Scheme: browser.Dark},
	{Width: 1440, Height: 900, Scheme: browser.Light}, {Width: 1440, Height: 900, Scheme: browser.Dark},
}

// gallery walks through the pages with a browser that runs no script.
type gallery struct {
	*world
	base  string
	page  *browser.Page
	tag   string
	into  string // pictures go here; none are taken where it is empty
	views []browser.View
}

// look checks the page that is open by axe-core in each view and takes its
// pictures where they are wanted.
func (g *gallery) look(name string) {
	g.t.Helper()
	for _, v := range g.views {
		v.NoScript = true
		g.page.Show(v)
		g.page.Accessible()
		require.Zero(g.t, browser.Read(g.page, chromedp.Evaluate[int]("document.documentElement.scrollWidth - innerWidth")), "%s at %d scrolls sideways", name, v.Width)
		if g.into != "" {
			g.page.Picture(filepath.Join(g.into, "portal", fmt.Sprintf("%s-%s-%d-%s.png", name, g.tag, v.Width, v.Scheme)))
		}
	}
}

// open opens a page in the language of the walk.
func (g *gallery) open(name, path string, status int64) {
	g.t.Helper()
	require.Equal(g.t, status, g.page.Open(g.base+path+"?lang="+g.tag), name)
	g.look(name)
}

// press presses the button of the form with that act.
func (g *gallery) press(name, act string, status int64) {
	g.t.Helper()
	require.Equal(g.t, status, g.page.Submit(fmt.Sprintf("form:has(input[value=%q]) button", act)), name)
	g.look(name)
}

func (g *gallery) fill(field, words string) {
	g.page.Do(chromedp.SendKeys(chromedp.CSS(fmt.Sprintf("[name=%s]", field)), words))
}

func (g *gallery) choose(field, value string) {
	g.page.Do(chromedp.Click(chromedp.CSS(fmt.Sprintf("input[name=%s][value=%s]", field, value))))
}

// Every page a person of a case may meet, walked through without script in
// three scripts: axe-core finds nothing, nothing scrolls sideways, and the
// pictures go to the folder that POSTERN_SCREENSHOTS names (make screenshots).
func TestPagesInBrowser(t *testing.T) {
	into := os.Getenv("POSTERN_SCREENSHOTS")
	chromium := browser.Start(t)
	for i, tag := range []string{"de", "el", "bg"} {
		shown := views
		if into == "" { // without pictures: light and dark, and each once in another script
			shown = [][]browser.View{{views[0], views[3]}, {views[1]}, {views[2]}}[i]
		}
		t.Run(tag, func(t *testing.T) {
			w := newWorld(t, func(_ *Options, q *queue.Options) {
				h := q.Handling["shop"]
				h.Notices = append(h.Notices, notice(tag, "2026-03-01", sample[tag]), notice(tag, "2026-10-01", sample[tag]+"\n\n"+sample[tag]))
				q.Handling["shop"] = h
			})
			srv := httptest.NewServer(w.pages)
			t.Cleanup(srv.Close)
			g := &gallery{world: w, base: srv.URL, tag: tag, into: into, views: shown}
			g.page = chromium.Page(browser.View{NoScript: true})
			g.walk()
			if tag == "de" {
				g.walkTask()
			}
		})
	}
}

// sample is what a notice may say.
var sample = map[string]string{
	"de": "Name, Anschrift, E-Mail-Adresse und Bestellungen. Zahlungen wickelt ein Dienstleister ab; Kartennummern sehen wir nicht.",
	"el": "Όνομα, διεύθυνση, ηλεκτρονική διεύθυνση και παραγγελίες. Τις πληρωμές χειρίζεται πάροχος· αριθμούς καρτών δεν βλέπουμε.",
	"bg": "Име, адрес, имейл адрес и поръчки. Плащанията се обработват от доставчик; номера на карти не виждаме.",
}

func (g *gallery) walk() {
	_, path := g.challenged(classifier.Access, classifier.Rectification)
	g.open("challenge", path, 200)
	g.press("challenge-yes", "yes", 200)
	_, path = g.challenged(classifier.Erasure)
	g.page.Open(g.base + path + "?lang=" + g.tag)
	g.press("challenge-no", "no", 200)
	g.open("over", path, 404)

	no := g.world.open(classifier.Access)
	g.world.work("letters to leave", func() bool { return g.mails() == 2 })
	g.world.mu.Lock()
	g.now = g.now.Add(time.Hour)
	g.world.mu.Unlock()
	g.open("find", "/case", 200)
	g.fill("number", no)
	g.fill("address", alice)
	g.press("find-sent", "find", 200)
	path = g.mailed(3)
	_, err := g.q.Move(g.world.t.Context(), no, queue.Move{Action: queue.ActStart, Actor: eve})
	require.NoError(g.world.t, err)
	g.open("status", path, 200)
	g.fill("text", sample[g.tag])
	g.press("status-added", "add", 200)
	g.page.Open(g.base + path + "?lang=" + g.tag)
	g.press("status-take", "take", 200)
	g.press("status-taken", "take-sure", 200)
	g.open("status-after", path, 200)

	no, path, code := g.released()
	g.open("download", path, 200)
	g.fill("code", "AAAA-AAAA")
	g.press("download-wrong", "fetch", 422)
	require.Equal(g.world.t, 200, g.post(path, "act=fetch&code="+code).Code)
	g.open("download-again", path, 200)
	for range 4 {
		g.post(path, "act=fetch&code=AAAA-AAAA")
	}
	_, err = g.q.NewCode(g.world.t.Context(), no, eve)
	require.NoError(g.world.t, err)
	for range 5 {
		g.post(path, "act=fetch&code=AAAA-AAAA")
	}
	g.open("download-locked", path, 403)

	g.open("request", "/request/shop", 200)
	g.choose("right", "erasure")
	g.fill("address", "a@b")
	g.fill("text", sample[g.tag])
	require.Equal(g.world.t, int64(422), g.page.Submit("form button"))
	g.look("request-fault")
	g.page.Do(chromedp.Clear(chromedp.CSS("[name=address]")))
	g.fill("address", "someone@example.com")
	g.press("request-sent", "ask", 200)
	g.open("notice", "/notice/shop", 200)
	g.open("nothing", "/elsewhere", 404)
}

func (g *gallery) walkTask() {
	for _, x := range []struct {
		name  string
		right classifier.Label
		ask   queue.Ask
	}{
		{"task", classifier.Portability, queue.Ask{Who: "Vertriebsarchiv", Verb: fulfil.Export, Words: "Bitte auch den Ordner 7 aus dem Keller.", Letter: false}},
		{"task-erase", classifier.Erasure, queue.Ask{Who: "Lohnbuchhaltung", Verb: fulfil.Erase}},
	} {
		no := g.world.open(x.right)
		_, err := g.q.Move(g.world.t.Context(), no, queue.Move{Action: queue.ActIdentify, Actor: eve, Reason: "known-by-phone"})
		require.NoError(g.world.t, err)
		x.ask.Actor, x.ask.Approve, x.ask.Mail = eve, no, address.MustParse("sales@shop.example.org")
		task, err := g.q.AskColleague(g.world.t.Context(), no, x.ask)
		require.NoError(g.world.t, err)
		link, err := g.q.TaskLink(g.world.t.Context(), no, task.Index)
		require.NoError(g.world.t, err)
		g.open(x.name, "/case"+link[strings.LastIndex(link, "/"):], 200)
	}
	g.choose("result", "kept")
	require.Equal(g.world.t, int64(422), g.page.Submit("form button"))
	g.look("task-fault")
	g.choose("result", "kept")
	g.fill("law", "§ 257 HGB")
	require.Equal(g.world.t, int64(200), g.page.Submit("form button"))
	g.look("task-done")
}
