package console

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/queue"
	"postern/queue/console/auth"
)

// access is who may use what, written down a second time: o operator, p
// approver, u auditor, a admin; + whoever is signed in, * whoever comes.
var access = map[string]string{
	"GET /static/{file}": "*", "GET /login": "*", "POST /login": "*", "GET /login/oidc": "*", "GET /login/oidc/callback": "*", "GET /setup": "*", "POST /setup": "*",
	"POST /logout": "+", "GET /live": "opu", "GET /{$}": "+",
	"GET /account": "+", "POST /account/preferences": "+", "POST /account/password": "+", "POST /account/codes": "+", "POST /account/sessions": "+",
	"GET /users": "a", "POST /users": "a", "POST /users/{name}": "a",
	"GET /tokens": "a", "POST /tokens": "a", "POST /tokens/{id}/end": "a",

	"GET /sending": "opua", "GET /sending/stream/{stream}": "opua", "GET /sending/stream/{stream}/mode": "a", "POST /sending/stream/{stream}/mode": "a",
	"GET /sending/spool": "opua", "GET /sending/spool/{id}": "opu", "POST /sending/spool/{id}": "oa", "GET /sending/spool/{id}/drop": "oa", "POST /sending/spool/{id}/drop": "oa",

	"GET /people": "opu", "POST /people": "opu", "GET /people/{handle}": "opu", "POST /people/{handle}": "op", "GET /people/{handle}/print": "opu", "GET /people/{handle}/export": "opu",

	"GET /proof": "opua", "POST /proof/verify": "opua", "POST /proof/prove": "opu", "POST /proof/export": "opu", "GET /proof/automatic": "opu",
	"POST /proof/automatic/{no}": "op", "GET /proof/reports": "opua", "GET /proof/processing": "opua",

	"GET /settings": "opua", "GET /settings/systems": "opua", "POST /settings/systems/{name}": "a",
	"GET /settings/texts": "opua", "GET /settings/texts/{lang}/{step}": "opua", "POST /settings/texts/{lang}/{step}": "pa",
	"GET /settings/wordings": "opua", "GET /settings/wordings/{lang}/{stream}": "opua", "POST /settings/wordings/{lang}/{stream}": "pa",

	"GET /cases": "opu", "POST /cases/search": "opu", "POST /cases/bulk": "op", "GET /cases/next": "opu", "GET /cases/corrections": "ua", "GET /cases/new": "op", "POST /cases/new": "op",
	"GET /cases/{no}": "opu", "POST /cases/{no}/move": "op", "POST /cases/{no}/reply": "op", "POST /cases/{no}/letters/{n}/take-back": "op", "GET /cases/{no}/letters/{n}": "opu",
	"POST /cases/{no}/extend": "op", "POST /cases/{no}/deny": "op", "POST /cases/{no}/challenge": "op", "POST /cases/{no}/forward": "op", "POST /cases/{no}/hand-over": "op",
	"POST /cases/{no}/collect": "op", "POST /cases/{no}/colleague": "op", "POST /cases/{no}/tasks/{n}/link": "op", "POST /cases/{no}/split": "op", "POST /cases/{no}/legal-hold": "op",
	"POST /cases/{no}/hold": "op", "POST /cases/{no}/result": "op", "POST /cases/{no}/editing": "op", "POST /cases/{no}/approval": "op",
	"GET /cases/{no}/erase": "opu", "POST /cases/{no}/erase/dry": "op", "POST /cases/{no}/erase/ask": "op", "POST /cases/{no}/erase/approve": "p",
	"POST /cases/{no}/breach": "op", "POST /cases/{no}/weighing": "op", "POST /cases/{no}/lifting": "op", "GET /cases/{no}/marketing": "op", "POST /cases/{no}/marketing": "op",
	"GET /cases/{no}/denial": "p", "POST /cases/{no}/denial": "p",
	"GET /cases/{no}/package": "opu", "GET /cases/{no}/package/files/{id}": "opu", "POST /cases/{no}/package/build": "op", "POST /cases/{no}/package/tick": "op",
	"POST /cases/{no}/package/checklist": "op", "POST /cases/{no}/package/release": "op", "POST /cases/{no}/package/code": "op",
	"GET /cases/{no}/proof": "opu", "GET /cases/{no}/mails/{i}/original": "opu", "GET /cases/{no}/mails/{i}/html": "opu",
	"GET /cases/{no}/mails/{i}/files/{n}": "opu", "GET /cases/{no}/mails/{i}/files/{n}/picture": "opu", "GET /cases/{no}/mails/{i}/files/{n}/text": "opu",
	"GET /cases/{no}/mails/{i}/files/{n}/destroy": "op", "POST /cases/{no}/mails/{i}/files/{n}/destroy": "op", "POST /cases/{no}/mails/{i}/files/{n}/removed": "op",
	"GET /aside": "op", "POST /aside/looked": "op", "POST /aside/{id}": "op",
}

