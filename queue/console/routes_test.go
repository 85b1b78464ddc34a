package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/queue/console/auth"
)

// concrete fills the wildcards of a route with values that exist nowhere.
func concrete(path string) string {
	return strings.NewReplacer("{$}", "", "{file}", "none.css", "{name}", "nobody", "{no}", "C-0000-0000", "{id}", "none", "{i}", "0", "{n}", "0", "{stream}", "none", "{handle}", "none", "{lang}", "xx", "{step}", "none").Replace(path)
}

// A token of one session opens nothing in another, and a form from another
// site is refused before anything is read.
func TestForeignForms(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.signedIn("alice", auth.Operator), w.signedIn("bob", auth.Operator)
	token := tokenField.FindStringSubmatch(alice.get("/account"))[1]
	resp, _ := bob.do("POST", "/account/preferences", url.Values{"token": {token}, "theme": {"dark"}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode)

	req, err := http.NewRequest("POST", w.srv.URL+"/login", strings.NewReader("name=alice&password="+url.QueryEscape(testPassword)))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := w.visitor().client.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.Empty(t, res.Cookies())

	other := tokenField.FindStringSubmatch(alice.get("/account"))[1]
	require.NotEqual(t, token, other, "masked afresh")
	done := alice.done("/account/preferences", url.Values{"theme": {"dark"}, "keys": {"on"}})
	require.Contains(t, done, `data-theme="dark"`)
}
