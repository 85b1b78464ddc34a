package console

import (
	"errors"
	"net/http"
	"strings"

	"postern/queue/console/auth"
)

// usersPage lists the accounts and makes new ones.
func (c *Console) usersPage(v *visit) error { return v.users(map[string]any{}) }

func (v *visit) users(data map[string]any) error {
	list, err := v.c.d.Users.Users(v.ctx())
	if err != nil {
		return err
	}
	data["Users"], data["Roles"] = list, auth.Roles()
	return v.page("users", "users.title", data)
}

// addUser makes an account. Its password is typed here and handed over by
// another way; the user changes it on their page.
func (c *Console) addUser(v *visit) error {
	name := v.field("name")
	roles, err := auth.ParseRoles(v.r.PostForm["role"])
	fault := ""
	if err != nil {
		fault = "users.role_missing"
	} else {
		err = c.d.Users.Create(v.ctx(), name, v.r.PostFormValue("password"), roles)
	}
	switch {
	case errors.Is(err, auth.ErrExists):
		v.status, fault = http.StatusConflict, "setup.exists"
	case errors.Is(err, auth.ErrInput):
		v.status = http.StatusBadRequest
		switch {
		case fault != "":
		case auth.CleanName(name) == "":
			fault = "users.name_bad"
		default:
			fault = "account.password_bad"
		}
	case err != nil:
		return err
	}
	if fault != "" {
		return v.users(map[string]any{"Fault": fault, "Name": name})
	}
	err = c.record(v.ctx(), v.user.Actor(), "user-added", "", map[string]string{"user": auth.CleanName(name), "roles": strings.Join(v.r.PostForm["role"], ",")})
	if err != nil {
		return err
	}
	return v.redirect("/users", "user-added")
}

// changeUser sets roles, shuts an account or opens it again, or ends its
// one-time codes when a device was lost.
func (c *Console) changeUser(v *visit) error {
	name := v.r.PathValue("name")
	user, err := c.d.Users.User(v.ctx(), name)
	if err != nil {
		return errNotFound
	}
	done := "user-changed"
	switch v.field("act") {
	case "roles":
		if user.External {
			return errForm // the provider gives them anew at each sign-in
		}
		roles, err := auth.ParseRoles(v.r.PostForm["role"])
		if err != nil {
			v.status = http.StatusBadRequest
			return v.users(map[string]any{"Fault": "users.role_missing"})
		}
		err = c.d.Users.Change(v.ctx(), user.Name, roles, user.Disabled)
		if errors.Is(err, auth.ErrLast) {
			v.status = http.StatusConflict
			return v.users(map[string]any{"Fault": "users.last"})
		}
		if err != nil {
			return err
		}
	case "shut", "open":
		err := c.d.Users.Change(v.ctx(), user.Name, user.Roles, v.field("act") == "shut")
		if errors.Is(err, auth.ErrLast) {
			v.status = http.StatusConflict
			return v.users(map[string]any{"Fault": "users.last"})
		}
		if err != nil {
			return err
		}
		done = "user-" + v.field("act")
	case "codes":
		if err := c.d.Users.SetTOTP(v.ctx(), user.Name, "", ""); err != nil {
			return err
		}
		done = "codes-off"
	default:
		return errForm
	}
	err = c.record(v.ctx(), v.user.Actor(), "user-"+v.field("act"), "", map[string]string{"user": user.Name, "roles": strings.Join(v.r.PostForm["role"], ",")})
	if err != nil {
		return err
	}
	return v.redirect("/users", done)
}
