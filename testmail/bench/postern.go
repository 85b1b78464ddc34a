package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"postern/testmail/env"
)

// installation is a running postern with its addresses.
type installation struct {
	h        *host
	binary   string
	config   string
	proc     *env.Process
	started  time.Time // when the process was
	redis    *env.RedisServer
	Dir      string
	Redis    string
	Operator string
	Public   string
	News     string // SMTP, marketing, personalised
	Signed   string // SMTP, marketing, personalised and signed here
	Orders   string // SMTP, transactional
	Next     string // smarthost
	Dovecot  *env.DovecotServer
}

var configText = template.Must(template.New("config").Parse(`
hostname = "mx-out.example.org"
data = "{{.Dir}}/data"
[log]
level = "warn"
[redis]
url = "redis://{{.Redis}}/0"
[public]
listen = "{{.Public}}"
url = "https://mail.example.org"
[operator]
listen = "{{.Operator}}"
[delivery]
first_retry = "500ms"
max_retry = "1s"
[[controller]]
id = "example"
name = "Example Shop"
contact = "privacy@example.org"
country = "DE"
domains = ["example.org"]
[[stream]]
name = "news"
number = 1
kind = "marketing"
controller = "example"
purpose = "newsletter"
list_id = "news.example.org"
title = "Example News"
from_domains = ["example.org"]
sign = "smarthost"
mode = "enforce"
[[stream]]
name = "signed"
number = 2
kind = "marketing"
controller = "example"
purpose = "newsletter"
list_id = "signed.example.org"
title = "Example News"
from_domains = ["example.org"]
sign = "dkim"
mode = "enforce"
[[stream]]
name = "orders"
number = 3
kind = "transactional"
controller = "example"
from_domains = ["example.org"]
mode = "enforce"
[[stream]]
name = "service"
number = 4
kind = "service"
controller = "example"
from_domains = ["example.org"]
mode = "enforce"
[[listener]]
name = "news"
address = "{{.News}}"
[[listener.client]]
name = "news"
networks = ["127.0.0.1"]
streams = ["news"]
default = "news"
[[listener]]
name = "signed"
address = "{{.Signed}}"
[[listener.client]]
name = "signed"
networks = ["127.0.0.1"]
streams = ["signed"]
default = "signed"
[[listener]]
name = "orders"
address = "{{.Orders}}"
[[listener.client]]
name = "orders"
networks = ["127.0.0.1"]
streams = ["orders"]
default = "orders"
[[smarthost]]
address = "{{.Next}}"
tls = "none"
[[dkim]]
domain = "example.org"
selector = "bench"
key = "{{.Dir}}/bench.pem"
{{with .Dovecot}}
[[mailbox]]
name = "privacy"
controller = "example"
address = "{{.Addr}}"
tls = "none"
user = "{{.User}}"
password = "env:BENCH_IMAP_PASSWORD"
folders = ["INBOX"]
done = "Done"
addresses = ["privacy@example.org"]
{{end}}
`))

// install sets a postern up before next and starts it.
func install(h *host, binary, next string, dovecot *env.DovecotServer) *installation {
	store := env.Redis(h)
	i := &installation{
		h: h, binary: binary, Dir: h.TempDir(), redis: store, Redis: store.Addr, Next: next, Dovecot: dovecot,
		Operator: env.FreeAddr(h), Public: env.FreeAddr(h), News: env.FreeAddr(h), Signed: env.FreeAddr(h), Orders: env.FreeAddr(h),
	}
	var b bytes.Buffer
	if err := configText.Execute(&b, i); err != nil {
		h.Fatalf("configuration: %v", err)
	}
	i.config = filepath.Join(i.Dir, "postern.toml")
	if err := os.WriteFile(i.config, b.Bytes(), 0o600); err != nil {
		h.Fatalf("configuration: %v", err)
	}
	i.run(nil, "dkim", "keygen", "example.org", "bench", "--out", filepath.Join(i.Dir, "bench.pem"))
	i.run(nil, "keys", "init")
	i.started = time.Now()
	i.proc = env.StartEnv(h, []string{"BENCH_IMAP_PASSWORD=geheim"}, binary, "serve", "--config", i.config)
	env.Eventually(h, 30*time.Second, "postern to be ready: "+i.proc.Output(), func() bool {
		resp, err := http.Get("http://" + i.Operator + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return i
}

// run calls a verb and gives what it printed.
func (i *installation) run(stdin []byte, args ...string) string {
	cmd := exec.Command(i.binary, append([]string{"--config", i.config}, args...)...)
	cmd.Env = append(os.Environ(), "BENCH_IMAP_PASSWORD=geheim")
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		i.h.Fatalf("postern %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// consent imports consent for addresses.
func (i *installation) consent(addrs []string) {
	var b bytes.Buffer
	b.WriteString("address,action,time\n")
	for _, a := range addrs {
		fmt.Fprintf(&b, "%s,given,2026-01-02T03:04:05Z\n", a)
	}
	i.run(b.Bytes(), "consent", "import", "-", "--purpose", "newsletter", "--source", "https://shop.example.org/signup",
		"--wording", "Yes, send me Example News by e-mail.", "--wording-version", "1", "--language", "en")
}
