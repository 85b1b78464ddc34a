package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"postern/queue/fulfil"
	"postern/queue/vault"
)

// inlineData is the most a system's answer may weigh without a vault folder.
const inlineData = 1 << 20

// fulfil asks one system; the queue's retries call it again under the same
// idempotency key.
func (q *Queue) fulfil(ctx context.Context, no, n string) error {
	index, err := strconv.Atoi(n)
	if err != nil {
		return fmt.Errorf("%w: task %q", errPermanent, n)
	}
	c, f, key, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	tasks, err := tasksOf(f)
	if err != nil || index >= len(tasks) {
		return fmt.Errorf("%w: task %d of case %s", errPermanent, index, no)
	}
	t := tasks[index]
	if t.Status != "" {
		return nil
	}
	var connector fulfil.Connector
	for _, s := range q.systems(c.Controller, t.Verb) {
		if s.Name() == t.System {
			connector = s
		}
	}
	if connector == nil {
		return q.result(ctx, no, t.Key, fulfil.Outcome{Status: fulfil.Failed}, "rule", "not-connected")
	}
	raw, err := key.Open(f["order:"+n], "order:"+no)
	if err != nil {
		return err
	}
	var o order
	if err := json.Unmarshal(raw, &o); err != nil {
		return fmt.Errorf("%w: order of task %s: %w", errPermanent, t.Key, err)
	}
	out, err := connector.Do(ctx, fulfil.Request{Key: t.Key, Verb: t.Verb, Case: no, Controller: c.Controller, Address: o.Address,
		Subject: subjectText(c.Subject), Due: c.Due, Facts: o.Facts, DryRun: t.DryRun})
	if fulfil.Permanent(err) {
		q.o.Log.Error("a system refused its part", "case", no, "system", t.System, "err", err)
		return q.result(ctx, no, t.Key, fulfil.Outcome{Status: fulfil.Failed}, "rule", "refused")
	}
	if err != nil {
		return err
	}
	return q.result(ctx, no, t.Key, out, "system:"+t.System, "")
}

// gaveUp marks a task that no retry brought to an end.
func (q *Queue) gaveUp(ctx context.Context, j job) error {
	_, f, _, err := q.load(ctx, j.Case)
	if err != nil {
		return err
	}
	tasks, err := tasksOf(f)
	index, _ := strconv.Atoi(j.N)
	if err != nil || index >= len(tasks) {
		return err
	}
	return q.result(ctx, j.Case, tasks[index].Key, fulfil.Outcome{Status: fulfil.Failed}, "rule", "gave-up")
}

// Result takes an outcome that came later: from a system's own message, or
// entered by an operator for a person's task. The first final one counts.
func (q *Queue) Result(ctx context.Context, number, key string, o fulfil.Outcome, actor string) error {
	return q.result(ctx, FindCaseNo(number), key, o, actor, "")
}

