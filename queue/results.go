package queue

import (
	"context"
	"encoding/json"
	"errors"
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
	o, err := openOrder(key, f, no, index)
	if err != nil {
		return err
	}
	if why := q.halted(c, t); why != "" {
		return q.result(ctx, no, t.Key, fulfil.Outcome{Status: fulfil.Failed}, "rule", why)
	}
	if t.Person {
		if o.Owner != "" { // else an operator brings it to them
			if err := q.mailTask(ctx, c, t, o, taskAsked); err != nil {
				return err
			}
		}
		return q.result(ctx, no, t.Key, fulfil.Outcome{Status: fulfil.Accepted}, "rule", "colleague-asked")
	}
	connector := q.connector(c, t)
	if connector == nil {
		return q.result(ctx, no, t.Key, fulfil.Outcome{Status: fulfil.Failed}, "rule", "not-connected")
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

// halted tells why what changes data must not go on although it was ordered:
// tries and colleagues may take days, and what the order rests on may be gone by
// now. "" lets it go on.
func (q *Queue) halted(c *Case, t Task) string {
	if !changes[t.Verb] || t.DryRun {
		return ""
	}
	_, byLaw := q.heldByLaw(c.Controller)
	erase := t.Verb == fulfil.Erase
	switch {
	case erase && (byLaw || slices.Contains(c.Flags, FlagLegalHold)):
		return "legal-hold"
	case !slices.Contains(c.Flags, FlagIdentified) || slices.Contains(c.Flags, FlagNotMe):
		return "identity-not-shown"
	case !c.State.Live():
		return string(c.State)
	case erase && slices.Contains(c.Flags, FlagNews): // it may say: leave it
		return FlagNews
	}
	return ""
}

func openOrder(key *vault.Key, f map[string]string, no string, index int) (order, error) {
	var o order
	raw, err := key.Open(f["order:"+strconv.Itoa(index)], "order:"+no)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return o, fmt.Errorf("%w: order of task %d in case %s: %w", errPermanent, index, no, err)
	}
	return o, nil
}

// connector is the system a task was given to; nil where the configuration
// lost it. Labels don't count here: they may have been corrected since.
func (q *Queue) connector(c *Case, t Task) fulfil.Connector {
	for _, s := range q.rules().Connections {
		able := t.Verb != fulfil.Lift || slices.Contains(s.Verbs, fulfil.Lift) // asked of who restricted, whatever else they can
		if s.Connector.Name() == t.System && (s.Controller == "" || s.Controller == c.Controller) && able {
			return s.Connector
		}
	}
	return nil
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
	files, err := q.keepFiles(caseKey, no, o.Files)
	if err != nil {
		return err
	}
	var failed, settled, used bool
	_, _, err = q.change(ctx, no, "", func(c *Case, ch *changing) error {
		failed, settled, used = false, false, false
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
		used = true
		t.Status, t.Law, t.Until, t.Count, t.File, t.Files = o.Status, o.Law, o.Until, o.Count, file, files
		ch.keep(file)
		for _, f := range files {
			ch.keep(f.ID)
		}
		if member := no + " " + remindTask + strconv.Itoa(i); t.Person && !t.Done() {
			ch.remind = append(ch.remind, [2]string{member, millis(t.Asked.Add(t.Due.Sub(t.Asked) / 2))})
		} else if t.Person {
			ch.unremind = append(ch.unremind, member)
		}
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
	if err != nil || !used {
		return errors.Join(err, q.dropFiles(file, files))
	}
	if failed {
		q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: f["controller"], Reason: "system-failed"})
	}
	if settled {
		return errors.Join(q.verify(ctx, no), q.inform(ctx, no))
	}
	return nil
}

// waits tells whether the case waits for this task.
// Recipients are told beside the answer, which need not wait for it (Art. 19);
// a restriction ends after it.
func (t Task) waits() bool {
	return !t.DryRun && t.Verb != fulfil.Stop && t.Verb != fulfil.Lookup && t.Verb != fulfil.Inform && t.Verb != fulfil.Lift
}

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
	if i < 0 || len(q.systems(c, fulfil.Verify)) == 0 || f["verified"] != "" {
		return nil
	}
	o, err := openOrder(key, f, no, i)
	if err != nil {
		return err
	}
	_, err = q.ask(ctx, no, Order{Verb: fulfil.Verify, Actor: "rule"}, parsedOrZero(o.Address), "verified")
	return err
}

