package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/queue"
	"postern/queue/fulfil"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// act makes a verb on cases: fill puts arguments into the order, then the
// operation runs and its answer is printed.
func (c *cli) act(use, short string, args cobra.PositionalArgs, operation string, fill func(args []string, o *caseOrder) error) (*cobra.Command, *caseOrder) {
	o := &caseOrder{}
	cmd := &cobra.Command{Use: use, Short: short, Args: args, RunE: verb(func(ctx context.Context, args []string) error {
		o.Actor = c.actor()
		if err := fill(args, o); err != nil {
			return err
		}
		return c.order(ctx, operation, *o)
	})}
	return cmd, o
}

// order asks one operation and prints what it says.
func (c *cli) order(ctx context.Context, operation string, o caseOrder) error {
	return c.withNode(ctx, func(call caller) error {
		a, err := ask[caseAnswer](ctx, call, operation, o)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(a)
		}
		_, err = fmt.Fprintln(c.stdout, a.Message)
		return err
	})
}

// actor is who acts: --as NAME, else the user of the operating system.
func (c *cli) actor() string {
	if c.as != "" {
		return "operator:" + c.as
	}
	return operatorName()
}

// named lets the verbs of a group act in an operator's name.
func (c *cli) named(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().StringVar(&c.as, "as", "", "act as this operator, for the record; default the user's name")
	return cmd
}

func one(args []string, o *caseOrder) error { o.Number = args[0]; return nil }

// many takes one or several case numbers.
func many(args []string, o *caseOrder) error { o.Number, o.Numbers = args[0], args; return nil }

// words reads a text from a file, or from standard input for "-".
func (c *cli) words(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	var raw []byte
	var err error
	if path == "-" {
		raw, err = io.ReadAll(c.stdin)
	} else {
		raw, err = os.ReadFile(path)
	}
	return string(raw), err
}

// caseMoves are the verbs that move a case without a letter.
func (c *cli) caseMoves() []*cobra.Command {
	move := func(use, short string, action queue.Action, args cobra.PositionalArgs, more func(args []string, o *caseOrder) error) (*cobra.Command, *caseOrder) {
		cmd, o := c.act(use, short, args, "cases/move", func(args []string, o *caseOrder) error {
			o.Verb = string(action)
			return more(args, o)
		})
		cmd.Flags().StringVar(&o.Note, "note", "", "free words, sealed at rest")
		return cmd, o
	}
	reasoned := func(use, short, def string, action queue.Action) (*cobra.Command, *caseOrder) {
		cmd, o := move(use, short, action, cobra.MinimumNArgs(1), many)
		cmd.Flags().StringVar(&o.Reason, "reason", def, "why, a short word for the record")
		return cmd, o
	}
	stopping := func(cmd *cobra.Command, o *caseOrder) *cobra.Command {
		stopFlags(cmd, o)
		return cmd
	}
	start, _ := move("start NUMBER", "Take a case up", queue.ActStart, cobra.ExactArgs(1), one)
	answered, _ := reasoned("answered NUMBER...", "Note that the answer was given on paper, by telephone or in person: --reason by-post|by-phone|in-person", "by-post", queue.ActAnswer)
	closing := stopping(reasoned("close NUMBER...", "Close cases that are done", "done", queue.ActClose))
	reopen, _ := reasoned("reopen NUMBER...", "Open an ended case again", "incomplete", queue.ActReopen)
	withdraw := stopping(reasoned("withdraw NUMBER...", "Note that the person took the request back", "by-person", queue.ActWithdraw))
	assign, _ := move("assign OPERATOR NUMBER...", "Put an operator in charge", queue.ActAssign, cobra.MinimumNArgs(2), func(args []string, o *caseOrder) error {
		o.Owner = args[0]
		return many(args[1:], o)
	})
	note, _ := c.act("note NUMBER TEXT...", "Add a remark", cobra.MinimumNArgs(2), "cases/move", func(args []string, o *caseOrder) error {
		o.Verb, o.Number, o.Note = string(queue.ActNote), args[0], strings.Join(args[1:], " ")
		return nil
	})
	label, _ := move("label NUMBER LABEL[,LABEL...]", "Correct what a case asks for", queue.ActLabel, cobra.ExactArgs(2), func(args []string, o *caseOrder) error {
		o.Number, o.Labels = args[0], strings.Split(args[1], ",")
		return knownLabels(o.Labels)
	})
	merge, into := move("merge NUMBER...", "Merge duplicates into another case: the earliest receipt counts", queue.ActMerge, cobra.MinimumNArgs(1), many)
	merge.Flags().StringVar(&into.Into, "into", "", "the case that lives on (needed)")
	merge.Flags().StringVar(&into.Reason, "reason", "duplicate", "why")
	merge.Flags().StringVar(&into.SamePerson, "same-person", "", "for one case from another address: how it is known that one person wrote both")
	_ = merge.MarkFlagRequired("into")
	until := ""
	wait, w := move("wait NUMBER", "Wait until a date; the clock runs on", queue.ActWait, cobra.ExactArgs(1), func(args []string, o *caseOrder) error {
		o.Number = args[0]
		var err error
		if until != "" {
			o.Until, err = parseTime(until)
		}
		return err
	})
	wait.Flags().StringVar(&until, "until", "", "the date, as 2026-12-10")
	wait.Flags().StringVar(&w.Reason, "reason", "", "what is waited for (needed)")
	_ = wait.MarkFlagRequired("reason")
	market, mk := c.act("marketing NUMBER keep|lift", "Decide whether the stop to advertising that a request for erasure placed lasts, where none was carried out", cobra.ExactArgs(2), "cases/marketing", func(args []string, o *caseOrder) error {
		o.Number, o.Stop = args[0], args[1]
		return nil
	})
	market.Flags().StringVar(&mk.StopWhy, "reason", "", "why it is lifted (needed for lift)")
	return []*cobra.Command{start, answered, closing, reopen, withdraw, assign, note, label, merge, wait, market}
}

