package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// call runs the program in process.
func call(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"unknown verb":  {[]string{"fly"}, 2, "unknown command"},
		"unknown flag":  {[]string{"config", "check", "--fast"}, 2, "unknown flag"},
		"too many args": {[]string{"config", "example", "x"}, 2, ""},
		"missing verb":  {[]string{"config"}, 2, "needs one of its verbs"},
		"no such file":  {[]string{"config", "check", "nowhere.toml"}, 1, "postern config example"},
		"success":       {[]string{"config", "example"}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := call(t, "", c.args...)
			require.Equal(t, c.code, code, stderr)
			require.Contains(t, stderr, c.says)
		})
	}
}

// TestBadConfigs checks each folder of testmail/badconfig against its want.
func TestBadConfigs(t *testing.T) {
	dirs, err := filepath.Glob("testmail/badconfig/*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join(dir, "postern.toml"))
			require.NoError(t, err)
			_, err = parseConfig("postern.toml", raw, nil)
			require.Error(t, err)
			got := err.Error() + "\n"
			want, _ := os.ReadFile(filepath.Join(dir, "want"))
			if got != string(want) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, "want.got"), []byte(got), 0o600))
			}
			require.Equal(t, string(want), got, "if this is right: cp want.got want")
			require.NotContains(t, got, "hunter2", "a secret is never repeated")
		})
	}
}

// exampleIn gives the example with its files in a folder where they exist.
func exampleIn(t *testing.T, dir string) string {
	t.Helper()
	for _, name := range []string{"imap.pass", "smarthost.pass", "redis.pass"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x\n"), 0o600))
	}
	text := strings.ReplaceAll(exampleConfig, "/etc/postern", dir)
	return strings.ReplaceAll(text, "/var/lib/postern", filepath.Join(dir, "data"))
}

func TestExampleConfigIsValidAndShowsEveryKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "postern.toml")
	require.NoError(t, os.WriteFile(path, []byte(exampleIn(t, dir)), 0o600))
	code, out, errs := call(t, "", "config", "check", path)
	require.Zero(t, code, errs)
	require.Contains(t, out, "ok")

	for _, key := range allKeys(reflect.TypeFor[Config]()) {
		require.Regexp(t, regexp.MustCompile(`(?m)^#?(`+key+` = |\[\[?([a-z]+\.)?`+key+`\]\]?)`), exampleConfig, "the example does not show %s", key)
	}
}

func TestCommentedDefaultsOfTheExampleAreTheRealOnes(t *testing.T) {
	dir := t.TempDir()
	text := exampleIn(t, dir)
	plain, err := parseConfig("plain", []byte(text), nil)
	require.NoError(t, err)
	// Uncomment every default of a section that is in force; what changes then
	// was documented wrongly.
	var b strings.Builder
	optional := false
	for _, line := range strings.SplitAfter(text, "\n") {
		if strings.HasPrefix(line, "#[") {
			optional = true
		} else if strings.HasPrefix(line, "[") {
			optional = false
		}
		value := regexp.MustCompile(`^#([a-z_]+ = .*)`).FindStringSubmatch(line)
		if value != nil && !optional && !strings.Contains(line, "password") && !strings.Contains(line, "authserv_id") {
			line = value[1] + "\n"
		}
		b.WriteString(line)
	}
	shown, err := parseConfig("shown", []byte(b.String()), nil)
	require.NoError(t, err)
	for _, c := range []*Config{plain, shown} {
		c.path, c.lines = "", nil
		yes := true
		c.Cases.Acknowledge = &yes
	}
	for i := range shown.Mailboxes {
		require.Empty(t, shown.Mailboxes[i].ARCSealers)
		shown.Mailboxes[i].ARCSealers = nil
	}
	for i := range shown.Streams {
		shown.Streams[i].Expire = 0 // its default is that of [delivery]
	}
	for _, c := range []*Config{plain, shown} {
		c.Ledger.AnchorMail, c.Operator.WebhookNetworks = nil, nil
		for i := range c.Controllers {
			c.Controllers[i].Operators, c.Controllers[i].Holidays = nil, nil
			c.Controllers[i].FourEyes, c.Controllers[i].Policy = nil, nil
		}
		for i := range c.Listeners {
			c.Listeners[i].Proxy, c.Listeners[i].XClient = nil, nil
			for j := range c.Listeners[i].Clients {
				c.Listeners[i].Clients[j].FromDomains = nil
			}
		}
	}
	require.Equal(t, plain, shown)
}

