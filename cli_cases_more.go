package main

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/classifier"
	"postern/queue"
	"postern/queue/fulfil"
)

func labelWords() []string {
	var out []string
	for _, l := range classifier.Labels() {
		out = append(out, string(l))
	}
	return out
}

// packageVerbs are the verbs about the copy of a person's data.
func (c *cli) packageVerbs() []*cobra.Command {
	build, _ := c.act("package NUMBER", "Collect what the systems gave, and prefill the checklist of Art. 15(1)", cobra.ExactArgs(1), "cases/package", one)
	files, _ := c.act("files NUMBER", "List the files of a package with their ticks, and the checklist", cobra.ExactArgs(1), "cases/files", one)
	tick, t := c.act("tick NUMBER FILE keep|exclude|redact", "Tick a file as looked through for what concerns others (Art. 15(4))", cobra.ExactArgs(3), "cases/tick", nil)
	var with string
	tick.Flags().StringVar(&t.Note, "note", "", "why; needed to exclude")
	tick.Flags().StringVar(&with, "with", "", "for redact: the file that goes instead")
	tick.RunE = verb(func(ctx context.Context, args []string) error {
		t.Actor, t.Number, t.ID, t.Tick = c.actor(), args[0], args[1], args[2]
		if (with != "") != (t.Tick == queue.TickRedact) {
			return errors.New("redact needs --with FILE, and nothing else takes it")
		}
		if with != "" {
			var err error
			if t.Data, err = os.ReadFile(with); err != nil {
				return err
			}
		}
		return c.order(ctx, "cases/tick", *t)
	})
	checklist, l := c.act("checklist NUMBER", "Show or change the answers of the checklist", cobra.ExactArgs(1), "cases/checklist", one)
	checklist.Flags().StringToStringVar(&l.Values, "set", nil, "an answer, as storage=\"...\"; of "+strings.Join(queue.CheckKeys, ", "))
	release, r := c.act("release NUMBER", "Seal the package and mail its link; shows the code once", cobra.ExactArgs(1), "cases/release", one)
	release.Flags().StringVar(&r.Way, "code-way", "", "how the code reaches the person: "+strings.Join(queue.CodeWays, ", ")+" (needed)")
	release.Flags().StringVar(&r.To, "to", "", "address for the link; default the person's")
	release.Flags().StringVar(&r.Note, "note", "", "remark for the record")
	_ = release.MarkFlagRequired("code-way")
	code, _ := c.act("code NUMBER", "Make a new code for a released package and unlock it", cobra.ExactArgs(1), "cases/code", one)
	return []*cobra.Command{build, files, c.fileVerb("file NUMBER FILE", "Write one file of a package out, to look it through; recorded as a view", "cases/file"), tick, checklist, release, code}
}

// fileVerb writes one file out, to be looked through.
func (c *cli) fileVerb(use, short, operation string) *cobra.Command {
	o := &caseOrder{}
	var out string
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(2),
		RunE: verb(func(ctx context.Context, args []string) error {
			o.Actor, o.Number, o.ID = c.actor(), args[0], args[1]
			return c.withNode(ctx, func(call caller) error {
				a, err := ask[caseAnswer](ctx, call, operation, *o)
				if err != nil {
					return err
				}
				f, err := remarshal[fulfil.File](a.Data)
				if err != nil {
					return err
				}
				if out == "" {
					_, err = c.stdout.Write(f.Data)
					return err
				}
				return os.WriteFile(out, f.Data, 0o600)
			})
		})}
	cmd.Flags().StringVar(&out, "out", "", "write here; default standard output")
	if operation == "cases/file" {
		cmd.Flags().BoolVar(&o.Yes, "redacted", false, "the file that goes instead")
	}
	return cmd
}

