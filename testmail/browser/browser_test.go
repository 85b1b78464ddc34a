package browser_test

import (
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"postern/testmail/browser"
)

// pages are one page that axe-core has nothing to say about and one with a
// picture without words and grey on grey.
func pages(t *testing.T) string {
	mux := http.NewServeMux()
	serve := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
			_, _ = w.Write([]byte(`<!doctype html><html lang="en"><head><title>t</title><meta name="viewport" content="width=device-width"></head><body>` + body + `</body></html>`))
		})
	}
	serve("/good", `<style>body{background:#fff;color:#000;height:2000px} @media (prefers-color-scheme: dark){body,a{background:#000;color:#fff}}</style><main><h1>Good</h1><a href="/bad">on</a></main>`)
	serve("/bad", `<style>p{color:#bbb;background:#ccc}</style><main><h1>Bad</h1><img src="x.png"><p>grey</p></main>`)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func TestAxeFindsWhatIsWrong(t *testing.T) {
	base := pages(t)
	p := browser.Start(t).Page(browser.View{NoScript: true, Scheme: browser.Dark})
	require.EqualValues(t, http.StatusOK, p.Open(base+"/good"))
	p.Accessible()
	require.Equal(t, "rgb(0, 0, 0)", browser.Read(p, chromedp.Evaluate[string]("getComputedStyle(document.body).backgroundColor")))
	require.EqualValues(t, http.StatusOK, p.Submit("a"))
	require.Contains(t, p.Text(), "Bad")
	rules := map[string]bool{}
	for _, f := range p.Axe() {
		rules[f.Rule] = true
	}
	require.True(t, rules["image-alt"] && rules["color-contrast"], "%v", rules)
	require.EqualValues(t, http.StatusNotFound, p.Open(base+"/none"))
}

func TestPictureShowsTheWholePage(t *testing.T) {
	base := pages(t)
	p := browser.Start(t).Page(browser.View{Width: 390, Height: 844})
	p.Open(base + "/good")
	path := filepath.Join(t.TempDir(), "folder", "good.png")
	p.Picture(path)
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	c, err := png.DecodeConfig(f)
	require.NoError(t, err)
	require.Equal(t, 390, c.Width)
	require.GreaterOrEqual(t, c.Height, 2000)
}

// No test reaches beyond the machine.
func TestOtherHostsDoNotResolve(t *testing.T) {
	p := browser.Start(t).Page(browser.View{})
	p.Open(pages(t) + "/good")
	got := browser.Read(p, chromedp.Evaluate[string](`fetch("http://example.com/").then(() => "reached", () => "refused")`, chromedp.EvalAwaitPromise))
	require.Equal(t, "refused", got)
}
