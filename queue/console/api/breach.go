package api

import (
	"time"

	"postern/queue"
)

type breachRequest struct {
	What string     `json:"what"` // "aware", or an outcome
	At   *time.Time `json:"at"`
	Note string     `json:"note"`
}

// breach starts the hours of a data breach, or records what was done about it
// (GDPR Art. 33, 34).
func breach(c *call) (answer, error) {
	var r breachRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	known := map[string]bool{"aware": true, queue.BreachTold: true, queue.BreachNoRisk: true, queue.BreachFalse: true, queue.BreachPersons: true}
	if !known[r.What] {
		return answer{}, bad("what", "is aware, told, risk-unlikely, no-breach or persons-told")
	}
	if r.At == nil {
		return answer{}, bad("at", "is needed: when it was, with its zone")
	}
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	if r.What == "aware" {
		b, err := c.a.d.Cases.Aware(c.ctx(), k.Number, queue.Awareness{At: *r.At, Actor: c.actor(), Note: r.Note})
		return answer{status: 200, body: b}, err
	}
	b, err := c.a.d.Cases.EndBreach(c.ctx(), k.Number, queue.BreachStep{Outcome: r.What, At: *r.At, Actor: c.actor(), Note: r.Note})
	return answer{status: 200, body: b}, err
}
