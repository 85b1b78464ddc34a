package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// HookEvent is what a hook is told: ids, closed words and times, never what
// was written, an address or a name.
type HookEvent struct {
	Case       string            `json:"case,omitempty"`
	Controller string            `json:"controller"`
	State      State             `json:"state,omitempty"`
	Labels     []string          `json:"labels,omitempty"`
	Due        time.Time         `json:"due,omitzero"`
	Owner      string            `json:"owner,omitempty"`
	Seq        int               `json:"seq"`
	Time       time.Time         `json:"time"`
	Actor      string            `json:"actor,omitempty"`
	Action     string            `json:"action"`
	Reason     string            `json:"reason,omitempty"`
	Data       map[string]string `json:"data,omitempty"`
}

// publish sets the telling of events going, a job per hook that wants one. The
// same event may be told twice after a crash, under the same webhook-id.
func (q *Queue) publish(ctx context.Context, list ...happened) error {
	hooks, err := q.hooks(ctx)
	if err != nil {
		return err
	}
	var members []redis.Z
	for _, o := range list {
		for _, h := range hooks {
			if !h.takes("case."+string(o.e.Action), o.c.Controller) {
				continue
			}
			raw, err := json.Marshal(job{Case: o.c.Number, Do: "hook", N: strconv.Itoa(o.e.Seq) + "|" + h.Name, Try: "0"})
			if err != nil {
				return fmt.Errorf("encode event %d of case %s: %w", o.e.Seq, o.c.Number, err)
			}
			members = append(members, redis.Z{Score: float64(q.o.Now().UnixMilli()), Member: string(raw)})
		}
	}
	if len(members) == 0 {
		return nil
	}
	return wrapf(q.rdb.ZAdd(ctx, keyLater, members...).Err(), "tell of %d events of cases", len(list))
}

// announce sets the telling of a notice going: reminders, alarms, dead work.
func (q *Queue) announce(ctx context.Context, n Notice) error {
	hooks, err := q.hooks(ctx)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if !h.takes("notice."+n.Kind, n.Controller) {
			continue
		}
		at := q.o.Now()
		raw, err := json.Marshal(job{Case: n.Case, Do: "hook", Try: "0",
			N: strings.Join([]string{"notice", h.Name, n.Kind, n.Controller, strings.ReplaceAll(n.Reason, "|", "/"), millis(n.Due), millis(at)}, "|")})
		if err != nil {
			return fmt.Errorf("encode notice: %w", err)
		}
		if err := q.rdb.ZAdd(ctx, keyLater, redis.Z{Score: float64(at.UnixMilli()), Member: string(raw)}).Err(); err != nil {
			return fmt.Errorf("announce notice: %w", err)
		}
	}
	return nil
}

// hook tells one receiver of one event.
func (q *Queue) hook(ctx context.Context, no, n string) error {
	if strings.HasPrefix(n, "event|") {
		return q.tellEvent(ctx, n)
	}
	parts := strings.Split(n, "|")
	if parts[0] == "notice" {
		if len(parts) != 7 {
			return fmt.Errorf("%w: notice %q", errPermanent, n)
		}
		at := fromMillis(parts[6])
		return q.post(ctx, parts[1], noticeID(no, n), "notice."+parts[2], at, HookEvent{Case: no, Controller: parts[3], Action: parts[2], Reason: parts[4], Due: fromMillis(parts[5]), Time: at, Actor: "rule"})
	}
	if len(parts) != 2 {
		return fmt.Errorf("%w: event %q", errPermanent, n)
	}
	o, err := q.happened(ctx, no, parts[0])
	if err != nil {
		return err
	}
	c, e := o.c, o.e
	return q.post(ctx, parts[1], caseEventID(no, parts[0]), "case."+string(e.Action), e.Time, HookEvent{Case: no, Controller: c.Controller, State: c.State,
		Labels: splitWords(joinLabels(c.Labels)), Due: c.Due, Owner: c.Owner, Seq: e.Seq, Time: e.Time, Actor: e.Actor, Action: string(e.Action), Reason: e.Reason, Data: e.Data})
}

