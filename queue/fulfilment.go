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

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/queue/fulfil"
)

// Connection says which system is asked to do what, for which controller.
type Connection struct {
	Controller string // "" for all
	Verbs      []fulfil.Verb
	Labels     []classifier.Label // only in cases that ask for one of these; none: all
	Connector  fulfil.Connector
	Owner      address.Address // of a fulfil.Task: the colleague who gets its link
	Due        time.Duration   // of a fulfil.Task; default Options.TaskDue
	Language   string          // of a fulfil.Task: what its owner reads (BCP 47); default Handling.StaffLanguage
}

// Task is one request to one system and how far it is.
type Task struct {
	Index  int           `json:"-"`
	Key    string        `json:"key"` // idempotency key, the same in every try
	System string        `json:"system"`
	Verb   fulfil.Verb   `json:"verb"`
	Status fulfil.Status `json:"status,omitempty"` // "" not asked yet
	Law    string        `json:"law,omitempty"`
	Until  string        `json:"until,omitempty"`
	Count  int           `json:"count,omitempty"`
	DryRun bool          `json:"dry,omitempty"`
	Asked  time.Time     `json:"asked"`
	File   string        `json:"file,omitempty"` // id of the data it gave, in the vault
	Files  []TaskFile    `json:"files,omitempty"`
	Person bool          `json:"person,omitempty"` // a colleague does it
	Due    time.Time     `json:"due,omitzero"`     // of a colleague's task
	Round  int           `json:"round,omitempty"`  // how often it was ordered anew
}

// TaskFile is a file that a system or colleague gave, in the vault.
type TaskFile struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
	Size int    `json:"size"`
}

// Done tells whether nothing more is to come.
func (t Task) Done() bool { return fulfil.Outcome{Status: t.Status}.Final() }

// Order is an operator's order to the systems.
type Order struct {
	Verb    fulfil.Verb
	Actor   string            // "operator:<name>"
	Address address.Address   // the zero Address takes the person's
	Facts   map[string]string // what is to be corrected, ...; sealed
	DryRun  bool              // ask what would happen
	Approve string            // for Erase: the case number, typed by the approver

	colleague *Ask   // instead of the systems connected
	of        string // for Lift: the system that restricted, connected or not
}

// Flags of fulfilment.
const (
	FlagLegalHold = "legal-hold" // nothing may be deleted
	FlagFailed    = "failed"     // a system could not do its part
)

// ErrOrder says that an order can't be given.
var ErrOrder = errors.New("not to be ordered")

// Fulfil asks all systems connected for the verb. The case waits until each
// has answered; one that fails keeps the case open. Erasure follows ST-4: the
// suppression that outlives the data is bound first, then systems delete, then
// those that can are asked whether it is gone.
func (q *Queue) Fulfil(ctx context.Context, number string, o Order) ([]Task, error) {
	no := FindCaseNo(number)
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return nil, err
	}
	who := o.Address
	if who.IsZero() && len(c.Mails) > 0 {
		who = q.person(c.Mails[0])
	}
	if o.Verb == fulfil.Erase && !o.DryRun {
		if err := q.mayErase(ctx, &c, o.Actor, who); err != nil {
			return nil, err
		}
	}
	if err := q.mayOrder(&c, o, who); err != nil {
		return nil, fmt.Errorf("case %s: %w", no, err)
	}
	if o.Verb == fulfil.Erase && !o.DryRun {
		if err := q.suppressErased(ctx, &c, who); err != nil {
			return nil, err
		}
	}
	return q.ask(ctx, no, o, who, "")
}

// mayErase refuses an erasure that takes two operators where the other one did
// not propose it, or proposed it for another address.
func (q *Queue) mayErase(ctx context.Context, c *Case, actor string, who address.Address) error {
	if err := q.secondEyes(ctx, c, EyesErase, actor); err != nil {
		return err
	}
	proposed, err := q.rdb.HGet(ctx, keyCase(c.Number), proposedFor).Result()
	if err != nil && !isNil(err) {
		return fmt.Errorf("read proposals of case %s: %w", c.Number, err)
	}
	return q.sameAddress(c, proposed, who)
}

// stillMay looks again at what an order rests on, in the case as it is when the
// order is written down: a hold, a "not me" or a mail may have come between.
func (q *Queue) stillMay(ctx context.Context, c *Case, ch *changing, o Order, who address.Address) error {
	if !strings.HasPrefix(o.Actor, "operator:") || o.colleague != nil && !changes[o.Verb] {
		return nil // a step that follows from an order, or a question
	}
	if err := q.mayOrder(c, o, who); err != nil {
		return fmt.Errorf("case %s: %w", c.Number, err)
	}
	if o.Verb == fulfil.Erase && !o.DryRun {
		return errors.Join(q.bothEyes(ctx, c, EyesErase, ch.before, o.Actor), q.sameAddress(c, ch.before[proposedFor], who))
	}
	return nil
}

