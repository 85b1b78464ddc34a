// Package e2e drives the built binary between real servers.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
	"postern/testmail/smarthost"
)

// binary is the postern under test, built once with the race detector.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "postern-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "postern")
	build := exec.Command("go", "build", "-race", "-o", binary, "postern")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build postern:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// site is one installation under test: Redis, sink, configuration, server.
type site struct {
	t      *testing.T
	Dir    string
	Redis  *env.RedisServer
	Sink   *smarthost.Server
	Config string
	proc   *env.Process

	SMTP, LMTP, Public, Operator string // addresses

	tmpl     siteConfig
	refusing *atomic.Bool // set by outage tests
}

// siteConfig is what the configuration template is filled with.
type siteConfig struct {
	Dir, Redis, SMTP, LMTP, Public, Operator, Smarthost string
	Mode                                                string // of the newsletter stream
	SMTPStreams, SMTPDefault                            string
	Dovecot                                             *env.DovecotServer
	Sign, Bounce                                        string // of the newsletter stream
	Handling                                            string // further keys of the controller
	Extra                                               string
	LogFormat                                           string
}

var configTemplate = template.Must(template.New("config").Parse(`
hostname = "mx-out.example.org"
data = "{{.Dir}}/data"
[log]
level = "debug"
format = "{{or .LogFormat "text"}}"
[redis]
url = "redis://{{.Redis}}/0"
timeout = "2s"
[public]
listen = "{{.Public}}"
url = "https://mail.example.org"
[operator]
listen = "{{.Operator}}"
webhook_networks = ["127.0.0.0/8"]
[delivery]
first_retry = "300ms"
max_retry = "1s"
[[controller]]
id = "example"
name = "Example Shop"
postal = "Example Shop, 1 Market Street, 12345 Town"
contact = "privacy@example.org"
privacy_url = "https://www.example.org/privacy"
authority = "the supervisory authority"
country = "DE"
language = "en"
time_zone = "Europe/Berlin"
domains = ["example.org"]
{{.Handling}}
[[stream]]
name = "newsletter"
number = 1
kind = "marketing"
controller = "example"
purpose = "newsletter"
list_id = "news.example.org"
title = "Example News"
from_domains = ["example.org"]
mode = "{{.Mode}}"
sign = "{{.Sign}}"
bounce = "{{.Bounce}}"
[[stream]]
name = "orders"
number = 2
kind = "transactional"
controller = "example"
from_domains = ["example.org"]
mode = "enforce"
[[stream]]
name = "service"
number = 3
kind = "service"
controller = "example"
from_domains = ["example.org"]
mode = "enforce"
[[stream]]
name = "people"
number = 4
kind = "personal"
controller = "example"
from_domains = ["example.org"]
mode = "enforce"
[[listener]]
name = "lmtp"
address = "{{.LMTP}}"
protocol = "lmtp"
xforward = ["127.0.0.1"]
[[listener.client]]
name = "mailserver"
networks = ["127.0.0.1"]
streams = ["newsletter", "orders", "service", "people"]
default = "people"
[[listener]]
name = "smtp"
address = "{{.SMTP}}"
[[listener.client]]
name = "tool"
networks = ["127.0.0.1"]
streams = [{{.SMTPStreams}}]
default = "{{.SMTPDefault}}"
[[smarthost]]
address = "{{.Smarthost}}"
tls = "none"
{{with .Dovecot}}
[[mailbox]]
name = "privacy"
controller = "example"
address = "{{.Addr}}"
tls = "none"
user = "{{.User}}"
password = "env:E2E_IMAP_PASSWORD"
folders = ["INBOX", "Junk"]
done = "Done"
addresses = ["privacy@example.org"]
poll_every = "5s"
{{end}}
{{.Extra}}
`))

// newSite prepares an installation; change adapts its configuration.
func newSite(t *testing.T, change func(*siteConfig)) *site {
	t.Helper()
	s := &site{t: t, Dir: t.TempDir(), Redis: env.Redis(t)}
	sink, err := smarthost.New(smarthost.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sink.Close() })
	s.Sink = sink
	s.SMTP, s.LMTP, s.Public, s.Operator = env.FreeAddr(t), env.FreeAddr(t), env.FreeAddr(t), env.FreeAddr(t)
	s.tmpl = siteConfig{
		Dir: s.Dir, Redis: s.Redis.Addr, SMTP: s.SMTP, LMTP: s.LMTP, Public: s.Public, Operator: s.Operator,
		Smarthost: sink.Addr(), Mode: "enforce", Bounce: "keep", SMTPStreams: `"newsletter"`, SMTPDefault: "newsletter",
	}
	if change != nil {
		change(&s.tmpl)
	}
	s.Dir = s.tmpl.Dir
	var b bytes.Buffer
	require.NoError(t, configTemplate.Execute(&b, s.tmpl))
	s.Config = filepath.Join(s.Dir, "postern.toml")
	require.NoError(t, os.WriteFile(s.Config, b.Bytes(), 0o600))
	s.run("keys", "init")
	s.start()
	return s
}

