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
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"postern/gateway"
	"postern/gateway/consent"
	"postern/gateway/delivery"
	"postern/gateway/spool"
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
	next, err := n.cfg.deliveryOptions(n)
	if err != nil {
		return err
	}
	deliverer, err := delivery.New(n.spool, n.engine, next)
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
	sources.Go(func() error { return serveHTTP(sourceCtx, public, publicListener, n.log.With("room", "public")) })
	sources.Go(func() error { return serveHTTP(sourceCtx, operator, operatorListener, n.log.With("room", "operator")) })
	sources.Go(func() error {
		return serveControl(sourceCtx, n.cfg.Data, controlHandler(n.operations()), n.log.With("room", "control"))
	})
	sources.Go(func() error { return n.reloadOnHangup(sourceCtx, server, poller, deliverer) })
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
// smarthosts, what bounds deliveries and spool, mailboxes and all about cases
// from the file anew at SIGHUP; a file with a fault changes nothing.
func (n *node) reloadOnHangup(ctx context.Context, server *gateway.Server, poller *intake.Poller, deliverer *delivery.Deliverer) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		}
		if err := n.reload(ctx, server, poller, deliverer); err != nil {
			n.log.Error("reload refused, the former configuration stays", "err", err)
			continue
		}
		n.log.Info("configuration reloaded")
	}
}

func (n *node) reload(ctx context.Context, server *gateway.Server, poller *intake.Poller, deliverer *delivery.Deliverer) error {
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
	if cfg.Spool.Encrypt != n.cfg.Spool.Encrypt {
		return errors.New("spool.encrypt needs a restart")
	}
	next, err := cfg.deliveryOptions(n)
	if err != nil {
		return err
	}
	deliver, err := deliverer.Change(next)
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
	deliver()
	n.spool.SetLimits(spool.Limits{Messages: cfg.Spool.MaxMessages, Bytes: cfg.Spool.MaxBytes, Expire: time.Duration(cfg.Delivery.Expire)})
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
		PerClient: n.cfg.Public.FormPerClient, PerMailbox: n.cfg.Public.FormPerMailbox, Total: n.cfg.Public.FormTotal, Broken: n.cfg.Public.BrokenLinks,
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
