package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"postern/queue"
)

func (c *cli) reportAudit() *cobra.Command {
	r := auditRequest{Sample: 20}
	var from, to string
	cmd := &cobra.Command{Use: "audit", Short: "What an audit asks: wordings, deletions, automatic acts with a sample, views, records of processing", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			now := time.Now()
			r.From, r.To = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, now.Location()), now
			var err error
			if from != "" {
				if r.From, err = parseTime(from); err != nil {
					return err
				}
			}
			if to != "" {
				if r.To, err = parseTime(to); err != nil {
					return err
				}
			}
			return c.withNode(ctx, func(call caller) error {
				a, err := ask[auditReport](ctx, call, "report/audit", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(a)
				}
				return c.printAudit(a)
			})
		})}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "begin, as 2026-11-01; default the first of this month")
	f.StringVar(&to, "to", "", "end; default now")
	f.IntVar(&r.Sample, "sample", r.Sample, "cases with automatic acts to look at by hand")
	return cmd
}

func (c *cli) printAudit(a auditReport) error {
	w := c.stdout
	fmt.Fprintf(w, "Audit %s to %s\n\nWORDINGS SHOWN\n", stamp(a.From), stamp(a.To))
	for _, x := range a.Wordings {
		fmt.Fprintf(w, "  %s, %s, version %s %s: %d records\n    %q\n", x.Controller, x.Purpose, orNone(x.Version), x.Language, x.Records, x.Wording)
	}
	fmt.Fprintln(w, "\nDELETION RUNS")
	for _, d := range a.Deletions {
		fmt.Fprintf(w, "  %s  %s  %s  %s  %v\n", stamp(d.Time), d.Actor, d.Action, d.Reason, d.Data)
	}
	fmt.Fprintln(w, "\nAUTOMATIC ACTS")
	var cells [][]string
	for _, k := range sortedKeys(a.Automatic.Acts) {
		cells = append(cells, []string{"  " + k, strconv.Itoa(a.Automatic.Acts[k])})
	}
	cells = append(cells, []string{"  taken back", strconv.Itoa(a.Automatic.Reverted)}, []string{"  reopened", strconv.Itoa(a.Automatic.Reopened)})
	if err := c.table([]string{"  ACT", "COUNT"}, cells); err != nil {
		return err
	}
	fmt.Fprintf(w, "  Sample to look at: %v\n  Judged: %d, wrong: %d", a.Automatic.Sample, a.Automatic.Judged, a.Automatic.Wrong)
	if a.ErrorRate != nil {
		fmt.Fprintf(w, ", error rate %.1f %%", *a.ErrorRate*100)
	}
	fmt.Fprintln(w, "\n\nVIEWS OF PERSONAL DATA")
	for _, v := range a.Views {
		fmt.Fprintf(w, "  %s  %s %s: %d\n", v.Actor, v.Action, v.What, v.Count)
	}
	fmt.Fprintln(w, "\nPROCESSING NOTICES AND AGREEMENTS")
	for _, n := range a.Notices {
		fmt.Fprintf(w, "  notice of %s, version %s, %s, first seen %s\n", n.Controller, n.Version, n.Language, stamp(n.Seen))
	}
	for _, d := range a.DPAs {
		fmt.Fprintf(w, "  agreement with %s, signed %s, version %s\n", d.Customer, d.Signed, orNone(d.Version))
	}
	fmt.Fprintln(w, "\nRECORDS OF PROCESSING (Art. 30)")
	for _, p := range a.Processing {
		fmt.Fprintf(w, "  %s: %s\n    purpose: %s\n    basis: %s\n    persons: %s\n    data: %s\n    recipients: %s\n    transfers: %s\n    erasure: %s\n    security: %s\n",
			p.Controller, p.Activity, p.Purpose, p.Basis, p.Persons, p.Data, p.Recipients, p.Transfers, p.Erasure, p.Security)
	}
	return nil
}

func (c *cli) reportMonth() *cobra.Command {
	return &cobra.Command{Use: "month [YYYY-MM]", Short: "Requests of a month: by right, on time, median days against the internal target, per controller", Args: cobra.MaximumNArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			at := time.Now()
			if len(args) == 1 {
				var err error
				if at, err = time.Parse("2006-01", args[0]); err != nil {
					return fmt.Errorf("%q is no month: write it as 2026-11", args[0])
				}
			}
			return c.withNode(ctx, func(call caller) error {
				list, err := ask[[]queue.Month](ctx, call, "report/month", monthRequest{at.Year(), at.Month()})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(list)
				}
				for _, m := range list {
					fmt.Fprintf(c.stdout, "%s, %s: %d received, target %d working days\n", m.Controller, at.Format("2006-01"), m.Received, m.Target)
					var cells [][]string
					for _, l := range sortedKeys(m.ByLabel) {
						cells = append(cells, tallyRow(string(l), m.ByLabel[l]))
					}
					cells = append(cells, tallyRow("all", m.Total))
					if err := c.table([]string{"RIGHT", "CASES", "ANSWERED", "DENIED", "OPEN", "ON TIME", "LATE", "EXTENDED", "MEDIAN DAYS", "IN TARGET"}, cells); err != nil {
						return err
					}
				}
				return nil
			})
		})}
}

func tallyRow(name string, t queue.Tally) []string {
	n, median := strconv.Itoa, "–"
	if t.MedianDays != nil {
		median = strconv.FormatFloat(*t.MedianDays, 'f', 1, 64)
	}
	return []string{name, n(t.Cases), n(t.Answered), n(t.Denied), n(t.Live), n(t.OnTime), n(t.Late), n(t.Extended), median, n(t.InTarget)}
}

// verifyCases checks an archive of `cases export`: sums, proofs, and that every
// event of a case stands in the log as it is told.
func (c *cli) verifyCases(path, key string) error {
	rep, err := queue.VerifyExport(path, key)
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
		fmt.Fprintf(c.stdout, "%d cases, %d events, %d of them proven\n", rep.Cases, rep.Events, rep.Proven)
	}
	if len(rep.Faults) > 0 {
		return fmt.Errorf("the archive does not verify: %d faults", len(rep.Faults))
	}
	return nil
}