// deskVerbs are those around single cases.
func (c *cli) deskVerbs() []*cobra.Command {
	split, s := c.act("split NUMBER LABEL[,LABEL...]", "Make a case of its own of some of what a case asks", cobra.ExactArgs(2), "cases/split", func(args []string, o *caseOrder) error {
		o.Number, o.Labels = args[0], strings.Split(args[1], ",")
		return knownLabels(o.Labels)
	})
	split.Flags().StringVar(&s.Note, "note", "", "remark for the record")
	hold, h := c.act("hold NUMBER", "Legal hold: nothing of the case is deleted", cobra.ExactArgs(1), "cases/hold", func(args []string, o *caseOrder) error { o.Yes = true; return one(args, o) })
	unhold, u := c.act("unhold NUMBER", "End a legal hold", cobra.ExactArgs(1), "cases/hold", one)
	hold.Flags().StringVar(&h.Reason, "reason", "", "why (needed)")
	unhold.Flags().StringVar(&u.Reason, "reason", "", "why (needed)")
	weigh, wg := c.act("weigh NUMBER", "Take an objection as one to other processing than advertising: the data is restricted while it is weighed (Art. 21(1), 18(1)(d))", cobra.ExactArgs(1), "cases/weigh", one)
	weigh.Flags().StringVar(&wg.Note, "note", "", "which processing the person objects to, sealed at rest (needed)")
	_ = weigh.MarkFlagRequired("note")
	holds, _ := c.act("address-holds NUMBER", "List addresses named in the text that wait for an operator", cobra.ExactArgs(1), "cases/address-holds", one)
	decide, d := c.act("address-hold NUMBER INDEX confirm|release", "Decide whether the opt-out binds an address named in the text", cobra.ExactArgs(3), "cases/address-hold", func(args []string, o *caseOrder) error {
		if args[2] != "confirm" && args[2] != "release" {
			return fmt.Errorf("%q is neither confirm nor release", args[2])
		}
		o.Yes = args[2] == "confirm"
		return numbered(args, o)
	})
	decide.Flags().StringVar(&d.Reason, "reason", "", "why (needed)")
	breach, destroy := c.breachVerb(), c.destroyVerb()
	earlier, _ := c.act("earlier NUMBER", "List the other cases of the person", cobra.ExactArgs(1), "cases/earlier", one)
	by, _ := c.act("mailed-by NUMBER", "Tell which controllers mailed the person: whom the request concerns", cobra.ExactArgs(1), "cases/mailed-by", one)
	attach, _ := c.act("attach NUMBER [FILE...]", "Put files with a case, as the scan of a letter; without one lists them", cobra.MinimumNArgs(1), "cases/attach", func(args []string, o *caseOrder) (err error) {
		o.Number = args[0]
		o.Files, err = readFiles(args[1:])
		return err
	})
	scan := c.fileVerb("scan NUMBER FILE", "Write a file of a case out; recorded as a view", "cases/scan")
	judge, j := c.act("judge NUMBER right|wrong", "Say whether what rules did in a case of the sample was right", cobra.ExactArgs(2), "cases/judge", func(args []string, o *caseOrder) error {
		if args[1] != "right" && args[1] != "wrong" {
			return fmt.Errorf("%q is neither right nor wrong", args[1])
		}
		o.Yes = args[1] == "right"
		return one(args, o)
	})
	judge.Flags().StringVar(&j.Note, "note", "", "what was wrong")
	return []*cobra.Command{split, hold, unhold, weigh, holds, decide, earlier, by, attach, scan, judge, breach, destroy, c.newCaseVerb(), c.revertVerb(), c.awayVerb(), c.asideVerbs(), c.deadVerbs(), c.dpaVerbs(), c.exportVerb()}
}

func (c *cli) newCaseVerb() *cobra.Command {
	var received, labels, text string
	var scans []string
	cmd, o := c.act("new", "Open a case that came by post, telephone or at a counter", cobra.NoArgs, "cases/new", func(_ []string, o *caseOrder) (err error) {
		if labels != "" {
			o.Labels = strings.Split(labels, ",")
		}
		if err := knownLabels(o.Labels); err != nil {
			return err
		}
		if o.Text, err = c.words(text); err != nil {
			return err
		}
		if o.Files, err = readFiles(scans); err != nil {
			return err
		}
		o.From, err = stampOf(received)
		return err
	})
	f := cmd.Flags()
	f.StringVar(&o.Controller, "controller", "", "controller id")
	f.StringVar(&o.Way, "way", "post", "post, phone, counter")
	f.StringVar(&received, "received", "", "when it truly arrived: the clock starts there; default now")
	f.StringVar(&o.Address, "address", "", "the person's mail address, if known")
	f.StringVar(&o.Name, "name", "", "the person's name")
	f.StringVar(&labels, "labels", "", "what is asked, as access,erasure")
	f.StringVar(&o.Language, "language", "", "language of the answer")
	f.StringVar(&text, "text", "", "file with what was asked, - for standard input")
	f.StringArrayVar(&scans, "scan", nil, "scan of the letter; may be repeated")
	return cmd
}

