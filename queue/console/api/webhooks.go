package api

import (
	"errors"
	"slices"
	"time"

	"postern/gateway/ledger"
	"postern/queue"
	"postern/queue/fulfil"
)

type subscribeRequest struct {
	URL         string   `json:"url"`
	Events      []string `json:"events"`
	Controllers []string `json:"controllers"`
}

// subscribed shows the secret this once.
type subscribed struct {
	Subscription
	Secret string `json:"secret"`
}

func listWebhooks(c *call) (answer, error) {
	list, err := c.a.d.Hooks.List(c.ctx())
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"webhooks": list})
}

func subscribe(c *call) (answer, error) {
	var r subscribeRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	for _, id := range r.Controllers {
		if _, known := c.a.d.Streams().Controller(id); !known {
			return answer{}, bad("controllers", "holds one that is not configured")
		}
	}
	if err := c.did("webhook-added", ""); err != nil {
		return answer{}, err
	}
	sub, secret, err := c.a.d.Hooks.Add(c.ctx(), Subscription{URL: r.URL, Events: r.Events, Controllers: r.Controllers, By: c.actor()})
	if errors.Is(err, ErrInput) {
		return answer{}, problem("invalid", err.Error())
	}
	if err != nil {
		return answer{}, err
	}
	return created(subscribed{sub, secret})
}

func unsubscribeHook(c *call) (answer, error) {
	if err := c.a.d.Hooks.Remove(c.ctx(), c.path("id")); err != nil {
		return answer{}, err
	}
	if err := c.did("webhook-removed", c.path("id")); err != nil {
		return answer{}, err
	}
	return none()
}

// hook finds the subscription of the path.
func (c *call) hook() (string, error) {
	list, err := c.a.d.Hooks.List(c.ctx())
	if err != nil {
		return "", err
	}
	id := c.path("id")
	if !slices.ContainsFunc(list, func(s Subscription) bool { return s.ID == id }) {
		return "", ErrNone
	}
	return id, nil
}

// tried is how a test event fared.
type tried struct {
	Taken bool   `json:"taken"`
	Fault string `json:"fault,omitempty"`
}

// testHook tells a receiver a signed event that says nothing. That it was not
// taken is an answer, no error.
func testHook(c *call) (answer, error) {
	id, err := c.hook()
	if err != nil {
		return answer{}, err
	}
	var code fulfil.Answered
	switch err := c.a.d.Cases.TestHook(c.ctx(), id, c.actor()); {
	case err == nil:
		return ok(tried{Taken: true})
	case errors.Is(err, queue.ErrUnknown): // its secret can't be opened
		return ok(tried{Fault: "sealed under a key that is gone; end it and subscribe anew"})
	case errors.As(err, &code):
		return ok(tried{Fault: code.Error()})
	case errors.Is(err, fulfil.ErrReach):
		return ok(tried{Fault: fulfil.ErrReach.Error()})
	default:
		// What the network said stays here: it would tell what stands where.
		c.a.o.Log.Info("a subscribed receiver is not reached", "webhook", id, "err", err)
		return ok(tried{Fault: "the receiver is not reached"})
	}
}

// failedEvent is an event that was given up.
type failedEvent struct {
	ID      string    `json:"id"`      // for trying again
	Message string    `json:"message"` // the webhook-id that the receiver would have seen
	Case    string    `json:"case,omitempty"`
	Since   time.Time `json:"since"`
}

// failedEvents lists what one receiver was not told in the end, oldest first.
func (c *call) failedEvents(hook string) ([]failedEvent, error) {
	dead, err := c.a.d.Cases.Dead(c.ctx())
	if err != nil {
		return nil, err
	}
	out := []failedEvent{}
	for _, d := range dead {
		if name, message := d.Message(); name == hook {
			out = append(out, failedEvent{d.ID, message, d.Case, d.At})
		}
	}
	return out, nil
}

func listFailed(c *call) (answer, error) {
	hook, err := c.hook()
	if err != nil {
		return answer{}, err
	}
	list, err := c.failedEvents(hook)
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"failed": list})
}

// retryFailed has an event told anew, with all its tries.
func retryFailed(c *call) (answer, error) {
	hook, err := c.hook()
	if err != nil {
		return answer{}, err
	}
	list, err := c.failedEvents(hook)
	if err != nil {
		return answer{}, err
	}
	event := c.path("event")
	if !slices.ContainsFunc(list, func(f failedEvent) bool { return f.ID == event }) {
		return answer{}, ErrNone
	}
	if err := c.a.d.Cases.RetryDead(c.ctx(), event); err != nil {
		return answer{}, err
	}
	return none()
}

// did records a change of what Postern does.
func (c *call) did(action, ref string) error {
	return c.a.d.Ledger.Append(c.ctx(), ledger.Record{Time: c.now(), Kind: ledger.KindConfig, Actor: c.actor(), Action: action, Ref: ref})
}
