package console

import (
	"errors"
	"net/http"
	"strings"

	"postern/queue/console/auth"
)

// oidcCookie binds an answer of the provider to the browser that asked. Lax: it
// comes along when the provider leads back here.
func (v *visit) oidcCookie(value string) {
	age := int(auth.SignInFor.Seconds())
	if value == "" {
		age = -1
	}
	http.SetCookie(v.w, &http.Cookie{
		Name: v.c.cookieName() + "-oidc", Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, Secure: v.c.secure, SameSite: http.SameSiteLaxMode,
	})
}

// oidcBegin leads to the provider. A link and no form: form-action of the
// Content-Security-Policy holds for where a form is sent on to, too.
func (c *Console) oidcBegin(v *visit) error {
	if c.d.OIDC == nil {
		return errNotFound
	}
	to := ownPath(v.r.URL.Query().Get("to"))
	if err := c.d.Users.Limited(v.ctx(), v.client()); err != nil {
		return v.oidcFailed(err)
	}
	address, cookie, err := c.d.OIDC.Begin(v.ctx(), to)
	if err != nil {
		return v.oidcFailed(err)
	}
	v.oidcCookie(cookie)
	return v.redirect(address, "")
}

// oidcFinish takes the provider's answer and starts a session under a new
// cookie; one that came along ends.
func (c *Console) oidcFinish(v *visit) error {
	if c.d.OIDC == nil {
		return errNotFound
	}
	v.oidcCookie("")
	if err := c.d.Users.Limited(v.ctx(), v.client()); err != nil {
		return v.oidcFailed(err)
	}
	bound := ""
	if got, err := v.r.Cookie(c.cookieName() + "-oidc"); err == nil {
		bound = got.Value
	}
	who, to, err := c.d.OIDC.Finish(v.ctx(), bound, v.r.URL.Query())
	if err != nil {
		return v.oidcFailed(err)
	}
	cookie, user, did, err := c.d.Users.Arrive(v.ctx(), who)
	if err != nil {
		return v.oidcFailed(err)
	}
	c.loggedIn(nil)
	if v.cookie != "" {
		if err := c.d.Users.End(v.ctx(), v.cookie); err != nil {
			return err
		}
	}
	if did != auth.Known {
		names := make([]string, len(user.Roles))
		for i, r := range user.Roles {
			names[i] = string(r)
		}
		action := map[auth.Arrival]string{auth.Made: "user-added", auth.Changed: "user-roles"}[did]
		if err := c.record(v.ctx(), user.Actor(), action, "oidc", map[string]string{"user": user.Name, "roles": strings.Join(names, ",")}); err != nil {
			return err
		}
	}
	if err := c.record(v.ctx(), user.Actor(), "log-in", "oidc", nil); err != nil {
		return err
	}
	c.setCookie(v.w, cookie)
	return v.redirect(ownPath(to), "")
}

// signOut gives where the session at the provider ends; "" where there is none,
// or the provider is away: the session here ends all the same.
func (c *Console) signOut(v *visit) string {
	if c.d.OIDC == nil {
		return ""
	}
	sealed, err := c.d.Users.ProviderToken(v.ctx(), v.cookie)
	if err != nil || sealed == "" {
		return ""
	}
	address, err := c.d.OIDC.SignOut(v.ctx(), sealed)
	if err != nil {
		c.o.Log.Warn("the session at the identity provider goes on", "err", err)
	}
	return address
}

// oidcFailed shows the log-in again with what went wrong, and counts it where
// it was the visitor's doing.
func (v *visit) oidcFailed(err error) error {
	v.c.loggedIn(err)
	fault := ""
	switch {
	case errors.Is(err, auth.ErrLimit):
		v.status, fault = http.StatusTooManyRequests, "login.limit"
	case errors.Is(err, auth.ErrAway):
		v.status, fault = http.StatusServiceUnavailable, "oidc.away"
	case errors.Is(err, auth.ErrWrong):
		v.status, fault = http.StatusUnauthorized, "oidc.wrong"
	case errors.Is(err, auth.ErrNoRole):
		v.status, fault = http.StatusForbidden, "oidc.role"
	case errors.Is(err, auth.ErrShut):
		v.status, fault = http.StatusForbidden, "oidc.shut"
	case errors.Is(err, auth.ErrExists), errors.Is(err, auth.ErrInput):
		v.status, fault = http.StatusForbidden, "oidc.name"
	default:
		return err
	}
	if v.status != http.StatusTooManyRequests {
		v.c.o.Log.Warn("sign-in at the identity provider failed", "err", err)
	}
	if v.status == http.StatusUnauthorized {
		if err := v.c.d.Users.Tried(v.ctx(), v.client()); err != nil {
			return err
		}
	}
	return v.loginForm(map[string]any{"Fault": fault, "To": "/"})
}