func (q *Queue) result(ctx context.Context, no, key string, o fulfil.Outcome, actor, why string) error {
	_, f, caseKey, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	file, inline, err := q.keepData(caseKey, no, o)
	if err != nil {
		return err
	}
	var failed, settled bool
	_, _, err = q.change(ctx, no, "", func(c *Case, ch *changing) error {
		failed, settled = false, false
		tasks, err := tasksOf(ch.before)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(tasks, func(t Task) bool { return t.Key == key })
		if i < 0 {
			return fmt.Errorf("task %s: %w", key, ErrUnknown)
		}
		t := &tasks[i]
		if t.Done() && t.Status != fulfil.Failed || t.Status == o.Status {
			return nil
		}
		t.Status, t.Law, t.Until, t.Count, t.File = o.Status, o.Law, o.Until, o.Count, file
		if err := t.put(ch); err != nil {
			return err
		}
		if inline != "" {
			ch.extra["taskdata:"+strconv.Itoa(i)] = inline
		}
		ch.events = append(ch.events, Event{Actor: actor, Action: ActResult, Reason: string(o.Status), Note: o.Note,
			Data: map[string]string{"task": t.Key, "system": t.System, "law": o.Law, "until": o.Until, "count": strconv.Itoa(o.Count), "why": why}})
		if failed = o.Status == fulfil.Failed; failed {
			c.addFlag(FlagFailed)
		}
		if t.waits() {
			settled = q.settle(c, ch, tasks)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if failed {
		q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: f["controller"], Reason: "system-failed"})
	}
	if settled {
		return q.verify(ctx, no)
	}
	return nil
}

// waits tells whether the case waits for this task.
func (t Task) waits() bool { return !t.DryRun && t.Verb != fulfil.Stop && t.Verb != fulfil.Lookup }

// settle ends the wait when every system of the order answered; with a failure
// the case is open as well, and its flag says why.
func (q *Queue) settle(c *Case, ch *changing, tasks []Task) bool {
	failed := false
	for _, t := range tasks {
		if !t.waits() {
			continue
		}
		if !t.Done() {
			return false
		}
		failed = failed || t.Status == fulfil.Failed
	}
	if !failed {
		c.Flags = slices.DeleteFunc(c.Flags, func(f string) bool { return f == FlagFailed })
	}
	if to, err := next(c.State, ActResume); err == nil {
		c.State = to
		reason := "fulfilled"
		if failed {
			reason = "system-failed"
		}
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActResume, Reason: reason})
	}
	return !failed
}

// verify asks systems after an erasure whether the person is gone (ST-4).
func (q *Queue) verify(ctx context.Context, no string) error {
	c, f, key, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	tasks, err := tasksOf(f)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(tasks, func(t Task) bool { return t.Verb == fulfil.Erase && !t.DryRun })
	if i < 0 || len(q.systems(c.Controller, fulfil.Verify)) == 0 || f["verified"] != "" {
		return nil
	}
	raw, err := key.Open(f["order:"+strconv.Itoa(i)], "order:"+no)
	if err != nil {
		return err
	}
	var o order
	if err := json.Unmarshal(raw, &o); err != nil {
		return fmt.Errorf("order of case %s: %w", no, err)
	}
	_, err = q.ask(ctx, no, Order{Verb: fulfil.Verify, Actor: "rule"}, parsedOrZero(o.Address), "verified")
	return err
}

// keepData seals what a system gave: in the vault folder, or in the case record
// where it is small and there is no folder.
func (q *Queue) keepData(key *vault.Key, no string, o fulfil.Outcome) (file, inline string, err error) {
	switch {
	case len(o.Data) == 0:
		return "", "", nil
	case q.files != nil:
		file, err = q.files.Put(key, no, o.Data)
		return file, "", err
	case len(o.Data) <= inlineData:
		return "", key.Seal(o.Data, "taskdata:"+no), nil
	}
	return "", "", fmt.Errorf("%w: data of case %s is larger than 1 MiB and there is no vault folder", errPermanent, no)
}

// stopped tells connected systems that advertising to the person ended, for
// post, telephone and profiling are not mail (design D13).
func (q *Queue) stopped(ctx context.Context, no string, index int, in Incoming) error {
	who := q.person(in)
	if who.IsZero() || len(q.reasons(in)) == 0 || len(q.systems(in.Controller, fulfil.Stop)) == 0 {
		return nil
	}
	_, err := q.ask(ctx, no, Order{Verb: fulfil.Stop, Actor: "rule"}, who, "stopped:"+strconv.Itoa(index))
	return err
}

// LegalHold forbids or allows deletion in a case, with a reason.
func (q *Queue) LegalHold(ctx context.Context, number string, on bool, actor, reason string) error {
	_, _, err := q.change(ctx, FindCaseNo(number), "", func(c *Case, ch *changing) error {
		c.Flags = slices.DeleteFunc(c.Flags, func(f string) bool { return f == FlagLegalHold })
		if on {
			c.addFlag(FlagLegalHold)
		}
		ch.events = append(ch.events, Event{Actor: actor, Action: ActNote, Reason: FlagLegalHold, Note: reason, Data: map[string]string{"on": strconv.FormatBool(on)}})
		return nil
	})
	return err
}
