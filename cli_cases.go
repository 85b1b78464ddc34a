package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/classifier"
	"postern/queue"
)

// caseRow is a case for listings: no address, no text.
type caseRow struct {
	Number     string             `json:"number"`
	Controller string             `json:"controller"`
	State      queue.State        `json:"state"`
	Kind       classifier.Kind    `json:"kind"`
	Labels     []classifier.Label `json:"labels"`
	ToRead     bool               `json:"to_read"`
	Language   string             `json:"language"`
	Regime     string             `json:"regime"`
	Rule       string             `json:"rule"`
	Grade      queue.Grade        `json:"grade"`
	Received   time.Time          `json:"received"`
	Due        time.Time          `json:"due"`
	Owner      string             `json:"owner,omitempty"`
	Flags      []string           `json:"flags,omitempty"`
	Mails      []caseMail         `json:"mails,omitempty"`
	Events     []caseEvent        `json:"events,omitempty"`
	Tasks      []taskRow          `json:"tasks,omitempty"`
	Letters    []letterRow        `json:"letters,omitempty"`
	Proposed   map[string]string  `json:"proposed,omitempty"`
	Breach     *queue.Breach      `json:"breach,omitempty"`
}

type caseMail struct {
	Received time.Time           `json:"received"`
	From     string              `json:"from"`
	Subject  string              `json:"subject"`
	Text     string              `json:"text"`
	GradeWhy string              `json:"grade_why,omitempty"`
	Reasons  []classifier.Reason `json:"reasons,omitempty"`
}

type caseEvent struct {
	Time   time.Time         `json:"time"`
	Actor  string            `json:"actor"`
	Action queue.Action      `json:"action"`
	Reason string            `json:"reason,omitempty"`
	From   queue.State       `json:"from,omitempty"`
	To     queue.State       `json:"to,omitempty"`
	Data   map[string]string `json:"data,omitempty"`
	Note   string            `json:"note,omitempty"`
}

type letterRow struct {
	Index    int    `json:"index"`
	Status   string `json:"status"`
	Subject  string `json:"subject"`
	Language string `json:"language"`
	Effect   string `json:"effect"`
	Text     string `json:"text"`
}

type casesRequest struct {
	Filter queue.Filter
	Number string
	Actor  string
}

func (n *node) casesOperations() []operation {
	return append(n.caseActions(), op("cases/list", n.listCases), op("cases/show", n.showCase))
}

func (n *node) listCases(ctx context.Context, r casesRequest) ([]caseRow, error) {
	list, err := n.queue.List(ctx, r.Filter)
	if err != nil {
		return nil, err
	}
	rows := make([]caseRow, len(list))
	for i, k := range list {
		rows[i] = rowOf(k)
	}
	return rows, nil
}

func (n *node) showCase(ctx context.Context, r casesRequest) (caseRow, error) {
	k, events, err := n.queue.Show(ctx, r.Number)
	if err != nil {
		return caseRow{}, fmt.Errorf("case %s: %w", r.Number, err)
	}
	if err := n.queue.RecordView(ctx, queue.View{Actor: r.Actor, Case: k.Number, What: "case"}); err != nil {
		return caseRow{}, err
	}
	row := rowOf(k)
	tasks, err := n.queue.Tasks(ctx, k.Number)
	if err != nil {
		return caseRow{}, err
	}
	row.Tasks = taskRows(tasks)
	if row.Proposed, err = n.queue.Proposals(ctx, k.Number); err != nil {
		return caseRow{}, err
	}
	if b, known, err := n.queue.BreachOf(ctx, k.Number); err != nil {
		return caseRow{}, err
	} else if known {
		row.Breach = &b
	}
	letters, status, err := n.queue.Letters(ctx, k.Number)
	if err != nil {
		return caseRow{}, err
	}
	for i, l := range letters {
		row.Letters = append(row.Letters, letterRow{i, status[i], l.Subject, l.Language, string(l.Effect), l.Text})
	}
	for _, m := range k.Mails {
		row.Mails = append(row.Mails, caseMail{m.Received, m.From.Plain(), m.Subject, m.Text, m.GradeWhy, m.Result.Reasons})
	}
	for _, e := range events {
		row.Events = append(row.Events, caseEvent{e.Time, e.Actor, e.Action, e.Reason, e.From, e.To, e.Data, e.Note})
	}
	return row, nil
}

func rowOf(k queue.Case) caseRow {
	return caseRow{
		Number: k.Number, Controller: k.Controller, State: k.State, Kind: k.Kind, Labels: k.Labels,
		ToRead: k.Abstain, Language: k.Language, Regime: k.Regime, Rule: k.Rule, Grade: k.Grade,
		Received: k.Received, Due: k.Due, Owner: k.Owner, Flags: k.Flags,
	}
}

