package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"postern/gateway/ledger"
)

// provenView is a record of a case in the ledger with its place in the tree.
type provenView struct {
	Index int64
	When  time.Time
	Actor string
	Text  string
	ID    string
}

// caseProof shows that each event of a case stands in the ledger, and hands
// out what it takes to check that elsewhere.
func (c *Console) caseProof(v *visit) error {
	k, events, err := v.load()
	if err != nil {
		return err
	}
	if c.d.Prover == nil {
		return errNotFound
	}
	proof, err := c.d.Prover.Prove(v.ctx(), ledger.Filter{Ref: k.Number, Kind: ledger.KindCase})
	if err != nil && !errors.Is(err, ledger.ErrNoRecord) {
		return err
	}
	if v.r.URL.Query().Get("form") == "json" {
		body, err := json.MarshalIndent(proof, "", "  ")
		if err != nil {
			return fmt.Errorf("write proof of case %s: %w", k.Number, err)
		}
		v.attachment(k.Number+"-proof.json", "application/json", body)
		return nil
	}
	loc := c.d.Cases.NewPacer().Zone(k.Controller)
	text := map[string]eventView{}
	for _, e := range events {
		text[fmt.Sprintf("case:%s:%d", k.Number, e.Seq)] = v.eventView(e, loc)
	}
	var rows []provenView
	for _, r := range proof.Records {
		e, ok := text[r.Record.ID]
		if !ok {
			e = eventView{Text: r.Record.Action, Actor: v.actor(r.Record.Actor)}
		}
		rows = append(rows, provenView{r.Index, r.Record.Time.In(loc), e.Actor, e.Text, r.Record.ID})
	}
	return v.page("caseproof", "caseproof.title", map[string]any{
		"Number": k.Number, "Rows": rows, "Events": len(events), "Checkpoint": proof.Checkpoint, "Key": proof.PublicKey,
	})
}
