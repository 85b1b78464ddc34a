package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway/ledger"
	"postern/gateway/ledger/peers"
)

// retireRequest takes a node out that will not run again.
type retireRequest struct {
	ID     string // or name
	Reason string
	Actor  string
}

// nodeRow is one relay node for a listing.
type nodeRow struct {
	peers.Node
	Silent bool `json:"silent"`
}

func (n *node) nodeOperations() []operation {
	return []operation{
		op("node/list", func(ctx context.Context, _ struct{}) ([]nodeRow, error) {
			list, err := n.books.Nodes(ctx)
			rows := make([]nodeRow, len(list))
			for i, p := range list {
				rows[i] = nodeRow{p, n.books.Silent(p)}
			}
			return rows, err
		}),
		op("node/retire", n.retireNode),
	}
}

// retireNode stops asking a node for what it sent, and waiting for opt-outs of
// its that Redis forgot: that part of every send record is lost, and so are
// these, so it is a decision with a reason, on record.
func (n *node) retireNode(ctx context.Context, r retireRequest) (peers.Node, error) {
	if strings.TrimSpace(r.Reason) == "" {
		return peers.Node{}, errors.New("say why, with --reason: what that node sent is no longer part of anybody's data, and opt-outs that only it knows are lost")
	}
	list, err := n.books.Nodes(ctx)
	if err != nil {
		return peers.Node{}, err
	}
	var named []string
	for _, p := range list {
		if p.Name == r.ID {
			named = append(named, p.ID)
		}
	}
	switch len(named) {
	case 0: // an id
	case 1:
		r.ID = named[0]
	default:
		return peers.Node{}, fmt.Errorf("%d nodes have this name: give the id, one of %s", len(named), strings.Join(named, ", "))
	}
	gone, err := n.books.Retire(ctx, r.ID)
	if errors.Is(err, peers.ErrNode) && !slices.ContainsFunc(list, func(p peers.Node) bool { return p.ID == r.ID }) {
		gone, err = n.forgottenNode(ctx, r.ID, err)
	}
	if err == nil {
		err = n.consent.AcceptLoss(ctx, gone.ID)
	}
	if err != nil {
		return gone, err
	}
	return gone, n.trail.Append(ctx, ledger.Record{
		Time: time.Now(), Kind: ledger.KindConfig, Actor: r.Actor, Action: "retire-node", Ref: gone.ID,
		Data: map[string]string{"node": gone.Name, "seen": gone.Seen.Format(time.RFC3339), "why": r.Reason},
	})
}

// forgottenNode is a node that Redis does not list any more but whose opt-outs
// it forgot: both went with the data it lost.
func (n *node) forgottenNode(ctx context.Context, id string, unknown error) (peers.Node, error) {
	forgotten, err := n.consent.Forgotten(ctx)
	if err == nil && !slices.Contains(forgotten, id) {
		err = unknown
	}
	return peers.Node{ID: id, Name: id}, err
}

func (c *cli) nodeCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the relay nodes whose ledgers are read together", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]nodeRow](ctx, call, "node/list", struct{}{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, r := range rows {
					state := "runs"
					if r.Own {
						state = "this one"
					} else if r.Silent {
						state = "away"
					}
					cells = append(cells, []string{r.Name, r.ID, stamp(r.Seen), state})
				}
				return c.table([]string{"NAME", "ID", "SEEN", "STATE"}, cells)
			})
		})}
	var r retireRequest
	retire := &cobra.Command{Use: "retire NAME|ID", Short: "Stop asking a node that will not run again; what only its ledger knew is lost", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			r.ID, r.Actor = args[0], operatorName()
			return c.withNode(ctx, func(call caller) error {
				gone, err := ask[peers.Node](ctx, call, "node/retire", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(gone)
				}
				_, err = fmt.Fprintf(c.stdout, "%s is no longer asked; it comes back by itself if it is started again\n", gone.Name)
				return err
			})
		})}
	retire.Flags().StringVar(&r.Reason, "reason", "", "why it will not run again (needed)")
	return group("node", "Relay nodes of this installation", list, retire)
}
