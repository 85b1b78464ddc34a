package console

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
	"postern/queue/console/auth"
)

// provider is an OpenID provider as the protocol has it: discovery, keys, and a
// token endpoint that checks client, redirect and PKCE, takes each code once,
// and signs RS256.
type provider struct {
	t   *testing.T
	w   *world
	srv *httptest.Server
	key *rsa.PrivateKey

	back string // where the console is, for a browser
	out  string // end_session_endpoint; "": none is announced

	mu     sync.Mutex
	away   bool
	codes  map[string]url.Values // the question a code answers
	claims map[string]any        // over those that fit the question
	signer *rsa.PrivateKey       // of the next token, where it is another
}

var rawURL = base64.RawURLEncoding

func newProvider(t *testing.T, w *world) *provider {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p := &provider{t: t, w: w, key: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(rw http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.away {
			http.Error(rw, "away", http.StatusServiceUnavailable)
			return
		}
		says := map[string]any{"issuer": p.srv.URL, "authorization_endpoint": p.srv.URL + "/authorize", "token_endpoint": p.srv.URL + "/token",
			"jwks_uri": p.srv.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}}
		if p.out != "" {
			says["end_session_endpoint"] = p.out
		}
		p.answer(rw, says)
	})
	mux.HandleFunc("GET /keys", func(rw http.ResponseWriter, _ *http.Request) {
		p.answer(rw, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k1",
			"n": rawURL.EncodeToString(key.N.Bytes()), "e": rawURL.EncodeToString(big.NewInt(int64(key.E)).Bytes())}}})
	})
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /authorize", func(rw http.ResponseWriter, r *http.Request) { // whoever comes is signed in there
		http.Redirect(rw, r, p.back+p.signed(r.URL.String()), http.StatusSeeOther)
	})
	p.srv = httptest.NewServer(mux)
	t.Cleanup(p.srv.Close)
	return p
}

func (p *provider) answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}

