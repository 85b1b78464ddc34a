package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"postern/gateway"
	"postern/gateway/dkim"
)

func (c *cli) accountCommand() *cobra.Command {
	hash := &cobra.Command{Use: "hash", Short: "Read a password from stdin and print its argon2id hash for [[account]]", Args: cobra.NoArgs,
		RunE: verb(func(context.Context, []string) error {
			line, err := bufio.NewReader(c.stdin).ReadString('\n')
			password := strings.TrimRight(line, "\r\n")
			if password == "" {
				return errors.Join(errors.New("no password on standard input"), err)
			}
			_, err = fmt.Fprintln(c.stdout, gateway.HashPassword(password))
			return err
		})}
	return group("account", "Accounts for SMTP AUTH", hash)
}

func (c *cli) dkimCommand() *cobra.Command {
	var alg, out string
	keygen := &cobra.Command{Use: "keygen DOMAIN SELECTOR", Short: "Make a signing key and print its DNS record", Args: cobra.ExactArgs(2),
		RunE: verb(func(_ context.Context, args []string) error {
			k, err := dkim.Generate(args[0], args[1], dkim.Algorithm(alg))
			if err != nil {
				return err
			}
			if out == "" {
				out = args[1] + ".pem"
			}
			if err := dkim.Save(out, k); err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "made %s\n", out)
			return c.printDNS(k)
		})}
	keygen.Flags().StringVar(&alg, "algorithm", string(dkim.RSA), "rsa (2048 bits) or ed25519")
	keygen.Flags().StringVar(&out, "out", "", "file of the private key; default SELECTOR.pem")
	dns := &cobra.Command{Use: "dns", Short: "Print the DNS records of all configured keys", Args: cobra.NoArgs,
		RunE: verb(func(context.Context, []string) error {
			cfg, err := c.load()
			if err != nil {
				return err
			}
			for _, d := range cfg.DKIM {
				k, err := dkim.Load(d.Key, d.Domain, d.Selector)
				if err != nil {
					return err
				}
				if err := c.printDNS(k); err != nil {
					return err
				}
			}
			return nil
		})}
	return group("dkim", "Make DKIM keys and their DNS records", keygen, dns)
}

func (c *cli) printDNS(k dkim.Key) error {
	if c.json {
		name, txt, err := dkim.DNS(k)
		if err != nil {
			return err
		}
		return c.printJSON(map[string]string{"name": name, "txt": txt})
	}
	line, err := dkim.ZoneLine(k)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, line)
	return err
}