// start runs `postern serve` and waits until it is ready.
func (s *site) start() {
	s.t.Helper()
	s.launch()
	s.ready()
}

// launch runs `postern serve`.
func (s *site) launch() {
	s.t.Helper()
	s.proc = env.StartEnv(s.t, []string{"E2E_IMAP_PASSWORD=geheim"}, binary, "serve", "--config", s.Config)
	proc := s.proc
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("postern said:\n%s", proc.Output())
		}
		require.NotContains(s.t, proc.Output(), "DATA RACE")
		// No log line names a person, at any level (ST-5).
		require.NotRegexp(s.t, `[\w.+-]+@[\w-]+\.example|@example\.(net|org|com)`, proc.Output())
	})
}

// ready waits until the server can do its work.
func (s *site) ready() {
	s.t.Helper()
	proc := s.proc
	env.Eventually(s.t, 30*time.Second, "postern to be ready", func() bool {
		select {
		case <-proc.Done():
			s.t.Fatalf("postern ended at start:\n%s", proc.Output())
		default:
		}
		resp, err := http.Get("http://" + s.Operator + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// command prepares a call of the binary with this site's configuration.
func (s *site) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binary, append([]string{"--config", s.Config}, args...)...)
	cmd.Env = append(os.Environ(), "E2E_IMAP_PASSWORD=geheim")
	return cmd
}

// run calls a verb that has to succeed and gives what it printed.
func (s *site) run(args ...string) string {
	s.t.Helper()
	cmd := s.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(s.t, cmd.Run(), "postern %s:\n%s%s", strings.Join(args, " "), out.String(), errs.String())
	return out.String()
}

// cases lists the cases by `postern cases list --json`.
func (s *site) cases() []map[string]any {
	s.t.Helper()
	var list []map[string]any
	require.NoError(s.t, json.Unmarshal([]byte(s.run("cases", "list", "--json")), &list))
	return list
}

// grant records consent for the newsletter.
func (s *site) grant(addr string) {
	s.t.Helper()
	s.run("consent", "grant", addr, "--controller", "example", "--purpose", "newsletter",
		"--wording", "Yes, send me Example News by e-mail.", "--wording-version", "2026-01", "--source", "https://shop.example.org/signup")
}

// importConsent imports rows of the own CSV format for the newsletter.
func (s *site) importConsent(csv string) {
	s.t.Helper()
	cmd := s.command("consent", "import", "-", "--purpose", "newsletter", "--source", "https://shop.example.org/signup",
		"--wording", "Yes, send me Example News by e-mail.", "--wording-version", "2026-01", "--language", "en")
	cmd.Stdin = strings.NewReader(csv)
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s", out)
}

// to counts what arrived at the sink for an address.
func (s *site) to(addr string) (n int) {
	for _, m := range s.Sink.Messages() {
		for _, rcpt := range m.To {
			if rcpt == addr {
				n++
			}
		}
	}
	return n
}

// wait waits until the sink has n messages for an address.
func (s *site) wait(addr string, n int) {
	s.t.Helper()
	env.Eventually(s.t, 30*time.Second, fmt.Sprintf("%d messages for %s at the sink", n, addr), func() bool { return s.to(addr) >= n })
}

// data is the last message at the sink for an address.
func (s *site) data(addr string) string {
	s.t.Helper()
	msgs := s.Sink.Messages()
	for i := len(msgs) - 1; i >= 0; i-- {
		for _, rcpt := range msgs[i].To {
			if rcpt == addr {
				return string(msgs[i].Data)
			}
		}
	}
	s.t.Fatalf("nothing for %s at the sink", addr)
	return ""
}

// swaks sends one message by swaks and gives its transcript and exit code.
func swaks(t *testing.T, addr string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "swaks", append([]string{"--server", addr}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		require.IsType(t, &exec.ExitError{}, err, "%s", out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// post sends a body to the public listener.
func (s *site) post(path, contentType, body string) (int, string) {
	s.t.Helper()
	resp, err := http.Post("http://"+s.Public+path, contentType, strings.NewReader(body))
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(b)
}
