package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway/keys"
)

// exampleConfig is the annotated configuration that packages install.
//
//go:embed deploy/postern.example.toml
var exampleConfig string

func (c *cli) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use: "check [FILE]", Short: "List every fault of a configuration, with its line", Args: cobra.MaximumNArgs(1),
		RunE: verb(func(_ context.Context, args []string) error {
			path := c.config
			if len(args) == 1 {
				path = args[0]
			}
			cfg, err := loadConfig(path, os.Environ())
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "%s: ok: %d streams, %d listeners, %d mailboxes\n",
				path, len(cfg.Streams), len(cfg.Listeners), len(cfg.Mailboxes))
			return nil
		}),
	}
	example := &cobra.Command{
		Use: "example", Short: "Print a configuration with every key explained", Args: cobra.NoArgs,
		RunE: verb(func(context.Context, []string) error {
			_, err := fmt.Fprint(c.stdout, exampleConfig)
			return err
		}),
	}
	return group("config", "Check a configuration or print an example", check, example)
}

func (c *cli) keysCommand() *cobra.Command {
	initKeys := &cobra.Command{
		Use: "init", Short: "Make the key file; never overwrites one", Args: cobra.NoArgs,
		RunE: verb(func(context.Context, []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			ring, err := keys.Init(cfg.Keys, time.Now())
			if err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "made %s: back it up now, apart from Redis\n", cfg.Keys)
			return c.printKeys(ring)
		}),
	}
	list := &cobra.Command{
		Use: "list", Short: "List the keys by fingerprint", Args: cobra.NoArgs,
		RunE: verb(func(context.Context, []string) error {
			_, ring, err := c.loadKeys()
			if err != nil {
				return err
			}
			return c.printKeys(ring)
		}),
	}
	rotate := &cobra.Command{
		Use: "rotate KIND", Short: "Add a fresh key of a kind; older ones stay and still open what they sealed", Args: cobra.ExactArgs(1),
		RunE: verb(func(_ context.Context, args []string) error {
			cfg, ring, err := c.loadKeys()
			if err != nil {
				return err
			}
			kind := keys.Kind(args[0])
			if len(ring.Of(kind)) == 0 {
				return fmt.Errorf("%q is no kind of key; kinds are %v", args[0], keys.Kinds())
			}
			if err := ring.Add(kind, time.Now()); err != nil {
				return err
			}
			if err := ring.Save(cfg.Keys); err != nil {
				return err
			}
			fmt.Fprintln(c.stdout, "copy the file to every node, then restart the servers to use the new key")
			if kind == keys.Subject {
				fmt.Fprintln(c.stdout, "stop them first and run `postern keys admit`: the store takes no subject-id key it was not told of")
			}
			return c.printKeys(ring)
		}),
	}
	admit := &cobra.Command{
		Use: "admit", Short: "Tell the store of a rotated subject-id key; run with the server stopped", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			// The keys are checked by AdmitKeys itself: one has to be known.
			return c.onNode(ctx, func(*node) error { return nil }, func(call caller) error {
				if _, err := ask[struct{}](ctx, call, "keys/admit", struct{}{}); err != nil {
					return err
				}
				_, err := fmt.Fprintln(c.stdout, "the store knows the subject-id keys of this node")
				return err
			})
		}),
	}
	return group("keys", "Make, list and rotate the installation's keys", initKeys, list, rotate, admit)
}

func (c *cli) loadKeys() (*Config, keys.Ring, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, keys.Ring{}, err
	}
	ring, err := keys.Load(cfg.Keys)
	return cfg, ring, err
}

func (c *cli) printKeys(ring keys.Ring) error {
	type row struct {
		Kind        keys.Kind `json:"kind"`
		ID          string    `json:"id"`
		Created     time.Time `json:"created"`
		Fingerprint string    `json:"fingerprint"`
	}
	var rows []row
	var cells [][]string
	for _, k := range ring.Keys {
		rows = append(rows, row{k.Kind, k.ID, k.Created, k.Fingerprint()})
		cells = append(cells, []string{string(k.Kind), k.ID, k.Created.Format(time.DateOnly), k.Fingerprint()})
	}
	if c.json {
		return c.printJSON(rows)
	}
	return c.table([]string{"KIND", "ID", "CREATED", "FINGERPRINT"}, cells)
}
