package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"postern/gateway/address"
	"postern/gateway/consent"
)

// consentRequest is one consent event as the operator enters it.
type consentRequest struct {
	Action       consent.Action
	Address      string
	Controller   string
	Purpose      string
	Wording      string
	WordingVer   string
	Source       string
	Language     string
	Jurisdiction string
	Basis        consent.Basis
	Time         time.Time
	Expires      time.Time
	Actor        string
}

// personRequest names a person towards a controller.
type personRequest struct {
	Address    string
	Controller string
}

type idReply struct {
	ID string `json:"id"`
}

func (n *node) consentOperations() []operation {
	return []operation{
		op("keys/admit", func(ctx context.Context, _ struct{}) (struct{}, error) {
			return struct{}{}, n.consent.AdmitKeys(ctx)
		}),
		op("consent/record", n.recordConsent),
		op("consent/show", n.showConsent),
		op("consent/page", n.evidencePage),
		op("consent/export", n.exportConsent),
		op("consent/form", n.signUpForm),
		upload("consent/import", n.importConsent),
	}
}

func (n *node) recordConsent(ctx context.Context, r consentRequest) (idReply, error) {
	addr, err := n.person(&r.Controller, r.Address)
	if err != nil {
		return idReply{}, err
	}
	id, err := n.consent.Record(ctx, consent.Event{
		Time: r.Time, Action: r.Action, Controller: r.Controller, Purpose: r.Purpose, Address: addr,
		Basis: r.Basis, Method: "cli", Source: r.Source, Wording: r.Wording, WordingVer: r.WordingVer,
		Language: r.Language, Jurisdiction: r.Jurisdiction, Expires: r.Expires, Actor: r.Actor,
	})
	return idReply{id}, bindsHere(err, id)
}

// bindsHere explains an opt-out that is journalled but not yet in Redis.
func bindsHere(err error, id string) error {
	if err != nil && id != "" && errors.Is(err, consent.ErrStoreUnavailable) {
		return fmt.Errorf("stored on this node as %s and in force here; Redis does not answer, other nodes learn of it when it is back", id)
	}
	return err
}

// person reads the address and chooses the only controller where none is named.
func (n *node) person(controller *string, plain string) (address.Address, error) {
	all := n.engine.Streams().Controllers()
	if *controller == "" && len(all) == 1 {
		*controller = all[0].ID
	}
	if _, ok := n.engine.Streams().Controller(*controller); !ok {
		return address.Address{}, fmt.Errorf("controller %q is not configured: name one by --controller", *controller)
	}
	return address.Parse(plain)
}

func (n *node) showConsent(ctx context.Context, r personRequest) (consent.Profile, error) {
	addr, err := n.person(&r.Controller, r.Address)
	if err != nil {
		return consent.Profile{}, err
	}
	return n.consent.Profile(ctx, r.Controller, addr)
}

func (c *cli) consentCommand() *cobra.Command {
	return group("consent", "Record, show and import consent",
		c.consentEvent("grant ADDRESS", "Record that a person gave consent, with its evidence", consent.Given),
		c.consentEvent("confirm ADDRESS", "Record that a person confirmed a sign-up", consent.Confirmed),
		c.consentEvent("withdraw ADDRESS", "Record that a person withdrew consent; binds at once", consent.Withdrawn),
		c.consentShow(), c.consentImport(), c.consentExport(), c.consentForm())
}