// letters of the roles in access; confidential alone opens nothing.
var roleLetters = map[auth.Role]string{auth.Operator: "o", auth.Approver: "p", auth.Auditor: "u", auth.Admin: "a"}

// TestAccess tries every route with every role and as a stranger, and every form
// without its token, with a forged one, with that of another session, with its
// own in the URL, and with its own from another site. A route without a line
// above fails, and so does a line without its route.
func TestAccess(t *testing.T) {
	w := newWorld(t)
	no := w.open(w.mail("alice@example.com", "Which data?"))
	real := map[string]string{"{no}": no, "{i}": "0", "{n}": "0"}
	byRole := map[auth.Role]*visitor{}
	for role := range roleLetters {
		byRole[role] = w.signedIn("user-"+string(role), role)
	}
	other := w.signedIn("other", auth.Operator, auth.Approver, auth.Auditor, auth.Admin)
	foreign := tokenField.FindStringSubmatch(other.get("/account"))[1]
	stranger := w.visitor()
	before := len(w.rdb.HGetAll(t.Context(), "pq:{queue}:case:"+no).Val())

	listed := make([]string, 0, len(routes))
	for _, rt := range routes {
		listed = append(listed, rt.method+" "+rt.path)
	}
	require.ElementsMatch(t, listed, keysOf(access), "each route has its line in access")

	for _, rt := range routes {
		at := rt.method + " " + rt.path
		if rt.raw {
			continue // TestLive; it needs a session as the others do, which is tried below
		}
		path := rt.path
		for from, to := range real {
			path = strings.ReplaceAll(path, from, to)
		}
		path = concrete(path)
		t.Run(at, func(t *testing.T) {
			allowed := func(role auth.Role) bool {
				return access[at] == "*" || access[at] == "+" || strings.Contains(access[at], roleLetters[role])
			}
			resp, _ := stranger.do(rt.method, path, nil)
			require.NotEmpty(t, resp.Header.Get("Content-Security-Policy"))
			require.NotContains(t, resp.Header.Get("Content-Security-Policy"), "unsafe")
			if access[at] != "*" {
				require.Equal(t, http.StatusSeeOther, resp.StatusCode)
				require.Regexp(t, `^/login(\?to=%2F[^/].*)?$`, resp.Header.Get("Location"))
			}
			for role, b := range byRole {
				if rt.method == http.MethodGet {
					resp, _ := b.do("GET", path, nil)
					if allowed(role) {
						require.NotEqual(t, http.StatusForbidden, resp.StatusCode, role)
						require.Less(t, resp.StatusCode, 500, role)
					} else {
						require.Equal(t, http.StatusForbidden, resp.StatusCode, role)
					}
					continue
				}
				if access[at] == "*" {
					continue // forms of strangers: TestForeignForms
				}
				for how, form := range map[string]url.Values{"none": {}, "forged": {"token": {"forged"}}, "another session's": {"token": {foreign}}} {
					resp, text := b.do(rt.method, path, form)
					require.Equal(t, http.StatusForbidden, resp.StatusCode, "%s, token: %s", role, how)
					word := "failed.stale"
					if !allowed(role) {
						word = "failed.forbidden"
					}
					require.Contains(t, text, w.c.texts.byTag["en"].say(word), "%s, token: %s", role, how)
				}
				own := tokenField.FindStringSubmatch(b.get("/account"))[1]
				resp, _ := b.do(rt.method, path+"?token="+own, url.Values{})
				require.Equal(t, http.StatusForbidden, resp.StatusCode, "%s, token in the URL", role)
				for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
					resp := b.from(name, value, path, url.Values{"token": {own}})
					require.Equal(t, http.StatusForbidden, resp.StatusCode, "%s from another site", role)
				}
				if !allowed(role) {
					resp, _ := b.do(rt.method, path, url.Values{"token": {own}})
					require.Equal(t, http.StatusForbidden, resp.StatusCode, "%s with a good token", role)
				}
			}
		})
	}
	require.Len(t, w.rdb.HGetAll(t.Context(), "pq:{queue}:case:"+no).Val(), before, "nothing of all this changed the case")
	require.Empty(t, w.sent)
	resp, _ := stranger.do("GET", "/live", nil)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	resp, _ = byRole[auth.Admin].do("GET", "/live", nil)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.False(t, auth.Need{}.Allows(auth.Roles()), "a route that names nobody is shut")
	for _, rt := range routes { // a form is sent by POST alone
		if rt.method == http.MethodPost && !slices.Contains(listed, "GET "+rt.path) {
			path := concrete(rt.path)
			resp, _ := byRole[auth.Approver].do("GET", path, nil)
			require.Contains(t, []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusForbidden}, resp.StatusCode, path)
		}
	}
}