// informing are the acts of which those have to be told who got the data.
var informing = map[fulfil.Verb]bool{fulfil.Erase: true, fulfil.Rectify: true, fulfil.Restrict: true}

// inform has those told who received the data, once an erasure, rectification
// or restriction is done (GDPR Art. 19): one task each.
func (q *Queue) inform(ctx context.Context, no string) error {
	c, f, key, err := q.load(ctx, no)
	if err != nil || len(q.systems(c, fulfil.Inform)) == 0 {
		return err
	}
	tasks, err := tasksOf(f)
	if err != nil {
		return err
	}
	for i, t := range tasks {
		once := "informed:" + string(t.Verb)
		if !informing[t.Verb] || t.DryRun || !t.Done() || t.Status == fulfil.NotFound || f[once] != "" {
			continue
		}
		o, err := openOrder(key, f, no, i)
		if err != nil {
			return err
		}
		facts := map[string]string{"act": string(t.Verb)}
		for k, v := range o.Facts {
			facts[k] = v
		}
		if _, err := q.ask(ctx, no, Order{Verb: fulfil.Inform, Actor: "rule", Facts: facts}, parsedOrZero(o.Address), once); err != nil {
			return err
		}
		f[once] = "1"
	}
	return nil
}

// Retry asks a system again that failed. Errors wrap ErrOrder where it did not.
func (q *Queue) Retry(ctx context.Context, number string, index int, actor string) error {
	_, _, err := q.change(ctx, FindCaseNo(number), "", func(c *Case, ch *changing) error {
		tasks, err := tasksOf(ch.before)
		if err != nil {
			return err
		}
		if index < 0 || index >= len(tasks) || tasks[index].Status != fulfil.Failed {
			return fmt.Errorf("%w: task %d of case %s did not fail", ErrOrder, index, c.Number)
		}
		t := tasks[index]
		if why := q.halted(c, t); why != "" {
			return fmt.Errorf("%w: task %d of case %s does not go on: %s", ErrOrder, index, c.Number, why)
		}
		t.Status, t.Round = "", t.Round+1
		if t.Person {
			t.Asked, t.Due = q.o.Now(), q.taskDue(c, t.Due.Sub(t.Asked))
		}
		if err := t.put(ch); err != nil {
			return err
		}
		ch.jobs = append(ch.jobs, [3]string{"fulfil", strconv.Itoa(index), millis(q.o.Now())})
		ch.events = append(ch.events, Event{Actor: actor, Action: ActDo, Reason: string(t.Verb), Data: map[string]string{"task": t.Key, "system": t.System, "again": strconv.Itoa(t.Round)}})
		if to, err := next(c.State, ActWait); err == nil && t.waits() {
			c.State = to
			ch.events = append(ch.events, Event{Actor: actor, Action: ActWait, Reason: "systems"})
		}
		return nil
	})
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
	if who.IsZero() || len(q.reasons(in)) == 0 || len(q.systems(&Case{Controller: in.Controller, Labels: in.Result.Decided}, fulfil.Stop)) == 0 {
		return nil
	}
	_, err := q.ask(ctx, no, Order{Verb: fulfil.Stop, Actor: "rule"}, who, "stopped:"+strconv.Itoa(index))
	return err
}

// LegalHold forbids or allows deletion in a case, with a reason; of a merged
// one also in the case that lives on.
func (q *Queue) LegalHold(ctx context.Context, number string, on bool, actor, reason string) error {
	into := ""
	_, _, err := q.change(ctx, FindCaseNo(number), "", func(c *Case, ch *changing) error {
		if into = ""; c.State == Merged {
			into = ch.before["into"]
		}
		c.Flags = slices.DeleteFunc(c.Flags, func(f string) bool { return f == FlagLegalHold })
		if on {
			c.addFlag(FlagLegalHold)
		}
		ch.events = append(ch.events, Event{Actor: actor, Action: ActNote, Reason: FlagLegalHold, Note: reason, Data: map[string]string{"on": strconv.FormatBool(on)}})
		return nil
	})
	if err != nil || into == "" {
		return err
	}
	return q.LegalHold(ctx, into, on, actor, reason)
}