func (p *provider) token(rw http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, basic := r.BasicAuth()
	secret, _ = url.QueryUnescape(secret) // RFC 6749 section 2.3.1
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	asked, known := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !known || id != "postern" || secret != "a client secret" || r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") ||
		asked.Get("code_challenge_method") != "S256" || rawURL.EncodeToString(sum[:]) != asked.Get("code_challenge") {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	now := p.w.Now()
	claims := map[string]any{"iss": p.srv.URL, "sub": "1000", "aud": "postern", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"nonce": asked.Get("nonce"), "preferred_username": "erika", "groups": []string{"staff", "privacy"}}
	for k, v := range p.claims {
		claims[k] = v
	}
	p.answer(rw, map[string]any{"access_token": "unused", "token_type": "Bearer", "expires_in": 60, "id_token": p.sign(claims)})
}

func (p *provider) sign(claims map[string]any) string {
	body, err := json.Marshal(claims)
	require.NoError(p.t, err)
	text := rawURL.EncodeToString([]byte(`{"alg":"RS256","kid":"k1"}`)) + "." + rawURL.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	key := p.key
	if p.signer != nil {
		key = p.signer
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	require.NoError(p.t, err)
	return text + "." + rawURL.EncodeToString(sig)
}

// says sets claims of the tokens that follow.
func (p *provider) says(claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims = claims
}

// signed makes a code for a question, as after a log-in at the provider, and
// gives the callback it leads to.
func (p *provider) signed(question string) string {
	u, err := url.Parse(question)
	require.NoError(p.t, err)
	asked := u.Query()
	code := rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = asked
	return "/login/oidc/callback?" + url.Values{"code": {code}, "state": {asked.Get("state")}}.Encode()
}

// oidcWorld is a world whose console signs users in at a provider.
func oidcWorld(t *testing.T) (*world, *provider) {
	w := newWorld(t)
	p := newProvider(t, w)
	var err error
	w.deps.OIDC, err = auth.NewOIDC(auth.OIDCOptions{
		Issuer: p.srv.URL, ClientID: "postern", ClientSecret: "a client secret", Redirect: "http://console.example.org/login/oidc/callback",
		Roles: map[string]auth.Role{"privacy": auth.Operator, "leads": auth.Approver}, RoleClaim: "groups", Key: bytes.Repeat([]byte{3}, 32), Now: w.Now,
	})
	require.NoError(t, err)
	w.c, err = New(w.deps, bytes.Repeat([]byte{3}, 32), Options{Now: w.Now, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.NoError(t, err)
	w.srv.Close()
	w.srv = httptest.NewServer(w.c.Handler())
	t.Cleanup(w.srv.Close)
	w.user("root", auth.Admin)
	return w, p
}

// begin asks the console for the question to the provider.
func (b *visitor) begin(to string) string {
	b.w.t.Helper()
	resp, text := b.do("GET", "/login/oidc?to="+url.QueryEscape(to), nil)
	require.Equal(b.w.t, http.StatusSeeOther, resp.StatusCode, text)
	require.Len(b.w.t, resp.Cookies(), 1)
	require.True(b.w.t, resp.Cookies()[0].HttpOnly)
	require.Equal(b.w.t, 600, resp.Cookies()[0].MaxAge)
	return resp.Header.Get("Location")
}

// refused sees that a callback is turned away with a status and a text, and
// that nobody is signed in.
func (b *visitor) refused(callback string, status int, key string) {
	b.w.t.Helper()
	resp, text := b.do("GET", callback, nil)
	require.Equal(b.w.t, status, resp.StatusCode, text)
	require.Contains(b.w.t, text, strings.ReplaceAll(b.w.c.texts.byTag["en"].say(key), "'", "&#39;"))
	resp, _ = b.do("GET", "/account", nil)
	require.Equal(b.w.t, http.StatusSeeOther, resp.StatusCode, "nobody is signed in")
}

// Who signs in at the provider gets an account without a password, a session
// under a new id, and the roles the provider tells each time.
func TestOIDC(t *testing.T) {
	w, p := oidcWorld(t)
	b := w.visitor()
	require.Contains(t, b.get("/login"), `href="/login/oidc?to=%2f"`)
	u, err := url.Parse(w.srv.URL)
	require.NoError(t, err)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: cookiePlain, Value: strings.Repeat("a", 32), Path: "/"}})

	callback := p.signed(b.begin("/cases"))
	resp, _ := b.do("GET", callback, nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	require.Equal(t, "/cases", resp.Header.Get("Location"))
	require.Len(t, sessionCookie(t, w, b), 32)
	require.NotEqual(t, strings.Repeat("a", 32), sessionCookie(t, w, b), "no session can be fixed")
	user, err := w.users.User(t.Context(), "erika")
	require.NoError(t, err)
	require.True(t, user.External)
	require.Equal(t, []auth.Role{auth.Operator}, user.Roles)
	require.Len(t, w.recorded(ledger.KindConfig, "user-added"), 1)
	require.Len(t, w.recorded(ledger.KindConfig, "log-in"), 1)
	account := b.get("/account")
	require.Contains(t, account, "Your organisation signs you in")
	require.NotContains(t, account, `action="/account/password"`)
	resp, _ = b.post("/account/password", url.Values{"old": {""}, "new": {testPassword}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	resp, _ = b.post("/account/codes", url.Values{"secret": {auth.NewTOTP()}, "code": {"000000"}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode)

	for _, password := range []string{"", testPassword} {
		_, _, err = w.users.LogIn(t.Context(), auth.Attempt{Name: "erika", Password: password, Client: "198.51.100.7"})
		require.ErrorIs(t, err, auth.ErrWrong, "no password opens it")
	}
	require.ErrorIs(t, w.users.SetPassword(t.Context(), "erika", testPassword, ""), auth.ErrInput)

	p.says(map[string]any{"preferred_username": "renamed", "groups": []string{"privacy", "leads"}})
	again := w.visitor()
	resp, _ = again.do("GET", p.signed(again.begin("//evil.example.com")), nil)
	require.Equal(t, "/", resp.Header.Get("Location"), "nowhere else")
	user, err = w.users.User(t.Context(), "erika")
	require.NoError(t, err)
	require.Equal(t, []auth.Role{auth.Operator, auth.Approver}, user.Roles)
	require.Len(t, w.recorded(ledger.KindConfig, "user-roles"), 1)
	_, err = w.users.User(t.Context(), "renamed")
	require.ErrorIs(t, err, auth.ErrInput, "it keeps its name")
	resp, _ = b.do("GET", "/account", nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode, "sessions with the former roles have ended")
	require.Contains(t, again.get("/account"), "erika")
}

// An answer that is not the one to this browser's question opens nothing.
func TestOIDCForgedAnswers(t *testing.T) {
	w, p := oidcWorld(t)

	b := w.visitor()
	callback := p.signed(b.begin("/"))
	b.refused(strings.Replace(callback, "state=", "state=x", 1), http.StatusUnauthorized, "oidc.wrong")
	b.refused(callback, http.StatusUnauthorized, "oidc.wrong") // the cookie went with the first answer

	other := w.visitor()
	other.begin("/")
	other.refused(p.signed(w.visitor().begin("/")), http.StatusUnauthorized, "oidc.wrong")
	w.visitor().refused(p.signed(w.visitor().begin("/")), http.StatusUnauthorized, "oidc.wrong")

	slow := w.visitor()
	callback = p.signed(slow.begin("/"))
	w.later(auth.SignInFor)
	slow.refused(callback, http.StatusUnauthorized, "oidc.wrong")

	denied := w.visitor()
	question, err := url.Parse(denied.begin("/"))
	require.NoError(t, err)
	denied.refused("/login/oidc/callback?error=access_denied&state="+question.Query().Get("state"), http.StatusUnauthorized, "oidc.wrong")

	now := w.Now()
	for name, claims := range map[string]map[string]any{
		"nonce":           {"nonce": "of another sign-in"},
		"no nonce":        {"nonce": nil},
		"audience":        {"aud": "another-client"},
		"two audiences":   {"aud": []string{"postern", "another-client"}},
		"for another":     {"aud": []string{"postern", "another-client"}, "azp": "another-client"},
		"expired":         {"exp": now.Add(-time.Second).Unix()},
		"not yet":         {"nbf": now.Add(time.Hour).Unix()},
		"issuer":          {"iss": "https://id.example.org"},
		"without subject": {"sub": ""},
	} {
		t.Run(name, func(t *testing.T) {
			p.says(claims)
			b := w.visitor()
			b.refused(p.signed(b.begin("/")), http.StatusUnauthorized, "oidc.wrong")
		})
	}
	p.says(nil)
	forger, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p.mu.Lock()
	p.signer = forger
	p.mu.Unlock()
	b.refused(p.signed(b.begin("/")), http.StatusUnauthorized, "oidc.wrong")
	p.mu.Lock()
	p.signer = nil
	p.mu.Unlock()

	_, err = w.users.User(t.Context(), "erika")
	require.ErrorIs(t, err, auth.ErrInput, "no account came of it")
	require.Empty(t, w.recorded(ledger.KindConfig, "log-in"))
}

// An answer is good for one session, even where the browser kept the cookie
// and the provider took the code twice.
func TestOIDCReplay(t *testing.T) {
	w, p := oidcWorld(t)
	b := w.visitor()
	question := b.begin("/")
	u, err := url.Parse(w.srv.URL)
	require.NoError(t, err)
	kept := b.client.Jar.Cookies(u)
	resp, _ := b.do("GET", p.signed(question), nil)
	require.Equal(t, "/", resp.Header.Get("Location"))

	thief := w.visitor()
	thief.client.Jar.SetCookies(u, kept)
	thief.refused(p.signed(question), http.StatusUnauthorized, "oidc.wrong")
	require.Len(t, w.recorded(ledger.KindConfig, "log-in"), 1)
}

// Nobody comes in without a role, by a shut account, or by the name of another.
func TestOIDCTurnedAway(t *testing.T) {
	w, p := oidcWorld(t)
	b := w.visitor()
	for _, groups := range []any{[]string{"staff"}, "operator", nil} {
		p.says(map[string]any{"groups": groups})
		b.refused(p.signed(b.begin("/")), http.StatusForbidden, "oidc.role")
	}
	_, err := w.users.User(t.Context(), "erika")
	require.ErrorIs(t, err, auth.ErrInput, "no account came of it")

	p.says(map[string]any{"preferred_username": "root"})
	b.refused(p.signed(b.begin("/")), http.StatusForbidden, "oidc.name")
	root, err := w.users.User(t.Context(), "root")
	require.NoError(t, err)
	require.Equal(t, []auth.Role{auth.Admin}, root.Roles)
	require.False(t, root.External)
	p.says(map[string]any{"preferred_username": "?", "email": "max@example.org", "email_verified": false})
	b.refused(p.signed(b.begin("/")), http.StatusForbidden, "oidc.name")

	p.says(nil)
	resp, _ := b.do("GET", p.signed(b.begin("/")), nil)
	require.Equal(t, "/", resp.Header.Get("Location"))
	p.says(map[string]any{"sub": "2000"})
	second := w.visitor()
	second.refused(p.signed(second.begin("/")), http.StatusForbidden, "oidc.name")

	require.NoError(t, w.users.Change(t.Context(), "erika", []auth.Role{auth.Operator}, true))
	for _, name := range []string{"erika", "another"} {
		p.says(map[string]any{"preferred_username": name})
		b.refused(p.signed(b.begin("/")), http.StatusForbidden, "oidc.shut")
	}
	require.Len(t, w.recorded(ledger.KindConfig, "log-in"), 1)
}

// A provider that is away stops its own sign-ins alone, and is asked again.
func TestOIDCAway(t *testing.T) {
	w, p := oidcWorld(t)
	p.mu.Lock()
	p.away = true
	p.mu.Unlock()
	b := w.visitor()
	resp, text := b.do("GET", "/login/oidc", nil)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Contains(t, text, "can&#39;t be reached now")
	resp, _ = b.do("POST", "/login", url.Values{"name": {"root"}, "password": {testPassword}})
	require.Equal(t, http.StatusSeeOther, resp.StatusCode, "passwords go on")

	p.mu.Lock()
	p.away = false
	p.mu.Unlock()
	w.later(6 * time.Second)
	other := w.visitor()
	p.says(map[string]any{"preferred_username": nil, "email": "Max.Muster@example.org"})
	resp, _ = other.do("GET", p.signed(other.begin("/")), nil)
	require.Equal(t, "/", resp.Header.Get("Location"))
	user, err := w.users.User(t.Context(), "max.muster")
	require.NoError(t, err)
	require.True(t, user.External)
	require.Contains(t, b.get("/users"), "Given by your organisation")

	bare := newWorld(t)
	resp, _ = bare.visitor().do("GET", "/login/oidc", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode, "not configured: not there")
}

// Logging out ends the session here, and leads to where the provider ends its
// own: with the ID token it gave, by a page, and for its own users alone.
func TestOIDCLogOutEverywhere(t *testing.T) {
	w, p := oidcWorld(t)
	p.out = p.srv.URL + "/end?tenant=7"
	b := w.visitor()
	b.do("GET", p.signed(b.begin("/")), nil)
	cookie := sessionCookie(t, w, b)
	sealed, err := w.users.ProviderToken(t.Context(), cookie)
	require.NoError(t, err)
	require.NotEmpty(t, sealed)
	require.NotContains(t, sealed, "eyJ", "Redis holds no readable token")

	resp, text := b.post("/logout", url.Values{})
	require.Equal(t, http.StatusOK, resp.StatusCode, text)
	to, found := strings.CutPrefix(resp.Header.Get("Refresh"), "0; url=")
	require.True(t, found)
	u, err := url.Parse(to)
	require.NoError(t, err)
	require.Equal(t, "/end", u.Path)
	require.Equal(t, "7", u.Query().Get("tenant"), "what the address had stays")
	require.Equal(t, "postern", u.Query().Get("client_id"))
	require.Len(t, strings.Split(u.Query().Get("id_token_hint"), "."), 3)
	require.Contains(t, text, "You are logged out of Postern")
	require.Contains(t, text, "/end?", "a button where the browser does not go by itself")
	alive, err := w.users.Alive(t.Context(), cookie)
	require.NoError(t, err)
	require.False(t, alive)
	resp, _ = b.do("GET", "/account", nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)

	local := w.signedIn("olga", auth.Operator)
	resp, _ = local.post("/logout", url.Values{})
	require.Equal(t, "/login", resp.Header.Get("Location"), "who has a password has no session there")
	_, err = w.deps.OIDC.SignOut(t.Context(), "AAAA")
	require.ErrorIs(t, err, auth.ErrWrong)
}

// Without such an address, or with one that would send the token in clear, the
// session here ends as ever.
func TestOIDCLogOutHereAlone(t *testing.T) {
	for _, out := range []string{"", "ftp://id.example.org/end", "/end"} {
		w, p := oidcWorld(t)
		p.out = out
		b := w.visitor()
		b.do("GET", p.signed(b.begin("/")), nil)
		resp, _ := b.post("/logout", url.Values{})
		require.Equal(t, "/login", resp.Header.Get("Location"), out)
		resp, _ = b.do("GET", "/account", nil)
		require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	}
}