func keysOf(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	return out
}

// from posts a form with one more header.
func (b *visitor) from(name, value, path string, form url.Values) *http.Response {
	b.w.t.Helper()
	req, err := http.NewRequest(http.MethodPost, b.w.srv.URL+path, strings.NewReader(form.Encode()))
	require.NoError(b.w.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set(name, value)
	resp, _ := b.send(req)
	return resp
}

// The host a client names decides nothing: it stands on no page and in no
// place that a page leads to.
func TestHostDecidesNothing(t *testing.T) {
	w := newWorld(t)
	w.user("anna", auth.Operator)
	for _, head := range []string{"Host", "X-Forwarded-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL"} {
		for _, path := range []string{"/", "/login", "/cases", "/nothing"} {
			req, err := http.NewRequest("GET", w.srv.URL+path, nil)
			require.NoError(t, err)
			req.Header.Set(head, "evil.example")
			if head == "Host" {
				req.Host = "evil.example"
			}
			resp, text := w.visitor().send(req)
			require.NotContains(t, text, "evil.example", path)
			require.NotContains(t, resp.Header.Get("Location"), "evil.example", path)
			require.NotContains(t, resp.Header.Get("Location"), "//", path)
		}
	}
}

// Behind https the cookie goes to this host, to https and to no script.
func TestCookieBehindTLS(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *queue.Options) { o.URL = "https://postern.example.org" })
	w.user("anna", auth.Operator)
	resp, _ := w.visitor().do("POST", "/login", url.Values{"name": {"anna"}, "password": {testPassword}})
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	c := resp.Cookies()[0]
	require.Equal(t, cookieSecure, c.Name)
	require.True(t, c.Secure)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, "/", c.Path)
	require.Empty(t, c.Domain)
	require.NotEmpty(t, resp.Header.Get("Strict-Transport-Security"))
}

// The policy lets nothing inline run; so no template may ask for it.
func TestNothingInline(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>\s*[^<\s]|<style|\sstyle=|\son[a-z]+=|javascript:|srcdoc=`)
	files, err := pageFiles.ReadDir("page")
	require.NoError(t, err)
	for _, f := range files {
		text, err := pageFiles.ReadFile("page/" + f.Name())
		require.NoError(t, err)
		require.Empty(t, inline.FindString(string(text)), f.Name())
	}
}

// Guessing tells nothing of who has an account: a name that is none is answered
// as one that is, try by try, and shut in the same way. Many tries at once get
// no further than one after the other.
func TestGuessingTellsNothing(t *testing.T) {
	w := newWorld(t)
	w.user("anna", auth.Operator)
	answers := func(name string) (out []string) {
		b := w.visitor()
		for range 7 {
			resp, text := b.do("POST", "/login", url.Values{"name": {name}, "password": {"a guess that is wrong"}})
			text = tokenField.ReplaceAllString(strings.ReplaceAll(text, name, "NAME"), "")
			out = append(out, resp.Status+text)
		}
		return out
	}
	require.Equal(t, answers("anna"), answers("nobody"))

	w.user("otto", auth.Operator)
	var group sync.WaitGroup
	var wrong atomic.Int32
	for range 20 {
		group.Go(func() {
			_, _, err := w.users.LogIn(t.Context(), auth.Attempt{Name: "otto", Password: "a guess that is wrong", Client: "192.0.2.7"})
			if errors.Is(err, auth.ErrWrong) {
				wrong.Add(1)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 5, wrong.Load())
	_, _, err := w.users.LogIn(t.Context(), auth.Attempt{Name: "otto", Password: testPassword, Client: "192.0.2.8"})
	require.NoError(t, err, "elsewhere the right password opens")
}
