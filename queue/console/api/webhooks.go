package api

import (
	"errors"

	"postern/gateway/ledger"
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

// did records a change of what Postern does.
func (c *call) did(action, ref string) error {
	return c.a.d.Ledger.Append(c.ctx(), ledger.Record{Time: c.now(), Kind: ledger.KindConfig, Actor: c.actor(), Action: action, Ref: ref})
}
