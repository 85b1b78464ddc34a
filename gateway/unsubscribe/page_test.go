package unsubscribe

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every answer keeps links out of caches, referrers and search engines.
func TestSecurityFields(t *testing.T) {
	g := newRig(t)
	for _, path := range []string{"/u/" + g.token(1), "/u/nothing", "/undo/x", "/", "/elsewhere"} {
		w := g.do("GET", path, "")
		h := w.Header()
		require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'", path)
		require.NotContains(t, h.Get("Content-Security-Policy"), "unsafe", path)
		require.Equal(t, "no-store", h.Get("Cache-Control"), path)
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
		require.Contains(t, h.Get("X-Robots-Tag"), "noindex", path)
		require.Empty(t, h.Values("Set-Cookie"), path)
		body := w.Body.String()
		require.NotContains(t, body, "<script", path)
		require.NotContains(t, body, "style=", path)
	}
}

func TestLanguageChoice(t *testing.T) {
	for name, c := range map[string]struct {
		stream             uint16
		query, accept, tag string
	}{
		"controller's":       {1, "", "", "en"},
		"browser's":          {1, "", "de-AT,de;q=0.9,en;q=0.5", "de"},
		"stream's":           {5, "", "en", "de"},
		"clicked":            {5, "?lang=en", "de", "en"},
		"clicked, not known": {1, "?lang=xx", "", "en"},
		"browser nonsense":   {1, "", strings.Repeat("a,", 400), "en"},
		"markup as language": {1, "?lang=%22%3E%3Cscript%3E", "", "en"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			w := g.do("GET", "/u/"+g.token(c.stream)+c.query, "", "Accept-Language", c.accept)
			require.Equal(t, c.tag, w.Header().Get("Content-Language"))
			require.Contains(t, w.Body.String(), `<html lang="`+c.tag+`">`)
		})
	}
}

func TestStyleSheetIsServed(t *testing.T) {
	g := newRig(t)
	body := g.do("GET", "/u/"+g.token(1), "").Body.String()
	_, rest, ok := strings.Cut(body, `<link rel="stylesheet" href="`)
	require.True(t, ok)
	path, _, _ := strings.Cut(rest, `"`)
	w := g.do("GET", path, "")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/css; charset=utf-8", w.Header().Get("Content-Type"))
	require.Contains(t, w.Header().Get("Cache-Control"), "immutable")
	require.Equal(t, http.StatusNotFound, g.do("GET", "/static/style-000000000000.css", "").Code)
}
