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

// TestRouteTable walks every route: without a session it leads to the log-in,
// with each role alone it is open or shut as the table says, and no form is
// taken without a token of its own session (CSRF, role escalation).
func TestRouteTable(t *testing.T) {
	w := newWorld(t)
	byRole := map[auth.Role]*visitor{}
	for _, r := range []auth.Role{auth.Operator, auth.Approver, auth.Auditor, auth.Admin} {
		byRole[r] = w.signedIn("user-"+string(r), r)
	}
	stranger := w.visitor()
	for _, rt := range routes {
		if rt.raw {
			continue
		}
		path := concrete(rt.path)
		t.Run(rt.method+" "+rt.path, func(t *testing.T) {
			resp, _ := stranger.do(rt.method, path, url.Values{})
			require.NotEmpty(t, resp.Header.Get("Content-Security-Policy"))
			require.NotContains(t, resp.Header.Get("Content-Security-Policy"), "unsafe")
			if !rt.need.IsPublic() {
				require.Equal(t, http.StatusSeeOther, resp.StatusCode)
				require.True(t, strings.HasPrefix(resp.Header.Get("Location"), "/login"), resp.Header.Get("Location"))
			}
			for role, b := range byRole {
				resp, text := b.do(rt.method, path, url.Values{"token": {"forged"}})
				switch {
				case rt.need.IsPublic():
				case !rt.need.Allows([]auth.Role{role}):
					require.Equal(t, http.StatusForbidden, resp.StatusCode, role)
					require.Contains(t, text, w.c.texts.byTag["en"].say("failed.forbidden"), role)
				case rt.method == http.MethodPost:
					require.Equal(t, http.StatusForbidden, resp.StatusCode, role)
					require.Contains(t, text, w.c.texts.byTag["en"].say("failed.stale"), role)
				default:
					require.NotEqual(t, http.StatusForbidden, resp.StatusCode, role)
					require.Less(t, resp.StatusCode, 500, role)
				}
			}
		})
	}
	require.False(t, auth.Need{}.Allows(auth.Roles()), "a route that names nobody is shut")
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
