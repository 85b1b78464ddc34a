package main

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"sort"
	"strings"

	"postern/queue/console/auth"
)

// OIDCConfig lets operators sign in at an identity provider. Without an issuer
// there is no such sign-in.
type OIDCConfig struct {
	Issuer       string            `toml:"issuer"` // as the provider names itself, "https://id.example.org"
	ClientID     string            `toml:"client_id"`
	ClientSecret Secret            `toml:"client_secret"`
	NameClaim    string            `toml:"name_claim"` // default preferred_username, else email
	RoleClaim    string            `toml:"role_claim"` // default "roles"; dots lead into objects
	Scopes       []string          `toml:"scopes"`     // beside openid; default profile and email
	Roles        map[string]string `toml:"roles"`      // value of the claim to a role of the console
}

// oidcCallback is the path to register at the provider.
const oidcCallback = "/login/oidc/callback"

func (k *checker) oidc() {
	o := k.c.Operator.OIDC
	const at = "operator.oidc."
	if o.Issuer == "" {
		if o.ClientID != "" || o.ClientSecret != "" || len(o.Roles) > 0 {
			k.add(at+"issuer", "is missing: write the provider's address as it names itself, https://id.example.org")
		}
		return
	}
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "":
		k.add(at+"issuer", "%q is no address of a provider: write https://id.example.org", o.Issuer)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		k.add(at+"issuer", "%q is not https: anybody on the way could sign in as anyone", o.Issuer)
	case strings.HasSuffix(u.Path, "/.well-known/openid-configuration"):
		k.add(at+"issuer", "leave out /.well-known/openid-configuration: Postern adds it")
	}
	k.need(at+"client_id", o.ClientID, "what the provider calls this client")
	k.need(at+"client_secret", string(o.ClientSecret), "file:PATH or env:NAME")
	k.secret(at+"client_secret", o.ClientSecret)
	if k.c.Operator.URL == "" {
		k.add("operator.url", "is missing: the provider leads back to it, at %s", oidcCallback)
	}
	if len(o.Roles) == 0 {
		k.add(at+"roles", "is missing: without it nobody may come in; write roles = { \"postern-operators\" = \"operator\" }")
	}
	values := make([]string, 0, len(o.Roles))
	for v := range o.Roles {
		values = append(values, v)
	}
	sort.Strings(values)
	for _, v := range values {
		if !slices.Contains(auth.Roles(), auth.Role(o.Roles[v])) {
			k.add(at+"roles", "%q of %q is no role: there are %s", o.Roles[v], v, roleNames())
		}
	}
}

func roleNames() string {
	var out []string
	for _, r := range auth.Roles() {
		out = append(out, string(r))
	}
	return strings.Join(out, ", ")
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// newOIDC makes the sign-in at the identity provider, nil where none is
// configured. The provider is not asked yet.
func (n *node) newOIDC(key []byte) (*auth.OIDC, error) {
	o := n.cfg.Operator.OIDC
	if o.Issuer == "" {
		return nil, nil
	}
	secret, err := o.ClientSecret.Read()
	if err != nil {
		return nil, fmt.Errorf("operator.oidc.client_secret: %w", err)
	}
	roles := map[string]auth.Role{}
	for value, r := range o.Roles {
		roles[value] = auth.Role(r)
	}
	return auth.NewOIDC(auth.OIDCOptions{
		Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: secret, Roles: roles, Key: key,
		Redirect:  strings.TrimSuffix(n.cfg.Operator.URL, "/") + oidcCallback,
		RoleClaim: o.RoleClaim, NameClaim: o.NameClaim, Scopes: o.Scopes,
	})
}
