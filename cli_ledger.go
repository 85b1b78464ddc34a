package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

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

func (n *node) ledgerOperations() []operation {
	return []operation{op("ledger/show", n.showLedger)}
}

func (n *node) showLedger(ctx context.Context, r ledgerRequest) ([]ledgerRow, error) {
	filters := []ledger.Filter{{Ref: r.Ref}}
	switch {
	case r.Address != "":
		addr, err := n.person(&r.Controller, r.Address)
		if err != nil {
			return nil, err
		}
		filters = nil
		for _, id := range n.ring.Identities(r.Controller, addr) {
			filters = append(filters, ledger.Filter{Subject: id.ID})
		}
	case r.MessageID != "":
		sum := sha256.Sum256([]byte(strings.Trim(r.MessageID, "<> ")))
		filters = []ledger.Filter{{Message: hex.EncodeToString(sum[:])}}
	case r.Ref == "":
		return nil, errors.New("name a person, a message or a reference: --address, --message-id or --ref")
	}
	rows := []ledgerRow{}
	for _, f := range filters {
		err := n.trail.Query(ctx, f, func(e ledger.Entry) error {
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
	f := show.Flags()
	f.StringVar(&r.Address, "address", "", "a person's address")
	f.StringVar(&r.Controller, "controller", "", "controller id, for --address")
	f.StringVar(&r.MessageID, "message-id", "", "a Message-ID")
	f.StringVar(&r.Ref, "ref", "", "a spool id, case number or event id")
	return group("ledger", "What was decided, by whom, when and why", show)
}
