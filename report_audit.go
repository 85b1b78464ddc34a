package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"postern/gateway/consent"
	"postern/queue"
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

// processing is one entry of the record of processing activities (GDPR Art.
// 30(1)) that the gateway itself brings along.
type processing struct {
	Controller string `json:"controller"`
	Activity   string `json:"activity"`
	Purpose    string `json:"purpose"`
	Basis      string `json:"legal_basis"`
	Persons    string `json:"persons"`
	Data       string `json:"data"`
	Recipients string `json:"recipients"`
	Transfers  string `json:"transfers"`
	Erasure    string `json:"erasure"`
	Security   string `json:"security"`
}

// auditReport is what an audit asks for.
type auditReport struct {
	queue.Audit
	ErrorRate  *float64     `json:"error_rate,omitempty"` // of the cases judged
	Wordings   []wordingRow `json:"wordings"`
	Processing []processing `json:"processing"`
}

func (n *node) audit(ctx context.Context, r auditRequest) (auditReport, error) {
	a, err := n.queue.Audit(ctx, n.books, r.From, r.To, r.Sample)
	if err != nil {
		return auditReport{}, err
	}
	out := auditReport{Audit: a, Processing: n.cfg.processing()}
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

// processing are the entries of the gateway itself, per controller, with what
// the configuration knows.
func (c *Config) processing() []processing {
	var hosts, systems []string
	for _, s := range c.Smarthosts {
		hosts = append(hosts, s.Name)
	}
	for _, s := range c.Connectors {
		systems = append(systems, s.Name)
	}
	relays := "own outbound mail servers: " + strings.Join(hosts, ", ")
	where := "none by the gateway itself; see where the mail servers stand"
	safe := "keyed codes in place of addresses in store, ledger and logs; texts sealed under a key per case; TLS; data folder 0700; ledger with signed checkpoints"
	spool := "in clear in the spool until delivered"
	if c.Spool.Encrypt {
		spool = "sealed in the spool until delivered"
	}
	var out []processing
	for _, k := range c.Controllers {
		out = append(out,
			processing{k.ID, "relaying mail", "send mail of the company, marketing only with consent", "Art. 6(1)(b), (f); for marketing Art. 6(1)(a) or national law on existing customers", "recipients of the company's mail", "address, content (" + spool + "), decision and outcome per recipient", relays, where, "content once delivered or given up after " + days(c.Delivery.Expire) + "; decisions on transactional mail 90 days", safe},
			processing{k.ID, "consent records", "prove consent (Art. 7(1))", "Art. 6(1)(c), (f)", "subscribers", "keyed code, purpose, time, wording, source, language", "none", where, "three years after the consent ended", safe},
			processing{k.ID, "suppression list", "never mail who said no (Art. 21(3))", "Art. 6(1)(c), 17(3)(b)", "who objected, unsubscribed or whose address fails", "keyed code, scope, reason, time", "none", where, "kept while the objection counts", safe},
			processing{k.ID, "requests of data subjects", "answer requests in time (Art. 12 to 22)", "Art. 6(1)(c)", "who writes to the privacy mailbox", "address, what was written, files, answers, states and times", "systems asked: " + orNone(strings.Join(systems, ", ")), where, days(c.Cases.KeepCases) + " after the case ended; mail that became no case " + days(c.Cases.KeepAside), safe},
			processing{k.ID, "ledger", "accountability (Art. 5(2))", "Art. 6(1)(c), (f)", "all of the above, and operators", "keyed code, act, reason, time, actor; sealed per person", "none", where, "the person's key is destroyed when the limitation time ends", safe},
		)
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
