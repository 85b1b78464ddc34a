package console

import (
	"errors"
	"net/http"
	"strings"

	"postern/queue/console/auth"
)

// loginPage shows the form; whoever is signed in goes on to Today.
func (c *Console) loginPage(v *visit) error {
	if v.signedIn() {
		return v.redirect(ownPath(v.r.URL.Query().Get("to")), "")
	}
	empty, err := c.d.Users.Empty(v.ctx())
	if err != nil {
		return err
	}
	if empty {
		return v.redirect("/setup", "")
	}
	return v.loginForm(map[string]any{"To": ownPath(v.r.URL.Query().Get("to"))})
}

func (v *visit) loginForm(data map[string]any) error {
	data["OIDC"] = v.c.d.OIDC != nil
	return v.page("login", "login.title", data)
}

// ownPath lets a redirect go to a page of the console and nowhere else.
func ownPath(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || strings.HasPrefix(to, "/log") {
		return "/"
	}
	return to
}

// login checks name, password and code and starts a session under a new
// cookie; one that came along ends.
func (c *Console) login(v *visit) error {
	name := v.field("name")
	cookie, user, err := c.d.Users.LogIn(v.ctx(), auth.Attempt{
		Name: name, Password: v.r.PostFormValue("password"), Code: v.field("code"), Client: v.client(),
	})
	c.loggedIn(err)
	data := map[string]any{"To": ownPath(v.field("to")), "Name": name}
	switch {
	case errors.Is(err, auth.ErrLimit):
		v.status, data["Fault"] = http.StatusTooManyRequests, "login.limit"
		return v.loginForm(data)
	case errors.Is(err, auth.ErrWrong):
		v.status, data["Fault"] = http.StatusUnauthorized, "login.wrong"
		return v.loginForm(data)
	case err != nil:
		return err
	}
	if v.cookie != "" {
		if err := c.d.Users.End(v.ctx(), v.cookie); err != nil {
			return err
		}
	}
	if err := c.record(v.ctx(), user.Actor(), "log-in", "", nil); err != nil {
		return err
	}
	c.setCookie(v.w, cookie)
	return v.redirect(ownPath(v.field("to")), "")
}

// logout ends the session.
func (c *Console) logout(v *visit) error {
	elsewhere := c.signOut(v)
	if err := c.d.Users.End(v.ctx(), v.cookie); err != nil {
		return err
	}
	c.setCookie(v.w, "")
	if elsewhere == "" {
		return v.redirect("/login", "")
	}
	// By a page: form-action of the Content-Security-Policy holds for where a
	// form is sent on to, too.
	v.cookie, v.user = "", auth.User{}
	v.w.Header().Set("Refresh", "0; url="+elsewhere)
	return v.page("logout", "oidc.out", map[string]any{"To": elsewhere})
}

// setupPage asks for the code of the terminal. With accounts there and no code
// out it is shut.
func (c *Console) setupPage(v *visit) error {
	if err := c.setupOpen(v); err != nil {
		return err
	}
	return v.page("setup", "setup.title", map[string]any{})
}

func (c *Console) setupOpen(v *visit) error {
	empty, err := c.d.Users.Empty(v.ctx())
	if err != nil || empty {
		return err
	}
	open, err := c.d.Users.SetupOpen(v.ctx())
	if err == nil && !open {
		err = errNotFound
	}
	return err
}

// setup makes the administrator and signs them in.
func (c *Console) setup(v *visit) error {
	if err := c.setupOpen(v); err != nil {
		return err
	}
	name, password := v.field("name"), v.r.PostFormValue("password")
	err := c.d.Users.SetUp(v.ctx(), v.field("code"), v.client(), name, password)
	fault := ""
	switch {
	case errors.Is(err, auth.ErrLimit):
		v.status, fault = http.StatusTooManyRequests, "login.limit"
	case errors.Is(err, auth.ErrWrong):
		v.status, fault = http.StatusForbidden, "setup.wrong"
	case errors.Is(err, auth.ErrExists):
		v.status, fault = http.StatusConflict, "setup.exists"
	case errors.Is(err, auth.ErrInput):
		v.status, fault = http.StatusBadRequest, "account.password_bad"
		if auth.CleanName(name) == "" {
			fault = "users.name_bad"
		}
	case err != nil:
		return err
	}
	if fault != "" {
		return v.page("setup", "setup.title", map[string]any{"Fault": fault, "Name": name, "Code": v.field("code")})
	}
	if err := c.record(v.ctx(), "operator:"+auth.CleanName(name), "set-up", "terminal-code", nil); err != nil {
		return err
	}
	cookie, _, err := c.d.Users.LogIn(v.ctx(), auth.Attempt{Name: name, Password: password, Client: v.client()})
	if err != nil {
		return err
	}
	c.setCookie(v.w, cookie)
	return v.redirect("/account", "set-up")
}
