package webpage

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/gateway/stream"
)

// A page with one of everything: each part is there, and what strangers wrote
// stays text.
func TestPageParts(t *testing.T) {
	texts, err := LoadTexts(baseFiles, "text/*.toml")
	require.NoError(t, err)
	p, err := NewRenderer("/mail", texts)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/case/x?lang=de", nil)
	a := p.Ask(w, r, &stream.Controller{ID: "shop", Name: "Example <Shop>", PrivacyURL: "javascript:alert(1)", Contact: "privacy@example.org"}, "/case/x", "fr")
	require.Equal(t, "/mail/case/x?lang=de", a.Action())
	require.NoError(t, p.Render(a, Page{
		Status: http.StatusOK, Heading: "Your request",
		Steps: []Step{{Name: "received", Note: "27.11.2026", Done: true}, {Name: "in work", Here: true}, {Name: "answered"}},
		Facts: []Fact{{Name: "until", Value: "<b>28.12.2026</b>"}},
		Forms: []Form{{
			Action: a.Action(), Hidden: []Pair{{Name: "act", Value: "add"}}, Legend: "Which?",
			Choices: []Check{{Name: "right", Value: "access", Label: "a copy", On: true}, {Name: "right", Value: "erasure", Label: "deletion"}},
			Fields:  []Field{{Name: "text", Label: "Message", Rows: 6, Most: 4000, Value: "</textarea><script>"}, {Name: "mail", Label: "Address", Type: "email", Autocomplete: "email", Optional: true}},
			Groups:  []Group{{Legend: "Who?", Choices: []Check{{Name: "who", Value: "agent", Label: "for <another>"}}}},
			Button:  "Send", Heading: "One more <thing>", Lead: "It is <short>",
		}, {Upload: true, Fields: []Field{{Name: "files", Label: "Files", Type: "file", Optional: true}}, Button: "Upload"}},
		Parts: []Part{{Heading: "Data <we> keep", Text: "Name\n<address>"}},
	}))
	body := w.Body.String()
	for _, part := range []string{
		`<html lang="de">`, `<li class="done"><strong>received</strong><small>27.11.2026</small></li>`, `<li aria-current="step">`,
		`<dd>&lt;b&gt;28.12.2026&lt;/b&gt;</dd>`, `<input type="radio" name="right" value="access" required checked>`,
		`<textarea name="text" rows="6" maxlength="4000" required>&lt;/textarea&gt;&lt;script&gt;</textarea>`,
		`<h2>One more &lt;thing&gt;</h2>`, `<p>It is &lt;short&gt;</p>`, `<input type="radio" name="who" value="agent" required>`, `for &lt;another&gt;`,
		`<form method="post" action="" enctype="multipart/form-data">`, `<input type="file" name="files" autocomplete="off" multiple>`,
		"<h2>Data &lt;we&gt; keep</h2>\n<p class=\"kept\">Name\n&lt;address&gt;</p>", `<i>(freiwillig)</i>`, `name="mail" autocomplete="email">`, `Example &lt;Shop&gt;`, `href="/mail/static/style-`,
	} {
		require.Contains(t, body, part)
	}
	require.NotContains(t, body, "<script")
	require.NotContains(t, body, "javascript:")
}

// A fault in one page ends neither the others nor tells what it was.
func TestGuard(t *testing.T) {
	h := Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") }), discard)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
}
