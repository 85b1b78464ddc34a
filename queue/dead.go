package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// DeadWork is work that was given up and waits for an operator.
type DeadWork struct {
	ID   string // of the entry, for RetryDead
	Case string // "" for "opened", which is of all cases in N
	Do   string // "opened", "mail", "trail", "remind", "send", "fulfil", "hook"
	N    string // which cases, mail, event, letter or task
	At   time.Time
}

// Dead lists work that was given up, oldest first, at most 1,000.
func (q *Queue) Dead(ctx context.Context) ([]DeadWork, error) {
	list, err := q.rdb.XRangeN(ctx, keyDead, "-", "+", 1000).Result()
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	out := make([]DeadWork, 0, len(list))
	for _, m := range list {
		var j job
		if err := json.Unmarshal([]byte(text(m.Values["job"])), &j); err != nil {
			return nil, fmt.Errorf("decode dead letter %s: %w", m.ID, err)
		}
		out = append(out, DeadWork{m.ID, j.Case, j.Do, j.N, fromMillis(text(m.Values["at"]))})
	}
	return out, nil
}

// Message tells which event of which hook was given up: the hook's name, and the
// webhook-id that its receiver would have seen. Both are "" of other work.
func (d DeadWork) Message() (hook, id string) {
	if d.Do != "hook" {
		return "", ""
	}
	switch parts := strings.SplitN(d.N, "|", 4); {
	case len(parts) > 2 && parts[0] == "event":
		return parts[1], parts[2]
	case len(parts) > 2 && parts[0] == "notice":
		return parts[1], noticeID(d.Case, d.N)
	case len(parts) == 2:
		return parts[1], caseEventID(d.Case, parts[0])
	}
	return "", ""
}

// RetryDead gives one dead letter back to the workers. Errors wrap ErrUnknown
// where it is gone.
func (q *Queue) RetryDead(ctx context.Context, id string) error {
	n, err := againScript.Run(ctx, q.rdb, []string{keyDead, keyWork}, id).Int()
	if err != nil {
		return fmt.Errorf("retry dead letter %s: %w", id, err)
	}
	if n == 0 {
		return fmt.Errorf("dead letter %s: %w", id, ErrUnknown)
	}
	return nil
}