// stopFlags let an end of a case decide on the stop to advertising.
func stopFlags(cmd *cobra.Command, o *caseOrder) {
	cmd.Flags().StringVar(&o.Stop, "marketing", "", "keep (default) or lift the stop that a request for erasure placed, where none was carried out")
	cmd.Flags().StringVar(&o.StopWhy, "marketing-reason", "", "why it is lifted (needed for lift)")
}

// letterVerbs are the verbs that write to the person.
func (c *cli) letterVerbs() []*cobra.Command {
	letter := func(use, short, template string, effect queue.Action) (*cobra.Command, *caseOrder) {
		cmd, o := c.act(use, short, cobra.ExactArgs(1), "cases/reply", func(args []string, o *caseOrder) error {
			o.Number, o.Effect = args[0], string(effect)
			if o.Template == "" {
				o.Template = template
			}
			return nil
		})
		f := cmd.Flags()
		f.BoolVar(&o.Preview, "preview", false, "show the letter, send nothing")
		f.StringVar(&o.Language, "language", "", "language of the letter; default the person's")
		f.StringVar(&o.To, "to", "", "another address than the person's")
		f.StringVar(&o.Note, "note", "", "remark for the record")
		f.StringToStringVar(&o.Values, "value", nil, "a value the text needs, as reason=\"...\"")
		return cmd, o
	}
	reply, r := letter("reply NUMBER", "Answer: a text of the catalogue, or your own", "", queue.ActAnswer)
	var text string
	var only bool
	f := reply.Flags()
	f.StringVar(&r.Template, "template", "", "nothing, erased, rectified, restricted, upheld, stopped, notice, dpa, forward, ...")
	f.StringVar(&text, "text", "", "file with the text, - for standard input")
	f.StringVar(&r.Subject, "subject", "", "with --text")
	f.StringVar(&r.Reason, "reason", "", "short word for the record")
	f.BoolVar(&only, "no-effect", false, "the case stays open: this is not the answer")
	run := reply.RunE
	reply.Args = cobra.MinimumNArgs(1)
	reply.RunE = func(cmd *cobra.Command, args []string) error {
		words, err := c.words(text)
		if err != nil {
			return failure{err}
		}
		if r.Text = words; r.Text == "" && r.Template == "" {
			return errors.New("say what: --template NAME or --text FILE")
		}
		if only || len(args) > 1 {
			o := *r
			o.Actor, o.Effect, o.Number = c.actor(), string(queue.ActSent), args[0]
			if !only {
				o.Effect = string(queue.ActAnswer)
			}
			if o.Numbers = args; len(args) == 1 {
				o.Numbers = nil
			}
			return verb(func(ctx context.Context, _ []string) error { return c.order(ctx, "cases/reply", o) })(cmd, args)
		}
		return run(cmd, args)
	}
	extend, e := letter("extend NUMBER", "Extend the period, with notice and reason (Art. 12(3))", "extension", queue.ActExtend)
	extend.Flags().StringVar(&e.Reason, "why", "complexity", "complexity or number: the letter says it in the person's language")
	deny, d := letter("deny NUMBER", "Refuse with a reason, naming authority and court (Art. 12(4))", "denied", queue.ActDeny)
	deny.Flags().StringVar(&d.Reason, "why", "", "one of "+strings.Join(queue.SaidReasons(), ", ")+", which the letter says in the person's language, or a word of yours with --reason (needed)")
	stopFlags(deny, d)
	_ = deny.MarkFlagRequired("why")
	lift, li := letter("lift NUMBER", "End a restriction: the person is told from when their data is used again, and on that day the systems are asked (Art. 18(3))", "lifting", queue.ActLift)
	lift.Flags().StringVar(&li.Reason, "why", "", "as for deny, as accurate or compelling-grounds (needed)")
	lift.Flags().StringVar(&li.UntilOn, "from", "", "the day it ends, as 2026-12-24; default in a week")
	_ = lift.MarkFlagRequired("why")
	for _, x := range []struct {
		cmd *cobra.Command
		o   *caseOrder
	}{{extend, e}, {deny, d}, {lift, li}} {
		because := x.cmd.Flags().String("reason", "", "half a sentence after \"because\", in the person's language")
		inner := x.cmd.RunE
		x.cmd.RunE = func(cmd *cobra.Command, args []string) error {
			x.o.Values = withValue(x.o.Values, "reason", *because)
			return inner(cmd, args)
		}
	}
	clarify, q := letter("clarify NUMBER", "Ask the person a question; the clock runs on (recital 63)", "clarify", queue.ActSent)
	question := clarify.Flags().String("question", "", "in the person's language (needed)")
	_ = clarify.MarkFlagRequired("question")
	ask := clarify.RunE
	clarify.RunE = func(cmd *cobra.Command, args []string) error {
		q.Values = withValue(q.Values, "question", *question)
		return ask(cmd, args)
	}
	forward, fw := letter("forward NUMBER", "Pass a case on to the company it concerns (as processor)", "forward", queue.ActForward)
	forward.Flags().StringVar(&fw.Controller, "controller", "", "another controller of this installation, which `mailed-by` shows")
	support, s := c.act("support NUMBER", "Hand what is no request to support, and tell the person", cobra.ExactArgs(1), "cases/support", one)
	support.Flags().StringVar(&s.Note, "note", "", "remark for the record")
	back, _ := c.act("take-back NUMBER LETTER", "Stop a letter that has not left yet", cobra.ExactArgs(2), "cases/take-back", numbered)
	return []*cobra.Command{reply, extend, deny, lift, clarify, forward, support, back}
}

