package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// defaultConfig is where the packages put the configuration.
const defaultConfig = "/etc/postern/postern.toml"

// cli is what every verb shares: its streams and the global flags.
type cli struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	config string
	json   bool
	as     string // name of the operator, instead of the user's
}

// failure is an error of a verb that was called rightly: exit code 1. All
// other errors come from the call itself: exit code 2.
type failure struct{ err error }

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

// exitCode prints the reason and turns it into the process's exit code.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "postern:", err)
	var f failure
	if errors.As(err, &f) {
		return 1
	}
	return 2
}

// verb makes a cobra run function whose errors are failures.
func verb(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := run(cmd.Context(), args); err != nil {
			return failure{err}
		}
		return nil
	}
}

// rootCommand builds the whole command tree.
func rootCommand(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:           "postern",
		Short:         "Privacy e-mail gateway: consent at the relay, requests at privacy@, one loop",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	path := defaultConfig
	if env := os.Getenv(envPrefix + "CONFIG"); env != "" {
		path = env
	}
	root.PersistentFlags().StringVarP(&c.config, "config", "c", path, "configuration file")
	root.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON")
	root.AddCommand(
		c.serveCommand(), c.demoCommand(), c.configCommand(), c.keysCommand(), c.accountCommand(),
		c.consentCommand(), c.suppressCommand(), c.streamCommand(), c.reportCommand(),
		c.spoolCommand(), c.casesCommand(), c.classifyCommand(), c.ledgerCommand(), c.nodeCommand(), c.dkimCommand(),
		c.doctorCommand(), c.noticeCommand(), c.consoleCommand(), c.tokenCommand(), c.hooksCommand(),
	)
	return root
}

// group is a command that only holds others.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return fmt.Errorf("%s needs one of its verbs; see postern %s --help", cmd.Name(), cmd.Name())
	}}
	cmd.AddCommand(sub...)
	return cmd
}

// load reads the configuration.
func (c *cli) load() (*Config, error) { return loadConfig(c.config, os.Environ()) }

// printJSON writes one indented JSON document.
func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table writes rows under a head, in columns.
func (c *cli) table(head []string, rows [][]string) error {
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			if cell == "" {
				cell = "–"
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// counted is a number with its noun: "1 message", "2 messages".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