func allKeys(t reflect.Type) (keys []string) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if tag := f.Tag.Get("toml"); tag != "" {
			keys = append(keys, tag)
		}
		if f.IsExported() {
			keys = append(keys, allKeys(f.Type)...)
		}
	}
	return keys
}

func TestEnvironmentOverridesSingleValues(t *testing.T) {
	dir := t.TempDir()
	text := []byte(exampleIn(t, dir))
	c, err := parseConfig("x", text, []string{"POSTERN_HOSTNAME=other.example.org", "POSTERN_REDIS_TIMEOUT=3s", "POSTERN_LIMITS_MAX_RECIPIENTS=200", "POSTERN_CASES_ACKNOWLEDGE=false", "HOME=/"})
	require.NoError(t, err)
	require.Equal(t, "other.example.org", c.Hostname)
	require.Equal(t, "3s", c.Redis.Timeout.String())
	require.Equal(t, 200, c.Limits.MaxRecipients)
	require.False(t, *c.Cases.Acknowledge)

	_, err = parseConfig("x", text, []string{"POSTERN_REDIS_TIMEOT=3s", "POSTERN_LIMITS_MAX_RECIPIENTS=many"})
	require.ErrorContains(t, err, "POSTERN_REDIS_TIMEOT: unknown environment variable")
	require.ErrorContains(t, err, "POSTERN_LIMITS_MAX_RECIPIENTS: write a whole number")
}

func TestClassifyPrintsOneJSONLineAMail(t *testing.T) {
	mail := "From: anna@example.net\r\nTo: privacy@example.org\r\nSubject: my data\r\n\r\nPlease send me a copy of all personal data you hold about me.\r\n"
	code, out, errs := call(t, mail, "classify", "--json")
	require.Zero(t, code, errs)
	require.Equal(t, 1, strings.Count(out, "\n"))
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	for _, field := range []string{"file", "language", "kind", "labels", "decided", "abstain", "regime", "reasons"} {
		require.Contains(t, got, field)
	}
	require.Equal(t, "request", got["kind"])
	require.Equal(t, []any{"access"}, got["decided"])
}

func TestAccountHashNeedsAPassword(t *testing.T) {
	code, out, _ := call(t, "geheim\n", "account", "hash")
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(out, "$argon2id$"), out)
	code, _, errs := call(t, "", "account", "hash")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no password")
}

func TestDKIMKeygenPrintsItsRecord(t *testing.T) {
	out := filepath.Join(t.TempDir(), "k.pem")
	code, text, errs := call(t, "", "dkim", "keygen", "example.org", "s1", "--algorithm", "ed25519", "--out", out)
	require.Zero(t, code, errs)
	require.Contains(t, text, "s1._domainkey.example.org")
	require.Contains(t, text, "k=ed25519")
	info, err := os.Stat(out)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	code, _, _ = call(t, "", "dkim", "keygen", "example.org", "s1", "--out", out)
	require.Equal(t, 1, code, "a key is never overwritten")
}

// TestDemo tells the demo's story to its end.
func TestDemo(t *testing.T) {
	code, out, errs := call(t, "", "demo", "--once")
	require.Zero(t, code, "%s\n%s", out, errs)
	require.Contains(t, out, "Every step came out as told.")
	require.NotContains(t, out, "✗")
}

func TestDomainsOfAClient(t *testing.T) {
	c := &Config{
		Accounts:  []AccountConfig{{Name: "crm", GrantConfig: GrantConfig{FromDomains: []string{"crm.example.org"}}}},
		Listeners: []ListenerConfig{{Clients: []ClientConfig{{Name: "shop", GrantConfig: GrantConfig{FromDomains: []string{"shop.example.org"}}}, {Name: "office"}}}},
	}
	require.Equal(t, []string{"crm.example.org"}, c.ownedBy("crm"))
	require.Equal(t, []string{"shop.example.org"}, c.ownedBy("shop"))
	require.Empty(t, c.ownedBy("office"))
	require.Empty(t, c.ownedBy("dsn"))
}

func TestReplicasAreNotRead(t *testing.T) {
	for _, option := range []string{"read_only", "route_by_latency", "route_randomly", "replica_only"} {
		_, err := parseConfig("x.toml", []byte("[redis]\nurl = \"redis://a:6379?addr=b:6379&"+option+"=true\"\n"), nil)
		require.ErrorContains(t, err, "x.toml:2: redis.url: "+option+" reads from replicas")
	}
}
