package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/intake"
)

// TestSilentBoxes tells of a silence once a day, and anew after a recovery.
func TestSilentBoxes(t *testing.T) {
	start := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	told := map[string]time.Time{}
	box := intake.MailboxHealth{Mailbox: "privacy", Started: start, LastSuccess: start}
	other := intake.MailboxHealth{Mailbox: "dpo", Started: start, Standby: true} // another node reads it
	tell := func(after time.Duration) []string {
		return silentBoxes([]intake.MailboxHealth{box, other}, start.Add(after), told)
	}
	require.Empty(t, tell(9*time.Minute))
	box.Failing, box.Since = "log-in refused", start.Add(9*time.Minute)
	require.Equal(t, []string{"privacy"}, tell(11*time.Minute))
	require.Empty(t, tell(23*time.Hour))
	require.Equal(t, []string{"privacy"}, tell(25*time.Hour))
	box.LastSuccess, box.Failing = start.Add(26*time.Hour), ""
	require.Empty(t, tell(26*time.Hour))
	box.Failing = "connection refused"
	require.Equal(t, []string{"privacy"}, tell(27*time.Hour), "a new silence is told at once")
}

// TestRotatedRefreshTokenIsKept: a token server that hands out a new refresh
// token takes the old one no more, so the file must hold the new one.
func TestRotatedRefreshTokenIsKept(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("refresh_token") != "first" {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprint(w, `{"access_token":"a1","expires_in":3600,"refresh_token":"second"}`)
	}))
	defer srv.Close()
	path := filepath.Join(t.TempDir(), "refresh")
	require.NoError(t, os.WriteFile(path, []byte("first\n"), 0o600))
	m := MailboxConfig{Name: "privacy", OAuth: OAuthConfig{TokenURL: srv.URL, ClientID: "postern", RefreshToken: Secret("file:" + path)}}
	box, err := m.mailbox()
	require.NoError(t, err)
	require.Nil(t, box.Password)
	token, err := box.OAuth.Token(context.Background())
	require.NoError(t, err)
	require.Equal(t, "a1", token)
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "second\n", string(kept))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1, "no half-written file stays")
}

// TestRevisionOfMailbox: SIGHUP leaves a mailbox alone unless something of it
// changed, be it only where its secret lies.
func TestRevisionOfMailbox(t *testing.T) {
	m := MailboxConfig{Name: "privacy", Folders: []string{"INBOX"}, Password: "file:/a", OAuth: OAuthConfig{RefreshToken: "file:/t"}}
	same := m
	same.Folders = []string{"INBOX"}
	require.Equal(t, m.revision(), same.revision())
	for name, change := range map[string]func(*MailboxConfig){
		"folder":   func(m *MailboxConfig) { m.Folders = []string{"INBOX", "Junk"} },
		"password": func(m *MailboxConfig) { m.Password = "file:/b" },
		"token":    func(m *MailboxConfig) { m.OAuth.RefreshToken = "file:/u" },
		"poll":     func(m *MailboxConfig) { m.PollEvery++ },
	} {
		other := same
		change(&other)
		require.NotEqual(t, m.revision(), other.revision(), name)
	}
}

func TestMailboxLogInIsPasswordOrOAuth(t *testing.T) {
	dir := t.TempDir()
	base := exampleIn(t, dir)
	oauth := "[mailbox.oauth]\ntoken_url = \"https://login.example.com/token\"\nclient_id = \"postern\"\nclient_secret = \"file:" + filepath.Join(dir, "imap.pass") + "\"\n"
	place := "# In place of the password;"
	password := "password = \"file:" + dir + "/imap.pass\"\n"
	for name, tc := range map[string]struct{ with, without, says string }{
		"both":              {oauth, "", "stands beside a password"},
		"none":              {"", password, "is missing: write file:PATH"},
		"tokens":            {oauth, password, ""},
		"in clear":          {strings.Replace(oauth, "https://", "http://", 1), password, "must be https"},
		"unknown scheme":    {oauth + "mechanism = \"ntlm\"\n", password, "xoauth2"},
		"nothing to ask by": {"[mailbox.oauth]\ntoken_url = \"https://login.example.com/token\"\n", password, "client_id"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(base, place, tc.with+place, 1)
			if tc.without != "" {
				require.Contains(t, text, tc.without)
				text = strings.Replace(text, tc.without, "", 1)
			}
			_, err := parseConfig("x", []byte(text), nil)
			if tc.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.says)
		})
	}
}
