package queue

import (
	"fmt"

	"postern/classifier"
)

// Policy is what a label may do without a person (design D13).
type Policy string

const (
	Off       Policy = "off"       // nothing; an operator sees the case
	Propose   Policy = "propose"   // a hold binds until an operator confirms
	Automatic Policy = "automatic" // it binds at once
)

// defaultPolicy is the table of D13: the ways to say stop bind at once, and
// erasure places its pending suppression. Nothing else acts by itself.
var defaultPolicy = map[classifier.Label]Policy{
	classifier.Objection:       Automatic,
	classifier.WithdrawConsent: Automatic,
	classifier.Unsubscribe:     Automatic,
	classifier.OptOutSale:      Automatic,
	classifier.Erasure:         Automatic,
}

// policy of a label: as configured for the controller or for all, else as the
// table says, else off.
func (q *Queue) policy(controller string, l classifier.Label) Policy {
	if p, ok := q.rules().Handling[controller].Policy[l]; ok {
		return p
	}
	if p, ok := q.rules().Policy[l]; ok {
		return p
	}
	if p, ok := defaultPolicy[l]; ok {
		return p
	}
	return Off
}

// PolicyOf is what a label may do by itself under a controller, as it is in
// force.
func (q *Queue) PolicyOf(controller string, l classifier.Label) Policy {
	return q.policy(controller, l)
}

// CheckPolicy refuses a table that lets a label act that can't, or says what no
// policy is.
func CheckPolicy(table map[classifier.Label]Policy) error {
	for l, p := range table {
		switch p {
		case Off, Propose, Automatic:
		default:
			return fmt.Errorf("policy of label %q: %q is none of off, propose, automatic", l, p)
		}
		if _, ok := defaultPolicy[l]; !ok && p != Off {
			return fmt.Errorf("policy of label %q: only objection, withdraw_consent, unsubscribe, opt_out_sale and erasure can act by themselves", l)
		}
	}
	return nil
}
