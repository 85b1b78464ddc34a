package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/mattn/go-isatty"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"postern/gateway/keys"
	"postern/testmail/mailbox"
	"postern/testmail/smarthost"
)

func (c *cli) demoCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{Use: "demo", Short: "Run everything in one process with nothing installed, and tell what happens", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error { return c.demo(ctx, once) })}
	cmd.Flags().BoolVar(&once, "once", false, "end after the story; exit 0 only if every step came out as told")
	return cmd
}

// demoConfig is the demo's configuration: the same file format, the same code.
var demoConfig = template.Must(template.New("demo").Parse(`
hostname = "postern.example.org"
data = "{{.Data}}"
[log]
level = "info"
[redis]
url = "redis://in-process"
allow_volatile = true
[public]
listen = "{{.Public}}"
url = "https://mail.example.org"
[operator]
listen = "{{.Operator}}"
[delivery]
first_retry = "1s"
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
[[stream]]
name = "newsletter"
number = 1
kind = "marketing"
controller = "example"
purpose = "newsletter"
list_id = "news.example.org"
title = "Example News"
from_domains = ["example.org"]
mode = "enforce"
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
[[listener]]
name = "smtp"
address = "{{.SMTP}}"
[[listener.client]]
name = "shop"
networks = ["127.0.0.1"]
streams = ["newsletter", "orders"]
default = "newsletter"
[[smarthost]]
address = "{{.Smarthost}}"
tls = "none"
[[mailbox]]
name = "privacy"
controller = "example"
address = "{{.IMAP}}"
tls = "none"
user = "privacy@example.org"
password = "env:POSTERN_DEMO_IMAP"
folders = ["INBOX", "Junk"]
done = "Done"
addresses = ["privacy@example.org"]
poll_every = "1s"
`))

// demoStage is the little world around the node: a mailbox, a next hop, a
// store, all in this process.
type demoStage struct {
	node   *node
	box    *mailbox.Server
	sink   *smarthost.Server
	redis  *miniredis.Miniredis
	rdb    *redis.Client
	busy   atomic.Bool // the next hop answers 451
	smtp   string
	public string
	page   string
	stop   context.CancelFunc
	ended  chan error
	clean  []func()
}

// demo sets the stage, tells the story, and leaves the page open unless once.
func (c *cli) demo(ctx context.Context, once bool) error {
	log := &lateLog{}
	s, err := newStage(ctx, log)
	if err != nil {
		return err
	}
	defer s.close()
	t := &teller{w: c.stdout, colour: colourful(c.stdout)}
	story := &story{demoStage: s, teller: t}
	err = story.tell(ctx)
	if err != nil {
		fmt.Fprintf(c.stderr, "the node's log:\n%s", log)
	}
	if once || err != nil {
		if err == nil {
			t.say("\n%s", t.green("Every step came out as told."))
		}
		return errors.Join(err, s.shutdown())
	}
	t.say("\n%s\n", t.bold("It goes on running; have a look:"))
	t.say("  Sent mail and cases   http://%s/", s.page)
	t.say("  A mail of your own    swaks --server %s --from news@example.org --to anna@example.net --header 'Subject: Hello'", s.smtp)
	t.say("                        curl smtp://%s --mail-from news@example.org --mail-rcpt anna@example.net -T message.eml", s.smtp)
	t.say("  Write to privacy@     the form on the page above")
	if code, err := s.node.newSetupCode(ctx, struct{}{}); err == nil {
		t.say("  Operators' console    %s with the one-time code %s", code.URL, code.Code)
	}
	t.say("  Nothing of this is kept: Redis, mailbox and next hop live in this process.")
	t.say("  Stop                  Ctrl-C")
	select {
	case <-ctx.Done():
	case err := <-s.ended:
		return err
	}
	return s.shutdown()
}

// lateLog keeps the node's log apart from the story: some of its warnings are
// part of the plot, and it is shown only where the story fails.
type lateLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write keeps the first 64 KiB.
func (l *lateLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len() < 64<<10 {
		l.buf.Write(p)
	}
	return len(p), nil
}

