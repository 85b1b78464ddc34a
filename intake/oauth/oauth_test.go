package oauth

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func text(s string) func() (string, error) { return func() (string, error) { return s, nil } }

func TestRefreshesBeforeExpiryAndKeepsRotation(t *testing.T) {
	asked := 0
	var refresh []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		require.NoError(t, r.ParseForm())
		require.Equal(t, "refresh_token", r.Form.Get("grant_type"))
		refresh = append(refresh, r.Form.Get("refresh_token"))
		_, _ = fmt.Fprintf(w, `{"access_token":"a%d","expires_in":3600,"refresh_token":"r%d"}`, asked, asked)
	}))
	defer srv.Close()
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	kept := ""
	s, err := New(Options{TokenURL: srv.URL, ClientID: "c", RefreshToken: text("r0"), Now: func() time.Time { return now }, Client: srv.Client(),
		Rotated: func(_ context.Context, r string) error { kept = r; return nil }})
	require.NoError(t, err)
	for range 3 {
		tok, err := s.Token(context.Background())
		require.NoError(t, err)
		require.Equal(t, "a1", tok)
	}
	now = now.Add(59 * time.Minute)
	tok, err := s.Token(context.Background())
	require.NoError(t, err)
	require.Equal(t, "a2", tok)
	s.Refused("a1") // an old one: no matter
	s.Refused("a2")
	tok, err = s.Token(context.Background())
	require.NoError(t, err)
	require.Equal(t, "a3", tok)
	require.Equal(t, []string{"r0", "r1", "r2"}, refresh)
	require.Equal(t, "r3", kept)
}

func TestClientCredentials(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.ParseForm())
		require.Equal(t, "client_credentials", r.Form.Get("grant_type"))
		require.Equal(t, "hush", r.Form.Get("client_secret"))
		require.Equal(t, "x/.default", r.Form.Get("scope"))
		_, _ = w.Write([]byte(`{"access_token":"a","expires_in":3600}`))
	}))
	defer srv.Close()
	s, err := New(Options{TokenURL: srv.URL, ClientID: "c", ClientSecret: text("hush"), Scope: "x/.default", Client: srv.Client()})
	require.NoError(t, err)
	tok, err := s.Token(context.Background())
	require.NoError(t, err)
	require.Equal(t, "a", tok)
}

func TestFailures(t *testing.T) {
	status, body := 400, `{"error":"invalid_grant","error_description":"secret words"}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer srv.Close()
	s, err := New(Options{TokenURL: srv.URL, ClientID: "c", RefreshToken: text("r"), Client: srv.Client()})
	require.NoError(t, err)
	_, err = s.Token(context.Background())
	require.ErrorIs(t, err, ErrDenied)
	require.ErrorContains(t, err, "invalid_grant")
	require.NotContains(t, err.Error(), "secret")
	status = 503
	_, err = s.Token(context.Background())
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrDenied)
	status, body = 200, "<html>"
	_, err = s.Token(context.Background())
	require.ErrorContains(t, err, "holds none")
	for _, o := range []Options{{TokenURL: "http://token.example.org/", ClientID: "c", RefreshToken: text("r")}, {TokenURL: "https://token.example.org/"}, {TokenURL: "::"}} {
		_, err := New(o)
		require.Error(t, err)
	}
}
