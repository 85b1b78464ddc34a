package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"postern/gateway"
	"postern/gateway/ledger"
)

// ledgerRequest chooses records by person, message or reference.
type ledgerRequest struct {
	Address    string
	Controller string
	MessageID  string
	Ref        string
}

// ledgerRow is one record for a listing.
type ledgerRow struct {
	Index   int64  `json:"index"` // -1: not in the tree yet
	Time    string `json:"time"`
	Kind    string `json:"kind"`
	Actor   string `json:"actor"`
	Action  string `json:"action"`
	Reason  string `json:"reason,omitempty"`
	Stream  uint16 `json:"stream,omitempty"`
	Ref     string `json:"ref,omitempty"`
	Subject string `json:"subject,omitempty"`
}

type exportRequest struct{ Dir string }

type exportReply struct {
	PublicKey string `json:"public_key"`
}

func (n *node) ledgerOperations() []operation {
	return []operation{
		op("ledger/show", n.showLedger),
		op("ledger/prove", n.proveLedger),
		op("ledger/export", func(ctx context.Context, r exportRequest) (exportReply, error) {
			err := errors.Join(n.trail.Flush(ctx), n.trail.Export(ctx, r.Dir))
			return exportReply{n.trail.PublicKey()}, err
		}),
	}
}

// filters are what a request chooses: a person has an id under each live key.
func (n *node) filters(r ledgerRequest) ([]ledger.Filter, error) {
	switch {
	case r.Address != "":
		addr, err := n.person(&r.Controller, r.Address)
		if err != nil {
			return nil, err
		}
		var out []ledger.Filter
		for _, id := range n.ring.Identities(r.Controller, addr) {
			out = append(out, ledger.Filter{Subject: id.ID})
		}
		return out, nil
	case r.MessageID != "":
		return []ledger.Filter{{Message: gateway.MessageIDHash(r.MessageID)}}, nil
	case r.Ref != "":
		return []ledger.Filter{{Ref: r.Ref}}, nil
	}
	return nil, errors.New("name a person, a message or a reference: --address, --message-id or --ref")
}

// proveLedger gathers what is known with its inclusion proofs, one proof for
// each node and id of the person that has records.
func (n *node) proveLedger(ctx context.Context, r ledgerRequest) ([]ledger.Proof, error) {
	filters, err := n.filters(r)
	if err != nil {
		return nil, err
	}
	var proofs []ledger.Proof
	for _, f := range filters {
		p, err := n.books.Prove(ctx, f)
		if errors.Is(err, ledger.ErrNoRecord) {
			continue
		}
		if err != nil {
			return nil, err
		}
		proofs = append(proofs, p...)
	}
	if len(proofs) == 0 {
		return nil, fmt.Errorf("%w: no node's ledger knows of it", ledger.ErrNoRecord)
	}
	return proofs, nil
}

func (n *node) showLedger(ctx context.Context, r ledgerRequest) ([]ledgerRow, error) {
	filters, err := n.filters(r)
	if err != nil {
		return nil, err
	}
	rows := []ledgerRow{}
	for _, f := range filters {
		err := n.books.Query(ctx, f, func(e ledger.Entry) error {
			row := ledgerRow{
				Index: e.Index, Time: stamp(e.Time), Kind: string(e.Kind), Actor: e.Actor, Action: e.Action,
				Reason: e.Reason, Stream: e.Stream, Ref: e.Ref,
			}
			if !e.Subject.IsZero() {
				row.Subject = e.Subject.String()
			}
			rows = append(rows, row)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (c *cli) ledgerCommand() *cobra.Command {
	var r ledgerRequest
	show := &cobra.Command{Use: "show", Short: "Show the records of a person, a message or a reference", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]ledgerRow](ctx, call, "ledger/show", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, e := range rows {
					cells = append(cells, []string{strconv.FormatInt(e.Index, 10), e.Time, e.Kind, e.Actor, e.Action, e.Reason, e.Ref})
				}
				return c.table([]string{"INDEX", "TIME", "KIND", "WHO", "WHAT", "WHY", "REFERENCE"}, cells)
			})
		})}
	c.ledgerFlags(show, &r)
	return group("ledger", "What was decided, by whom, when and why", show, c.ledgerProve(), c.ledgerExport(), c.ledgerVerify())
}

func (c *cli) ledgerFlags(cmd *cobra.Command, r *ledgerRequest) {
	f := cmd.Flags()
	f.StringVar(&r.Address, "address", "", "a person's address")
	f.StringVar(&r.Controller, "controller", "", "controller id, for --address")
	f.StringVar(&r.MessageID, "message-id", "", "a Message-ID")
	f.StringVar(&r.Ref, "ref", "", "a spool id, case number or event id")
}

func (c *cli) ledgerProve() *cobra.Command {
	var r ledgerRequest
	cmd := &cobra.Command{Use: "prove", Short: "Print records with their inclusion proofs as JSON, for whoever doubts them", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				proofs, err := ask[[]ledger.Proof](ctx, call, "ledger/prove", r)
				if err != nil {
					return err
				}
				return c.printJSON(proofs)
			})
		})}
	c.ledgerFlags(cmd, &r)
	return cmd
}

func (c *cli) ledgerExport() *cobra.Command {
	return &cobra.Command{Use: "export DIR", Short: "Write the whole log into a new folder, for `ledger verify`", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return c.withNode(ctx, func(call caller) error {
				got, err := ask[exportReply](ctx, call, "ledger/export", exportRequest{dir})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(got)
				}
				_, err = fmt.Fprintf(c.stdout, "written to %s; keep the public key elsewhere:\n%s\n", dir, got.PublicKey)
				return err
			})
		})}
}

// ledgerVerify needs no server, no configuration and no secret.
func (c *cli) ledgerVerify() *cobra.Command {
	var key string
	var anchors []string
	cmd := &cobra.Command{Use: "verify DIR|ARCHIVE.zip", Short: "Check an exported log, or an archive of cases, offline; names what was changed, removed, inserted or cut off", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			if b, err := os.ReadFile(key); err == nil {
				key = strings.TrimSpace(string(b))
			}
			if strings.HasSuffix(args[0], ".zip") {
				return c.verifyCases(args[0], key)
			}
			o := ledger.VerifyOptions{}
			origin, _, _ := strings.Cut(key, "+")
			for _, path := range anchors {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				found, err := anchorsIn(b, origin)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				o.Anchors = append(o.Anchors, found...)
			}
			rep, err := ledger.Verify(ctx, args[0], key, o)
			if err != nil {
				return err
			}
			if c.json {
				if err := c.printJSON(rep); err != nil {
					return err
				}
			} else {
				for _, f := range rep.Faults {
					fmt.Fprintln(c.stdout, f)
				}
				fmt.Fprintf(c.stdout, "%s: %d records, root %s, %d pruned, %d anchors agree\n", rep.Origin, rep.Size, rep.Root, rep.Pruned, rep.Anchors)
			}
			if !rep.OK() {
				return fmt.Errorf("the log does not verify: %d faults", len(rep.Faults))
			}
			return nil
		})}
	cmd.Flags().StringVar(&key, "key", "", "the log's public key, or a file that holds it (needed)")
	cmd.Flags().StringArrayVar(&anchors, "anchor", nil, "signed checkpoints kept elsewhere: one, the file of anchor_file, or a saved mail of anchor_mail; may be repeated")
	_ = cmd.MarkFlagRequired("key")
	return cmd
}