// String is what was kept.
func (l *lateLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// colourful tells whether w is a terminal that wants colour.
func colourful(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == ""
}

func newStage(ctx context.Context, stderr io.Writer) (_ *demoStage, err error) {
	s := &demoStage{ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	dir, err := os.MkdirTemp("", "postern-demo-")
	if err != nil {
		return nil, err
	}
	s.clean = append(s.clean, func() { _ = os.RemoveAll(dir) })
	if s.redis, err = miniredis.Run(); err != nil {
		return nil, err
	}
	s.clean = append(s.clean, s.redis.Close)
	go tick(ctx, s.redis)
	s.rdb = redis.NewClient(&redis.Options{Addr: s.redis.Addr(), ContextTimeoutEnabled: true})
	s.clean = append(s.clean, func() { _ = s.rdb.Close() })
	if s.box, err = mailbox.New(mailbox.Options{}); err != nil {
		return nil, err
	}
	s.clean = append(s.clean, func() { _ = s.box.Close() })
	if s.sink, err = smarthost.New(smarthost.Options{Script: s.nextHop}); err != nil {
		return nil, err
	}
	s.clean = append(s.clean, func() { _ = s.sink.Close() })
	return s, s.startNode(ctx, dir, stderr)
}

// nextHop answers as the story wants.
func (s *demoStage) nextHop(e smarthost.Event) smarthost.Answer {
	if e.Verb == "RCPT" && s.busy.Load() {
		return smarthost.Answer{Reply: "451 4.3.2 busy, try later"}
	}
	return smarthost.Answer{}
}

// tick lets keys with a life expire, which an in-process Redis leaves to us.
func tick(ctx context.Context, mini *miniredis.Miniredis) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			mini.FastForward(time.Second)
		}
	}
}

func (s *demoStage) startNode(ctx context.Context, dir string, stderr io.Writer) error {
	addrs, err := freeAddrs(3)
	if err != nil {
		return err
	}
	s.smtp, s.public = addrs[0], addrs[1]
	data := filepath.Join(dir, "data")
	var text strings.Builder
	err = demoConfig.Execute(&text, map[string]string{
		"Data": data, "SMTP": s.smtp, "Public": s.public, "Operator": addrs[2],
		"Smarthost": s.sink.Addr(), "IMAP": s.box.Addr(),
	})
	if err != nil {
		return err
	}
	if err := os.Setenv("POSTERN_DEMO_IMAP", "secret"); err != nil {
		return err
	}
	cfg, err := parseConfig("demo", []byte(text.String()), nil)
	if err != nil {
		return err
	}
	if _, err := keys.Init(cfg.Keys, time.Now()); err != nil {
		return err
	}
	if s.node, err = openNode(ctx, cfg, nodeOptions{log: newLogger(cfg.Log, stderr), rdb: s.rdb}); err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	s.stop = stop
	go func() { s.ended <- s.node.run(runCtx) }()
	if s.page, err = s.servePage(runCtx); err != nil {
		return err
	}
	return s.waitReady(ctx)
}

// waitReady waits for the SMTP listener, the last to open.
func (s *demoStage) waitReady(ctx context.Context) error {
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		select {
		case err := <-s.ended:
			s.ended <- err
			return errors.Join(errors.New("the node ended at start"), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if conn, err := net.DialTimeout("tcp", s.smtp, time.Second); err == nil {
			return conn.Close()
		}
	}
	return errors.New("the node does not answer")
}

// shutdown stops the node and waits for its last word.
func (s *demoStage) shutdown() error {
	s.stop()
	return errors.Join(<-s.ended, s.node.close())
}

// close takes the stage down.
func (s *demoStage) close() {
	if s.stop != nil {
		s.stop()
	}
	for i := len(s.clean) - 1; i >= 0; i-- {
		s.clean[i]()
	}
}

// freeAddrs finds loopback addresses with free ports.
func freeAddrs(n int) ([]string, error) {
	out := make([]string, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		out[i] = l.Addr().String()
	}
	return out, nil
}
