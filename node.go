package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"

	"postern/classifier"
	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/keys"
	"postern/gateway/ledger"
	"postern/gateway/ledger/peers"
	nodestore "postern/gateway/node"
	"postern/gateway/spool"
	"postern/gateway/stream"
	"postern/gateway/unsubscribe"
	"postern/gateway/wording"
	"postern/queue"
	"postern/queue/console/api"
)

// node is one Postern with its rooms joined, opened but not yet running.
type node struct {
	cfg        *Config // as the process began; see config
	reread     atomic.Pointer[Config]
	log        *slog.Logger
	metrics    *prometheus.Registry
	keys       keys.Ring
	ring       *address.Keyring
	rdb        redis.UniversalClient
	db         *pebble.DB
	trail      *ledger.Ledger
	books      *peers.Peers // the ledgers of all nodes
	consent    *consent.Registry
	spool      *spool.Store
	codec      *unsubscribe.Codec
	report     *gateway.Report
	engine     *gateway.Engine
	signer     liveSigner
	edits      *wording.Store
	classifier *classifier.Classifier
	queue      *queue.Queue
	hooks      *api.Subscriptions
	watch      *watch
	outbox     *api.Outbox // consent events on their way to receivers

	terminal  io.Writer       // where a person reads along; nil: nobody does
	redisGone <-chan struct{} // closed when a managed Redis ends; nil without one
	closers   []func() error  // last opened first closed
}

// config is the configuration as SIGHUP last brought it, for what is taken anew
// then: controllers, cases, connectors, hooks, legal holds.
func (n *node) config() *Config {
	if c := n.reread.Load(); c != nil {
		return c
	}
	return n.cfg
}

// nodeOptions are what a caller may bring along; zero values are made.
type nodeOptions struct {
	log *slog.Logger
	rdb redis.UniversalClient // the demo's in-process Redis

	terminal io.Writer // for what must not go into a log; nil where nobody reads along
}

// openNode opens every room from the bottom up. What was opened is closed
// again where a later one fails.
func openNode(ctx context.Context, cfg *Config, o nodeOptions) (*node, error) {
	n := &node{cfg: cfg, log: o.log, rdb: o.rdb, terminal: o.terminal, metrics: prometheus.NewRegistry()}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if n.watch, err = newWatch(n.metrics); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{
		n.openKeys, n.openStores, n.openConsent, n.openBooks, n.openRelay, n.openCases,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, n.close())
		}
	}
	return n, nil
}

// close closes what was opened, in reverse.
func (n *node) close() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}

func (n *node) defers(f func() error) { n.closers = append(n.closers, f) }

func (n *node) openKeys(context.Context) error {
	ring, err := keys.Load(n.cfg.Keys)
	if err != nil {
		return err
	}
	n.keys = ring
	var subject []address.Key
	for _, k := range ring.Of(keys.Subject) {
		subject = append(subject, address.Key{ID: k.ID, Secret: k.Bytes()})
	}
	if n.ring, err = address.NewKeyring(subject...); err != nil {
		return err
	}
	var tokens []unsubscribe.TokenKey
	for _, k := range ring.Of(keys.Token) {
		tokens = append(tokens, unsubscribe.TokenKey{ID: k.Number(), Secret: k.Bytes()})
	}
	n.codec, err = unsubscribe.NewCodec(tokens...)
	return err
}

func (n *node) openStores(ctx context.Context) error {
	if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	db, err := nodestore.Open(n.cfg.Data)
	if err != nil {
		return err
	}
	n.db = db
	n.defers(db.Close)
	if n.rdb == nil {
		if n.rdb, err = n.openRedis(ctx); err != nil {
			return err
		}
	}
	n.trail, err = ledger.Open(db, filepath.Join(n.cfg.Data, "ledger"), ledger.Keys{
		Origin: n.cfg.Hostname + "/postern",
		Signer: n.keys.Newest(keys.LedgerSign).Bytes(),
		Master: n.keys.Newest(keys.LedgerMaster).Bytes(),
	}, ledger.Options{Anchor: n.anchor, Metrics: n.metrics, Log: n.log.With("room", "ledger")})
	if err != nil {
		return err
	}
	return nil
}

// openRedis connects to the configured Redis, or starts one of its own.
func (n *node) openRedis(ctx context.Context) (redis.UniversalClient, error) {
	redis.SetLogger(redisLog{n.log})
	url := n.cfg.Redis.URL
	if n.cfg.Redis.Managed {
		child, err := startRedis(ctx, filepath.Join(n.cfg.Data, "redis"))
		if err != nil {
			return nil, err
		}
		n.defers(child.stop)
		n.redisGone = child.done
		url = child.url
	}
	password, err := n.cfg.Redis.Password.Read()
	if err != nil {
		return nil, err
	}
	rdb, err := redisClient(url, password)
	if err != nil {
		return nil, err
	}
	n.defers(rdb.Close)
	return rdb, nil
}

