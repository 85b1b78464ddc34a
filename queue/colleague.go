package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// remindTask begins the kind of a reminder for a colleague's task; its index
// follows.
const remindTask = "task:"

// Purpose of the link by which a colleague answers a task.
const linkTask = "task"

// maxUpload bounds what one answer of a colleague may weigh.
const maxUpload = 32 << 20

// Ask is a question to a colleague who has no account.
type Ask struct {
	Who   string          // role or system, as in "sales archive"
	Mail  address.Address // gets the link
	Verb  fulfil.Verb     // default fulfil.Export: give what you hold
	Words string          // what the operator asks
	Due   time.Duration   // default Options.TaskDue
	Actor string          // "operator:<name>"

	Approve string // for fulfil.Erase: the case number, typed by the approver

	Letter bool // show what the person wrote; only where it is needed

	Language string // of mail and page (BCP 47); default Handling.StaffLanguage, then the controller's
}

func (a *Ask) connection() Connection {
	return Connection{Connector: fulfil.Task{Who: a.Who}, Owner: a.Mail, Due: a.Due, Language: a.Language}
}

// AskColleague gives a task to a colleague: they get a link by mail, are
// reminded, and when they stay silent the operators are told.
func (q *Queue) AskColleague(ctx context.Context, number string, a Ask) (Task, error) {
	no := FindCaseNo(number)
	switch {
	case !strings.HasPrefix(a.Actor, "operator:"):
		return Task{}, fmt.Errorf("case %s: %w: an operator has to", no, ErrOrder)
	case a.Who == "" || a.Mail.IsZero():
		return Task{}, fmt.Errorf("case %s: %w: say who is asked, and their mail address", no, ErrOrder)
	case a.Language != "" && q.staff.Find(a.Language) == nil:
		return Task{}, fmt.Errorf("case %s: %w: there are no texts in language %q, only in %s", no, ErrOrder, a.Language, strings.Join(q.staff.Tags(), ", "))
	}
	if a.Verb == "" {
		a.Verb = fulfil.Export
	}
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return Task{}, err
	}
	if !c.State.Live() {
		return Task{}, fmt.Errorf("ask a colleague in case %s: %w", no, ErrMove)
	}
	var who address.Address
	if len(c.Mails) > 0 {
		who = q.person(c.Mails[0])
	}
	o := Order{Verb: a.Verb, Actor: a.Actor, Approve: a.Approve, colleague: &a}
	if changes[a.Verb] { // what a system must not do without proof, nor must a person
		if err := q.mayOrder(&c, o, who); err != nil {
			return Task{}, fmt.Errorf("case %s: %w", no, err)
		}
	}
	if a.Verb == fulfil.Erase {
		if err := q.mayErase(ctx, &c, a.Actor, who); err != nil {
			return Task{}, err
		}
		if err := q.suppressErased(ctx, &c, who); err != nil {
			return Task{}, err
		}
	}
	tasks, err := q.ask(ctx, no, o, who, "")
	if err != nil {
		return Task{}, err
	}
	return tasks[0], nil
}

// taskDue is when a colleague's task is due: never after the case.
func (q *Queue) taskDue(c *Case, d time.Duration) time.Time {
	due := q.o.Now().Add(orTime(d, q.rules().TaskDue))
	if c.State.Live() && c.Due.Before(due) && c.Due.After(q.o.Now()) {
		return c.Due
	}
	return due
}

// TaskLink makes the link of a colleague's task, good until the case ends (to
// tell recipients: until it is deleted): for
// an operator who brings it by another way. The same task has the same link
// until it is asked anew.
func (q *Queue) TaskLink(ctx context.Context, number string, index int) (string, error) {
	no := FindCaseNo(number)
	c, f, _, err := q.load(ctx, no)
	if err != nil {
		return "", err
	}
	tasks, err := tasksOf(f)
	if err != nil {
		return "", err
	}
	if index < 0 || index >= len(tasks) || !tasks[index].Person {
		return "", fmt.Errorf("case %s has no task %d of a colleague: %w", no, index, ErrUnknown)
	}
	return q.taskLink(ctx, c, tasks[index])
}

