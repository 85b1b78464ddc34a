package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"postern/gateway/address"
	"postern/gateway/consent"
)

// consentExportRequest says what is exported and into which new file of this
// machine: a server's export may be larger than its memory.
type consentExportRequest struct {
	Controller string
	Address    string // "": of all
	Only       string // "suppressions", or "" for everything
	Format     string // csv, json (a profile a line), jsonld
	File       string // absolute
}

type consentExportReply struct {
	File  string `json:"file"`
	Lines int    `json:"lines"` // beside a header
}

func (n *node) exportConsent(ctx context.Context, r consentExportRequest) (reply consentExportReply, err error) {
	probe := r.Address
	if probe == "" {
		probe = "nobody@example.org"
	}
	addr, err := n.person(&r.Controller, probe)
	if err != nil {
		return reply, err
	}
	o := consent.ExportOptions{Controller: r.Controller, Only: r.Only}
	if r.Address != "" {
		o.Address = addr
	}
	f, err := os.OpenFile(r.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return reply, err
	}
	reply.File = r.File
	reply.Lines, err = n.writeExport(ctx, o, r.Format, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return reply, errors.Join(err, os.Remove(r.File))
	}
	return reply, nil
}

func (n *node) writeExport(ctx context.Context, o consent.ExportOptions, format string, w io.Writer) (int, error) {
	switch format {
	case "csv":
		return n.consent.Export(ctx, o, w)
	case "json", "jsonld":
		c, _ := n.engine.Streams().Controller(o.Controller)
		return n.consent.ExportProfiles(ctx, o, c, format == "jsonld", w)
	}
	return 0, fmt.Errorf("format %q is none of csv, json, jsonld", format)
}

// exportTo calls the export and tells what was written.
func (c *cli) exportTo(ctx context.Context, call caller, r consentExportRequest, file string) error {
	if file == "-" {
		dir, err := os.MkdirTemp("", "postern-export-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		r.File = filepath.Join(dir, "export")
		if _, err := ask[consentExportReply](ctx, call, "consent/export", r); err != nil {
			return err
		}
		f, err := os.Open(r.File)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(c.stdout, f)
		return err
	}
	var err error
	if r.File, err = filepath.Abs(file); err != nil {
		return err
	}
	got, err := ask[consentExportReply](ctx, call, "consent/export", r)
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(got)
	}
	_, err = fmt.Fprintf(c.stdout, "%d lines written to %s\n", got.Lines, got.File)
	return err
}

func (c *cli) consentExport() *cobra.Command {
	r := consentExportRequest{Format: "csv"}
	cmd := &cobra.Command{Use: "export FILE", Short: "Write consents and suppressions to a new file (- for stdout), of one person or of all; consent import reads it back", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			if r.Address != "" {
				if _, err := address.Parse(r.Address); err != nil {
					return err
				}
			}
			return c.withNode(ctx, func(call caller) error { return c.exportTo(ctx, call, r, args[0]) })
		})}
	f := cmd.Flags()
	f.StringVar(&r.Controller, "controller", "", "controller id")
	f.StringVar(&r.Address, "address", "", "of this person alone; only then the address itself is in it")
	f.StringVar(&r.Format, "format", r.Format, "csv (the own import format), json (a person a line) or jsonld (ISO/IEC TS 27560)")
	return cmd
}

func (c *cli) suppressExport() *cobra.Command {
	r := consentExportRequest{Format: "csv", Only: "suppressions"}
	cmd := &cobra.Command{Use: "export FILE", Short: "Write suppressions as CSV to a new file (- for stdout); suppress import reads it back", Args: cobra.ExactArgs(1),
		RunE: verb(func(ctx context.Context, args []string) error {
			return c.withNode(ctx, func(call caller) error { return c.exportTo(ctx, call, r, args[0]) })
		})}
	cmd.Flags().StringVar(&r.Controller, "controller", "", "controller id")
	return cmd
}
