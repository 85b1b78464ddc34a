package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway/keys"
	"postern/gateway/throttle"
	"postern/gateway/unsubscribe"
	"postern/queue/console/api"
)

// derived gives a key of a purpose from each vault key, newest first.
func (n *node) derived(purpose string) ([][]byte, error) {
	var out [][]byte
	for _, k := range n.keys.Of(keys.Vault) {
		key, err := hkdf.Key(sha256.New, k.Bytes(), nil, purpose, 32)
		if err != nil {
			return nil, fmt.Errorf("derive key: %w", err)
		}
		out = append(out, key)
	}
	return out, nil
}

// openHooks opens the subscriptions of the API, which the queue tells.
func (n *node) openHooks() (err error) {
	derived, err := n.derived("postern api hooks")
	if err != nil {
		return err
	}
	if n.hooks, err = api.NewSubscriptions(n.rdb, prefixes(n.cfg.Operator.WebhookNetworks), nil, derived...); err != nil {
		return err
	}
	n.defers(func() error { n.hooks.Close(); return nil })
	n.hooks.Added = n.outbox.Attend
	return nil
}

// limiter counts limits of public pages and API; all nodes share it.
func (n *node) limiter() (*throttle.Limiter, error) {
	key, err := hkdf.Key(sha256.New, n.keys.Newest(keys.Token).Bytes(), nil, "postern rate limits", 32)
	if err != nil {
		return nil, fmt.Errorf("derive key of rate limits: %w", err)
	}
	return throttle.New(n.rdb, key, time.Duration(n.cfg.Redis.Timeout)), nil
}

// newAPI joins /api/v1 with the rooms it shows.
func (n *node) newAPI(h *health) (*api.API, error) {
	derived, err := n.derived("postern api answers")
	if err != nil {
		return nil, err
	}
	limits, err := n.limiter()
	if err != nil {
		return nil, err
	}
	signUps, err := unsubscribe.NewInviter(n.consent, n.codec, unsubscribe.Options{
		PublicURL: n.cfg.Public.URL, Mailer: mailer{n}, Limits: limits, Log: n.log.With("room", "unsubscribe"),
	})
	if err != nil {
		return nil, err
	}
	return api.New(api.Deps{
		Redis: n.rdb, Tokens: n.tokens(), Cases: n.queue, Index: n.queue.Index(), Consent: n.consent, SignUps: signUps, Spool: n.spool,
		Ledger: n.trail, Modes: n.engine, Report: n.report, Streams: n.engine.Streams, Keyring: n.ring, Limits: limits, Hooks: n.hooks,
		Faults: h.faults,
	}, api.Options{
		Key: derived[0], OldKeys: derived[1:], PerMinute: n.cfg.Operator.APIPerMinute, Version: version(),
		Log: n.log.With("room", "api"), Metrics: n.metrics,
	})
}

// version is what this binary was built of, as far as it knows.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}

func (n *node) tokens() *api.Tokens { return api.NewTokens(n.rdb, n.trail, nil) }

// tokenRequest makes, or ends, a token.
type tokenRequest struct {
	Name   string
	Scopes []string
	Life   time.Duration
	Actor  string
	Owner  string // "none": no person
}

// tokenReply is a new token, shown once.
type tokenReply struct {
	Text  string    `json:"text"`
	Token api.Token `json:"token"`
}

func (n *node) tokenOperations() []operation {
	return []operation{
		op("token/create", func(ctx context.Context, r tokenRequest) (tokenReply, error) {
			scopes, err := api.ParseScopes(r.Scopes)
			if err != nil {
				return tokenReply{}, err
			}
			text, t, err := n.tokens().Create(ctx, r.Name, scopes, r.Life, r.Actor, strings.TrimPrefix(r.Owner, "none"))
			return tokenReply{text, t}, err
		}),
		op("token/list", func(ctx context.Context, _ struct{}) ([]api.Token, error) { return n.tokens().List(ctx) }),
		op("token/revoke", func(ctx context.Context, r tokenRequest) (struct{}, error) {
			return struct{}{}, n.tokens().Revoke(ctx, r.Name, r.Actor)
		}),
	}
}

func (c *cli) tokenCommand() *cobra.Command {
	var r tokenRequest
	var days int
	create := &cobra.Command{Use: "create NAME", Short: "Make a token for a program; it is shown this once", Args: cobra.ExactArgs(1),
		Long: "Make a bearer token for /api/v1. NAME says which program has it and stands in records. Scopes:\n  " + strings.Join(scopeNames(), "\n  "),
		RunE: verb(func(ctx context.Context, args []string) error {
			if r.Owner == "" {
				r.Owner = strings.TrimPrefix(operatorName(), "operator:")
			}
			r.Name, r.Actor, r.Life = args[0], operatorName(), time.Duration(days)*24*time.Hour
			return c.withNode(ctx, func(call caller) error {
				got, err := ask[tokenReply](ctx, call, "token/create", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(got)
				}
				fmt.Fprintf(c.stderr, "%s may %s until %s. The token, shown this once:\n", got.Token.Name, strings.Join(r.Scopes, ", "), stamp(got.Token.Expires))
				_, err = fmt.Fprintln(c.stdout, got.Text)
				return err
			})
		})}
	create.Flags().StringSliceVar(&r.Scopes, "scope", nil, "what it may do, as in cases:read,consent:write (needed)")
	create.Flags().IntVar(&days, "days", 90, "how long it lives, at most two years")
	create.Flags().StringVar(&r.Owner, "owner", "", "operator whose acts its acts are where two persons are needed, or none; default you")
	_ = create.MarkFlagRequired("scope")

	list := &cobra.Command{Use: "list", Short: "List tokens with their scopes and last use", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]api.Token](ctx, call, "token/list", struct{}{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, t := range rows {
					words := make([]string, len(t.Scopes))
					for i, s := range t.Scopes {
						words[i] = string(s)
					}
					cells = append(cells, []string{t.ID, t.Name, strings.Join(words, " "), t.By, orNone(t.Owner), stamp(t.Created), stamp(t.Expires), stamp(t.Used)})
				}
				return c.table([]string{"ID", "NAME", "SCOPES", "MADE BY", "ACTS FOR", "MADE", "ENDS", "LAST USED"}, cells)
			})
		})}
	revoke := &cobra.Command{Use: "revoke NAME|ID", Short: "End a token at once", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			return c.withNode(ctx, func(call caller) error {
				_, err := ask[struct{}](ctx, call, "token/revoke", tokenRequest{Name: args[0], Actor: operatorName()})
				return err
			})
		})}
	return group("token", "Tokens of the HTTP API", create, list, revoke)
}

func scopeNames() []string {
	var out []string
	for _, s := range api.Scopes() {
		out = append(out, string(s))
	}
	return out
}
