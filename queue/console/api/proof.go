package api

import (
	"errors"
	"time"

	"postern/gateway"
	"postern/gateway/ledger"
)

type proveRequest struct {
	Controller string `json:"controller"`
	Address    string `json:"address"`
	MessageID  string `json:"message_id"`
	Ref        string `json:"ref"`
}

// prove gathers what the ledger knows of a person, a message or a reference,
// with inclusion proofs that anybody can check.
func prove(c *call) (answer, error) {
	var r proveRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	var filters []ledger.Filter
	switch {
	case r.Address != "":
		controller, err := c.controller(r.Controller)
		if err != nil {
			return answer{}, err
		}
		who, err := person("address", r.Address)
		if err != nil {
			return answer{}, err
		}
		for _, id := range c.a.d.Keyring.Identities(controller, who) {
			filters = append(filters, ledger.Filter{Subject: id.ID})
		}
	case r.MessageID != "":
		filters = []ledger.Filter{{Message: gateway.MessageIDHash(r.MessageID)}}
	case r.Ref != "":
		filters = []ledger.Filter{{Ref: r.Ref}}
	default:
		return answer{}, bad("address", "message_id or ref is needed")
	}
	if err := c.saw("proof", ""); err != nil {
		return answer{}, err
	}
	if err := c.a.d.Ledger.Flush(c.ctx()); err != nil {
		return answer{}, err
	}
	proofs := []ledger.Proof{}
	for _, f := range filters {
		p, err := c.a.d.Ledger.Prove(c.ctx(), f)
		if errors.Is(err, ledger.ErrNoRecord) {
			continue
		}
		if err != nil {
			return answer{}, err
		}
		proofs = append(proofs, p)
	}
	if len(proofs) == 0 {
		return answer{}, ledger.ErrNoRecord
	}
	return ok(map[string]any{"proofs": proofs})
}

// status tells how this node and the queue do, without a name of anybody.
func status(c *call) (answer, error) {
	f, err := c.a.d.Cases.Figures(c.ctx())
	if err != nil {
		return answer{}, err
	}
	faults := c.a.d.Faults(c.ctx())
	if faults == nil {
		faults = []string{}
	}
	s := c.a.d.Spool.Stats()
	return ok(struct {
		Version string   `json:"version"`
		Ready   bool     `json:"ready"`
		Faults  []string `json:"faults"`
		Cases   any      `json:"cases"`
		Spool   any      `json:"spool"`
		Ledger  any      `json:"ledger"`
	}{
		c.a.o.Version, len(faults) == 0, faults,
		struct {
			Live    int64     `json:"live"`
			Overdue int64     `json:"overdue"`
			NextDue time.Time `json:"next_due,omitzero"`
			Work    int64     `json:"work"`
			Dead    int64     `json:"dead"`
			Aside   int64     `json:"aside"`
		}{f.Live, f.Overdue, f.NextDue, f.Work, f.Dead, f.Aside},
		struct {
			Messages int64     `json:"messages"`
			Bytes    int64     `json:"bytes"`
			Held     int64     `json:"held"`
			Oldest   time.Time `json:"oldest,omitzero"`
			Full     bool      `json:"full"`
		}{s.Messages, s.Bytes, s.Held, s.OldestAt, s.Full},
		struct {
			Records int64 `json:"records"`
		}{c.a.d.Ledger.Checkpoint().Size},
	})
}

// openapi gives the document of this API.
func openapi(c *call) (answer, error) {
	return answer{status: 200, raw: c.a.document, media: "application/json", etag: `"` + hashOf(string(c.a.document))[:16] + `"`}, nil
}