func (c *cli) revertVerb() *cobra.Command {
	var from, till string
	cmd, o := c.act("revert-opt-outs", "Take back a flood of forged opt-outs of one source", cobra.NoArgs, "cases/revert-opt-outs", func(_ []string, o *caseOrder) (err error) {
		if o.From, err = parseTime(from); err != nil {
			return err
		}
		o.Until, err = stampOf(till)
		return err
	})
	f := cmd.Flags()
	f.StringVar(&o.Source, "source", "", "as the alarm named it (needed)")
	f.StringVar(&from, "from", "", "begin, as 2026-11-29T10:00:00Z (needed)")
	f.StringVar(&till, "till", "", "end; default now")
	f.StringVar(&o.Controller, "controller", "", "only this controller")
	f.StringVar(&o.Reason, "reason", "", "why (needed)")
	f.BoolVar(&o.DryRun, "dry-run", false, "count, change nothing")
	_, _ = cmd.MarkFlagRequired("source"), cmd.MarkFlagRequired("from")
	return cmd
}

func (c *cli) awayVerb() *cobra.Command {
	var from, until string
	cmd, o := c.act("away [OPERATOR]", "List who is away, or note an absence with a deputy", cobra.MaximumNArgs(1), "cases/away", func(args []string, o *caseOrder) (err error) {
		if len(args) == 0 {
			return nil
		}
		o.Owner = args[0]
		if o.From, err = stampOf(from); err != nil || until == "" {
			return err
		}
		o.Until, err = parseTime(until)
		return err
	})
	f := cmd.Flags()
	f.StringVar(&o.Who, "deputy", "", "who stands in")
	f.StringVar(&from, "from", "", "begin; default now")
	f.StringVar(&until, "until", "", "end; without it the absence is over")
	return cmd
}

func (c *cli) asideVerbs() *cobra.Command {
	o := caseOrder{}
	list := &cobra.Command{Use: "list", Short: "List mail that became no case, newest first; recorded as a view", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			o.Actor = c.actor()
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]asideRow](ctx, call, "set-aside/list", o)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, r := range rows {
					cells = append(cells, []string{r.ID, stamp(r.Received), r.Why, r.From, r.Subject})
				}
				return c.table([]string{"ID", "RECEIVED", "WHY", "FROM", "SUBJECT"}, cells)
			})
		})}
	list.Flags().IntVar(&o.Index, "limit", 100, "at most so many")
	promote, _ := c.act("promote ID", "Make a case of a mail set aside, with its true receipt", cobra.ExactArgs(1), "set-aside/promote", func(args []string, o *caseOrder) error {
		o.ID = args[0]
		return nil
	})
	return group("set-aside", "Mail that became no case", list, promote)
}

// listing makes a verb that shows all an operation gives, a row each.
func listing[T any](c *cli, short, op string, head []string, row func(T) []string) *cobra.Command {
	return &cobra.Command{Use: "list", Short: short, Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]T](ctx, call, op, struct{}{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, r := range rows {
					cells = append(cells, row(r))
				}
				return c.table(head, cells)
			})
		})}
}

func (c *cli) deadVerbs() *cobra.Command {
	list := listing(c, "List work that was given up", "dead/list", []string{"ID", "CASE", "WORK", "OF", "SINCE"}, func(r queue.DeadWork) []string {
		of := r.N
		if hook, message := r.Message(); hook != "" {
			of = hook + " " + message
		}
		return []string{r.ID, r.Case, r.Do, of, stamp(r.At)}
	})
	retry, _ := c.act("retry ID", "Give work back to the workers", cobra.ExactArgs(1), "dead/retry", func(args []string, o *caseOrder) error {
		o.ID = args[0]
		return nil
	})
	return group("dead", "Work that was given up and waits for an operator", list, retry)
}

