package console

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"postern/queue/console/api"
)

// Tokens keeps what programs show to be let in; *api.Tokens is one.
type Tokens interface {
	Create(ctx context.Context, name string, scopes []api.Scope, life time.Duration, by, owner string) (string, api.Token, error)
	Revoke(ctx context.Context, which, by string) error
	List(ctx context.Context) ([]api.Token, error)
}

// tokensPage lists the tokens of programs and makes new ones.
func (c *Console) tokensPage(v *visit) error { return v.tokens(map[string]any{}) }

func (v *visit) tokens(data map[string]any) error {
	if v.c.d.Tokens == nil {
		return errNotFound
	}
	list, err := v.c.d.Tokens.List(v.ctx())
	if err != nil {
		return err
	}
	for i := range list {
		list[i].By = v.actor(list[i].By)
	}
	data["Tokens"], data["Scopes"] = list, api.Scopes()
	return v.page("tokens", "tokens.title", data)
}

// addToken makes a token. Its text stands on the page that answers and nowhere
// else: it can't be shown again.
func (c *Console) addToken(v *visit) error {
	if c.d.Tokens == nil {
		return errNotFound
	}
	scopes, err := api.ParseScopes(v.r.PostForm["scope"])
	days, dayErr := strconv.Atoi(v.field("days"))
	var text string
	if err == nil && dayErr == nil {
		text, _, err = c.d.Tokens.Create(v.ctx(), v.field("name"), scopes, time.Duration(days)*24*time.Hour, v.user.Actor(), v.tokenOwner())
	}
	if errors.Is(err, api.ErrInput) || dayErr != nil {
		v.status = http.StatusBadRequest
		return v.tokens(map[string]any{"Fault": "tokens.bad", "Name": v.field("name")})
	}
	if err != nil {
		return err
	}
	return v.tokens(map[string]any{"Text": text})
}

// tokenOwner is whose acts a new token's acts are: the maker's, or nobody's.
func (v *visit) tokenOwner() string {
	if v.field("program") != "" {
		return ""
	}
	return v.user.Name
}

// endToken ends one at once.
func (c *Console) endToken(v *visit) error {
	if c.d.Tokens == nil {
		return errNotFound
	}
	err := c.d.Tokens.Revoke(v.ctx(), v.r.PathValue("id"), v.user.Actor())
	if errors.Is(err, api.ErrNone) {
		return errNotFound
	}
	if err != nil {
		return err
	}
	return v.redirect("/tokens", "token-ended")
}