// taskLink derives the link from the task, so that a mail repeated after a
// crash holds the same.
func (q *Queue) taskLink(ctx context.Context, c *Case, t Task) (string, error) {
	base := q.rules().LinkBase[c.Controller]
	if base == "" {
		return "", fmt.Errorf("%w: no address of the pages is configured for controller %q", ErrDraft, c.Controller)
	}
	token := q.taskToken(t.Key, t.Round)
	hash := q.vault.Lookups("link", token)[0]
	if err := q.rdb.HSet(ctx, keyLinks, hash, c.Number+" "+linkTask+":"+strconv.Itoa(t.Index)+":"+strconv.Itoa(t.Round)).Err(); err != nil {
		return "", fmt.Errorf("link of task %s: %w", t.Key, err)
	}
	return strings.TrimSuffix(base, "/") + "/" + token, nil
}

func (q *Queue) taskToken(key string, round int) string {
	return q.vault.Lookups("tasktoken", key+"\x00"+strconv.Itoa(round))[0]
}

// TaskView is what a colleague sees behind the link of a task.
type TaskView struct {
	Case       string
	Controller string // its name
	System     string
	Verb       fulfil.Verb
	Words      string // what the operator asks
	Person     string // address of the person it is about
	Facts      map[string]string
	Asked      time.Time
	Due        time.Time
	Answered   bool
	Status     fulfil.Status
	Letter     string // what the person wrote, where the operator ticked it
	Language   string // of the page (BCP 47), "" where none is configured
}

// TaskByToken reads the link of a task. Unknown and outdated links, those of
// cases that ended, and those of deletions that must not go on are one and the
// same ErrUnknown.
func (q *Queue) TaskByToken(ctx context.Context, token string) (TaskView, error) {
	c, t, o, err := q.taskBehind(ctx, token)
	if err != nil {
		return TaskView{}, err
	}
	letter := ""
	if o.Letter {
		shown, _, err := q.Show(ctx, c.Number)
		if err != nil {
			return TaskView{}, err
		}
		for _, in := range shown.Mails {
			letter += strings.TrimSpace(in.Text) + "\n\n"
		}
	}
	return TaskView{Letter: strings.TrimSpace(letter), Case: c.Number, Controller: q.controller(c.Controller).Name, System: t.System, Verb: t.Verb, Words: o.Words, Person: o.Address,
		Facts: o.Facts, Asked: t.Asked, Due: t.Due, Answered: t.Done(), Status: t.Status,
		Language: cmp.Or(o.Language, q.rules().Handling[c.Controller].StaffLanguage)}, nil
}

func (q *Queue) taskBehind(ctx context.Context, token string) (*Case, Task, order, error) {
	unknown := fmt.Errorf("link of a task: %w", ErrUnknown)
	no, kind, _, err := q.findLink(ctx, token)
	if err != nil {
		return nil, Task{}, order{}, err
	}
	rest, ok := strings.CutPrefix(kind, linkTask+":")
	if !ok {
		return nil, Task{}, order{}, unknown
	}
	first, second, _ := strings.Cut(rest, ":")
	index, err1 := strconv.Atoi(first)
	round, err2 := strconv.Atoi(second)
	c, f, key, err := q.load(ctx, no)
	if err != nil {
		return nil, Task{}, order{}, err
	}
	tasks, err := tasksOf(f)
	if err != nil {
		return nil, Task{}, order{}, err
	}
	if err1 != nil || err2 != nil || index < 0 || index >= len(tasks) || tasks[index].Round != round || !tasks[index].open(c) || q.halted(c, tasks[index]) != "" {
		return nil, Task{}, order{}, unknown
	}
	o, err := openOrder(key, f, no, index)
	return c, tasks[index], o, err
}

// open tells whether a task may still be answered: while its case lives, and
// where recipients have to be told also after the person got their answer.
func (t Task) open(c *Case) bool { return c.State.Live() || t.Verb == fulfil.Inform }

// TaskAnswer is what a colleague says.
type TaskAnswer struct {
	Nothing bool          // nothing is held
	Status  fulfil.Status // else: what was done; default fulfil.Done
	Law     string        // for fulfil.Kept: which law it is kept for
	Until   string        // for fulfil.Kept: until when, a date
	Note    string        // for the operators; sealed
	Files   []fulfil.File // at most 32 MiB together
}

