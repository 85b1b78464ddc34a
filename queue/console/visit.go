package console

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"postern/gateway/ledger"
	"postern/gateway/ledger/peers"
	"postern/queue/console/auth"
)

// visit is one request with what is known for its answer.
type visit struct {
	c      *Console
	w      http.ResponseWriter
	r      *http.Request
	user   auth.User // zero where nobody is signed in
	cookie string
	words  *words
	status int   // of the answer a page gives; 0: 200
	part   error // of the relay nodes that did not answer: the page says that lines may be missing
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// records yields what the ledgers of all nodes have. Where a node is away the
// page shows what the others know and says so.
func (v *visit) records(f ledger.Filter, yield func(ledger.Entry) error) error {
	err := v.c.d.Records.Query(v.ctx(), f, yield)
	if errors.Is(err, peers.ErrAway) {
		v.part = err
		return nil
	}
	return err
}

func (v *visit) signedIn() bool { return v.user.Name != "" }

func (v *visit) now() time.Time { return v.c.o.Now() }

// say is the text of a key in the visitor's language.
func (v *visit) say(key string, pairs ...string) string { return v.words.say(key, pairs...) }

// field is a value of the posted form, trimmed.
func (v *visit) field(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }

// seen is how many mails of a case the page showed that the form was on.
func (v *visit) seen() int {
	n, err := strconv.Atoi(v.field("seen"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// client names the network the visitor comes from.
func (v *visit) client() string {
	remote := v.r.RemoteAddr
	if v.c.o.TrustProxy {
		if fields := v.r.Header.Values("X-Forwarded-For"); len(fields) > 0 {
			list := strings.Split(fields[len(fields)-1], ",")
			remote = strings.TrimSpace(list[len(list)-1])
		}
	}
	return auth.ClientOf(remote)
}

// redirect answers a form with the page to look at next (303). done names a
// text of the table done that tells what happened.
func (v *visit) redirect(path, done string) error {
	if done != "" {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + "done=" + url.QueryEscape(done)
	}
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// Cookie names: the prefix __Host- binds a cookie to this very host over https
// (RFC 6265bis section 4.1.3.2).
const (
	cookieSecure = "__Host-postern"
	cookiePlain  = "postern"
)

func (c *Console) cookieName() string {
	if c.secure {
		return cookieSecure
	}
	return cookiePlain
}

func (c *Console) setCookie(w http.ResponseWriter, value string) {
	age := 0 // ends with the browser; the server ends it earlier
	if value == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: c.cookieName(), Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: c.secure, SameSite: http.SameSiteLaxMode,
	})
}

// token is the form token of this session, masked afresh for each page so that
// compression tells nothing of it.
func (v *visit) token() string {
	real := v.c.formToken(v.cookie)
	pad := make([]byte, len(real))
	_, _ = rand.Read(pad) // never fails since Go 1.24
	masked := make([]byte, len(real))
	subtle.XORBytes(masked, real, pad)
	return base64.RawURLEncoding.EncodeToString(append(pad, masked...))
}

func (c *Console) formToken(cookie string) []byte {
	m := hmac.New(sha256.New, c.csrfKey)
	m.Write([]byte("form:" + cookie))
	return m.Sum(nil)
}

func (v *visit) tokenFits() bool {
	got, err := base64.RawURLEncoding.DecodeString(v.r.PostFormValue("token"))
	if err != nil || len(got) != 2*sha256.Size {
		return false
	}
	clear := make([]byte, sha256.Size)
	subtle.XORBytes(clear, got[:sha256.Size], got[sha256.Size:])
	return hmac.Equal(clear, v.c.formToken(v.cookie))
}

// Errors that have a page of their own.
var (
	errNotFound = errors.New("no such page")
	errForbid   = errors.New("not allowed to this user")
	errToken    = errors.New("form token is missing or of another session")
	errForm     = errors.New("form can't be read")
)

const bodyLimit = 64 << 10

// serve wraps a route: headers, session, role, form token, then the handler,
// then the page of its error.
func (c *Console) serve(rt *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer c.answered(rt, time.Now())
		secureHeaders(w.Header(), c.secure)
		if !rt.raw {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(60 * time.Second)) // not every writer has one
		}
		limit := rt.limit
		if limit == 0 {
			limit = bodyLimit
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		v := &visit{c: c, w: w, r: r}
		err := v.enter(rt)
		if err == nil {
			err = rt.serve(c, v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// enter finds the session and checks role and form token.
func (v *visit) enter(rt *route) error {
	v.words = v.c.texts.of("", v.r)
	if cookie, err := v.r.Cookie(v.c.cookieName()); err == nil && !strings.HasPrefix(v.r.URL.Path, "/static/") {
		_, user, err := v.c.d.Users.Find(v.ctx(), cookie.Value)
		switch {
		case err == nil:
			v.user, v.cookie = user, cookie.Value
			v.words = v.c.texts.of(user.Language, v.r)
		case !errors.Is(err, auth.ErrNone):
			return err
		}
	}
	if err := v.c.origins.Check(v.r); err != nil {
		return errToken
	}
	if !v.signedIn() && !rt.need.IsPublic() {
		return auth.ErrNone
	}
	if !rt.need.Allows(v.user.Roles) {
		return errForbid
	}
	if v.r.Method != http.MethodPost {
		return nil
	}
	if err := v.readForm(); err != nil {
		return err
	}
	if !rt.need.IsPublic() && !v.tokenFits() {
		return errToken
	}
	return nil
}

func (v *visit) readForm() error {
	var err error
	if strings.HasPrefix(v.r.Header.Get("Content-Type"), "multipart/form-data") {
		err = v.r.ParseMultipartForm(1 << 20)
	} else {
		err = v.r.ParseForm()
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	if err != nil {
		return errForm
	}
	return nil
}

// secureHeaders: nothing inline, nothing from elsewhere, not in a frame, kept
// by no cache, told to nobody.
func secureHeaders(h http.Header, tls bool) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex")
	if tls {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}