func (c *cli) consentEvent(use, short string, action consent.Action) *cobra.Command {
	r := consentRequest{Action: action, Basis: consent.Express, Actor: operatorName()}
	var at, expires string
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: verb(func(ctx context.Context, args []string) error {
		r.Address = args[0]
		var err error
		if r.Time, err = parseTime(at); err != nil {
			return err
		}
		if r.Expires, err = parseTime(expires); err != nil {
			return err
		}
		return c.withNode(ctx, func(call caller) error {
			got, err := ask[idReply](ctx, call, "consent/record", r)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(got)
			}
			_, err = fmt.Fprintf(c.stdout, "%s: recorded as %s\n", action, got.ID)
			return err
		})
	})}
	f := cmd.Flags()
	f.StringVar(&r.Controller, "controller", "", "controller id; may be left out where there is one only")
	f.StringVar(&r.Purpose, "purpose", "", "purpose as in the stream's configuration")
	f.StringVar(&at, "time", "", "when it happened (2026-11-24 or RFC 3339); default now")
	if action != consent.Withdrawn {
		f.StringVar(&r.Wording, "wording", "", "the full text the person agreed to")
		f.StringVar(&r.WordingVer, "wording-version", "", "its version")
		f.StringVar(&r.Source, "source", "", "where it was given: a page, a shop, a form")
		f.StringVar(&r.Language, "language", "", "its language, as in de")
		f.StringVar(&r.Jurisdiction, "jurisdiction", "", "law that applies, as in EU")
		f.StringVar((*string)(&r.Basis), "basis", string(r.Basis), "express, soft or implied")
		f.StringVar(&expires, "expires", "", "end of an implied or limited consent")
	}
	return cmd
}

func (c *cli) consentShow() *cobra.Command {
	var r pageRequest
	var html string
	cmd := &cobra.Command{Use: "show ADDRESS", Short: "Show all that is known of a person: consents, history, suppressions", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			r.Address = args[0]
			return c.withNode(ctx, func(call caller) error {
				if html != "" {
					return c.writePage(ctx, call, r, html)
				}
				p, err := ask[consent.Profile](ctx, call, "consent/show", r.personRequest)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(p)
				}
				return c.printProfile(p)
			})
		})}
	f := cmd.Flags()
	f.StringVar(&r.Controller, "controller", "", "controller id")
	f.StringVar(&html, "html", "", "write a page to print or send to this file (- for stdout), with the evidence of each step")
	f.StringVar(&r.Language, "language", "", "language of that page; default the controller's")
	return cmd
}

func (c *cli) printProfile(p consent.Profile) error {
	if len(p.Consents) == 0 && len(p.Suppressions) == 0 {
		_, err := fmt.Fprintf(c.stdout, "Nothing is held on this address in Postern for controller %s.\n", p.Controller)
		return err
	}
	for _, k := range p.Consents {
		fmt.Fprintf(c.stdout, "Purpose %s: %s since %s\n", k.Purpose, orNone(string(k.Status)), stamp(k.Since))
		for _, e := range k.History {
			fmt.Fprintf(c.stdout, "  %s  %-9s  basis %s, by %s, source %s\n", stamp(e.Time), e.Action, orNone(string(e.Terms.Basis)), orNone(e.Terms.Method), orNone(e.Terms.Source))
			if e.Terms.Wording != "" {
				fmt.Fprintf(c.stdout, "      wording %s: %q\n", e.Terms.WordingVer, e.Terms.Wording)
			}
		}
	}
	var rows [][]string
	for _, s := range p.Suppressions {
		state := "stands"
		if !s.Stands() {
			state = "ended " + stamp(s.Ended) + " by " + s.EndedBy
		}
		rows = append(rows, []string{s.ID, stamp(s.Time), string(s.Scope), string(s.Reason), s.Source, s.Case, state})
	}
	if len(rows) == 0 {
		return nil
	}
	return c.table([]string{"SUPPRESSION", "SINCE", "SCOPE", "REASON", "SOURCE", "CASE", "STATE"}, rows)
}

// parseTime reads a day or a moment; "" is the zero time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is not a time: write 2026-11-24 or 2026-11-24T12:00:00Z", strconv.Quote(s))
}

// operatorName is who acts on the command line, for the record.
func operatorName() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return "operator:" + name
	}
	if name := os.Getenv("USER"); name != "" {
		return "operator:" + name
	}
	return "operator:uid" + strconv.Itoa(os.Getuid())
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Format("2006-01-02 15:04")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
