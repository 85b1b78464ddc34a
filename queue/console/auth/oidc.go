package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// SignInFor is how long a sign-in at the provider may take.
const SignInFor = 10 * time.Minute

// Errors of signing in at a provider.
var (
	ErrAway   = errors.New("the identity provider can't be reached")
	ErrNoRole = errors.New("no role for this user")
	ErrShut   = errors.New("the account is shut")
)

// OIDCOptions name a provider of OpenID Connect and what its claims mean. All
// but the last four are needed.
type OIDCOptions struct {
	Issuer       string
	ClientID     string
	ClientSecret string
	Redirect     string          // address of the callback, as registered at the provider
	Roles        map[string]Role // value of RoleClaim to role; who has none of them is turned away
	Key          []byte          // 32 bytes that all nodes share: state, nonce and PKCE verifier are derived with it

	RoleClaim string       // default "roles"; dots lead into objects, as "realm_access.roles"
	NameClaim string       // default preferred_username, else email
	Scopes    []string     // beside openid; default profile and email
	Client    *http.Client // default: one that gives up after 10 s

	Now func() time.Time // default time.Now
}

// OIDC signs users in at a provider, by the authorization code flow with PKCE
// (OpenID Connect Core 1.0 section 3.1, RFC 7636). It is safe for concurrent
// use.
type OIDC struct {
	o     OIDCOptions
	turn  chan struct{} // held while the provider is asked about itself, and to read at
	at    *oidc.Provider
	again time.Time // no discovery before this
}

// NewOIDC asks nothing of the provider yet, so that one that is away stops
// nothing but its own sign-ins.
func NewOIDC(o OIDCOptions) (*OIDC, error) {
	if o.Issuer == "" || o.ClientID == "" || o.Redirect == "" || len(o.Roles) == 0 || len(o.Key) < 32 {
		return nil, errors.New("console oidc: issuer, client, redirect, roles and key are needed")
	}
	if o.RoleClaim == "" {
		o.RoleClaim = "roles"
	}
	if len(o.Scopes) == 0 {
		o.Scopes = []string{"profile", "email"}
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &OIDC{o: o, turn: make(chan struct{}, 1)}, nil
}

// provider discovers the provider at first use. After a failure it is left
// alone for some seconds; a visitor who goes away makes none. Errors wrap ErrAway.
func (p *OIDC) provider(ctx context.Context) (*oidc.Provider, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, errors.Join(ErrAway, ctx.Err())
	}
	if p.at != nil {
		return p.at, nil
	}
	if p.o.Now().Before(p.again) {
		return nil, ErrAway
	}
	at, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.o.Client), p.o.Issuer)
	if err != nil {
		p.again = p.o.Now().Add(5 * time.Second)
		return nil, fmt.Errorf("%w: %w", ErrAway, err)
	}
	p.at = at
	return at, nil
}

func (p *OIDC) client(at *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.o.ClientID, ClientSecret: p.o.ClientSecret, Endpoint: at.Endpoint(),
		RedirectURL: p.o.Redirect, Scopes: append([]string{oidc.ScopeOpenID}, p.o.Scopes...),
	}
}

// The cookie of a sign-in holds when it ends, randomness, and where to go
// afterwards. State, nonce and verifier are derived from it, so that the server
// keeps nothing for whoever only knocks, and a cookie somebody made up has a
// state that nobody can tell.
const cookieRandom = 20

