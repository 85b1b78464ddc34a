package console

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"rsc.io/qr"

	"postern/queue/console/auth"
)

// accountPage is what a user sets for themselves.
func (c *Console) accountPage(v *visit) error { return v.account(map[string]any{}) }

func (v *visit) account(data map[string]any) error {
	sessions, err := v.c.d.Users.Sessions(v.ctx(), v.user.Name)
	if err != nil {
		return err
	}
	data["Others"] = max(0, len(sessions)-1)
	if !v.user.HasTOTP {
		secret, _ := data["Secret"].(string)
		if secret == "" {
			secret = auth.NewTOTP()
		}
		data["Secret"], data["Spaced"] = secret, spaced(secret)
		if data["QR"], err = qrCode(auth.TOTPLink("Postern", v.user.Name, secret)); err != nil {
			return err
		}
	}
	return v.page("account", "account.title", data)
}

// spaced writes a secret in groups of four, as people type it.
func spaced(s string) string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// qrCode draws a text as an SVG of one path, readable in dark pages too.
func qrCode(text string) (template.HTML, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", fmt.Errorf("draw code: %w", err)
	}
	var b bytes.Buffer
	size := code.Size + 8
	fmt.Fprintf(&b, `<svg class="qr" viewBox="0 0 %d %d" width="176" height="176" aria-hidden="true" focusable="false"><rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="`, size, size, size, size)
	for y := range code.Size {
		for x := range code.Size {
			if code.Black(x, y) {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x+4, y+4)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()), nil //nolint:gosec // numbers only
}

// setPreferences keeps theme, language and keys.
func (c *Console) setPreferences(v *visit) error {
	u := v.user
	u.Theme, u.Language, u.KeysOff = v.field("theme"), v.field("language"), v.field("keys") != "on"
	if u.Language != "" && c.texts.byTag[u.Language] == nil {
		return errForm
	}
	if err := c.d.Users.Prefer(v.ctx(), u); err != nil {
		return err
	}
	return v.redirect("/account", "saved")
}

// setPassword changes the password after the old one; other sessions end.
func (c *Console) setPassword(v *visit) error {
	if v.user.External {
		return errForbid
	}
	err := c.d.Users.Confirm(v.ctx(), v.user.Name, v.r.PostFormValue("old"), v.client())
	if err == nil {
		err = c.d.Users.SetPassword(v.ctx(), v.user.Name, v.r.PostFormValue("new"), v.cookie)
	}
	fault := ""
	switch {
	case errors.Is(err, auth.ErrLimit):
		v.status, fault = http.StatusTooManyRequests, "login.limit"
	case errors.Is(err, auth.ErrWrong):
		v.status, fault = http.StatusForbidden, "account.old_wrong"
	case errors.Is(err, auth.ErrInput):
		v.status, fault = http.StatusBadRequest, "account.password_bad"
	case err != nil:
		return err
	}
	if fault != "" {
		return v.account(map[string]any{"PasswordFault": fault})
	}
	if err := c.record(v.ctx(), v.user.Actor(), "password", "", nil); err != nil {
		return err
	}
	return v.redirect("/account", "password")
}

// setCodes switches one-time codes on, with a code as proof that the app has
// the secret, or off, with the password.
func (c *Console) setCodes(v *visit) error {
	if v.user.External {
		return errForbid
	}
	action := "codes-on"
	var err error
	if v.user.HasTOTP {
		action = "codes-off"
		if err = c.d.Users.Confirm(v.ctx(), v.user.Name, v.r.PostFormValue("old"), v.client()); err == nil {
			err = c.d.Users.SetTOTP(v.ctx(), v.user.Name, "", "")
		}
	} else {
		if v.field("secret") == "" {
			return errForm
		}
		err = c.d.Users.SetTOTP(v.ctx(), v.user.Name, v.field("secret"), strings.ReplaceAll(v.field("code"), " ", ""))
	}
	switch {
	case errors.Is(err, auth.ErrLimit):
		v.status = http.StatusTooManyRequests
		return v.account(map[string]any{"CodeFault": "login.limit", "Secret": v.field("secret")})
	case errors.Is(err, auth.ErrWrong):
		v.status = http.StatusForbidden
		fault := "account.code_wrong"
		if v.user.HasTOTP {
			fault = "account.old_wrong"
		}
		return v.account(map[string]any{"CodeFault": fault, "Secret": v.field("secret")})
	case err != nil:
		return err
	}
	if err := c.record(v.ctx(), v.user.Actor(), action, "", nil); err != nil {
		return err
	}
	return v.redirect("/account", action)
}

// endSessions ends all others of the user.
func (c *Console) endSessions(v *visit) error {
	if err := c.d.Users.EndAll(v.ctx(), v.user.Name, v.cookie); err != nil {
		return err
	}
	return v.redirect("/account", "sessions")
}