// changes are the verbs after which data is no longer as it was.
var changes = map[fulfil.Verb]bool{fulfil.Erase: true, fulfil.Rectify: true, fulfil.Restrict: true}

func (q *Queue) mayOrder(c *Case, o Order, who address.Address) error {
	systems := q.systems(c, o.Verb)
	law, heldByLaw := q.heldByLaw(c.Controller)
	switch {
	case !strings.HasPrefix(o.Actor, "operator:"):
		return fmt.Errorf("%w: an operator has to", ErrOrder)
	case len(systems) == 0 && o.colleague == nil:
		return fmt.Errorf("%w: no system is connected for %s", ErrOrder, o.Verb)
	case o.Verb == fulfil.Lift:
		return fmt.Errorf("%w: the person is told before a restriction ends (Art. 18(3)): announce it, the systems are asked when it is over", ErrOrder)
	case who.IsZero():
		return fmt.Errorf("%w: no address is known", ErrOrder)
	case o.DryRun || o.Verb == fulfil.Lookup || o.Verb == fulfil.Stop:
		return nil
	case !slices.Contains(c.Flags, FlagIdentified):
		return fmt.Errorf("%w: identity is neither shown nor waived", ErrOrder)
	case !q.covers(c, who):
		return fmt.Errorf("%w: identity was shown for another address: ask the owner of this one, or waive the proof for it with a reason", ErrOrder)
	case slices.Contains(c.Flags, FlagNotMe):
		return fmt.Errorf("%w: the owner of the address says they did not ask", ErrOrder)
	case o.Verb == fulfil.Erase && !slices.Contains(c.Labels, classifier.Erasure):
		return fmt.Errorf("%w: nobody asked for an erasure in this case: correct what it asks first", ErrOrder)
	case o.Verb == fulfil.Erase && slices.Contains(c.Flags, FlagNews):
		return fmt.Errorf("%w: the person wrote again and nobody acted on it yet: read that first", ErrOrder)
	case o.Verb == fulfil.Erase && slices.Contains(c.Flags, FlagLegalHold):
		return fmt.Errorf("%w: a legal hold forbids deletion", ErrOrder)
	case o.Verb == fulfil.Erase && heldByLaw:
		return fmt.Errorf("%w: a legal hold of the configuration forbids deletion: %s", ErrOrder, law.Reason)
	case o.Verb == fulfil.Erase && FindCaseNo(o.Approve) != c.Number:
		return fmt.Errorf("%w: erasure is approved by typing the case number", ErrOrder)
	}
	if _, err := next(c.State, ActWait); err != nil {
		return err
	}
	return nil
}

// suppressErased binds what survives the data: the pseudonym alone, for ever.
func (q *Queue) suppressErased(ctx context.Context, c *Case, who address.Address) error {
	id, err := q.d.Optout.Suppress(ctx, consent.Suppression{
		ID: "case:" + c.Number + ":erased", Time: q.o.Now(), Controller: c.Controller, Address: who,
		Scope: consent.ScopeController, Reason: consent.Erased, Source: "privacy-mail", Case: c.Number, Actor: "rule",
	})
	if err != nil {
		return fmt.Errorf("suppress before erasure in case %s: %w", c.Number, err)
	}
	_, _, err = q.change(ctx, c.Number, "erased-suppressed", func(_ *Case, ch *changing) error {
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActSuppress, Reason: string(consent.Erased), Data: map[string]string{"event": id}})
		return nil
	})
	return err
}

// systems are the connections that serve a verb in a case.
func (q *Queue) systems(k *Case, v fulfil.Verb) []Connection {
	var out []Connection
	for _, c := range q.rules().Connections {
		asked := len(c.Labels) == 0 || slices.ContainsFunc(c.Labels, func(l classifier.Label) bool { return slices.Contains(k.Labels, l) })
		if (c.Controller == "" || c.Controller == k.Controller) && slices.Contains(c.Verbs, v) && asked {
			out = append(out, c)
		}
	}
	return out
}

// order is what a task's systems need beside the task; sealed with the case.
type order struct {
	Address string
	Facts   map[string]string
	Owner   string `json:",omitempty"` // a colleague's mail address
	Words   string `json:",omitempty"` // what the operator asks of them
	Letter  bool   `json:",omitempty"` // they may read what the person wrote

	Language string `json:",omitempty"` // of the colleague (BCP 47)
}

