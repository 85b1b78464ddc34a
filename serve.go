package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"postern/gateway"
	"postern/gateway/consent"
	"postern/gateway/delivery"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/gateway/unsubscribe"
	"postern/intake"
	"postern/queue/portal"
)

func (c *cli) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run the gateway", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			return serve(ctx, cfg, nodeOptions{log: newLogger(cfg.Log, c.stderr), terminal: terminalOf(c.stderr)})
		}),
	}
}

// newLogger logs as configured.
func newLogger(c LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked with the configuration
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// serve runs a node until ctx ends: opens the rooms, starts what takes mail
// last, and stops it first.
func serve(ctx context.Context, cfg *Config, o nodeOptions) error {
	n, err := openNode(ctx, cfg, o)
	if err != nil {
		return err
	}
	err = n.run(ctx)
	return errors.Join(err, n.close())
}

// run checks the stores and runs all rooms until ctx ends.
func (n *node) run(ctx context.Context) error {
	if err := n.checkStores(ctx); err != nil {
		return err
	}
	options, err := n.cfg.serverOptions(n)
	if err != nil {
		return err
	}
	server, err := gateway.NewServer(n.engine, options)
	if err != nil {
		return err
	}
	deliverer, err := delivery.New(n.spool, n.engine, n.cfg.deliveryOptions(n))
	if err != nil {
		return err
	}
	poller, err := n.newPoller()
	if err != nil {
		return err
	}
	public, err := n.publicServer()
	if err != nil {
		return err
	}
	if err := server.Listen(); err != nil {
		return err
	}
	health := &health{node: n, poller: poller}
	pages, err := n.newConsole(poller)
	if err != nil {
		return err
	}
	programs, err := n.newAPI(health)
	if err != nil {
		return err
	}
	operator := operatorServer(health, pages, programs.Handler())
	operatorListener, err := net.Listen("tcp", n.cfg.Operator.Listen)
	if err != nil {
		return fmt.Errorf("operator listener: %w", err)
	}
	publicListener, err := net.Listen("tcp", n.cfg.Public.Listen)
	if err != nil {
		return errors.Join(fmt.Errorf("public listener: %w", err), operatorListener.Close())
	}
	crowd := unsubscribe.Crowd{}
	if n.cfg.Public.Cert == "" || n.cfg.Public.TrustProxy {
		crowd.PerClient = -1 // a proxy is one client
	}
	publicListener = unsubscribe.Limit(publicListener, crowd)
	if public.TLSConfig != nil {
		publicListener = tls.NewListener(publicListener, public.TLSConfig)
	}

	// Whoever is told of an outcome outlives whoever makes it: sources stop
	// with ctx, the rooms below them when the sources have ended.
	below, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()
	lower, belowCtx := errgroup.WithContext(below)
	lower.Go(func() error { return n.keepSequencing(belowCtx) })
	lower.Go(func() error { return n.consent.Run(belowCtx) })
	lower.Go(func() error { return n.books.Run(belowCtx) })
	lower.Go(func() error { return n.keepRetention(belowCtx) })
	lower.Go(func() error { return n.report.Run(belowCtx) })
	lower.Go(func() error { return n.edits.Run(belowCtx) })
	lower.Go(func() error { return n.engine.Run(belowCtx) })
	lower.Go(func() error { return n.watchRedis(belowCtx) })
	lower.Go(func() error { return pages.Run(belowCtx) })
	lower.Go(func() error { return n.watch.run(belowCtx, n) })
	lower.Go(func() error { return n.outbox.Run(belowCtx, n.queue) })

	sources, sourceCtx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(belowCtx, func() { // a room below failed: end the sources too
		sources.Go(func() error { return context.Cause(belowCtx) })
	})
	sources.Go(func() error { return server.Run(sourceCtx) })
	sources.Go(func() error { return deliverer.Run(sourceCtx) })
	sources.Go(func() error { return poller.Run(sourceCtx) })
	sources.Go(func() error { return n.watchSilence(sourceCtx, poller) })
	sources.Go(func() error { return n.queue.Run(sourceCtx) })
	sources.Go(func() error { return serveHTTP(sourceCtx, public, publicListener) })
	sources.Go(func() error { return serveHTTP(sourceCtx, operator, operatorListener) })
	sources.Go(func() error { return serveControl(sourceCtx, n.cfg.Data, controlHandler(n.operations())) })
	sources.Go(func() error { return n.reloadOnHangup(sourceCtx, server, poller) })
	if err := n.offerSetup(ctx, pages, n.cfg.consoleURL()); err != nil {
		n.log.Warn("console accounts can't be read", "err", err)
	}
	if err := n.queue.PublishNotices(ctx); err != nil {
		n.log.Error("a processing notice can't be published as it stands", "err", err)
	}
	n.log.Info("ready", "hostname", n.cfg.Hostname, "public", n.cfg.Public.Listen, "operator", n.cfg.Operator.Listen)

	err = sources.Wait()
	stop()
	stopBelow()
	err = errors.Join(err, lower.Wait())
	n.log.Info("stopped")
	return err
}

// checkStores refuses to start on a store that may forget or that other keys
// have written (design D8, D11).
func (n *node) checkStores(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := consent.CheckDurability(ctx, n.rdb, consent.Durability{
		AllowVolatile: n.cfg.Redis.AllowVolatile, Asserted: n.cfg.Redis.DurabilityAsserted,
	})
	if err != nil {
		return err
	}
	switch err := n.consent.Check(ctx); {
	case errors.Is(err, consent.ErrForgotten): // no marketing leaves till that node is back; all else does
		n.log.Error("marketing waits", "err", err)
	case err != nil:
		return err
	}
	if err := n.edits.Load(ctx); err != nil {
		return err
	}
	return n.engine.LoadModes(ctx)
}

// keepSequencing runs the ledger's sequencer. Records are durable before it
// sees them, so a disk that is full for a while delays the tree and nothing
// else: it is told and tried again.
func (n *node) keepSequencing(ctx context.Context) error {
	for {
		err := n.trail.Run(ctx)
		if ctx.Err() != nil {
			return err
		}
		n.log.Error("ledger stands still, will try again", "err", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Second):
		}
	}
}