// AnswerTask takes a colleague's answer. The first final one counts; errors
// wrap ErrUnknown where the link is not good, ErrOrder where the answer is not
// usable or the task is answered.
func (q *Queue) AnswerTask(ctx context.Context, token string, a TaskAnswer) error {
	c, t, _, err := q.taskBehind(ctx, token)
	if err != nil {
		return err
	}
	total := 0
	for _, f := range a.Files {
		total += len(f.Data)
	}
	o := fulfil.Outcome{Status: a.Status, Law: a.Law, Until: a.Until, Note: a.Note, Files: a.Files, Count: len(a.Files)}
	switch {
	case a.Nothing:
		o = fulfil.Outcome{Status: fulfil.NotFound, Note: a.Note}
	case o.Status == "":
		o.Status = fulfil.Done
	}
	switch {
	case t.Done():
		return fmt.Errorf("%w: the task is answered", ErrOrder)
	case total > maxUpload:
		return fmt.Errorf("%w: the files are larger than 32 MiB together", ErrOrder)
	case a.Nothing && total > 0:
		return fmt.Errorf("%w: there are files although nothing is held", ErrOrder)
	}
	if err := o.Check(); err != nil {
		return errors.Join(ErrOrder, err)
	}
	return q.result(ctx, c.Number, t.Key, o, "colleague", "by-link")
}

// Kinds of mail to a colleague.
const (
	taskAsked   = "asked"
	taskRemind  = "reminder"
	taskOverdue = "overdue"
)

// mailTask brings a colleague the link of their task.
func (q *Queue) mailTask(ctx context.Context, c *Case, t Task, o order, kind string) error {
	to, err := address.Parse(o.Owner)
	if err != nil {
		return fmt.Errorf("%w: task %s has no mail address to go to", errPermanent, t.Key)
	}
	link, err := q.taskLink(ctx, c, t)
	if err != nil {
		return errors.Join(errPermanent, err)
	}
	controller := q.controller(c.Controller)
	_, loc := q.seat(controller)
	w := q.staffWords(c.Controller, o.Language)
	due := staffDay(w, t.Due.In(loc))
	var parts []string
	if kind != taskAsked {
		parts = append(parts, w.Say("mail_open"))
	}
	parts = append(parts, w.Say("mail_lead", "no", c.Number)+"\n"+w.Say(reply.TaskKey(t.Verb), "system", t.System))
	if o.Words != "" {
		parts = append(parts, o.Words)
	}
	parts = append(parts, w.Say("mail_link"), link, w.Say("mail_due", "due", due), "-- \n"+foot(controller))
	ref := "task:" + t.Key + ":" + strconv.Itoa(t.Round) + ":" + kind
	if kind != taskAsked {
		ref += ":" + q.o.Now().UTC().Format("20060102")
	}
	_, err = q.submit(ctx, controller, outgoing{ref: ref, to: to, subject: w.Say("mail_subject", "system", t.System, "due", due),
		text: reply.Wrap(strings.Join(parts, "\n\n"), 71), lang: w.Tag(), auto: true, number: c.Number})
	return err
}

// remindTask reminds a colleague halfway and when the task is due; from then
// on the operators are told as well, every second day.
func (q *Queue) remindTask(ctx context.Context, no, n string) error {
	index, err := strconv.Atoi(n)
	if err != nil {
		return fmt.Errorf("%w: task %q", errPermanent, n)
	}
	c, f, key, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	tasks, err := tasksOf(f)
	if err != nil || index >= len(tasks) || !tasks[index].open(c) || tasks[index].Done() {
		return err
	}
	t := tasks[index]
	o, err := openOrder(key, f, no, index)
	if err != nil {
		return err
	}
	kind, again := taskRemind, t.Due
	if !q.o.Now().Before(t.Due) {
		kind, again = taskOverdue, q.o.Now().Add(48*time.Hour)
	}
	if o.Owner != "" && q.halted(c, t) == "" {
		if err := q.mailTask(ctx, c, t, o, kind); err != nil && !errors.Is(err, errPermanent) {
			return err
		}
	}
	once := "remind:task:" + t.Key + ":" + strconv.Itoa(t.Round) + ":" + kind + ":" + q.o.Now().UTC().Format("20060102")
	word, _, err := q.change(ctx, no, once, func(_ *Case, ch *changing) error {
		ch.events = append(ch.events, Event{Actor: "rule", Action: ActRemind, Reason: "task-" + kind, Data: map[string]string{"task": t.Key, "system": t.System}})
		ch.remind = append(ch.remind, [2]string{no + " " + remindTask + n, millis(again)})
		return nil
	})
	if err == nil && word != "once" && kind == taskOverdue {
		q.tell(ctx, Notice{Kind: "task-overdue", Case: no, Controller: c.Controller, Due: t.Due, Reason: t.System})
	}
	return err
}