func (c *cli) dpaVerbs() *cobra.Command {
	list := listing(c, "List signed processing agreements", "dpa/list", []string{"CUSTOMER", "CONTROLLER", "SIGNED", "VERSION", "CASE", "ENTERED BY"}, func(d queue.DPA) []string {
		return []string{d.Customer, d.Controller, d.Signed, d.Version, d.Case, d.By}
	})
	var d queue.DPA
	sign := &cobra.Command{Use: "sign CUSTOMER", Short: "Enter a signed agreement; say where it covers each letter of Art. 28(3)", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			d.Customer, d.By = args[0], c.actor()
			return c.withNode(ctx, func(call caller) error {
				a, err := ask[caseAnswer](ctx, call, "dpa/sign", d)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(a)
				}
				_, err = fmt.Fprintln(c.stdout, a.Message)
				return err
			})
		})}
	f := sign.Flags()
	f.StringVar(&d.Controller, "controller", "", "controller id")
	f.StringVar(&d.Case, "case", "", "the case it belongs to")
	f.StringVar(&d.Version, "version", "", "version of the template (needed)")
	f.StringVar(&d.Signed, "signed", time.Now().Format(time.DateOnly), "day it was signed")
	f.StringToStringVar(&d.Covered, "covers", nil, "letter and place, as a=\"§3\",b=\"§4\"")
	_ = sign.MarkFlagRequired("version")
	return group("dpa", "Processing agreements (Art. 28)", list, sign)
}

// exportVerb writes the archive for an audit.
func (c *cli) exportVerb() *cobra.Command {
	var r casesExport
	var label, state string
	cmd := &cobra.Command{Use: "export FILE", Short: "Write cases with their proofs into one new archive, for `ledger verify`", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			r.Actor, r.Filter.Label = c.actor(), classifier.Label(label)
			if state != "" {
				r.Filter.States = []queue.State{queue.State(state)}
			}
			var err error
			if r.File, err = filepath.Abs(args[0]); err != nil {
				return err
			}
			return c.withNode(ctx, func(call caller) error {
				got, err := ask[casesExported](ctx, call, "cases/export", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(got)
				}
				_, err = fmt.Fprintf(c.stdout, "%d cases written to %s\n", got.Cases, got.File)
				return err
			})
		})}
	f := cmd.Flags()
	f.BoolVar(&r.Texts, "texts", false, "with what people wrote and were answered")
	f.StringVar(&r.Filter.Controller, "controller", "", "only this controller")
	f.StringVar(&label, "label", "", "only this label")
	f.StringVar(&state, "state", "", "only this state")
	f.IntVar(&r.Filter.Limit, "limit", 0, "at most so many; default all")
	return cmd
}

// noticeCommand is the processing notice.
func (c *cli) noticeCommand() *cobra.Command {
	show, s := c.act("show", "Print the processing notice in force", cobra.NoArgs, "notice/show", func([]string, *caseOrder) error { return nil })
	sendTo, o := c.act("send FILE", "Send the notice in force to a list of addresses, one a line, as service mail: once per person and version", cobra.ExactArgs(1), "notice/send", func(args []string, o *caseOrder) error {
		text, err := c.words(args[0])
		o.Numbers = strings.Fields(text)
		return err
	})
	r := caseOrder{}
	versions := &cobra.Command{Use: "versions", Short: "List every version published", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				rows, err := ask[[]queue.PublishedNotice](ctx, call, "notice/versions", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(rows)
				}
				var cells [][]string
				for _, n := range rows {
					cells = append(cells, []string{n.Version, n.Language, stamp(n.Seen)})
				}
				return c.table([]string{"VERSION", "LANGUAGE", "FIRST SEEN"}, cells)
			})
		})}
	for cmd, order := range map[*cobra.Command]*caseOrder{show: s, sendTo: o, versions: &r} {
		cmd.Flags().StringVar(&order.Controller, "controller", "", "controller id")
		cmd.Flags().StringVar(&order.Language, "language", "", "language wanted")
	}
	return c.named(group("notice", "The notice how data is handled", show, sendTo, versions))
}

// readFiles reads files of this machine, to be sealed with a case.
func readFiles(paths []string) ([]fulfil.File, error) {
	var out []fulfil.File
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		out = append(out, fulfil.File{Name: filepath.Base(path), Type: mime.TypeByExtension(filepath.Ext(path)), Data: data})
	}
	return out, nil
}
