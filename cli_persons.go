package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
)

func (c *cli) bindCommand() *cobra.Command {
	var end bool
	cmd := &cobra.Command{Use: "bind NAME PERSON", Short: "Say that two operator names are one person, where an act takes two", Args: cobra.RangeArgs(1, 2),
		Long: "Say that NAME, an account of the console, of the identity provider or a login of this machine, is the person that PERSON is. What takes two persons (four_eyes) then counts them as one. --end takes it back.",
		RunE: verb(func(ctx context.Context, args []string) error {
			r := bindRequest{Name: args[0], Actor: operatorName()}
			if end == (len(args) == 2) {
				return fmt.Errorf("name two operators, or one with --end")
			}
			if !end {
				r.Person = args[1]
			}
			return c.withNode(ctx, func(call caller) error {
				person, err := ask[string](ctx, call, "console/bind", r)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(map[string]string{"name": r.Name, "person": person})
				}
				_, err = fmt.Fprintf(c.stdout, "%s is %s\n", r.Name, person)
				return err
			})
		})}
	cmd.Flags().BoolVar(&end, "end", false, "NAME is a person of its own again")
	return cmd
}

func (c *cli) personsCommand() *cobra.Command {
	return &cobra.Command{Use: "persons", Short: "List operator names that are bound to another", Args: cobra.NoArgs,
		RunE: verb(func(ctx context.Context, _ []string) error {
			return c.withNode(ctx, func(call caller) error {
				all, err := ask[map[string]string](ctx, call, "console/persons", struct{}{})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(all)
				}
				var cells [][]string
				for _, name := range slices.Sorted(maps.Keys(all)) {
					cells = append(cells, []string{name, all[name]})
				}
				return c.table([]string{"NAME", "PERSON"}, cells)
			})
		})}
}
