// Package oauth gets access tokens for mailboxes at Gmail, Microsoft 365 and
// others (RFC 6749): by a refresh token, or as an application by client
// credentials.
package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Options say where tokens come from.
//
// Gmail: TokenURL https://oauth2.googleapis.com/token, a refresh token with
// scope https://mail.google.com/. Microsoft 365 as an application: TokenURL
// https://login.microsoftonline.com/TENANT/oauth2/v2.0/token, no refresh token,
// Scope https://outlook.office365.com/.default, application permission
// IMAP.AccessAsApp and a right on the mailbox.
type Options struct {
	TokenURL string // https, or http on loopback
	ClientID string
	// ClientSecret and RefreshToken give secrets when needed. Without
	// RefreshToken client credentials are used (RFC 6749 section 4.4).
	ClientSecret func() (string, error)
	RefreshToken func() (string, error)
	Scope        string
	// Rotated is told of a new refresh token that replaces the old one
	// (RFC 6749 section 6); nil: it is kept in memory alone.
	Rotated func(ctx context.Context, refresh string) error

	Client *http.Client     // default: one with a timeout of 15 s
	Now    func() time.Time // default time.Now
	Early  time.Duration    // renewed this long before expiry; default 2 min
}

// ErrDenied says that the token server refuses us: an operator must look.
var ErrDenied = errors.New("the token server refuses")

// Source hands out access tokens; it is safe for concurrent use.
type Source struct {
	o Options

	mu      sync.Mutex
	token   string
	until   time.Time
	rotated string // replaces RefreshToken
}

// New checks the options; nothing is asked yet.
func New(o Options) (*Source, error) {
	u, err := url.Parse(o.TokenURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("oauth: token_url is no URL")
	}
	local := u.Hostname() == "127.0.0.1" || u.Hostname() == "localhost" || u.Hostname() == "::1"
	if u.Scheme != "https" && !(u.Scheme == "http" && local) {
		return nil, errors.New("oauth: token_url must be https")
	}
	if o.ClientID == "" || o.RefreshToken == nil && o.ClientSecret == nil {
		return nil, errors.New("oauth: client_id, and a refresh token or a client secret, are needed")
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 15 * time.Second}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Early <= 0 {
		o.Early = 2 * time.Minute
	}
	return &Source{o: o}, nil
}

// Token gives a valid access token, asking for a new one where the last ends
// soon. Errors never hold what the server said beyond its error code.
func (s *Source) Token(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != "" && s.o.Now().Before(s.until) {
		return s.token, nil
	}
	form, err := s.form()
	if err != nil {
		return "", err
	}
	a, err := s.ask(ctx, form)
	if err != nil {
		return "", err
	}
	if a.RefreshToken != "" && a.RefreshToken != form.Get("refresh_token") {
		s.rotated = a.RefreshToken
		if s.o.Rotated != nil {
			if err := s.o.Rotated(ctx, a.RefreshToken); err != nil {
				return "", fmt.Errorf("keep the new refresh token: %w", err)
			}
		}
	}
	life := time.Duration(a.ExpiresIn) * time.Second
	if life <= 0 {
		life = 10 * time.Minute
	}
	s.token, s.until = a.AccessToken, s.o.Now().Add(life-min(s.o.Early, life/2))
	return s.token, nil
}

// Refused makes the next Token ask anew if token is still the one handed out.
func (s *Source) Refused(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

func (s *Source) form() (url.Values, error) {
	form := url.Values{"client_id": {s.o.ClientID}}
	if s.o.Scope != "" {
		form.Set("scope", s.o.Scope)
	}
	if s.o.ClientSecret != nil {
		secret, err := s.o.ClientSecret()
		if err != nil {
			return nil, fmt.Errorf("read client secret: %w", err)
		}
		form.Set("client_secret", secret)
	}
	if s.o.RefreshToken == nil {
		form.Set("grant_type", "client_credentials")
		return form, nil
	}
	refresh := s.rotated
	if refresh == "" {
		var err error
		if refresh, err = s.o.RefreshToken(); err != nil {
			return nil, fmt.Errorf("read refresh token: %w", err)
		}
	}
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", refresh)
	return form, nil
}

// answer is a token response (RFC 6749 sections 5.1 and 5.2).
type answer struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Error        string `json:"error"`
}

func (s *Source) ask(ctx context.Context, form url.Values) (answer, error) {
	var a answer
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return a, fmt.Errorf("ask for a token: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := s.o.Client.Do(req)
	if err != nil {
		return a, fmt.Errorf("ask for a token: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return a, fmt.Errorf("read the token answer: %w", err)
	}
	parseErr := json.Unmarshal(body, &a)
	switch {
	case resp.StatusCode == http.StatusBadRequest, resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return a, fmt.Errorf("%w: status %d, %q", ErrDenied, resp.StatusCode, code(a.Error))
	case resp.StatusCode != http.StatusOK:
		return a, fmt.Errorf("ask for a token: status %d", resp.StatusCode)
	case parseErr != nil || a.AccessToken == "":
		return a, errors.New("ask for a token: the answer holds none")
	}
	return a, nil
}

// code keeps an error code to the words RFC 6749 section 5.2 allows.
func code(v string) string {
	if len(v) > 40 {
		v = v[:40]
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, v)
}
