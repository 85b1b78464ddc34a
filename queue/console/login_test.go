package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
	"postern/queue/console/auth"
)

func sessionCookie(t *testing.T, w *world, b *visitor) string {
	t.Helper()
	u, err := url.Parse(w.srv.URL)
	require.NoError(t, err)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == cookiePlain {
			return c.Value
		}
	}
	return ""
}

// The first administrator comes by the code of the terminal, once.
func TestFirstRun(t *testing.T) {
	w := newWorld(t)
	b := w.visitor()
	resp, _ := b.do("GET", "/", nil)
	require.Equal(t, "/login", resp.Header.Get("Location"))
	resp, _ = b.do("GET", "/login", nil)
	require.Equal(t, "/setup", resp.Header.Get("Location"))
	code, err := w.c.SetupCode(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, code)

	form := url.Values{"code": {"aaaa-bbbb-cccc-dddd"}, "name": {"anna"}, "password": {testPassword}}
	resp, text := b.do("POST", "/setup", form)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Contains(t, text, "This is not the code.")
	form.Set("code", strings.ToUpper(code))
	form.Set("password", "short")
	resp, _ = b.do("POST", "/setup", form)
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "a bad password does not use the code up")
	form.Set("password", testPassword)
	resp, _ = b.do("POST", "/setup", form)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	require.Contains(t, b.get(resp.Header.Get("Location")), "The administrator was created.")
	user, err := w.users.User(t.Context(), "anna")
	require.NoError(t, err)
	require.True(t, user.Is(auth.Admin))
	require.NotEmpty(t, w.recorded(ledger.KindConfig, "set-up"))

	resp, _ = w.visitor().do("GET", "/setup", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode, "shut afterwards")
	resp, _ = w.visitor().do("POST", "/setup", form)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	again, err := w.c.SetupCode(t.Context())
	require.NoError(t, err)
	require.Empty(t, again)
}

// A log-in starts a new session whatever cookie came along, so that nobody can
// fix one; it ends by log-out, disuse, age, and from elsewhere.
func TestSessions(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	first := sessionCookie(t, w, b)
	require.Len(t, first, 32)

	u, err := url.Parse(w.srv.URL)
	require.NoError(t, err)
	fixed := w.visitor()
	fixed.client.Jar.SetCookies(u, []*http.Cookie{{Name: cookiePlain, Value: strings.Repeat("a", 32), Path: "/"}})
	resp, _ := fixed.do("POST", "/login", url.Values{"name": {"anna"}, "password": {testPassword}})
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	c := resp.Cookies()[0]
	require.NotEqual(t, strings.Repeat("a", 32), c.Value)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	known := w.visitor()
	known.client.Jar.SetCookies(u, []*http.Cookie{{Name: cookiePlain, Value: first, Path: "/"}})
	resp, _ = known.do("POST", "/login", url.Values{"name": {"anna"}, "password": {testPassword}})
	require.NotEqual(t, first, resp.Cookies()[0].Value)
	resp, _ = b.do("GET", "/account", nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode, "the session that came along has ended")

	resp, _ = known.post("/logout", nil)
	require.Equal(t, "/login", resp.Header.Get("Location"))
	resp, _ = known.do("GET", "/account", nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)

	require.Contains(t, fixed.get("/account"), "You are logged in here alone.")
	w.later(31 * time.Minute)
	resp, _ = fixed.do("GET", "/account", nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode, "unused for too long")

	long := w.visitor()
	_, _ = long.do("POST", "/login", url.Values{"name": {"anna"}, "password": {testPassword}})
	for range 24 {
		long.get("/account")
		w.later(29 * time.Minute)
	}
	w.later(30 * time.Minute)
	resp, _ = long.do("GET", "/account", nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode, "older than any session may be")
	for _, key := range w.rdb.Keys(t.Context(), "pc:*session:*").Val() {
		require.NotContains(t, key, first, "Redis does not know the cookie")
	}
}

// A shut account is out at once, and so is one whose roles changed.
func TestShutAccount(t *testing.T) {
	w := newWorld(t)
	admin, anna := w.signedIn("root", auth.Admin), w.signedIn("anna", auth.Operator)
	require.Contains(t, admin.done("/users/anna", url.Values{"act": {"shut"}}), "The account is shut")
	resp, _ := anna.do("GET", "/account", nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	resp, text := anna.do("POST", "/login", url.Values{"name": {"anna"}, "password": {testPassword}})
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	require.Contains(t, text, "Name, password or code is wrong.")
	resp, text = admin.post("/users/root", url.Values{"act": {"roles"}, "role": {"operator"}})
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, text, "The last administrator has to stay.")
	require.NotEmpty(t, w.recorded(ledger.KindConfig, "user-shut"))
}

// Guessing ends soon, and the right password does not help then.
func TestBruteForce(t *testing.T) {
	w := newWorld(t)
	w.user("anna", auth.Operator)
	b := w.visitor()
	for i := range 5 {
		resp, _ := b.do("POST", "/login", url.Values{"name": {"anna"}, "password": {"guess number that is wrong"}})
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode, i)
	}
	resp, text := b.do("POST", "/login", url.Values{"name": {"anna"}, "password": {testPassword}})
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.Contains(t, text, "Too many failed tries.")
	require.Empty(t, resp.Cookies())
	w.user("otto", auth.Operator)
	resp, _ = b.do("POST", "/login", url.Values{"name": {"otto"}, "password": {testPassword}})
	require.Equal(t, http.StatusSeeOther, resp.StatusCode, "others are not shut out")
}

// One-time codes: asked for once set up, each works once.
func TestOneTimeCodes(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("anna", auth.Operator)
	secret := auth.NewTOTP()
	at := func() string {
		code, err := auth.TOTP(secret, w.Now())
		require.NoError(t, err)
		return code
	}
	resp, text := b.post("/account/codes", url.Values{"secret": {secret}, "code": {"000000"}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	require.Contains(t, text, spaced(secret), "the same secret stays on the page")
	require.Contains(t, b.done("/account/codes", url.Values{"secret": {secret}, "code": {at()}}), "From now on each log-in asks for a code.")
	require.NotContains(t, w.rdb.HGetAll(t.Context(), "pc:{console}:user:anna").Val()["totp"], secret)

	login := func(code string) int {
		resp, _ := w.visitor().do("POST", "/login", url.Values{"name": {"anna"}, "password": {testPassword}, "code": {code}})
		return resp.StatusCode
	}
	require.Equal(t, http.StatusUnauthorized, login(""))
	require.Equal(t, http.StatusUnauthorized, login(at()), "the code that set it up was used")
	w.later(time.Minute)
	require.Equal(t, http.StatusSeeOther, login(at()))
	require.Equal(t, http.StatusUnauthorized, login(at()), "a code works once")
}

// Codes of RFC 6238 appendix B, their last six digits.
func TestTOTPVectors(t *testing.T) {
	secret := "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		got, err := auth.TOTP(secret, time.Unix(at, 0))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// Where to go after the log-in is a page of ours or nothing.
func TestOwnPath(t *testing.T) {
	for to, want := range map[string]string{"/cases": "/cases", "": "/", "//evil.example": "/", "https://evil.example": "/", "/\\evil.example": "/", "/a\r\nSet-Cookie: x=y": "/", "/logout": "/"} {
		require.Equal(t, want, ownPath(to), to)
	}
}
