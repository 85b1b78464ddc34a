package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"postern/queue/fulfil"
)

// ErrForged says that a message of a system is not signed by it, or too old.
var ErrForged = errors.New("message is not signed by the system")

// resultAge bounds how old a signed message may be.
const resultAge = 5 * time.Minute

// TakeResult takes the outcome of a task that a system sends later by itself,
// after it had answered 202: a message in the Standard Webhooks format, signed
// with the connector's secret, whose data holds the task's key and an outcome.
// Repeating it changes nothing. Errors wrap ErrForged, which also stands for an
// unknown system, ErrUnknown or fulfil.ErrAnswer.
func (q *Queue) TakeResult(ctx context.Context, system string, header http.Header, body []byte) error {
	var hook *fulfil.Webhook
	for _, c := range q.rules().Connections {
		if h, ok := c.Connector.(*fulfil.Webhook); ok && h.Name() == system {
			hook = h
		}
	}
	if hook == nil || !hook.Authentic(header, body, resultAge) {
		return ErrForged
	}
	var m struct {
		Data struct {
			Key string `json:"key"`
			fulfil.Outcome
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("%w: not the JSON that was asked for", fulfil.ErrAnswer)
	}
	if err := m.Data.Check(); err != nil || !m.Data.Final() {
		return errors.Join(fulfil.ErrAnswer, err)
	}
	no := FindCaseNo(m.Data.Key)
	tasks, err := q.Tasks(ctx, no)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if t.Key == m.Data.Key && t.System == system {
			return q.result(ctx, no, t.Key, m.Data.Outcome, "system:"+system, "later")
		}
	}
	return fmt.Errorf("task %q: %w", m.Data.Key, ErrUnknown)
}
