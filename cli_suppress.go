package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"postern/gateway/consent"
)

type suppressRequest struct {
	Address    string
	Controller string
	Scope      consent.Scope
	Stream     string
	Purpose    string
	Reason     consent.Reason
	Case       string
	Actor      string
	Why        string // of a release
}

type listRequest struct {
	Controller string
	Ended      bool
}

type replayReply struct {
	Events int `json:"events"`
}

// suppressionRow is a suppression with its subject, for listings: the id
// alone, no address is held.
type suppressionRow struct {
	Subject string `json:"subject"`
	consent.SuppressionRecord
}

func (n *node) suppressOperations() []operation {
	return []operation{
		op("suppress/add", n.addSuppression),
		op("suppress/remove", n.removeSuppression),
		op("suppress/list", n.listSuppressions),
		op("suppress/replay", func(ctx context.Context, _ struct{}) (replayReply, error) {
			events, err := n.consent.Replay(ctx)
			return replayReply{events}, err
		}),
	}
}

func (n *node) addSuppression(ctx context.Context, r suppressRequest) (idReply, error) {
	addr, err := n.person(&r.Controller, r.Address)
	if err != nil {
		return idReply{}, err
	}
	s := consent.Suppression{
		Controller: r.Controller, Address: addr, Scope: r.Scope, Purpose: r.Purpose,
		Reason: r.Reason, Source: "cli", Case: r.Case, Actor: r.Actor,
	}
	if r.Scope == consent.ScopeStream {
		st, ok := n.engine.Streams().ByName(r.Stream)
		if !ok {
			return idReply{}, fmt.Errorf("scope stream needs --stream with the name of one; %q is none", r.Stream)
		}
		s.Stream = st.Number
	}
	id, err := n.consent.Suppress(ctx, s)
	return idReply{id}, bindsHere(err, id)
}

func (n *node) removeSuppression(ctx context.Context, r suppressRequest) (idReply, error) {
	addr, err := n.person(&r.Controller, r.Address)
	if err != nil {
		return idReply{}, err
	}
	return idReply{}, n.consent.Release(ctx, consent.Release{
		Controller: r.Controller, Address: addr, Only: r.Reason, Actor: r.Actor, Reason: r.Why,
	})
}

func (n *node) listSuppressions(ctx context.Context, r listRequest) ([]suppressionRow, error) {
	rows := []suppressionRow{}
	err := n.consent.Suppressions(ctx, r.Controller, func(s consent.SuppressionRecord) error {
		if s.Stands() || r.Ended {
			rows = append(rows, suppressionRow{s.Subject.String(), s})
		}
		return nil
	})
	return rows, err
}

func (c *cli) suppressCommand() *cobra.Command {
	var add, remove suppressRequest
	addCmd := &cobra.Command{Use: "add ADDRESS", Short: "Stop mail to an address; binds at once, also what is spooled", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			add.Address, add.Actor = args[0], operatorName()
			return c.withNode(ctx, func(call caller) error {
				got, err := ask[idReply](ctx, call, "suppress/add", add)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(got)
				}
				_, err = fmt.Fprintf(c.stdout, "suppressed: %s\n", got.ID)
				return err
			})
		})}
	f := addCmd.Flags()
	f.StringVar(&add.Controller, "controller", "", "controller id")
	f.StringVar((*string)(&add.Scope), "scope", string(consent.ScopeController), "stream, purpose, controller (all marketing) or all")
	f.StringVar(&add.Stream, "stream", "", "stream name, for scope stream")
	f.StringVar(&add.Purpose, "purpose", "", "purpose, for scope purpose")
	f.StringVar((*string)(&add.Reason), "reason", string(consent.Manual), "manual, unsubscribed, objected, withdrawn, complaint, bounce")
	f.StringVar(&add.Case, "case", "", "case number it belongs to")

	removeCmd := &cobra.Command{Use: "remove ADDRESS", Short: "Release a suppression that was wrong; the reason goes on record", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			remove.Address, remove.Actor = args[0], operatorName()
			return c.withNode(ctx, func(call caller) error {
				if _, err := ask[idReply](ctx, call, "suppress/remove", remove); err != nil {
					return err
				}
				if c.json {
					return c.printJSON(map[string]bool{"released": true})
				}
				_, err := fmt.Fprintln(c.stdout, "released; consent is needed all the same before marketing leaves")
				return err
			})
		})}
	f = removeCmd.Flags()
	f.StringVar(&remove.Controller, "controller", "", "controller id")
	f.StringVar((*string)(&remove.Reason), "only", "", "only suppressions with this reason")
	f.StringVar(&remove.Why, "why", "", "why it was wrong (needed)")
	_ = removeCmd.MarkFlagRequired("why")

	return group("suppress", "Stop mail to an address, or release it", addCmd, removeCmd, c.suppressList(), c.suppressImport(), c.suppressExport(), c.suppressReplay())
}

func (c *cli) suppressList() *cobra.Command {
	var r listRequest
	cmd := &cobra.Command{Use: "list", Short: "List suppressions by subject id; no address is held", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]suppressionRow](ctx, call, "suppress/list", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, s := range rows {
					cells = append(cells, []string{s.Subject, s.Controller, stamp(s.Time), string(s.Scope), string(s.Reason), s.Source, s.Case})
				}
				return c.table([]string{"SUBJECT", "CONTROLLER", "SINCE", "SCOPE", "REASON", "SOURCE", "CASE"}, cells)
			})
		})}
	cmd.Flags().StringVar(&r.Controller, "controller", "", "only this controller")
	cmd.Flags().BoolVar(&r.Ended, "ended", false, "ended ones too")
	return cmd
}

func (c *cli) suppressReplay() *cobra.Command {
	return &cobra.Command{Use: "replay", Short: "Bring every opt-out of this node's journal to Redis again, as after a restore", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				got, err := ask[replayReply](ctx, call, "suppress/replay", struct{}{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(got)
				}
				_, err = fmt.Fprintf(c.stdout, "%d events of the journal are in Redis\n", got.Events)
				return err
			})
		})}
}
