package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sign-in at an identity provider is checked as a whole: what is missing,
// what would be unsafe, and roles that don't exist.
func TestOIDCConfig(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "oidc-secret")
	require.NoError(t, os.WriteFile(secret, []byte("hunter2\n"), 0o600))
	good := "[operator.oidc]\nissuer = \"https://id.example.org\"\nclient_id = \"postern\"\nclient_secret = \"file:" + secret + "\"\nroles = { \"privacy\" = \"operator\" }\n"
	base := strings.Replace(exampleIn(t, dir), "#url = \"\"  ", "url = \"https://postern.example.org\"  ", 1)
	parse := func(base, part string) error {
		_, err := parseConfig("postern.toml", []byte(base+"\n"+part), nil)
		return err
	}
	require.NoError(t, parse(base, good))
	require.ErrorContains(t, parse(exampleIn(t, dir), good), "operator.url")

	for name, c := range map[string]struct{ from, to, says string }{
		"plain issuer":  {"https://id", "http://id", "is not https"},
		"no address":    {"https://id.example.org", "id.example.org", "is no address of a provider"},
		"document":      {"id.example.org", "id.example.org/.well-known/openid-configuration", "leave out"},
		"no issuer":     {"issuer = \"https://id.example.org\"\n", "", "operator.oidc.issuer"},
		"no client":     {"client_id = \"postern\"\n", "", "operator.oidc.client_id"},
		"no secret":     {"client_secret = \"file:" + secret + "\"\n", "", "operator.oidc.client_secret"},
		"secret inside": {"file:" + secret, "hunter2", "operator.oidc.client_secret"},
		"no roles":      {"roles = { \"privacy\" = \"operator\" }\n", "", "nobody may come in"},
		"unknown role":  {"= \"operator\"", "= \"emperor\"", "is no role"},
		"unknown key":   {"client_id", "client", "operator.oidc.client"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, good, c.from)
			err := parse(base, strings.Replace(good, c.from, c.to, 1))
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	require.NoError(t, parse(base, strings.Replace(good, "https://id.example.org", "http://127.0.0.1:5556/dex", 1)))
}
