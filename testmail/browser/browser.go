// Package browser drives a headless Chromium in tests and takes pictures: it
// opens pages at a width and in a colour scheme, runs axe-core on them and
// keeps screenshots. The browser reaches loopback and nothing else.
//
//	b := browser.Start(t)
//	p := b.Page(browser.View{Width: 390, Height: 844, Scheme: browser.Dark})
//	p.Open(server.URL + "/cases")
//	p.Do(chromedp.Click(chromedp.CSS("button")))
//	p.Accessible()              // fails with what axe-core found
//	p.Picture("build/screenshots/cases-390-dark.png")
//
// Each Page has cookies and storage of its own. What this package does not
// wrap is an action of chromedp given to Page.Do or Read.
package browser

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"postern/testmail/env"
)

// Scheme is what prefers-color-scheme says.
type Scheme string

// The two colour schemes.
const (
	Light Scheme = "light"
	Dark  Scheme = "dark"
)

// View is the window a page is shown in.
type View struct {
	Width, Height int64  // CSS pixels; 1440 by 900 where 0
	Scheme        Scheme // Light where empty
	NoScript      bool   // the page's own scripts don't run
	Language      string // Accept-Language, as in "de-AT,de;q=0.9"; the browser's own where empty
}

// Browser is one Chromium process, ended with the test.
type Browser struct {
	t   env.TB
	ctx context.Context
}

// actionTimeout bounds one call of Do, Open or the like: generous, for the
// machine may be busy with other tests.
const actionTimeout = 60 * time.Second

// Start starts Chromium headless. Host names other than localhost don't
// resolve in it, so no test can reach out.
func Start(t env.TB) *Browser {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithAllocatorOptions(
		chromedp.Flag("no-sandbox", true), // tests may run as root
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		chromedp.Flag("font-render-hinting", "none"), // the same picture on every machine
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("lang", "en"),
	))
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the process is gone
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v (testmail/env/install.sh installs it)", err)
	}
	return &Browser{t: t, ctx: ctx}
}

// Page is a tab with cookies and storage of its own.
type Page struct {
	t        env.TB
	ctx      context.Context
	noScript bool
}

// Page opens an empty tab that is closed with the test.
func (b *Browser) Page(v View) *Page {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	b.t.Cleanup(cancel)
	p := &Page{t: b.t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // binds the tab to the test, not to a time-out
		b.t.Fatalf("open a tab: %v", err)
	}
	p.Show(v)
	return p
}

// Show changes size, colour scheme and the like of the tab.
func (p *Page) Show(v View) {
	p.t.Helper()
	if v.Width == 0 {
		v.Width, v.Height = 1440, 900
	}
	if v.Scheme == "" {
		v.Scheme = Light
	}
	p.noScript = v.NoScript
	p.Do(p.scripts(!v.NoScript), chromedp.EmulateViewport(v.Width, v.Height), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: string(v.Scheme)},
				{Name: "prefers-reduced-motion", Value: "reduce"}, // pictures are of an end state
			},
		})
		if err != nil || v.Language == "" {
			return err
		}
		agent, err := chromedp.Evaluate[string]("navigator.userAgent")(ctx, t)
		if err != nil {
			return err
		}
		_, err = cdp.Call(ctx, t, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: v.Language})
		return err
	}))
}

// scripts lets scripts of the page run, or not.
func (p *Page) scripts(on bool) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
		return err
	})
}

// Open navigates, waits until the page and its fonts are loaded and gives the
// HTTP status.
func (p *Page) Open(url string) int64 {
	p.t.Helper()
	return p.load(chromedp.Navigate(url))
}

// Submit presses the button or link that a CSS selector names, waits for the
// next page and gives its HTTP status.
func (p *Page) Submit(selector string) int64 {
	p.t.Helper()
	return p.load(chromedp.Click(chromedp.CSS(selector)))
}

// load runs a step that leads to another page.
func (p *Page) load(step chromedp.Action[chromedp.Void]) int64 {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, actionTimeout)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, step)
	if err != nil {
		p.t.Fatalf("browser: %v", err)
	}
	env.Eventually(p.t, actionTimeout, "fonts", func() bool { // no promise: they don't settle where scripts are off
		return Read(p, chromedp.Evaluate[string]("document.fonts.status")) == "loaded"
	})
	if answer == nil { // the answer came from the cache of the browser
		return 0
	}
	return answer.Status
}

// Do runs actions of chromedp and fails the test where one does.
func (p *Page) Do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, actionTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("browser: %v", err)
	}
}

// Read runs an action of chromedp that gives a value and fails the test where
// it fails.
func Read[T any](p *Page, a chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, actionTimeout)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		p.t.Fatalf("browser: %v", err)
	}
	return v
}

// Text is what a reader sees of the page.
func (p *Page) Text() string {
	p.t.Helper()
	return Read(p, chromedp.Evaluate[string]("document.body.innerText"))
}

// Picture writes the whole page, beyond the window's foot, as PNG to path and
// makes its folder.
func (p *Page) Picture(path string) {
	p.t.Helper()
	b := Read(p, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatalf("picture: %v", err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		p.t.Fatalf("picture: %v", err)
	}
}
