package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// listening keeps what everybody outside is told: error answers and metrics.
type listening struct {
	t    *testing.T
	base string
	http *http.Client
	mu   sync.Mutex
	told bytes.Buffer // answers of 4xx and 5xx, and /metrics
}

// do sends a request and keeps an answer that is an error.
func (l *listening) do(method, path, media, body string, head ...string) (int, string) {
	l.t.Helper()
	req, err := http.NewRequest(method, l.base+path, strings.NewReader(body))
	require.NoError(l.t, err)
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	resp, err := l.http.Do(req)
	require.NoError(l.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(l.t, err)
	if resp.StatusCode >= 400 {
		l.mu.Lock()
		l.told.Write(text)
		l.mu.Unlock()
	}
	return resp.StatusCode, string(text)
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

// form posts a form of the console with the token of a page.
func (l *listening) form(path string, fields url.Values) (int, string) {
	l.t.Helper()
	_, page := l.do("GET", "/account", "", "")
	if m := formToken.FindStringSubmatch(page); m != nil {
		fields.Set("token", m[1])
	}
	return l.do("POST", path, "application/x-www-form-urlencoded", fields.Encode())
}

// shell runs the examples of deploy/docs/api.md as they stand there, against
// this site.
func (s *site) shell(doc, receiver string) string {
	s.t.Helper()
	raw, err := os.ReadFile(doc)
	require.NoError(s.t, err)
	var script strings.Builder
	script.WriteString("set -eu\npostern() { " + binary + " --config " + s.Config + " \"$@\"; }\n")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1)
	require.NotEmpty(s.t, blocks)
	for _, b := range blocks {
		script.WriteString(b[1])
	}
	text := strings.ReplaceAll(script.String(), "http://127.0.0.1:8026", "http://"+s.Operator)
	text = strings.ReplaceAll(text, "https://crm.example.org/postern", receiver)
	text = strings.ReplaceAll(text, "call() {", "call() { echo \"+ $*\" >&2;")
	cmd := exec.CommandContext(s.t.Context(), "sh", "-c", text+"\nprintf '%s' \"$TOKEN\"")
	cmd.Env = append(os.Environ(), "E2E_IMAP_PASSWORD=geheim")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(s.t, cmd.Run(), "%s\n%s", out.String(), errs.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[len(lines)-1]
}

// Everything a company does with Postern in one installation at debug level,
// the first half with its log as text, the second as JSON:
// mail through the relay, allowed and refused; one-click, a broken link and a
// sign-up; letters to privacy@ that become cases; the verbs of the command
// line; the API by its documentation's examples; the console. After it no log
// line, no metric, no error answer and no key of Redis names anybody, whatever
// way an address may be written, and none has a secret.
func TestNobodyIsNamed(t *testing.T) {
	t.Parallel()
	d := env.Dovecot(t)
	s := newSite(t, func(c *siteConfig) { c.Dovecot = d })
	operator := &listening{t: t, base: "http://" + s.Operator, http: &http.Client{}}
	public := &listening{t: t, base: "http://" + s.Public, http: &http.Client{}}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	operator.http.Jar = jar
	people := []string{"anna.seven@example.net", "otto.refused@example.com", "ida.objects@example.net", "emil.access@example.com",
		"nora.signup@example.com", "kurt.typed@example.net", "alice@example.com", "bert@example.net", "carla@example.com", "dora@example.com"}

	// The relay: delivered, refused for want of consent, refused for its form.
	s.grant(people[0])
	s.grant(people[2])
	out, code := swaks(t, s.SMTP, "--from", "news@example.org", "--to", people[0], "--body", "Fresh bread.")
	require.Zero(t, code, out)
	s.wait(people[0], 1)
	out, code = swaks(t, s.SMTP, "--from", "news@example.org", "--to", people[1], "--body", "Fresh bread.")
	require.NotZero(t, code)
	require.Contains(t, out, "550 5.7.1")
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "<") && strings.Contains(line, "550") {
			require.NotContains(t, line, people[1])
		}
	}
	_, _ = swaks(t, s.SMTP, "--from", "news@elsewhere.example", "--to", people[1])

	// Unsubscribing, a link that is none, the sign-up page.
	link := unsubscribeLink.FindStringSubmatch(s.data(people[0]))
	require.NotNil(t, link)
	status, _ := public.do("POST", link[1], "application/x-www-form-urlencoded", oneClickBody)
	require.Equal(t, http.StatusOK, status)
	public.do("GET", "/u/"+strings.Repeat("x", 60), "", "")
	public.do("POST", "/s/newsletter", "application/x-www-form-urlencoded", "act=signup&address="+url.QueryEscape(people[4]))
	public.do("POST", "/s/newsletter", "application/x-www-form-urlencoded", "act=signup&address=not+"+url.QueryEscape(people[5]))

	// privacy@: an objection, a request, and the way of a case on the command line.
	d.Deliver(letter(people[2], "Stop", "Hello,\r\nI object to the use of my data for advertising. Do not send me any more newsletters.\r\nIda"))
	d.Deliver(letter(people[3], "My data", "Hello,\r\nplease send me a copy of all personal data you hold about me, under Article 15 GDPR.\r\nEmil"))
	var number string
	env.Eventually(t, 60*time.Second, "the two cases", func() bool {
		list := s.cases()
		for _, k := range list {
			if labels, _ := json.Marshal(k["labels"]); strings.Contains(string(labels), "access") {
				number, _ = k["number"].(string)
			}
		}
		return len(list) == 2 && number != ""
	})
	s.run("cases", "show", number)
	s.run("consent", "show", people[2])
	s.run("ledger", "show", "--address", people[2])
	s.run("cases", "identity", number, "--waive", "known")
	s.run("cases", "fulfil", number, "export")

	s.proc.Stop()
	asText := s.proc.Output()
	s.configure(func(c *siteConfig) { c.LogFormat = "json" })
	s.start()
	out, code = swaks(t, s.SMTP, "--from", "news@example.org", "--to", people[1], "--body", "Fresh bread.")
	require.NotZero(t, code, out)
	public.do("POST", link[1], "application/x-www-form-urlencoded", oneClickBody)
	d.Deliver(letter(people[6], "Stop", "Hello,\r\nI object to the use of my data for advertising. Do not send me any more newsletters.\r\nAlice"))
	env.Eventually(t, 60*time.Second, "a further case", func() bool { return len(s.cases()) == 3 })

	// The API: every example of the documentation, then what it refuses.
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(receiver.Close)
	token := s.shell("../../deploy/docs/api.md", receiver.URL)
	require.Regexp(t, `^postern_`, token)
	bearer := []string{"Authorization", "Bearer " + token}
	for path, body := range map[string]string{
		"/consent/grants":  `{"purpose": "newsletter", "address": "` + people[5] + `"}`,
		"/consent/check":   `{"stream": "nothing", "addresses": ["` + people[5] + `"]}`,
		"/consent/history": `{"address": "<` + people[5] + `> x"}`,
		"/suppressions":    `{"` + people[5] + `": 1}`,
		"/cases":           `{"way": "` + people[5] + `", "received": "2026-11-20T09:00:00Z"}`,
		"/ledger/prove":    `{"address": "` + people[5] + `"}`,
		"/webhooks":        `{"url": "` + people[5] + `", "events": ["` + people[5] + `"]}`,
	} {
		status, text := operator.do("POST", "/api/v1"+path, "application/json", body, bearer...)
		require.GreaterOrEqual(t, status, 400, "%s: %s", path, text)
	}

	// The console: first run, an operator, a case, a search for a person.
	var setup struct{ Code string }
	require.NoError(t, json.Unmarshal([]byte(s.run("console", "setup-code", "--json")), &setup))
	password := "a quiet test sentence"
	operator.do("POST", "/setup", "application/x-www-form-urlencoded", url.Values{"code": {setup.Code}, "name": {"root"}, "password": {password}}.Encode())
	operator.do("POST", "/login", "application/x-www-form-urlencoded", url.Values{"name": {"root"}, "password": {"wrong"}}.Encode())
	operator.do("POST", "/login", "application/x-www-form-urlencoded", url.Values{"name": {"root"}, "password": {password}}.Encode())
	operator.form("/users", url.Values{"name": {"olga"}, "password": {password}, "role": {"operator"}})
	operator.form("/logout", url.Values{})
	operator.do("POST", "/login", "application/x-www-form-urlencoded", url.Values{"name": {"olga"}, "password": {password}}.Encode())
	status, page := operator.do("GET", "/cases/"+number, "", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, people[3], "the operator does see who wrote")
	for _, path := range []string{"/", "/cases", "/sending", "/cases/PC-0000-0000"} {
		operator.do("GET", path, "", "")
	}
	operator.form("/cases/search", url.Values{"q": {people[2]}})
	operator.form("/cases/"+number+"/move", url.Values{"action": {"close"}, "reason": {"done"}})

	// What is known outside: nothing of anybody.
	_, metrics := operator.do("GET", "/metrics", "", "")
	require.Contains(t, metrics, "postern_api_requests_total")
	require.Contains(t, metrics, "postern_console_logins_total")
	keys, err := exec.Command("redis-cli", "-h", "127.0.0.1", "-p", port(s.Redis.Addr), "--scan").Output()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	require.True(t, strings.HasPrefix(s.proc.Output(), "{"), "the log is JSON now")
	secrets := []string{password, setup.Code, token, strings.TrimPrefix(link[1], "/u/"), "geheim"}
	for where, text := range map[string]string{
		"log as text": asText, "log as JSON": s.proc.Output(), "metrics": metrics, "errors of the operators' listener": operator.told.String(),
		"errors of public pages": public.told.String(), "keys of Redis": string(keys),
	} {
		for _, secret := range secrets {
			require.NotContains(t, text, secret, "%s has a secret", where)
		}
		for _, who := range people {
			for _, code := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
				require.NotContains(t, text, strings.TrimRight(code.EncodeToString([]byte(who)), "="), "%s names somebody in base64", where)
			}
		}
		text = strings.ToLower(text)
		for _, who := range people {
			local, domain, _ := strings.Cut(who, "@")
			for _, form := range []string{who, url.QueryEscape(who), local + `\u0040` + domain, local + "&#64;" + domain, local + "=40" + domain} {
				require.NotContains(t, text, form, "%s names somebody", where)
			}
			if strings.Contains(local, ".") {
				require.NotContains(t, text, local, "%s names somebody", where)
			}
		}
	}
}
