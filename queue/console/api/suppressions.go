package api

import (
	"encoding/json"
	"errors"
	"io"

	"postern/gateway/consent"
)

// suppression is one as the API shows it: the person by subject id alone.
type suppression struct {
	Subject string `json:"subject"`
	consent.SuppressionRecord
}

type suppressRequest struct {
	Controller string `json:"controller"`
	Address    string `json:"address"`
	Scope      string `json:"scope"`
	Stream     string `json:"stream"`
	Purpose    string `json:"purpose"`
	Reason     string `json:"reason"`
	Case       string `json:"case"`
}

// suppress stops mail to a person; it binds before the answer leaves.
func suppress(c *call) (answer, error) {
	var r suppressRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	s := consent.Suppression{ID: c.event(), Scope: consent.Scope(r.Scope), Purpose: r.Purpose, Reason: consent.Reason(r.Reason), Source: "api", Case: r.Case, Actor: c.actor()}
	var err error
	if s.Controller, err = c.controller(r.Controller); err != nil {
		return answer{}, err
	}
	if s.Address, err = person("address", r.Address); err != nil {
		return answer{}, err
	}
	if s.Scope == "" {
		s.Scope = consent.ScopeController
	}
	if s.Reason == "" {
		s.Reason = consent.Manual
	}
	switch s.Reason {
	case consent.Manual, consent.Unsubscribed, consent.Complained, consent.Bounced, consent.ObjectedTo, consent.WithdrawnBy:
	default: // the others are set by what they name
		return answer{}, bad("reason", "is none of manual, unsubscribed, complaint, bounce, objected, withdrawn")
	}
	if s.Scope == consent.ScopeStream {
		st, known := c.a.d.Streams().ByName(r.Stream)
		if !known || st.Controller != s.Controller {
			return answer{}, bad("stream", "is none of this controller")
		}
		s.Stream = st.Number
	}
	id, err := c.a.d.Consent.Suppress(c.ctx(), s)
	if err != nil {
		return answer{}, err
	}
	return created(idAnswer{id})
}

type releaseRequest struct {
	ID         string `json:"id"`
	Controller string `json:"controller"`
	Address    string `json:"address"`
	Only       string `json:"only"`
	Why        string `json:"why"`
}

// release ends suppressions that were wrong; why goes on record. Consent is
// needed all the same before marketing leaves.
func release(c *call) (answer, error) {
	var r releaseRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	rel := consent.Release{ID: r.ID, Only: consent.Reason(r.Only), Actor: c.actor(), Reason: r.Why}
	if r.Why == "" {
		return answer{}, bad("why", "is needed")
	}
	if r.ID == "" {
		var err error
		if rel.Controller, err = c.controller(r.Controller); err != nil {
			return answer{}, err
		}
		if rel.Address, err = person("address", r.Address); err != nil {
			return answer{}, err
		}
	}
	if err := c.a.d.Consent.Release(c.ctx(), rel); err != nil {
		return answer{}, err
	}
	return none()
}

// personSuppressions gives those of one person, ended ones too.
func personSuppressions(c *call) (answer, error) {
	controller, who, err := c.about("suppressions")
	if err != nil {
		return answer{}, err
	}
	p, err := c.a.d.Consent.Profile(c.ctx(), controller, who)
	if err != nil {
		return answer{}, err
	}
	out := []suppression{}
	for _, s := range p.Suppressions {
		out = append(out, suppression{s.Subject.String(), s})
	}
	return ok(map[string]any{"suppressions": out})
}

// listSuppressions pages through all, in the order in which the store keeps
// them: each page takes the same short time, however many there are.
func listSuppressions(c *call) (answer, error) {
	limit, err := c.limit()
	if err != nil {
		return answer{}, err
	}
	controller := c.query("controller")
	if controller != "" {
		if controller, err = c.controller(controller); err != nil {
			return answer{}, err
		}
	}
	ended, _, err := c.flag("ended")
	if err != nil {
		return answer{}, err
	}
	at := ""
	if from := c.query("cursor"); from != "" {
		parts, err := readCursor(from, 1)
		if err != nil {
			return answer{}, err
		}
		at = parts[0]
	}
	page, next, err := c.a.d.Consent.SuppressionsPage(c.ctx(), controller, at, limit, func(s consent.SuppressionRecord) bool { return ended || s.Stands() })
	if errors.Is(err, consent.ErrRefused) {
		return answer{}, bad("cursor", "is none of this list")
	}
	if err != nil {
		return answer{}, err
	}
	rows := make([]suppression, len(page))
	for i, s := range page {
		rows[i] = suppression{s.Subject.String(), s}
	}
	out := map[string]any{"suppressions": rows}
	if next != "" {
		out["next"] = writeCursor(next)
	}
	return ok(out)
}

// exportSuppressions gives all of a controller, a JSON document a line, as they
// are read.
func exportSuppressions(c *call) (answer, error) {
	controller, err := c.controller(c.query("controller"))
	if err != nil {
		return answer{}, err
	}
	return answer{status: 200, media: "application/x-ndjson", stream: func(w io.Writer) error {
		enc := json.NewEncoder(w)
		return c.a.d.Consent.Suppressions(c.ctx(), controller, func(s consent.SuppressionRecord) error {
			return enc.Encode(suppression{s.Subject.String(), s})
		})
	}}, nil
}