func withValue(v map[string]string, key, value string) map[string]string {
	if value == "" {
		return v
	}
	out := map[string]string{key: value}
	maps.Copy(out, v)
	return out
}

// numbered takes a case and the index of something in it.
func numbered(args []string, o *caseOrder) (err error) {
	o.Number = args[0]
	if o.Index, err = strconv.Atoi(args[1]); err != nil {
		return fmt.Errorf("%q is no index: `postern cases show` lists them", args[1])
	}
	return nil
}

// identityVerbs are the verbs before the systems act.
func (c *cli) identityVerbs() []*cobra.Command {
	identity, i := c.act("identity NUMBER", "Ask the address on file whether its owner made the request", cobra.ExactArgs(1), "cases/identity", one)
	identity.Flags().StringVar(&i.To, "to", "", "address on file, asked or waived for beside the sender's; default what a lookup gave, else the sender's")
	identity.Flags().StringVar(&i.Reason, "waive", "", "no proof is needed, with the reason")
	propose, p := c.act("propose NUMBER erase|deny", "Propose what another operator has to give (four eyes)", cobra.ExactArgs(2), "cases/propose", func(args []string, o *caseOrder) error {
		o.Number, o.Verb = args[0], args[1]
		return nil
	})
	propose.Flags().StringVar(&p.Note, "note", "", "remark for the record")
	propose.Flags().StringVar(&p.To, "address", "", "for erase: address in the systems; default the person's")
	return []*cobra.Command{identity, propose, c.approveVerb()}
}

// approveVerb shows what the systems said they would do, and asks for the case
// number before they do it.
func (c *cli) approveVerb() *cobra.Command {
	o := caseOrder{Verb: string(fulfil.Erase)}
	cmd := &cobra.Command{Use: "approve NUMBER", Short: "Approve the erasure: systems delete. Shows the dry run and asks for the case number", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			o.Actor, o.Number = c.actor(), args[0]
			if o.Confirm == "" {
				if err := c.forecast(ctx, o.Number); err != nil {
					return err
				}
				fmt.Fprint(c.stderr, "Systems will delete. Type the case number: ")
				if _, err := fmt.Fscanln(c.stdin, &o.Confirm); err != nil {
					return errors.New("nothing was typed: nothing is deleted")
				}
			}
			return c.order(ctx, "cases/fulfil", o)
		})}
	cmd.Flags().StringVar(&o.Confirm, "confirm", "", "the case number, for scripts")
	cmd.Flags().StringVar(&o.Address, "address", "", "address in the systems, which identity was shown for; default the person's")
	return cmd
}