func (c *cli) casesCommand() *cobra.Command {
	cmd := group("cases", "The requests of data subjects", c.casesList(), c.casesShow())
	for _, list := range [][]*cobra.Command{c.caseMoves(), c.identityVerbs(), c.systemVerbs(), c.packageVerbs(), c.letterVerbs(), c.deskVerbs()} {
		cmd.AddCommand(list...)
	}
	return c.named(cmd)
}

func (c *cli) casesList() *cobra.Command {
	var r casesRequest
	var label, state string
	cmd := &cobra.Command{Use: "list", Short: "List cases, those due first", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			r.Filter.Label = classifier.Label(label)
			if state != "" {
				r.Filter.States = []queue.State{queue.State(state)}
			}
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]caseRow](ctx, call, "cases/list", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				if len(rows) == 0 {
					_, err := fmt.Fprintln(c.stdout, "No case.")
					return err
				}
				var cells [][]string
				for _, k := range rows {
					cells = append(cells, []string{k.Number, k.Due.Format("Mon 2006-01-02"), string(k.State), labels(k), k.Language, string(k.Grade), strings.Join(k.Flags, " ")})
				}
				return c.table([]string{"CASE", "DUE", "STATE", "ASKS FOR", "LANGUAGE", "SENDER", "FLAGS"}, cells)
			})
		})}
	f := cmd.Flags()
	f.BoolVar(&r.Filter.Live, "live", false, "only cases whose clock runs")
	f.StringVar(&r.Filter.Controller, "controller", "", "only this controller")
	f.StringVar(&label, "label", "", "only this label, as in erasure")
	f.StringVar(&state, "state", "", "only this state")
	f.StringVar(&r.Filter.Owner, "owner", "", "only this operator's")
	f.StringVar(&r.Filter.Asker, "asker", "", "only requests of: subject, agent (as deletion services), authority, company")
	f.IntVar(&r.Filter.Limit, "limit", 1000, "at most so many")
	return cmd
}

func labels(k caseRow) string {
	words := make([]string, 0, len(k.Labels)+1)
	for _, l := range k.Labels {
		words = append(words, string(l))
	}
	if k.ToRead {
		words = append(words, "(to read)")
	}
	return strings.Join(words, ", ")
}

func (c *cli) casesShow() *cobra.Command {
	return &cobra.Command{Use: "show NUMBER", Short: "Show one case: clock, mails, why it was read so, what happened", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			return c.withNode(ctx, func(call caller) error {
				k, err := ask[caseRow](ctx, call, "cases/show", casesRequest{Number: args[0], Actor: c.actor()})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(k)
				}
				return c.printCase(k)
			})
		})}
}

func (c *cli) printCase(k caseRow) error {
	w := c.stdout
	fmt.Fprintf(w, "Case %s · %s · %s\n", k.Number, orNone(labels(k)), k.State)
	fmt.Fprintf(w, "Received %s, due %s by rule %s (%s)\n", stamp(k.Received), stamp(k.Due), k.Rule, orNone(k.Regime))
	fmt.Fprintf(w, "Sender %s, language %s, owner %s\n", k.Grade, orNone(k.Language), orNone(k.Owner))
	if k.Breach != nil {
		fmt.Fprintf(w, "\nBreach\n%s\n", strings.Join(breachLines(*k.Breach, time.Now()), "\n"))
	}
	for _, m := range k.Mails {
		fmt.Fprintf(w, "\n%s  From: %s\nSubject: %s\n\n", stamp(m.Received), m.From, m.Subject)
		for _, line := range strings.Split(strings.TrimSpace(m.Text), "\n") {
			fmt.Fprintf(w, "    %s\n", line)
		}
		for _, r := range m.Reasons {
			fmt.Fprintf(w, "  %+.2f  %s: %q\n", r.Weight, r.Label, r.Words)
		}
	}
	if len(k.Tasks) > 0 {
		fmt.Fprintf(w, "\nTasks\n%s\n", listed(k.Tasks))
	}
	for _, l := range k.Letters {
		fmt.Fprintf(w, "\nLetter %d, %s, %s: %s\n", l.Index, l.Status, l.Effect, l.Subject)
	}
	for _, act := range sortedKeys(k.Proposed) {
		fmt.Fprintf(w, "\nProposed: %s, by %s\n", act, k.Proposed[act])
	}
	fmt.Fprintln(w)
	var cells [][]string
	for _, e := range k.Events {
		cells = append(cells, []string{stamp(e.Time), e.Actor, string(e.Action), e.Reason, string(e.To), e.Note})
	}
	return c.table([]string{"WHEN", "WHO", "WHAT", "WHY", "STATE", "NOTE"}, cells)
}