func (p *OIDC) derive(what, cookie string) string {
	m := hmac.New(sha256.New, p.o.Key)
	m.Write([]byte("oidc " + what + ":" + cookie))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// Begin starts a sign-in: the address of the provider to send the browser to,
// and the value of a cookie to bind the answer to it. to comes back from
// Finish. Errors wrap ErrAway.
func (p *OIDC) Begin(ctx context.Context, to string) (address, cookie string, err error) {
	at, err := p.provider(ctx)
	if err != nil {
		return "", "", err
	}
	raw := binary.BigEndian.AppendUint64(nil, uint64(p.o.Now().Add(SignInFor).Unix()))
	random := make([]byte, cookieRandom)
	_, _ = rand.Read(random) // never fails since Go 1.24
	cookie = base64.RawURLEncoding.EncodeToString(append(append(raw, random...), to...))
	return p.client(at).AuthCodeURL(p.derive("state", cookie),
		oidc.Nonce(p.derive("nonce", cookie)), oauth2.S256ChallengeOption(p.derive("verifier", cookie))), cookie, nil
}

// Identity is who the provider says has signed in.
type Identity struct {
	Name  string // "" where it can't be the name of an account
	Roles []Role
	token string // its ID token, sealed: names the session there when it is to end
	id    string // digest of issuer and subject, the only lasting name (OpenID Connect Core section 5.7)
	state string // of the sign-in, which is good for one session
}

// Finish checks the provider's answer, the query of the callback, against the
// cookie of Begin. Errors wrap ErrWrong for an answer that is not the one to
// this sign-in or not sound, ErrNoRole where no role is mapped, ErrAway.
func (p *OIDC) Finish(ctx context.Context, cookie string, answer url.Values) (who Identity, to string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(cookie)
	state := p.derive("state", cookie)
	if err != nil || len(raw) < 8+cookieRandom || subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(state)) != 1 {
		return who, "", fmt.Errorf("%w: the state is of no sign-in of this browser", ErrWrong)
	}
	if !p.o.Now().Before(time.Unix(int64(binary.BigEndian.Uint64(raw)), 0)) {
		return who, "", fmt.Errorf("%w: the sign-in took too long", ErrWrong)
	}
	if iss := answer.Get("iss"); iss != "" && iss != p.o.Issuer { // RFC 9207
		return who, "", fmt.Errorf("%w: the answer is of another issuer", ErrWrong)
	}
	if answer.Get("code") == "" {
		return who, "", fmt.Errorf("%w: the provider gave no code", ErrWrong)
	}
	claims, token, text, err := p.redeem(ctx, answer.Get("code"), cookie)
	if err != nil {
		return who, "", err
	}
	who = Identity{Name: p.name(claims), id: digest(token.Issuer + "\n" + token.Subject), state: state}
	if who.Roles, err = p.roles(claims); err != nil {
		return who, "", err
	}
	if who.token, err = p.seal(text); err != nil {
		return who, "", err
	}
	return who, string(raw[8+cookieRandom:]), nil
}

// redeem gives the claims of the ID token that the code stands for, and its text.
func (p *OIDC) redeem(ctx context.Context, code, cookie string) (map[string]any, *oidc.IDToken, string, error) {
	at, err := p.provider(ctx)
	if err != nil {
		return nil, nil, "", err
	}
	ctx = oidc.ClientContext(ctx, p.o.Client)
	tokens, err := p.client(at).Exchange(ctx, code, oauth2.VerifierOption(p.derive("verifier", cookie)))
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode < 500 {
		return nil, nil, "", fmt.Errorf("%w: the provider refused the code: %s", ErrWrong, refused.ErrorCode)
	}
	if refused != nil && refused.Response != nil {
		return nil, nil, "", fmt.Errorf("%w: redeem code: %s", ErrAway, refused.Response.Status)
	}
	if err != nil {
		return nil, nil, "", fmt.Errorf("%w: redeem code: %w", ErrAway, err)
	}
	text, _ := tokens.Extra("id_token").(string)
	token, err := at.Verifier(&oidc.Config{ClientID: p.o.ClientID, Now: p.o.Now}).Verify(ctx, text)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%w: ID token: %w", ErrWrong, err)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(p.derive("nonce", cookie))) != 1 {
		return nil, nil, "", fmt.Errorf("%w: the ID token is of another sign-in", ErrWrong)
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return nil, nil, "", fmt.Errorf("%w: claims: %w", ErrWrong, err)
	}
	azp, named := claims["azp"]
	if named && azp != p.o.ClientID || !named && len(token.Audience) > 1 { // Core 3.1.3.7, 4 and 5
		return nil, nil, "", fmt.Errorf("%w: the ID token was issued to another client", ErrWrong)
	}
	if token.Subject == "" {
		return nil, nil, "", fmt.Errorf("%w: the ID token names no subject", ErrWrong)
	}
	return claims, token, text, nil
}

// roles maps the values of the role claim.
func (p *OIDC) roles(claims map[string]any) ([]Role, error) {
	have := claimValues(claims, p.o.RoleClaim)
	var names []string
	for _, r := range Roles() { // in one order, so that a change is a change
		if slices.ContainsFunc(have, func(v string) bool { return p.o.Roles[v] == r }) {
			names = append(names, string(r))
		}
	}
	roles, err := ParseRoles(names)
	if err != nil {
		return nil, ErrNoRole
	}
	return roles, nil
}