// forecast prints the last dry run of a case to who approves.
func (c *cli) forecast(ctx context.Context, number string) error {
	return c.withNode(ctx, func(call caller) error {
		k, err := ask[caseRow](ctx, call, "cases/show", casesRequest{Number: number, Actor: c.actor()})
		if err != nil {
			return err
		}
		ahead := slices.DeleteFunc(slices.Clone(k.Tasks), func(t taskRow) bool { return !t.DryRun })
		if len(ahead) == 0 {
			_, err = fmt.Fprintf(c.stderr, "No dry run was made: `postern cases fulfil %s erase --dry-run` asks what would happen.\n", k.Number)
			return err
		}
		_, err = fmt.Fprintf(c.stderr, "What the systems said they would do:\n%s\n", listed(ahead))
		return err
	})
}

// systemVerbs are the verbs about systems and colleagues.
func (c *cli) systemVerbs() []*cobra.Command {
	order, f := c.act("fulfil NUMBER VERB", "Ask all systems connected for a verb: export, rectify, restrict, lookup, ...; erase with --dry-run or by approve", cobra.ExactArgs(2), "cases/fulfil", func(args []string, o *caseOrder) error {
		o.Number, o.Verb = args[0], args[1]
		return nil
	})
	order.Flags().BoolVar(&f.DryRun, "dry-run", false, "ask what would happen")
	order.Flags().StringVar(&f.Address, "address", "", "address in the systems, which identity was shown for; default the person's")
	order.Flags().StringToStringVar(&f.Values, "fact", nil, "what is to be corrected, as name=\"...\"")
	retry, _ := c.act("retry NUMBER TASK", "Ask a system again that failed", cobra.ExactArgs(2), "cases/retry", numbered)
	var files []string
	result, r := c.act("result NUMBER TASK STATUS", "Enter a system's outcome: done, erased, restricted, kept, not_found, failed", cobra.ExactArgs(3), "cases/result", func(args []string, o *caseOrder) error {
		var err error
		o.Status = args[2]
		if o.Files, err = readFiles(files); err != nil {
			return err
		}
		return numbered(args, o)
	})
	result.Flags().StringVar(&r.Law, "law", "", "for kept: which law")
	result.Flags().StringVar(&r.UntilOn, "until", "", "for kept: until when, as 2036-12-31")
	result.Flags().StringVar(&r.Note, "note", "", "remark, sealed at rest")
	result.Flags().StringArrayVar(&files, "file", nil, "a file that was given; may be repeated")
	ask, a := c.act("ask NUMBER", "Give a task to a colleague without account: they get a link by mail", cobra.ExactArgs(1), "cases/ask", one)
	ask.Flags().StringVar(&a.Who, "who", "", "role or system, as \"sales archive\" (needed)")
	ask.Flags().StringVar(&a.To, "mail", "", "their mail address (needed)")
	ask.Flags().StringVar(&a.Verb, "verb", string(fulfil.Export), "what they are asked to do")
	ask.Flags().StringVar(&a.Text, "words", "", "what you ask, in your words")
	ask.Flags().DurationVar(&a.Due, "within", 0, "time to answer, as 72h; default cases.task_due")
	ask.Flags().StringVar(&a.Language, "language", "", "of mail and page, as fr; default the controller's staff_language")
	ask.Flags().StringVar(&a.Confirm, "confirm", "", "for --verb erase: the case number")
	ask.Flags().BoolVar(&a.Yes, "show-letter", false, "let them read what the person wrote")
	_, _ = ask.MarkFlagRequired("who"), ask.MarkFlagRequired("mail")
	link, _ := c.act("task-link NUMBER TASK", "Print the link of a colleague's task", cobra.ExactArgs(2), "cases/task-link", numbered)
	return []*cobra.Command{order, retry, result, ask, link}
}

func knownLabels(words []string) error {
	for _, w := range words {
		if !slices.Contains(labelWords(), w) {
			return fmt.Errorf("%q is no label: write some of %s", w, strings.Join(labelWords(), ", "))
		}
	}
	return nil
}

// stampOf reads a time, or now for "".
func stampOf(s string) (time.Time, error) {
	if s == "" {
		return time.Now(), nil
	}
	return parseTime(s)
}
