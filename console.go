package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway/keys"
	"postern/gateway/ledger"
	"postern/gateway/unsubscribe"
	"postern/intake"
	"postern/queue"
	"postern/queue/console"
	"postern/queue/console/api"
	"postern/queue/console/auth"
)

// openUsers opens the operators' accounts.
func (n *node) openUsers() (*auth.Store, error) {
	var derived [][]byte
	for _, k := range n.keys.Of(keys.Vault) {
		key, err := hkdf.Key(sha256.New, k.Bytes(), nil, "postern console codes", 32)
		if err != nil {
			return nil, fmt.Errorf("derive console key: %w", err)
		}
		derived = append(derived, key)
	}
	return auth.New(n.rdb, auth.Options{
		Key: derived[0], OldKeys: derived[1:],
		Idle: time.Duration(n.cfg.Operator.SessionIdle), Max: time.Duration(n.cfg.Operator.SessionMax),
	})
}

// newConsole joins the operators' pages with the rooms they show.
func (n *node) newConsole(poller *intake.Poller) (*console.Console, error) {
	users, err := n.openUsers()
	if err != nil {
		return nil, err
	}
	forms, err := hkdf.Key(sha256.New, n.keys.Newest(keys.Vault).Bytes(), nil, "postern console forms", 32)
	if err != nil {
		return nil, fmt.Errorf("derive console key: %w", err)
	}
	provider, err := n.newOIDC(forms)
	if err != nil {
		return nil, err
	}
	signUps, err := unsubscribe.BuiltInWording()
	if err != nil {
		return nil, err
	}
	return console.New(console.Deps{
		Cases: n.queue, Users: users, OIDC: provider, Trail: n.trail, Tokens: n.tokens(), Streams: n.engine.Streams, Prover: n.trail,
		Modes: n.engine, Traffic: n.report, Spool: n.spool, Persons: n.consent, Records: n.books, Log: n.trail,
		Verify: n.verifyLedger, Processing: func() []console.Processing { return n.config().processing() },
		Rules: consoleRules{n, poller}, Texts: n.edits, SignUps: signUps,
		Original: n.original,
		Alarms:   func(ctx context.Context) []console.Alarm { return n.alarms(ctx, poller) },
	}, forms, console.Options{
		URL: n.cfg.Operator.URL, TrustProxy: n.cfg.Operator.TrustProxy, CorrectionTexts: n.cfg.Operator.CorrectionTexts,
		Log: n.log.With("room", "console"), Metrics: n.metrics,
	})
}

// original fetches a mail from the mailbox it was read from, each time anew: the
// mailbox is where originals are kept.
func (n *node) original(ctx context.Context, in queue.Incoming) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	box, err := n.mailboxOf(in)
	if err != nil {
		return nil, err
	}
	return intake.Original(ctx, box, in)
}

// removeFile takes a file that was destroyed out of a mail in its mailbox.
func (n *node) removeFile(ctx context.Context, in queue.Incoming, file int, note string, planned func(string) error) (string, error) {
	box, err := n.mailboxOf(in)
	if errors.Is(err, queue.ErrUnknown) { // taken out of the configuration: who has it can delete there
		return "", fmt.Errorf("%w: no-mailbox", queue.ErrByHand)
	}
	if err != nil {
		return "", err
	}
	return intake.DestroyFile(ctx, box, in, file, note, planned)
}

// mailboxOf is the configured mailbox a mail was read from. Errors wrap
// queue.ErrUnknown where it is not configured any more.
func (n *node) mailboxOf(in queue.Incoming) (intake.Mailbox, error) {
	for _, m := range n.mailboxes() {
		if m.Name == in.Mailbox && m.Controller == in.Controller {
			return m.mailbox()
		}
	}
	return intake.Mailbox{}, queue.ErrUnknown
}

