package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"postern/queue"
)

// breachVerb is the clock of a personal data breach (GDPR Art. 33).
func (c *cli) breachVerb() *cobra.Command {
	var aware, at string
	outcomes := map[string]*bool{}
	cmd, order := c.act("breach NUMBER", "The hours of a data breach: when you became aware, who was told", cobra.ExactArgs(1), "cases/breach", func(args []string, o *caseOrder) error {
		o.Number = args[0]
		for outcome, chosen := range outcomes {
			if *chosen && o.Status != "" {
				return errors.New("one thing at a time")
			}
			if *chosen {
				o.Status = outcome
			}
		}
		var err error
		switch {
		case aware != "" && (o.Status != "" || at != ""):
			return errors.New("one thing at a time")
		case aware != "":
			o.Status = "aware"
			o.From, err = momentOf(aware)
		case at != "":
			o.From, err = momentOf(at)
		}
		return err
	})
	f := cmd.Flags()
	f.StringVar(&aware, "aware", "", "when it was certain that data was breached, as 2026-11-29T14:05+01:00, or now: the hours begin")
	for _, o := range []struct{ flag, outcome, help string }{
		{"told", queue.BreachTold, "the authority, or the company we work for, was told"},
		{"risk-unlikely", queue.BreachNoRisk, "nobody is told, as a risk is unlikely; --note says why"},
		{"no-breach", queue.BreachFalse, "it was no breach after all; --note says why"},
		{"persons-told", queue.BreachPersons, "the persons were told (Art. 34)"},
	} {
		outcomes[o.outcome] = f.Bool(o.flag, false, o.help)
	}
	f.StringVar(&at, "at", "", "when that was; default now")
	f.StringVar(&order.Note, "note", "", "reference, reasons")
	return cmd
}

// momentOf reads a time with its zone.
func momentOf(text string) (time.Time, error) {
	if text == "now" {
		return time.Now(), nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time with its zone, as 2026-11-29T14:05+01:00", text)
}
