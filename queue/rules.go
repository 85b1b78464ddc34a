package queue

import (
	"context"
	"errors"
	"fmt"
)

// Rules are the Options that may change while the queue works.
type Rules struct {
	Handling      map[string]Handling
	Customers     []Customer
	LegalHolds    []LegalHold
	Operators     map[string][]string
	Processors    map[string]Processor
	PauseIdentity map[string]bool
	Connections   []Connection
	Hooks         []Hook
	Roles         map[string]string
}

// rules are those in force: of the last Reload, else of the Options.
func (q *Queue) rules() *Rules {
	if r := q.reloaded.Load(); r != nil {
		return r
	}
	return &Rules{q.o.Handling, q.o.Customers, q.o.LegalHolds, q.o.Operators, q.o.Processors, q.o.PauseIdentity, q.o.Connections, q.o.Hooks, q.o.Roles}
}

// Reload takes other rules from now on; with an error the former ones stay.
// Work in hand ends under those it began with. Clocks that run keep their due
// dates.
func (q *Queue) Reload(ctx context.Context, r Rules) error {
	o := q.o
	o.Handling, o.Hooks = r.Handling, r.Hooks
	if err := errors.Join(checkHandling(o), checkProcessors(r.Processors)); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if err := q.publishNotices(ctx, r.Handling); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	q.reloaded.Store(&r)
	return nil
}