// ask writes the tasks down and sets them going.
func (q *Queue) ask(ctx context.Context, no string, o Order, who address.Address, once string) ([]Task, error) {
	var tasks []Task
	_, _, err := q.change(ctx, no, once, func(c *Case, ch *changing) error {
		tasks = nil
		n, _ := strconv.Atoi(ch.before["tasks"])
		key, err := q.vault.Unwrap(no, ch.before["key"])
		if err != nil {
			return err
		}
		asked, err := tasksOf(ch.before)
		if err != nil {
			return err
		}
		if err := q.stillMay(ctx, c, ch, o, who); err != nil {
			return err
		}
		if slices.ContainsFunc(asked, func(t Task) bool { return t.Verb == o.Verb && t.waits() && !o.DryRun && !t.Done() }) {
			return fmt.Errorf("%w: %s is under way in case %s", ErrOrder, o.Verb, no)
		}
		systems := q.systems(c, o.Verb)
		if o.colleague != nil {
			systems = []Connection{o.colleague.connection()}
		}
		switch {
		case o.Verb == fulfil.Lift:
			if ch.before[liftAt] == "" {
				return fmt.Errorf("%w: the end of the restriction in case %s was called off", ErrOrder, no)
			}
			systems = named(systems, o.of)
		case o.Verb == fulfil.Restrict && !o.DryRun:
			ch.extra[liftAt] = "" // restricted anew: what was announced is off
		}
		for _, s := range systems {
			t := Task{Index: n, Key: no + ":" + strconv.Itoa(n) + ":" + string(o.Verb), System: s.Connector.Name(), Verb: o.Verb, DryRun: o.DryRun, Asked: q.o.Now()}
			need := order{Address: who.Plain(), Facts: o.Facts}
			if _, t.Person = s.Connector.(fulfil.Task); t.Person {
				t.Due, need.Owner, need.Language = q.taskDue(c, s.Due), s.Owner.Plain(), s.Language
				if o.colleague != nil {
					need.Words, need.Letter = o.colleague.Words, o.colleague.Letter
				}
			}
			if err := t.put(ch); err != nil {
				return err
			}
			secret, err := json.Marshal(need)
			if err != nil {
				return fmt.Errorf("encode order of case %s: %w", no, err)
			}
			ch.extra["order:"+strconv.Itoa(n)] = key.Seal(secret, "order:"+no)
			ch.jobs = append(ch.jobs, [3]string{"fulfil", strconv.Itoa(n), millis(q.o.Now())})
			ch.events = append(ch.events, Event{Actor: o.Actor, Action: ActDo, Reason: string(o.Verb), Data: map[string]string{"task": t.Key, "system": t.System, "dry": strconv.FormatBool(o.DryRun)}})
			tasks = append(tasks, t)
			n++
		}
		ch.extra["tasks"] = strconv.Itoa(n)
		if o.Verb == fulfil.Erase && !o.DryRun {
			ch.extra["proposed:"+EyesErase], ch.extra[proposedFor] = "", ""
		}
		if !(Task{Verb: o.Verb, DryRun: o.DryRun}).waits() {
			return nil
		}
		if to, err := next(c.State, ActWait); err == nil {
			c.State = to
			ch.events = append(ch.events, Event{Actor: o.Actor, Action: ActWait, Reason: "systems"})
		}
		return nil
	})
	return tasks, err
}

func (t Task) put(ch *changing) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode task %s: %w", t.Key, err)
	}
	ch.extra["task:"+strconv.Itoa(t.Index)] = string(raw)
	return nil
}

func tasksOf(fields map[string]string) ([]Task, error) {
	n, _ := strconv.Atoi(fields["tasks"])
	out := make([]Task, 0, n)
	for i := range n {
		t := Task{Index: i}
		if err := json.Unmarshal([]byte(fields["task:"+strconv.Itoa(i)]), &t); err != nil {
			return nil, fmt.Errorf("decode task %d: %w", i, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// Tasks lists what systems were asked in a case and what they answered.
func (q *Queue) Tasks(ctx context.Context, number string) ([]Task, error) {
	_, f, _, err := q.load(ctx, FindCaseNo(number))
	if err != nil {
		return nil, err
	}
	return tasksOf(f)
}

// TaskData opens what a system gave, as JSON.
func (q *Queue) TaskData(ctx context.Context, number string, index int) ([]byte, error) {
	no := FindCaseNo(number)
	_, f, key, err := q.load(ctx, no)
	if err != nil {
		return nil, err
	}
	if sealed := f["taskdata:"+strconv.Itoa(index)]; sealed != "" {
		return key.Open(sealed, "taskdata:"+no)
	}
	tasks, err := tasksOf(f)
	if err != nil || index < 0 || index >= len(tasks) || tasks[index].File == "" || q.files == nil {
		return nil, errors.Join(err, fmt.Errorf("data of task %d in case %s: %w", index, no, ErrUnknown))
	}
	return q.files.Get(key, no, tasks[index].File)
}
