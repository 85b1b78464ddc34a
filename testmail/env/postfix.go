package env

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// PostfixOptions are what a test wants of a Postfix; zero values leave
// Debian's defaults.
type PostfixOptions struct {
	Main   map[string]string // further main.cf parameters
	Master []string          // further master.cf lines
	// AsShipped leaves the queue's timing alone, for benchmarks; tests want
	// retries within a second.
	AsShipped bool
}

// PostfixServer is a real Postfix with a directory, queue and log of its own.
type PostfixServer struct {
	Addr string // its SMTP listener
	Dir  string
	Log  string // its log file
	t    TB
	conf string
	proc *Process
}

// Postfix starts an unchrooted Postfix on loopback. It needs root, as Postfix
// itself does.
func Postfix(t TB, o PostfixOptions) *PostfixServer {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatalf("Postfix starts as root only: run the tests as root or by sudo")
	}
	p := &PostfixServer{Dir: t.TempDir(), t: t}
	for d := p.Dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755) // its daemons run as another user
	}
	port := FreePort(t)
	p.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	p.Log = filepath.Join(p.Dir, "mail.log")
	p.conf = filepath.Join(p.Dir, "conf")
	for _, d := range []string{"conf", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(p.Dir, d), 0o755); err != nil {
			t.Fatalf("make %s: %v", d, err)
		}
	}
	Run(t, "chown", "postfix", filepath.Join(p.Dir, "data"))
	main := map[string]string{
		"compatibility_level":         "3.6",
		"queue_directory":             filepath.Join(p.Dir, "queue"),
		"data_directory":              filepath.Join(p.Dir, "data"),
		"maillog_file":                p.Log,
		"maillog_file_prefixes":       p.Dir,
		"myhostname":                  "mail.example.org",
		"mydestination":               "",
		"mynetworks":                  "127.0.0.0/8",
		"inet_interfaces":             "127.0.0.1",
		"inet_protocols":              "ipv4",
		"smtp_host_lookup":            "native",
		"smtp_dns_support_level":      "disabled",
		"alias_maps":                  "",
		"alias_database":              "",
		"local_recipient_maps":        "",
		"smtpd_relay_restrictions":    "permit_mynetworks, reject",
		"minimal_backoff_time":        "1s",
		"maximal_backoff_time":        "2s",
		"queue_run_delay":             "1s",
		"smtpd_client_restrictions":   "",
		"smtputf8_autodetect_classes": "all",
	}
	if !o.AsShipped {
		main["minimal_backoff_time"], main["maximal_backoff_time"], main["queue_run_delay"] = "1s", "2s", "1s"
	}
	for k, v := range o.Main {
		main[k] = v
	}
	var b strings.Builder
	for k, v := range main {
		fmt.Fprintf(&b, "%s = %s\n", k, v)
	}
	writeFile(t, filepath.Join(p.conf, "main.cf"), b.String(), 0o644)
	writeFile(t, filepath.Join(p.conf, "master.cf"), fmt.Sprintf(`127.0.0.1:%d inet n - n - - smtpd
pickup    unix  n       -       n       60      1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       1       1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
local     unix  -       n       n       -       -       local
virtual   unix  -       n       n       -       -       virtual
lmtp      unix  -       -       n       -       -       lmtp
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
%s
`, port, strings.Join(o.Master, "\n")), 0o644)
	Run(t, "/usr/sbin/postfix", "-c", p.conf, "check")
	p.Start()
	return p
}

// Start starts the server again after Kill, over the same queue.
func (p *PostfixServer) Start() {
	p.t.Helper()
	p.proc = Start(p.t, "/usr/sbin/postfix", "-c", p.conf, "start-fg")
	p.t.Cleanup(p.Kill)
	WaitPort(p.t, p.proc, p.Addr)
}

// Kill ends the master and its children.
func (p *PostfixServer) Kill() {
	select {
	case <-p.proc.Done():
		return
	default:
	}
	// The daemons are in the master's process group, which is not always ours.
	if pid, err := os.ReadFile(filepath.Join(p.Dir, "queue", "pid", "master.pid")); err == nil {
		killGroup(strings.TrimSpace(string(pid)))
	}
	p.proc.Kill()
}

// Pid is the master's process id; its daemons are in its process group.
func (p *PostfixServer) Pid() int {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.Dir, "queue", "pid", "master.pid"))
	if err != nil {
		p.t.Fatalf("Postfix's pid: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		p.t.Fatalf("Postfix's pid: %v", err)
	}
	return pid
}

// Flush asks for an immediate attempt on all deferred mail.
func (p *PostfixServer) Flush() {
	p.t.Helper()
	Run(p.t, "/usr/sbin/postqueue", "-c", p.conf, "-f")
}

// Queue is what "postqueue -p" prints.
func (p *PostfixServer) Queue() string {
	p.t.Helper()
	return Run(p.t, "/usr/sbin/postqueue", "-c", p.conf, "-p")
}

// LogText is the server's log so far.
func (p *PostfixServer) LogText() string {
	b, _ := os.ReadFile(p.Log)
	return string(b)
}