// watchRedis ends the server when a Redis of its own ends.
func (n *node) watchRedis(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.redisGone:
		return errors.New("the managed redis-server ended")
	}
}

// reloadOnHangup takes streams, clients, accounts, DKIM keys, certificates,
// mailboxes and all about cases from the file anew at SIGHUP; a file with a
// fault changes nothing.
func (n *node) reloadOnHangup(ctx context.Context, server *gateway.Server, poller *intake.Poller) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		}
		if err := n.reload(ctx, server, poller); err != nil {
			n.log.Error("reload refused, the former configuration stays", "err", err)
			continue
		}
		n.log.Info("configuration reloaded")
	}
}

func (n *node) reload(ctx context.Context, server *gateway.Server, poller *intake.Poller) error {
	cfg, err := loadConfig(n.cfg.path, os.Environ())
	if err != nil {
		return err
	}
	set, err := cfg.streamSet()
	if err != nil {
		return err
	}
	options, err := cfg.serverOptions(n)
	if err != nil {
		return err
	}
	boxes, err := cfg.mailboxes()
	if err != nil {
		return err
	}
	signer, err := cfg.signer()
	if err != nil {
		return err
	}
	formerKeys, formerStreams := n.signer.keys.Swap(signer), n.engine.Streams()
	if err := n.engine.SetStreams(set); err != nil { // with the new keys, which it asks for
		n.signer.keys.Store(formerKeys)
		return err
	}
	if err := server.Reload(options); err != nil {
		n.signer.keys.Store(formerKeys)
		return errors.Join(err, n.engine.SetStreams(formerStreams))
	}
	if err := n.reloadCases(ctx, cfg); err != nil {
		return err
	}
	n.reread.Store(cfg)
	return poller.Reload(boxes)
}

// newPoller joins intake with the rooms below it.
func (n *node) newPoller() (*intake.Poller, error) {
	boxes, err := n.cfg.mailboxes()
	if err != nil {
		return nil, err
	}
	return intake.New(boxes, intake.Deps{
		Cases:      n.queue,
		Aside:      n.queue,
		Optouts:    n.queue,
		Bounces:    bounces{n},
		Classifier: n.classifier,
		State:      intake.NewRedisState(n.rdb),
	}, intake.Options{
		Log: n.log.With("room", "intake"), Registry: n.metrics,
		Owner: n.consent.Node(), // a node that died and is back goes on at once
	})
}

