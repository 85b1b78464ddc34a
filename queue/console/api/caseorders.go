package api

import (
	"slices"
	"strconv"

	"postern/gateway/address"
	"postern/queue"
	"postern/queue/fulfil"
)

type proposeRequest struct {
	Act     string `json:"act"`
	Note    string `json:"note"`
	Address string `json:"address"` // for erase: in the systems; "" the person's
}

// propose asks for what another operator has to give.
func propose(c *call) (answer, error) {
	var r proposeRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	to, err := letterTo(r.Address)
	if err != nil {
		return answer{}, err
	}
	if err := c.a.d.Cases.AskApproval(c.ctx(), k.Number, queue.Approval{What: r.Act, By: c.actor(), Note: r.Note, Address: to}); err != nil {
		return answer{}, err
	}
	return none()
}

type orderRequest struct {
	Verb    string            `json:"verb"`
	Address string            `json:"address"`
	Facts   map[string]string `json:"facts"`
	DryRun  bool              `json:"dry_run"`
}

// order asks systems to act, save erasure, which is approved.
func order(c *call) (answer, error) {
	var r orderRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	if fulfil.Verb(r.Verb) == fulfil.Erase && !r.DryRun {
		return answer{}, problem("forbidden", "erasure is ordered by its approval")
	}
	o := queue.Order{Verb: fulfil.Verb(r.Verb), Facts: r.Facts, DryRun: r.DryRun}
	if r.Address != "" {
		var err error
		if o.Address, err = person("address", r.Address); err != nil {
			return answer{}, err
		}
	}
	return c.order(o)
}

type approveRequest struct {
	Confirm string `json:"confirm"`
	Address string `json:"address"`
}

// approveErasure lets the systems delete. The case number is repeated, and where
// the controller asks for four eyes another one proposed it.
func approveErasure(c *call) (answer, error) {
	var r approveRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	var to address.Address
	if r.Address != "" {
		var err error
		if to, err = person("address", r.Address); err != nil {
			return answer{}, err
		}
	}
	return c.order(queue.Order{Verb: fulfil.Erase, Approve: r.Confirm, Address: to})
}

func (c *call) order(o queue.Order) (answer, error) {
	k, _, err := c.open()
	if err != nil {
		return answer{}, err
	}
	o.Actor = c.actor()
	tasks, err := c.a.d.Cases.Fulfil(c.ctx(), k.Number, o)
	if err != nil {
		return answer{}, err
	}
	if o.Approve != "" && slices.Contains(k.Flags, queue.FlagApproval) { // it was given; the wish is over
		if err := c.a.d.Cases.EndApproval(c.ctx(), k.Number, c.actor(), "approval-given", ""); err != nil {
			return answer{}, err
		}
	}
	return answer{status: 202, body: map[string]any{"tasks": tasksOf(tasks)}}, nil
}

func (c *call) task() (string, queue.Task, error) {
	k, _, err := c.open()
	if err != nil {
		return "", queue.Task{}, err
	}
	tasks, err := c.a.d.Cases.Tasks(c.ctx(), k.Number)
	if err != nil {
		return "", queue.Task{}, err
	}
	index, err := strconv.Atoi(c.path("index"))
	if err != nil || index < 0 || index >= len(tasks) {
		return "", queue.Task{}, problem("missing", "")
	}
	return k.Number, tasks[index], nil
}

// result enters what a system did, where it answers later than it was asked.
func result(c *call) (answer, error) {
	var o fulfil.Outcome
	if err := c.read(&o); err != nil {
		return answer{}, err
	}
	if err := o.Check(); err != nil {
		return answer{}, bad("status", "%s", err)
	}
	if !o.Final() {
		return answer{}, bad("status", "is no outcome")
	}
	number, t, err := c.task()
	if err != nil {
		return answer{}, err
	}
	if err := c.a.d.Cases.Result(c.ctx(), number, t.Key, o, c.actor()); err != nil {
		return answer{}, err
	}
	return c.changed(number)
}

// retryTask asks a system that failed again.
func retryTask(c *call) (answer, error) {
	number, t, err := c.task()
	if err != nil {
		return answer{}, err
	}
	if err := c.a.d.Cases.Retry(c.ctx(), number, t.Index, c.actor()); err != nil {
		return answer{}, err
	}
	return c.changed(number)
}
