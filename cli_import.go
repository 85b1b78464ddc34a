package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"postern/gateway/consent"
)

// importRequest is an import with the file of this machine that gets a line
// per refused row.
type importRequest struct {
	consent.ImportOptions
	ReportFile string // absolute; "": the reply's first rows alone
}

func (n *node) importConsent(ctx context.Context, r importRequest, body io.Reader) (rep consent.Report, err error) {
	if _, err := n.person(&r.Controller, "nobody@example.org"); err != nil {
		return rep, err
	}
	if r.ReportFile != "" {
		f, ferr := os.OpenFile(r.ReportFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if ferr != nil {
			return rep, ferr
		}
		buf := bufio.NewWriter(f)
		lines := csv.NewWriter(buf)
		_ = lines.Write([]string{"line", "reason"}) // its error comes with Error
		r.OnRefused = func(x consent.Refusal) { _ = lines.Write([]string{strconv.Itoa(x.Line), x.Reason}) }
		defer func() {
			lines.Flush()
			err = errors.Join(err, lines.Error(), buf.Flush(), f.Close())
		}()
	}
	return n.consent.Import(ctx, body, r.ImportOptions)
}

// importFile streams a file to the server's import, with a bar on standard
// error, and prints the report.
func (c *cli) importFile(ctx context.Context, r importRequest, path, report string) error {
	in, size := c.stdin, int64(0)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		in, r.Name = f, filepath.Base(path)
	}
	if report != "" {
		var err error
		if r.ReportFile, err = filepath.Abs(report); err != nil {
			return err
		}
	}
	r.Actor = operatorName()
	bar := newProgress(in, size, c.stderr)
	return c.withNode(ctx, func(call caller) error {
		rep, err := send[consent.Report](ctx, call, "consent/import", r, bar)
		bar.end()
		if err != nil {
			return err
		}
		return c.printReport(rep, report)
	})
}

func (c *cli) consentImport() *cobra.Command {
	var r importRequest
	var report string
	cmd := &cobra.Command{Use: "import FILE.csv", Short: "Import consents from a CSV file (- for stdin); never revives an opt-out", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error { return c.importFile(ctx, r, args[0], report) })}
	f := cmd.Flags()
	importFlags(cmd, &r, &report)
	f.StringVar(&r.Source, "source", "", "source of rows that name none")
	f.StringVar(&r.Wording, "wording", "", "wording of rows that name none")
	f.StringVar(&r.WordingVer, "wording-version", "", "its version")
	f.StringVar(&r.Language, "language", "", "its language, as in de")
	f.StringVar(&r.Jurisdiction, "jurisdiction", "", "law that applies, as in EU")
	f.StringVar((*string)(&r.Format), "format", "", "postern, mailjet, mailchimp, brevo, sendgrid, listmonk; default found by the header line")
	f.BoolVar(&r.Subscribed, "subscribed", false, "your word that rows without a status column are subscribers")
	return cmd
}

func (c *cli) suppressImport() *cobra.Command {
	r := importRequest{ImportOptions: consent.ImportOptions{Suppress: consent.Manual, SuppressScope: consent.ScopeController}}
	var report string
	cmd := &cobra.Command{Use: "import FILE", Short: "Add suppressions from a list of addresses or a CSV file (- for stdin); it lifts none", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error { return c.importFile(ctx, r, args[0], report) })}
	importFlags(cmd, &r, &report)
	cmd.Flags().StringVar((*string)(&r.Suppress), "reason", string(r.Suppress), "of rows that name none: manual, unsubscribed, objected, complaint, bounce")
	cmd.Flags().StringVar((*string)(&r.SuppressScope), "scope", string(r.SuppressScope), "of rows that name none: purpose, controller (all marketing) or all")
	return cmd
}

func importFlags(cmd *cobra.Command, r *importRequest, report *string) {
	f := cmd.Flags()
	f.StringVar(&r.Controller, "controller", "", "controller id")
	f.StringVar(&r.Purpose, "purpose", "", "purpose of rows that name none")
	f.BoolVar(&r.DryRun, "dry-run", false, "report only, change nothing")
	f.StringVar(report, "report", "", "new file that gets a line for every refused row")
}

func (c *cli) printReport(rep consent.Report, file string) error {
	if c.json {
		return c.printJSON(rep)
	}
	for _, r := range rep.Refused {
		fmt.Fprintf(c.stdout, "line %d: refused: %s\n", r.Line, r.Reason)
	}
	switch more := rep.RefusedRows - len(rep.Refused); {
	case file != "":
		fmt.Fprintf(c.stdout, "all refused rows stand in %s\n", file)
	case more > 0:
		fmt.Fprintf(c.stdout, "and %d more: --report FILE lists them all\n", more)
	}
	_, err := fmt.Fprintln(c.stdout, rep.Summary())
	return err
}
