package queue

import (
	"context"
	"encoding/json"
	"fmt"
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

// publish sets the telling of one event going, a job per hook that wants it.
// The same event may be told twice after a crash, under the same webhook-id.
func (q *Queue) publish(ctx context.Context, c *Case, e Event) error {
	var members []redis.Z
	for _, h := range q.rules().Hooks {
		if !h.takes("case."+string(e.Action), c.Controller) {
			continue
		}
		raw, err := json.Marshal(job{Case: c.Number, Do: "hook", N: strconv.Itoa(e.Seq) + "|" + h.Name, Try: "0"})
		if err != nil {
			return fmt.Errorf("encode event %d of case %s: %w", e.Seq, c.Number, err)
		}
		members = append(members, redis.Z{Score: float64(q.o.Now().UnixMilli()), Member: string(raw)})
	}
	if len(members) == 0 {
		return nil
	}
	return wrapf(q.rdb.ZAdd(ctx, keyLater, members...).Err(), "tell of case %s", c.Number)
}

// announce sets the telling of a notice going: reminders, alarms, dead work.
func (q *Queue) announce(ctx context.Context, n Notice) error {
	for _, h := range q.rules().Hooks {
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
	parts := strings.Split(n, "|")
	if parts[0] == "notice" {
		if len(parts) != 7 {
			return fmt.Errorf("%w: notice %q", errPermanent, n)
		}
		at := fromMillis(parts[6])
		id := "notice_" + sha(no + "\x00" + n)[:24]
		return q.post(ctx, parts[1], id, "notice."+parts[2], at, HookEvent{Case: no, Controller: parts[3], Action: parts[2], Reason: parts[4], Due: fromMillis(parts[5]), Time: at, Actor: "rule"})
	}
	seq, err := strconv.Atoi(parts[0])
	if err != nil || len(parts) != 2 {
		return fmt.Errorf("%w: event %q", errPermanent, n)
	}
	f, err := q.rdb.HGetAll(ctx, keyCase(no)).Result()
	if err != nil {
		return fmt.Errorf("read case %s: %w", no, err)
	}
	c, err := parseCase(no, f)
	if err != nil {
		return err
	}
	line, err := q.rdb.LIndex(ctx, keyLog(no), int64(seq)).Result()
	if err != nil {
		return fmt.Errorf("read event %d of case %s: %w", seq, no, err)
	}
	e, err := decodeEvent(nil, no, seq, line)
	if err != nil {
		return err
	}
	return q.post(ctx, parts[1], "case_"+no+"_"+parts[0], "case."+string(e.Action), e.Time, HookEvent{Case: no, Controller: c.Controller, State: c.State,
		Labels: splitWords(joinLabels(c.Labels)), Due: c.Due, Owner: c.Owner, Seq: seq, Time: e.Time, Actor: e.Actor, Action: string(e.Action), Reason: e.Reason, Data: e.Data})
}

func (q *Queue) post(ctx context.Context, name, id, kind string, at time.Time, e HookEvent) error {
	for _, h := range q.rules().Hooks {
		if h.Name == name {
			return h.Webhook.Tell(ctx, id, kind, at, e)
		}
	}
	return nil // taken out of the configuration since
}
