package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"sort"
	"time"

	"postern/gateway/consent"
	"postern/queue"
	"postern/queue/console"
)

type auditRequest struct {
	From, To time.Time
	Sample   int
}

// wordingRow is a text persons agreed to, and how many records rest on it.
type wordingRow struct {
	Controller string `json:"controller"`
	Purpose    string `json:"purpose"`
	Version    string `json:"version"`
	Language   string `json:"language,omitempty"`
	Source     string `json:"source,omitempty"`
	Wording    string `json:"wording"`
	Records    int    `json:"records"`
}

// auditReport is what an audit asks for.
type auditReport struct {
	queue.Audit
	ErrorRate  *float64                 `json:"error_rate,omitempty"` // of the cases judged
	Wordings   []wordingRow             `json:"wordings"`
	Processing []console.ProcessingText `json:"processing"`
}

func (n *node) audit(ctx context.Context, r auditRequest) (auditReport, error) {
	a, err := n.queue.Audit(ctx, n.books, r.From, r.To, r.Sample)
	if err != nil {
		return auditReport{}, err
	}
	texts, err := console.Describe(n.config().processing())
	if err != nil {
		return auditReport{}, err
	}
	out := auditReport{Audit: a, Processing: texts}
	if rate, ok := a.Automatic.ErrorRate(); ok {
		out.ErrorRate = &rate
	}
	out.Wordings, err = n.wordings(ctx)
	return out, err
}

// wordings lists the texts shown, from the registry's own export.
func (n *node) wordings(ctx context.Context) ([]wordingRow, error) {
	counts := map[wordingRow]int{}
	for _, c := range n.cfg.Controllers {
		r, w := io.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := n.consent.Export(ctx, consent.ExportOptions{Controller: c.ID}, w)
			w.CloseWithError(err)
			done <- err
		}()
		err := countWordings(r, c.ID, counts)
		_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // ends an export nobody reads any more
		if exportErr := <-done; err == nil {
			err = exportErr
		}
		if err != nil {
			return nil, fmt.Errorf("wordings of controller %q: %w", c.ID, err)
		}
	}
	out := make([]wordingRow, 0, len(counts))
	for row, count := range counts {
		row.Records = count
		out = append(out, row)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		return a.Controller+"\x00"+a.Purpose+"\x00"+a.Version+"\x00"+a.Language+a.Source < b.Controller+"\x00"+b.Purpose+"\x00"+b.Version+"\x00"+b.Language+b.Source
	})
	return out, nil
}

func countWordings(r io.Reader, controller string, counts map[wordingRow]int) error {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	at := map[string]int{}
	for i, name := range head {
		at[name] = i
	}
	field := func(row []string, name string) string {
		if i, ok := at[name]; ok && i < len(row) {
			return row[i]
		}
		return ""
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if text := field(row, "wording"); text != "" {
			counts[wordingRow{Controller: controller, Purpose: field(row, "purpose"), Version: field(row, "wording_version"), Language: field(row, "language"), Source: field(row, "source"), Wording: text}]++
		}
	}
}

// processing are the entries of the gateway itself for the record of processing
// activities, per controller, with what the configuration knows.
func (c *Config) processing() (out []console.Processing) {
	p := console.Processing{Sealed: c.Spool.Encrypt, Expire: time.Duration(c.Delivery.Expire), Verdicts: time.Duration(c.Ledger.KeepVerdicts),
		Cases: time.Duration(c.Cases.KeepCases), Aside: time.Duration(c.Cases.KeepAside)}
	for _, s := range c.Smarthosts {
		p.Hosts = append(p.Hosts, s.Name)
	}
	for _, s := range c.Connectors {
		p.Systems = append(p.Systems, s.Name)
	}
	for _, k := range c.Controllers {
		for _, activity := range []string{"relay", "consent", "suppression", "requests", "ledger"} {
			p.Controller, p.Activity = k.ID, activity
			out = append(out, p)
		}
	}
	return out
}

// days writes a duration of the configuration for people.
func days(d Duration) string {
	if n := int(time.Duration(d).Hours() / 24); n > 0 {
		return fmt.Sprintf("%d days", n)
	}
	return d.String()
}
