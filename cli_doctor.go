package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway/dkim"
	"postern/gateway/preflight"
)

// doctorCall is how `postern doctor` was called.
type doctorCall struct {
	stream, mailbox, file, ip string
	offline, tryLink          bool
	wait                      time.Duration
}

// doctorReport is all that was found.
type doctorReport struct {
	Installation []preflight.Finding `json:"installation,omitempty"`
	Message      []preflight.Finding `json:"message,omitempty"`
	Bulk         []preflight.Rule    `json:"bulk_rules,omitempty"`
}

func (c *cli) doctorCommand() *cobra.Command {
	var d doctorCall
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the installation, and a marketing message as a mailbox provider would", Args: cobra.NoArgs,
		Long: "Checks Redis, keys, smarthosts, DKIM records, mailboxes and the public URL. With --stream it also sends a message of that\n" +
			"stream through the whole path to a polled mailbox's own address, checks what arrives and unsubscribes it again.\n" +
			"With --file it checks a received message only. Exit code 1 if something fails.",
		RunE: verb(func(ctx context.Context, _ []string) error { return c.doctor(ctx, d) }),
	}
	f := cmd.Flags()
	f.StringVar(&d.stream, "stream", "", "marketing stream to send a message of")
	f.StringVar(&d.mailbox, "mailbox", "", "polled mailbox to send it to; default: the first with an address of its own")
	f.StringVar(&d.file, "file", "", "check this received message instead")
	f.BoolVar(&d.offline, "offline", false, "ask no DNS and not the public URL; the link is tried at public.listen")
	f.BoolVar(&d.tryLink, "try-link", false, "with --file: try its unsubscribe link, which ends that consent")
	f.StringVar(&d.ip, "sending-ip", "", "address the smarthost sends from, for SPF and reverse DNS")
	f.DurationVar(&d.wait, "wait", 2*time.Minute, "how long to wait for the message in the mailbox")
	return cmd
}

func (c *cli) doctor(ctx context.Context, d doctorCall) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	o, err := d.options(cfg)
	if err != nil {
		return err
	}
	var rep doctorReport
	if d.file != "" {
		raw, err := os.ReadFile(d.file)
		if err != nil {
			return err
		}
		if !d.tryLink {
			o.Client = nil
		}
		rep.look(ctx, raw, o)
		return c.printDoctor(rep)
	}
	err = c.withNode(ctx, func(call caller) error {
		rep.Installation, err = ask[[]preflight.Finding](ctx, call, "doctor/installation", doctorRequest{Offline: d.offline})
		if err != nil {
			return err
		}
		for _, base := range cfg.publicURLs() {
			rep.Installation = append(rep.Installation, d.examinePublic(ctx, base))
		}
		if d.stream == "" {
			return nil
		}
		return d.message(ctx, cfg, call, o, &rep)
	})
	if err != nil {
		return err
	}
	return c.printDoctor(rep)
}

// look runs the checks on a received message.
func (r *doctorReport) look(ctx context.Context, raw []byte, o preflight.Options) {
	r.Message = append(r.Message, preflight.Check(ctx, raw, o)...)
	r.Bulk = preflight.BulkRules(r.Message)
}

// message sends one, waits for it and checks it.
func (d doctorCall) message(ctx context.Context, cfg *Config, call caller, o preflight.Options, rep *doctorReport) error {
	conn, err := net.DialTimeout("unix", socketPath(cfg.Data), 2*time.Second)
	if err != nil {
		return errors.New("the message needs the running server: start postern serve first")
	}
	_ = conn.Close()
	for _, s := range cfg.Streams {
		for _, k := range cfg.Controllers {
			if s.Name == d.stream && s.Controller == k.ID {
				o.Postal, o.PublicURLs = k.Postal, []string{cfg.publicURL(k.ID)}
			}
		}
	}
	sent, err := ask[doctorSent](ctx, call, "doctor/send", doctorRequest{Stream: d.stream, Mailbox: d.mailbox, Actor: operatorName()})
	if err != nil {
		rep.Message = append(rep.Message, judged("sent", err, "", "mend what it says, then run the doctor again"))
		return nil
	}
	raw, err := d.await(ctx, call, sent)
	if err != nil {
		rep.Message = append(rep.Message, judged("arrived", err, "",
			"look where it is: postern spool show "+sent.Spool+", then the smarthost's log; the consent recorded for it stands until the next run"))
		return nil
	}
	rep.Message = append(rep.Message, judged("arrived", nil, "in mailbox "+sent.Mailbox, ""))
	rep.look(ctx, raw, o)
	return nil
}