// publicServer is the listener that data subjects reach.
func (n *node) publicServer() (*http.Server, error) {
	limits, err := n.limiter()
	if err != nil {
		return nil, err
	}
	handler, err := unsubscribe.NewHandler(n.consent, n.engine.Streams, n.codec, unsubscribe.Options{
		PublicURL:  n.cfg.Public.URL,
		Mailer:     mailer{n},
		Wording:    n.signUpWording,
		TrustProxy: n.cfg.Public.TrustProxy,
		Limits:     limits,
		Metrics:    n.metrics,
		Log:        n.log.With("room", "unsubscribe"),
	})
	if err != nil {
		return nil, err
	}
	cases, err := portal.NewHandler(n.queue, n.classifier, n.engine.Streams, portal.Options{
		TrustProxy: n.cfg.Public.TrustProxy,
		Limits:     limits,
		Metrics:    n.metrics,
		Log:        n.log.With("room", "portal"),
	})
	if err != nil {
		return nil, err
	}
	pages := http.NewServeMux()
	pages.Handle("POST /results/{connector}", n.resultsHandler())
	pages.Handle("/", handler)
	for _, path := range portal.Paths() {
		pages.Handle(path, cases)
	}
	srv := unsubscribe.Server(n.watch.measured(pages), n.cfg.Public.Listen)
	if n.cfg.Public.Cert != "" {
		cert, err := tls.LoadX509KeyPair(n.cfg.Public.Cert, n.cfg.Public.Key)
		if err != nil {
			return nil, fmt.Errorf("public listener's certificate: %w", err)
		}
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	return srv, nil
}

func (g GrantConfig) grant(client string) gateway.Grant {
	return gateway.Grant{
		Client: client, Streams: g.Streams, Default: g.Default, FromDomains: g.FromDomains,
		MaxConns: g.MaxConnections, MaxRecipients: g.MaxRecipients, MaxSize: g.MaxMessage,
		MessagesPerMinute: g.MessagesPerMinute, RecipientsPerMinute: g.RecipientsPerMinute,
	}
}

// serverOptions cuts the listeners out of the configuration.
func (c *Config) serverOptions(n *node) (gateway.ServerOptions, error) {
	o := gateway.ServerOptions{
		Hostname:            c.Hostname,
		MaxMessageBytes:     c.Limits.MaxMessage,
		MaxRecipients:       c.Limits.MaxRecipients,
		MaxConns:            c.Limits.MaxConnections,
		MaxConnsPerIP:       c.Limits.MaxConnectionsPerIP,
		Memory:              c.Limits.Memory,
		Idle:                time.Duration(c.Limits.IdleTimeout),
		MessagesPerMinute:   c.Limits.MessagesPerMinute,
		RecipientsPerMinute: c.Limits.RecipientsPerMinute,
		PolicyURL:           c.Public.PolicyURL,
		RequireTLS:          true, // delivery passes it on or bounces (TLS-6)
		Log:                 n.log.With("room", "gateway"),
		Metrics:             n.metrics,
	}
	for _, a := range c.Accounts {
		o.Accounts = append(o.Accounts, gateway.Account{Name: a.Name, Hash: a.Hash, Grant: a.grant(a.Name)})
	}
	for _, l := range c.Listeners {
		listener, err := l.listener(len(c.Accounts) > 0)
		if err != nil {
			return o, fmt.Errorf("listener %q: %w", l.Name, err)
		}
		o.Listeners = append(o.Listeners, listener)
	}
	return o, nil
}

func (l ListenerConfig) listener(accounts bool) (gateway.Listener, error) {
	out := gateway.Listener{
		Name: l.Name, Network: "tcp", Address: l.Address, Protocol: l.Protocol,
		Implicit: l.TLS == "implicit", RequireAuth: l.RequireAuth,
		Auth:  accounts && l.TLS != "none",
		Proxy: prefixes(l.Proxy), XClient: prefixes(l.XClient), XForward: prefixes(l.XForward),
	}
	if l.TLS != "none" {
		pair, err := tls.LoadX509KeyPair(l.Cert, l.Key)
		if err != nil {
			return out, fmt.Errorf("certificate: %w", err)
		}
		out.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	}
	if strings.HasPrefix(l.Address, "/") {
		out.Network = "unix"
	}
	for i, c := range l.Clients {
		if out.Network == "unix" && i == 0 {
			out.Unix = c.grant(c.Name)
		}
		out.Clients = append(out.Clients, gateway.ClientNet{Prefixes: prefixes(c.Networks), Grant: c.grant(c.Name)})
	}
	return out, nil
}

func prefixes(list []string) (out []netip.Prefix) {
	for _, s := range list {
		if p, err := parsePrefix(s); err == nil { // checked with the configuration
			out = append(out, p)
		}
	}
	return out
}

// deliveryOptions cuts the smarthosts out of the configuration.
func (c *Config) deliveryOptions(n *node) delivery.Options {
	o := delivery.Options{
		Helo: c.Hostname,
		Schedule: delivery.Schedule{
			First:  time.Duration(c.Delivery.FirstRetry),
			Second: min(2*time.Duration(c.Delivery.FirstRetry), time.Duration(c.Delivery.MaxRetry)),
			Later:  time.Duration(c.Delivery.MaxRetry),
			Defer:  min(time.Minute, time.Duration(c.Delivery.FirstRetry)),
		},
		DSN: delivery.DSN{
			ReportingMTA: c.Hostname,
			MayReport:    n.mayReport,
		},
		Controller: func(number uint16) string {
			st, _ := n.engine.Streams().ByNumber(number)
			return st.Controller
		},
		Outcome: n.outcome,
		Tally:   n.tally,
		Workers: c.Delivery.Workers,
		Log:     n.log.With("room", "delivery"),
		Metrics: n.metrics,
	}
	for _, s := range c.Smarthosts {
		password, err := s.Password.Read()
		if err != nil { // was readable when the configuration was checked
			n.log.Error("smarthost password", "smarthost", s.Name, "err", err)
		}
		o.Smarthosts = append(o.Smarthosts, delivery.Smarthost{
			Name: s.Name, Address: s.Address, Priority: s.Priority, TLS: delivery.TLSMode(s.TLS),
			CAFile: s.CA, ServerName: s.ServerName, Username: s.User, Password: password,
			MaxConns: s.MaxConnections, Rate: s.PerSecond,
		})
	}
	return o
}

// mayReport tells whether a DSN may go to a message's reverse-path: only to a
// domain of the company, so that nobody else gets backscatter (design D3).
func (n *node) mayReport(m *spool.Message) bool {
	if m.ReversePath.IsZero() {
		return false
	}
	set := n.engine.Streams()
	st, _ := set.ByNumber(m.Stream)
	controller, _ := set.Controller(st.Controller)
	for _, d := range append(controller.Domains, st.FromDomains...) {
		if strings.EqualFold(d, m.ReversePath.Domain()) {
			return true
		}
	}
	return false
}

// outcome feeds final refusals of marketing recipients to the registry: a
// mailbox that does not exist is not written to for ever.
func (n *node) outcome(ctx context.Context, o delivery.Outcome) {
	if o.State != spool.Failed || !strings.HasPrefix(o.Status, "5.1.") {
		return
	}
	st, _ := n.engine.Streams().ByNumber(o.Stream)
	if st.Kind != stream.Marketing {
		return
	}
	addr := o.Message.Recipients[o.Recipient].Address
	if err := n.consent.Bounce(ctx, st.Controller, addr, true, o.Message.ID); err != nil {
		n.log.Error("bounce not counted", "id", o.Message.ID, "err", err)
	}
}

// tally counts what an attempt brought for one recipient.
func (n *node) tally(number uint16, r spool.Result) {
	name := "bounces"
	if st, ok := n.engine.Streams().ByNumber(number); ok {
		name = st.Name
	}
	p := gateway.Passed{Stream: name, N: 1, Time: time.Now()}
	switch r.State {
	case spool.Delivered:
		p.Fate = gateway.FateDelivered
	case spool.Queued:
		p.Fate, p.Reason = gateway.FateDeferred, gateway.ReasonNextHop
	case spool.Denied:
		p.Fate, p.Reason = gateway.FateDenied, gateway.Reason(r.Reply)
	case spool.Expired:
		p.Fate, p.Reason = gateway.FateFailed, gateway.ReasonExpired
	case spool.Failed:
		p.Fate, p.Reason = gateway.FateFailed, gateway.ReasonNextHop
	default:
		return
	}
	n.report.Count(p)
}

// lookupTXT asks DNS for a DKIM key; a resolver that hangs must not hold up
// the reading of mail.
func lookupTXT(domain string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return net.DefaultResolver.LookupTXT(ctx, domain)
}