// verifyLedger exports the ledger of this node into a folder of its own and
// checks it there, as anybody could elsewhere.
func (n *node) verifyLedger(ctx context.Context) (rep ledger.Report, err error) {
	parent, err := os.MkdirTemp(n.cfg.Data, "verify-*")
	if err != nil {
		return rep, fmt.Errorf("verify ledger: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
	dir := filepath.Join(parent, "ledger")
	if err := n.trail.Export(ctx, dir); err != nil {
		return rep, err
	}
	return ledger.Verify(ctx, dir, n.trail.PublicKey(), ledger.VerifyOptions{})
}

// alarms is what an operator has to see before any case.
func (n *node) alarms(ctx context.Context, poller *intake.Poller) (out []console.Alarm) {
	for _, m := range poller.Health() {
		if silent(m, time.Now()) == "" {
			continue
		}
		if m.LastSuccess.IsZero() {
			out = append(out, console.Alarm{Key: "intake_never", Values: map[string]string{"mailbox": m.Mailbox}})
			continue
		}
		out = append(out, console.Alarm{Key: "intake", Values: map[string]string{"mailbox": m.Mailbox, "time": m.LastSuccess.UTC().Format("2006-01-02 15:04 MST")}})
	}
	if n.spool.Stats().Full {
		out = append(out, console.Alarm{Key: "spool"})
	}
	if nodes, err := n.books.Nodes(ctx); err == nil {
		for _, p := range nodes {
			if n.books.Silent(p) {
				out = append(out, console.Alarm{Key: "node", Values: map[string]string{"node": p.Name, "time": p.Seen.UTC().Format("2006-01-02 15:04 MST")}})
			}
		}
	}
	if days, err := n.trail.Unanchored(); err == nil && len(days) > 1 {
		out = append(out, console.Alarm{Key: "anchor", Values: map[string]string{"n": fmt.Sprint(len(days)), "since": days[0]}})
	}
	if f, err := n.queue.Figures(ctx); err == nil && f.Dead > 0 {
		out = append(out, console.Alarm{Key: "dead", Values: map[string]string{"n": fmt.Sprint(f.Dead)}})
	}
	return out
}

// operatorServer is the listener of operators: console, API, health, metrics.
func operatorServer(h *health, c *console.Console, programs http.Handler) *http.Server {
	mux := http.NewServeMux()
	pages := c.Handler()
	mux.Handle("/", pages)
	mux.Handle(api.Base+"/", programs)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.Handle("GET "+path, h.handler())
	}
	return &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
}

// offerSetup prints the one-time code where there is no account yet: on the
// terminal alone, never into a log.
func (n *node) offerSetup(ctx context.Context, c *console.Console, url string) error {
	if n.terminal == nil {
		users, err := n.openUsers()
		if err != nil {
			return err
		}
		empty, err := users.Empty(ctx)
		if err == nil && empty {
			n.log.Warn("the console has no account yet: postern console setup-code prints a code for its set-up page", "url", url+"/setup")
		}
		return err
	}
	code, err := c.SetupCode(ctx)
	if err != nil || code == "" {
		return err
	}
	_, err = fmt.Fprintf(n.terminal, "\nThe console has no account yet. Open %s/setup and enter this one-time code: %s\n\n", url, code)
	return err
}

// consoleURL is where operators reach the console.
func (c *Config) consoleURL() string {
	if c.Operator.URL != "" {
		return c.Operator.URL
	}
	return "http://" + c.Operator.Listen
}

type setupCode struct {
	URL  string `json:"url"`
	Code string `json:"code"`
}

func (n *node) consoleOperations() []operation {
	return []operation{
		op("console/setup-code", n.newSetupCode), op("console/bind", n.bindOperator),
		op("console/persons", func(ctx context.Context, _ struct{}) (map[string]string, error) {
			users, err := n.openUsers()
			if err != nil {
				return nil, err
			}
			return users.Bindings(ctx)
		}),
	}
}

func (n *node) newSetupCode(ctx context.Context, _ struct{}) (setupCode, error) {
	users, err := n.openUsers()
	if err != nil {
		return setupCode{}, err
	}
	code, err := users.NewSetupCode(ctx)
	return setupCode{n.cfg.consoleURL() + "/setup", code}, err
}

func (c *cli) consoleCommand() *cobra.Command {
	code := &cobra.Command{
		Use: "setup-code", Args: cobra.NoArgs,
		Short: "Print a one-time code that makes an administrator on the console's set-up page",
		Long:  "Print a one-time code that makes an administrator on the console's set-up page: the first one, or a further one where the password of the last was lost. It is valid for a day.",
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				got, err := ask[setupCode](ctx, call, "console/setup-code", struct{}{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(got)
				}
				_, err = fmt.Fprintf(c.stdout, "%s\nOpen %s and enter it there within a day.\n", got.Code, got.URL)
				return err
			})
		}),
	}
	return group("console", "The operators' web console", code, c.bindCommand(), c.personsCommand())
}

// terminalOf is w where a person reads it, else nil.
func terminalOf(w io.Writer) io.Writer {
	if colourful(w) {
		return w
	}
	return nil
}