// await asks for the message until it is there.
func (d doctorCall) await(ctx context.Context, call caller, sent doctorSent) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		got, err := ask[doctorFound](ctx, call, "doctor/find", doctorRequest{Mailbox: sent.Mailbox, Message: sent.Message})
		if err == nil && got.Raw != nil {
			return got.Raw, nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("the message did not reach mailbox %q within %s", sent.Mailbox, d.wait), last)
		case <-tick.C:
		}
	}
}

// options are what the checks may use.
func (d doctorCall) options(cfg *Config) (preflight.Options, error) {
	o := preflight.Options{PublicURLs: cfg.publicURLs(), Timeout: 20 * time.Second}
	if d.ip != "" {
		ip, err := netip.ParseAddr(d.ip)
		if err != nil {
			return o, errors.New("--sending-ip is not an IP address")
		}
		o.SendingIP = ip
	}
	if d.offline {
		o.LookupTXT = ownKeys(cfg)
		o.Client = &http.Client{Transport: publicListener(cfg)}
		return o, nil
	}
	o.LookupTXT, o.Resolver = net.DefaultResolver.LookupTXT, net.DefaultResolver
	o.Client = &http.Client{}
	return o, nil
}

// ownKeys answers for the keys of this installation as DNS should; of others
// it knows nothing.
func ownKeys(cfg *Config) func(context.Context, string) ([]string, error) {
	own := map[string]string{}
	for _, d := range cfg.DKIM {
		if k, err := dkim.Load(d.Key, d.Domain, d.Selector); err == nil {
			if name, txt, err := dkim.DNS(k); err == nil {
				own[strings.ToLower(name)] = txt
			}
		}
	}
	return func(_ context.Context, name string) ([]string, error) {
		if txt, ok := own[strings.ToLower(strings.TrimSuffix(name, "."))]; ok {
			return []string{txt}, nil
		}
		return nil, &net.DNSError{Err: "not asked", Name: name, IsTemporary: true}
	}
}

// directTransport leads requests to one address, whatever their host.
type directTransport struct {
	plain bool // no TLS there
	*http.Transport
}

func publicListener(cfg *Config) http.RoundTripper {
	return directTransport{cfg.Public.Cert == "", &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", cfg.Public.Listen)
		},
		DisableKeepAlives: true,
	}}
}

// RoundTrip sends the request to the address.
func (t directTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.plain {
		r = r.Clone(r.Context())
		r.URL.Scheme = "http"
		if r.Host == "" {
			r.Host = r.URL.Host
		}
	}
	return t.Transport.RoundTrip(r)
}

// publicURLs are the bases of all mailed links, the installation's first.
func (c *Config) publicURLs() []string {
	out := []string{c.Public.URL}
	for _, k := range c.Controllers {
		if base := c.publicURL(k.ID); !slices.Contains(out, base) {
			out = append(out, base)
		}
	}
	return out
}

// examinePublic asks for a public URL from here. Any answer will do: what it
// says is looked at with a message's own link.
func (d doctorCall) examinePublic(ctx context.Context, base string) preflight.Finding {
	if d.offline || base == "" {
		return preflight.Finding{Name: "public-url", Level: preflight.Unchecked, What: "it was not asked", Do: "run again without --offline, with public.url set"}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/", nil)
	if err == nil {
		var resp *http.Response
		if resp, err = http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode >= 500 {
				err = fmt.Errorf("it answers %d", resp.StatusCode)
			}
		}
	}
	return judged("public-url", err, base+" answers over https", base+": look at DNS, the TLS proxy and public.listen")
}

func (c *cli) printDoctor(rep doctorReport) error {
	failed := 0
	for _, list := range [][]preflight.Finding{rep.Installation, rep.Message} {
		for _, f := range list {
			if !f.OK() {
				failed++
			}
		}
	}
	if c.json {
		if err := c.printJSON(rep); err != nil {
			return err
		}
	} else {
		c.printFindings("Installation", rep.Installation)
		c.printFindings("Message as it arrived", rep.Message)
		if len(rep.Bulk) > 0 {
			fmt.Fprintln(c.stdout, "Rules for bulk senders")
		}
		for _, r := range rep.Bulk {
			c.printLine(r.Level, r.Provider+": "+r.Rule, r.Do)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%s failed", counted(failed, "check"))
	}
	return nil
}

func (c *cli) printFindings(title string, list []preflight.Finding) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(c.stdout, title)
	for _, f := range list {
		c.printLine(f.Level, f.Name+": "+f.What, f.Do)
	}
	fmt.Fprintln(c.stdout)
}

func (c *cli) printLine(level preflight.Level, what, do string) {
	fmt.Fprintf(c.stdout, "  %-11s  %s\n", level, what)
	if do != "" {
		fmt.Fprintf(c.stdout, "  %-11s  -> %s\n", "", do)
	}
}