// Ids of messages (webhook-id): the same event has the same one in every try.
func noticeID(no, n string) string      { return "notice_" + sha(no + "\x00" + n)[:24] }
func caseEventID(no, seq string) string { return "case_" + no + "_" + seq }

func (q *Queue) post(ctx context.Context, name, id, kind string, at time.Time, e HookEvent) error {
	hooks, err := q.hooks(ctx)
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if h.Name == name {
			err := h.Webhook.Tell(ctx, id, kind, at, e)
			q.metrics.hook(err)
			return err
		}
	}
	return nil // taken out of the configuration, or unsubscribed, since
}

// hooks are those of the configuration and those subscribed.
func (q *Queue) hooks(ctx context.Context) ([]Hook, error) {
	if q.o.Subscribed == nil {
		return q.rules().Hooks, nil
	}
	more, err := q.o.Subscribed(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for hooks: %w", err)
	}
	return append(slices.Clip(q.rules().Hooks), more...), nil
}

// Hooks are all receivers of events: those of the configuration, then those
// subscribed.
func (q *Queue) Hooks(ctx context.Context) ([]Hook, error) { return q.hooks(ctx) }

// TestEvent is what TestHook tells: a receiver that knows nothing of it takes it
// as it takes any other.
const TestEvent = "webhook.test"

// TestHook tells one receiver a signed event that says nothing, at once and
// once, whatever it wants to be told. Errors wrap ErrUnknown, fulfil.Answered or
// fulfil.ErrReach; others say that it could not be reached.
func (q *Queue) TestHook(ctx context.Context, name, actor string) error {
	hooks, err := q.hooks(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(hooks, func(h Hook) bool { return h.Name == name })
	if i < 0 {
		return fmt.Errorf("hook: %w", ErrUnknown)
	}
	id, err := newToken()
	if err != nil {
		return err
	}
	now := q.o.Now()
	err = hooks[i].Webhook.Tell(ctx, "test_"+id, TestEvent, now, HookEvent{Time: now, Actor: actor, Action: "test"})
	q.metrics.hook(err)
	return err
}

// Publish sets the telling of an event from another room going, a job per hook
// that wants it: kind is "consent.<action>" or "suppression.<action>", id its
// webhook-id, the same each time it is published.
func (q *Queue) Publish(ctx context.Context, id, kind string, e HookEvent) error {
	hooks, err := q.hooks(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", id, err)
	}
	for _, h := range hooks {
		if !h.takes(kind, e.Controller) {
			continue
		}
		raw, err := json.Marshal(job{Do: "hook", Try: "0", N: strings.Join([]string{"event", h.Name, id, kind, string(body)}, "|")})
		if err != nil {
			return fmt.Errorf("encode event %s: %w", id, err)
		}
		if err := q.rdb.ZAdd(ctx, keyLater, redis.Z{Score: float64(q.o.Now().UnixMilli()), Member: string(raw)}).Err(); err != nil {
			return fmt.Errorf("tell of event %s: %w", id, err)
		}
	}
	return nil
}

// Wants tells whether any hook takes events of a family, as "consent".
func (q *Queue) Wants(ctx context.Context, family string) (bool, error) {
	hooks, err := q.hooks(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(hooks, func(h Hook) bool {
		return len(h.Events) == 0 || slices.ContainsFunc(h.Events, func(p string) bool { return p == "*" || strings.HasPrefix(p, family+".") })
	}), nil
}

// tellEvent tells one receiver of what Publish was given.
func (q *Queue) tellEvent(ctx context.Context, n string) error {
	parts := strings.SplitN(n, "|", 5)
	if len(parts) != 5 {
		return fmt.Errorf("%w: event %q", errPermanent, n)
	}
	var e HookEvent
	if err := json.Unmarshal([]byte(parts[4]), &e); err != nil {
		return errors.Join(errPermanent, err)
	}
	return q.post(ctx, parts[1], parts[2], parts[3], e.Time, e)
}
