package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/classifier"
	"postern/intake"
)

// classified is one line of `postern classify --json` (stable).
type classified struct {
	File string `json:"file"`
	classifier.Result
}

func (c *cli) classifyCommand() *cobra.Command {
	return &cobra.Command{Use: "classify [FILE.eml ...]", Short: "Tell what mails ask for, and why; reads one mail from stdin without files",
		RunE: verb(func(ctx context.Context, args []string) error {
			cls, err := classifier.New()
			if err != nil {
				return err
			}
			out := bufio.NewWriter(c.stdout)
			defer out.Flush()
			if len(args) == 0 {
				args = []string{"-"}
			}
			for _, path := range args {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				raw, err := c.readMail(path)
				if err != nil {
					return err
				}
				in, _ := intake.Facts(raw, time.Now(), intake.Mailbox{}, cls)
				if err := c.printClassified(out, classified{path, in.Result}); err != nil {
					return err
				}
			}
			return nil
		})}
}

func (c *cli) readMail(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(c.stdin)
	}
	return os.ReadFile(path)
}

func (c *cli) printClassified(w io.Writer, r classified) error {
	if c.json {
		if r.Labels == nil {
			r.Labels = []classifier.LabelScore{}
		}
		if r.Decided == nil {
			r.Decided = []classifier.Label{}
		}
		if r.Reasons == nil {
			r.Reasons = []classifier.Reason{}
		}
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	fmt.Fprintf(w, "%s: %s", r.File, r.Kind)
	if len(r.Decided) > 0 {
		words := make([]string, len(r.Decided))
		for i, l := range r.Decided {
			words[i] = string(l)
		}
		fmt.Fprintf(w, ": %s", strings.Join(words, ", "))
	}
	fmt.Fprintf(w, " (language %s", r.Language)
	if r.Regime != "" {
		fmt.Fprintf(w, ", %s", r.Regime)
	}
	if r.Abstain {
		fmt.Fprint(w, ", unsure: a person reads it")
	}
	fmt.Fprintln(w, ")")
	for _, why := range r.Reasons {
		if _, err := fmt.Fprintf(w, "  %+.2f  %-18s %q\n", why.Weight, why.Label, why.Words); err != nil {
			return err
		}
	}
	return nil
}