func (n *node) openConsent(context.Context) (err error) {
	n.outbox = api.NewOutbox(n.trail, n.db, n.log.With("room", "api"))
	n.consent, err = consent.New(n.rdb, n.ring, n.db, n.outbox, consent.Options{
		Metrics: n.metrics,
		Timeout: time.Duration(n.cfg.Redis.Timeout),
		Former:  n.former,
		Log:     n.log.With("room", "consent"),
	})
	return err
}

// former gives the streams whose place one took; nobody asks before the relay
// is open.
func (n *node) former(number uint16) []uint16 {
	if n.engine == nil {
		return nil
	}
	return n.engine.Streams().Former(number)
}

// openBooks joins this node's ledger with those of the others (design D15).
func (n *node) openBooks(context.Context) error {
	var derived [][]byte
	for _, k := range n.keys.Of(keys.LedgerMaster) {
		key, err := hkdf.Key(sha256.New, k.Bytes(), nil, "postern nodes", 32)
		if err != nil {
			return fmt.Errorf("derive key of the nodes: %w", err)
		}
		derived = append(derived, key)
	}
	var err error
	n.books, err = peers.New(n.rdb, n.trail, peers.Options{
		ID: n.consent.Node(), Name: n.cfg.Hostname, Keys: derived, Counts: keepsKey, Log: n.log.With("room", "ledger"),
	})
	return err
}

func (n *node) openRelay(context.Context) error {
	cfg := n.cfg
	set, err := cfg.streamSet()
	if err != nil {
		return err
	}
	var spoolKey []byte
	if cfg.Spool.Encrypt {
		spoolKey, err = hkdf.Key(sha256.New, n.keys.Newest(keys.Vault).Bytes(), nil, "postern spool", 32)
		if err != nil {
			return fmt.Errorf("derive spool key: %w", err)
		}
	}
	n.spool, err = spool.New(n.db, cfg.Data, n.trail, spool.Options{
		MaxMessages: cfg.Spool.MaxMessages,
		MaxBytes:    cfg.Spool.MaxBytes,
		Expire:      time.Duration(cfg.Delivery.Expire),
		Key:         spoolKey,
		Log:         n.log.With("room", "spool"),
		Metrics:     n.metrics,
	})
	if err != nil {
		return err
	}
	n.defers(n.spool.Close)
	n.edits = wording.New(n.rdb, n.trail, nil, n.log.With("room", "wording"))
	n.report = gateway.NewNodeReport(n.rdb, n.db, n.log.With("room", "gateway"))
	signer, err := cfg.signer()
	if err != nil {
		return err
	}
	if n.classifier, err = classifier.New(); err != nil {
		return err
	}
	n.signer.keys.Store(signer)
	deps := gateway.Deps{
		Streams: set, Consent: n.consent, Spool: n.spool, Tokens: n.codec, Trail: n.trail, Signer: &n.signer, Advisor: n.classifier,
	}
	n.engine, err = gateway.NewEngine(deps, gateway.EngineOptions{
		Hostname:      cfg.Hostname,
		PublicURL:     cfg.Public.URL,
		MailtoDomain:  cfg.Public.MailtoDomain,
		LookupTimeout: time.Duration(cfg.Redis.Timeout),
		Report:        n.report,
		Modes:         n.report,
		Metrics:       n.metrics,
		Log:           n.log.With("room", "gateway"),
	})
	return err
}

// ackStreams names for each controller the service stream of its receipts and
// answers; none where receipts are switched off.
func (c *Config) ackStreams() map[string]string {
	out := map[string]string{}
	if c.Cases.Acknowledge != nil && !*c.Cases.Acknowledge {
		return out
	}
	for _, s := range c.Streams {
		chosen := c.Cases.ServiceStream == "" || c.Cases.ServiceStream == s.Name
		if stream.Kind(s.Kind) == stream.Service && chosen && out[s.Controller] == "" && !s.Retired {
			out[s.Controller] = s.Name
		}
	}
	return out
}

// undoLink makes the link by which a person takes an opt-out back. The page
// behind it speaks for the controller's first list.
func (n *node) undoLink(controller string, subject address.SubjectID, suppressionID string, ends time.Time) string {
	for _, s := range n.engine.Streams().Streams() {
		if s.Controller == controller && s.Kind == stream.Marketing {
			t := unsubscribe.Token{Subject: subject, Stream: s.Number}
			return n.engine.Streams().PublicURL(controller, n.cfg.Public.URL) + "/undo/" + n.codec.SealUndo(suppressionID, t, ends)
		}
	}
	return ""
}

// perController collects a list of each controller that has one.
func (c *Config) perController(of func(ControllerConfig) []string) map[string][]string {
	out := map[string][]string{}
	for _, k := range c.Controllers {
		if list := of(k); len(list) > 0 {
			out[k.ID] = list
		}
	}
	return out
}

func (c *Config) replyPaths() map[string]string {
	out := map[string]string{}
	for _, k := range c.Controllers {
		if k.ReplyPath != "" {
			out[k.ID] = k.ReplyPath
		}
	}
	return out
}
