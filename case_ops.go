package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/fulfil"
	replytext "postern/queue/reply"
)

// caseOrder is what a verb on cases asks of the node; each takes what it needs.
type caseOrder struct {
	Actor   string
	Number  string
	Numbers []string
	Reason  string
	Note    string

	Labels     []string
	Owner      string
	Into       string
	Until      time.Time
	Controller string

	Template string
	Text     string
	Subject  string
	Language string
	To       string
	Values   map[string]string
	Effect   string
	Preview  bool

	Verb    string
	Address string
	DryRun  bool
	Index   int
	File    int // of the mail at Index
	Status  string
	Law     string
	UntilOn string
	Files   []fulfil.File
	Who     string
	Due     time.Duration
	Confirm string
	Yes     bool
	Name    string
	Way     string
	Source  string
	From    time.Time
	ID      string
	Tick    string
	Data    []byte

	SamePerson string // how it is known that two cases are of one person
	Stop       string // keep or lift: what becomes of the stop that a request for erasure placed
	StopWhy    string
}

func (r caseOrder) ending() queue.Ending {
	return queue.Ending{Stop: queue.Stop(r.Stop), Why: r.StopWhy}
}

// caseAnswer is what a verb on cases did: in words for people, and as data.
type caseAnswer struct {
	Message string   `json:"message,omitempty"`
	Case    *caseRow `json:"case,omitempty"`
	Data    any      `json:"data,omitempty"`
}

func said(format string, args ...any) caseAnswer {
	return caseAnswer{Message: fmt.Sprintf(format, args...)}
}

// about adds the case as it is now.
func (n *node) about(ctx context.Context, number string, a caseAnswer) (caseAnswer, error) {
	k, _, err := n.queue.Show(ctx, number)
	if err != nil {
		return a, err
	}
	row := rowOf(k)
	a.Case = &row
	return a, nil
}

// caseActions are the verbs on cases: each an operation of the control socket.
func (n *node) caseActions() []operation {
	acts := map[string]func(context.Context, caseOrder) (caseAnswer, error){
		"cases/move": n.moveCases, "cases/reply": n.replyCase, "cases/take-back": n.takeBack, "cases/identity": n.identifyCase,
		"cases/propose": n.proposeCase, "cases/fulfil": n.fulfilCase, "cases/retry": n.retryTask, "cases/result": n.taskResult,
		"cases/ask": n.askColleague, "cases/task-link": n.taskLink, "cases/split": n.splitCase, "cases/hold": n.holdCase, "cases/weigh": n.weighCase,
		"cases/address-holds": n.addressHolds, "cases/address-hold": n.decideAddressHold, "cases/support": n.handOver,
		"cases/new": n.newCase, "cases/earlier": n.earlierCases, "cases/mailed-by": n.mailedBy,
		"cases/attach": n.attachFile, "cases/scan": n.openScan, "cases/judge": n.judgeCase,
		"cases/breach": n.breachCase, "cases/marketing": n.decideStop,
	}
	out := make([]operation, 0, len(acts))
	for name, act := range acts {
		out = append(out, op(name, act))
	}
	return append(append(out, n.packageOperations()...), n.deskOperations()...)
}

// moveCases does one move to one or many cases: Verb is the action.
func (n *node) moveCases(ctx context.Context, r caseOrder) (caseAnswer, error) {
	m := queue.Move{Action: queue.Action(r.Verb), Actor: r.Actor, Reason: r.Reason, Note: r.Note, Into: r.Into, Owner: r.Owner, Until: r.Until, Labels: labelsOf(r.Labels),
		SamePerson: r.SamePerson, Ending: r.ending()}
	if m.Action == queue.ActAssign {
		deputy, err := n.queue.Deputy(ctx, r.Owner)
		if err != nil {
			return caseAnswer{}, err
		}
		if deputy != r.Owner {
			m.Note = strings.TrimSpace(m.Note + " " + r.Owner + " is away, deputy: " + deputy)
		}
	}
	var err error
	if m.Address, err = r.toAddress(); err != nil {
		return caseAnswer{}, err
	}
	numbers := r.Numbers
	if len(numbers) == 0 {
		numbers = []string{r.Number}
	}
	if len(numbers) == 1 { // what is said of one case only, as SamePerson
		if _, err := n.queue.Move(ctx, numbers[0], m); err != nil {
			return caseAnswer{}, err
		}
		return n.moved(ctx, numbers[0], r.Verb)
	}
	var errs []error
	done := 0
	for _, res := range n.queue.BulkMove(ctx, numbers, m) {
		if res.Err != nil {
			errs = append(errs, res.Err)
			continue
		}
		done++
	}
	if err := errors.Join(errs...); err != nil {
		return caseAnswer{}, fmt.Errorf("%d of %d done; %w", done, len(numbers), err)
	}
	return said("%d cases: %s.", done, r.Verb), nil
}

// moved tells what a move did, and what is still to be decided.
func (n *node) moved(ctx context.Context, number, verb string) (caseAnswer, error) {
	k, _, err := n.queue.Show(ctx, number)
	if err != nil {
		return caseAnswer{}, err
	}
	return n.about(ctx, k.Number, said("Case %s: %s. It is %s now.", k.Number, verb, k.State))
}

// toAddress reads --to; the zero Address where it was left out.
func (r caseOrder) toAddress() (address.Address, error) {
	if r.To == "" {
		return address.Address{}, nil
	}
	a, err := address.Parse(r.To)
	if err != nil {
		return a, errors.New("--to is not a mail address")
	}
	return a, nil
}

// decideStop decides what becomes of the stop that a request for erasure placed.
func (n *node) decideStop(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if err := n.queue.DecideStop(ctx, r.Number, r.ending(), r.Actor); err != nil {
		return caseAnswer{}, err
	}
	if queue.Stop(r.Stop) == queue.StopLift {
		return said("The stop that the request for erasure placed is lifted. What else the person said no to stands."), nil
	}
	return said("The stop lasts; the person may end it by signing up anew."), nil
}

func labelsOf(words []string) []classifier.Label {
	var out []classifier.Label
	for _, w := range words {
		out = append(out, classifier.Label(w))
	}
	return out
}

// draftOf makes a draft of what the verb was given.
func (n *node) draftOf(ctx context.Context, r caseOrder) (queue.Draft, string, error) {
	var d queue.Draft
	var hint string
	var err error
	switch {
	case r.Template == "notice":
		d, err = n.queue.InformationDraft(ctx, r.Number, r.Actor)
	case r.Template == "forward":
		d, err = n.queue.ForwardDraftTo(ctx, r.Number, r.Controller, r.Actor)
	case r.Template == "dpa":
		var check queue.DPACheck
		d, check, err = n.queue.DPADraft(ctx, r.Number, r.Actor)
		switch {
		case check.Customer == "":
			hint = "The sender's domain is none of a customer: see who asks before you send it."
		case check.Signed != "":
			hint = fmt.Sprintf("%s has an agreement of %s already.", check.Customer, check.Signed)
		default:
			hint = "The sender is " + check.Customer + ", a customer."
		}
	default:
		d = queue.Draft{Step: replytext.Step(r.Template), Text: r.Text, Subject: r.Subject, Effect: queue.Action(r.Effect), Actor: r.Actor}
	}
	if err != nil {
		return d, "", err
	}
	if len(r.Values) > 0 {
		d.Values = r.Values
	}
	if r.Language != "" {
		d.Language = r.Language
	}
	if r.Reason != "" {
		d.Reason = r.Reason
	}
	d.Note, d.Ending = r.Note, r.ending()
	if r.UntilOn != "" {
		if d.From, err = n.queue.DayOf(ctx, r.Number, r.UntilOn); err != nil {
			return d, "", fmt.Errorf("--from %q is no day: write it as 2026-12-24", r.UntilOn)
		}
	}
	d.To, err = r.toAddress()
	return d, hint, err
}

// letterView is a letter for the terminal.
type letterView struct {
	To       string `json:"to"`
	Subject  string `json:"subject"`
	Language string `json:"language"`
	Effect   string `json:"effect"`
	Text     string `json:"text"`
	Index    int    `json:"index,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// replyCase writes letters: one, or to many cases each in its language.
func (n *node) replyCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if len(r.Numbers) > 1 {
		d := queue.Draft{Step: replytext.Step(r.Template), Text: r.Text, Subject: r.Subject, Values: r.Values, Effect: queue.Action(r.Effect), Reason: r.Reason, Actor: r.Actor, Note: r.Note, Language: r.Language}
		var errs []error
		for _, res := range n.queue.BulkReply(ctx, r.Numbers, d) {
			errs = append(errs, res.Err)
		}
		return said("%d letters taken up.", len(r.Numbers)), errors.Join(errs...)
	}
	d, hint, err := n.draftOf(ctx, r)
	if err != nil {
		return caseAnswer{}, err
	}
	var l queue.Letter
	index := 0
	if r.Preview {
		l, err = n.queue.Preview(ctx, r.Number, d)
	} else {
		index, l, err = n.queue.Reply(ctx, r.Number, d)
	}
	if err != nil {
		return caseAnswer{}, err
	}
	v := letterView{l.To.Plain(), l.Subject, l.Language, string(l.Effect), l.Text, index, hint}
	a := caseAnswer{Data: v}
	if r.Preview {
		a.Message = fmt.Sprintf("To: %s\nSubject: %s\nLanguage: %s\n\n%s", v.To, v.Subject, v.Language, v.Text)
	} else {
		a.Message = fmt.Sprintf("Letter %d leaves at %s; `postern cases take-back %s %d` stops it until then.", index, stamp(l.At), r.Number, index)
	}
	if hint != "" {
		a.Message += "\n" + hint
	}
	return a, nil
}

func (n *node) takeBack(ctx context.Context, r caseOrder) (caseAnswer, error) {
	return said("Letter %d was taken back.", r.Index), n.queue.TakeBack(ctx, r.Number, r.Index, r.Actor)
}

// identifyCase mails the challenge, or waives it with a reason.
func (n *node) identifyCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if r.Reason != "" {
		r.Verb, r.Note = string(queue.ActIdentify), strings.TrimSpace(r.Reason+" "+r.Note)
		r.Reason = "waived"
		return n.moveCases(ctx, r)
	}
	to, err := r.toAddress()
	if err != nil {
		return caseAnswer{}, err
	}
	if err := n.queue.Challenge(ctx, r.Number, to, r.Actor); err != nil {
		return caseAnswer{}, err
	}
	return n.about(ctx, r.Number, said("The person gets a link by mail. The case waits for its answer."))
}

func (n *node) proposeCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	to, err := r.toAddress()
	if err != nil {
		return caseAnswer{}, err
	}
	return said("Proposed: %s. Another operator has to give it.", r.Verb), n.queue.AskApproval(ctx, r.Number, queue.Approval{What: r.Verb, By: r.Actor, Note: r.Note, Address: to})
}

func (n *node) splitCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	ref, err := n.queue.Split(ctx, r.Number, labelsOf(r.Labels), r.Actor, r.Note)
	if err != nil {
		return caseAnswer{}, err
	}
	return n.about(ctx, ref.Number, said("Case %s was made of it.", ref.Number))
}

func (n *node) holdCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if r.Reason == "" {
		return caseAnswer{}, errors.New("a reason is needed: --reason")
	}
	word := "Nothing in case %s is deleted until `unhold`."
	if !r.Yes {
		word = "Case %s may be deleted at the end of its time again."
	}
	return said(word, r.Number), n.queue.LegalHold(ctx, r.Number, r.Yes, r.Actor, r.Reason)
}

// weighCase takes an objection as one to another processing than advertising.
func (n *node) weighCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	tasks, err := n.queue.Weigh(ctx, r.Number, r.Actor, r.Note)
	if err != nil {
		return caseAnswer{}, err
	}
	a := said("Case %s is being weighed: it ends with its answer, or with a refusal that names the grounds.", r.Number)
	if len(tasks) == 0 {
		a.Message += " No system is connected for restrict: see to it that the data is not used meanwhile."
	}
	return n.about(ctx, r.Number, a)
}

// heldRow is an address that waits for an operator.
type heldRow struct {
	Index   int    `json:"index"`
	Mail    int    `json:"mail"`
	Address string `json:"address"`
	Decided string `json:"decided,omitempty"`
}

func (n *node) addressHolds(ctx context.Context, r caseOrder) (caseAnswer, error) {
	list, err := n.queue.Holds(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	rows := make([]heldRow, len(list))
	a := caseAnswer{Data: rows}
	for i, h := range list {
		rows[i] = heldRow{i, h.Mail, h.Address.Plain(), h.Decided}
		a.Message += fmt.Sprintf("%d  %s  %s\n", i, h.Address.Plain(), orNone(h.Decided))
	}
	if len(rows) == 0 {
		a.Message = "No address of this case waits."
	}
	a.Message = strings.TrimRight(a.Message, "\n")
	return a, nil
}

func (n *node) decideAddressHold(ctx context.Context, r caseOrder) (caseAnswer, error) {
	list, err := n.queue.Holds(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	if r.Index < 0 || r.Index >= len(list) {
		return caseAnswer{}, fmt.Errorf("case %s has no held address %d", r.Number, r.Index)
	}
	if err := n.queue.DecideHold(ctx, r.Number, list[r.Index], r.Yes, r.Actor, r.Reason); err != nil {
		return caseAnswer{}, err
	}
	if r.Yes {
		return said("The opt-out binds that address."), nil
	}
	return said("That address may be mailed as before."), nil
}

func (n *node) handOver(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if _, err := n.queue.HandOver(ctx, r.Number, r.Actor, r.Note); err != nil {
		return caseAnswer{}, err
	}
	return said("Support gets the mail, the person is told who answers."), nil
}

func (n *node) newCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	b := queue.ByHand{Controller: r.Controller, Way: r.Way, Received: r.From, Name: r.Name, Text: r.Text, Labels: labelsOf(r.Labels), Language: r.Language, Actor: r.Actor}
	if b.Controller == "" && len(n.config().Controllers) == 1 {
		b.Controller = n.config().Controllers[0].ID
	}
	if r.Address != "" {
		var err error
		if b.Address, err = address.Parse(r.Address); err != nil {
			return caseAnswer{}, errors.New("--address is not a mail address")
		}
	}
	ref, err := n.queue.OpenByHand(ctx, b)
	if err != nil {
		return caseAnswer{}, err
	}
	for _, f := range r.Files {
		if _, err := n.queue.AddFile(ctx, ref.Number, f, r.Actor); err != nil {
			return caseAnswer{}, fmt.Errorf("case %s was opened, but its file was not kept: %w", ref.Number, err)
		}
	}
	return n.about(ctx, ref.Number, said("Case %s.", ref.Number))
}

func (n *node) earlierCases(ctx context.Context, r caseOrder) (caseAnswer, error) {
	list, err := n.queue.Earlier(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	rows := make([]caseRow, len(list))
	var b strings.Builder
	for i, k := range list {
		rows[i] = rowOf(k)
		fmt.Fprintf(&b, "%s  %s  %s  %s\n", k.Number, k.Received.Format(time.DateOnly), k.State, labels(rows[i]))
	}
	if len(rows) == 0 {
		return caseAnswer{Message: "No other case of this person.", Data: rows}, nil
	}
	return caseAnswer{Message: strings.TrimRight(b.String(), "\n"), Data: rows}, nil
}

func (n *node) mailedBy(ctx context.Context, r caseOrder) (caseAnswer, error) {
	list, err := n.queue.MailedBy(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	if len(list) == 0 {
		return caseAnswer{Message: "No controller mailed this person, as the ledgers of all nodes have it.", Data: []string{}}, nil
	}
	return caseAnswer{Message: strings.Join(list, "\n") + "\nTell the person only once they proved the mailbox is theirs.", Data: list}, nil
}

// attachFile puts files with a case, or lists them.
func (n *node) attachFile(ctx context.Context, r caseOrder) (caseAnswer, error) {
	for _, f := range r.Files {
		if _, err := n.queue.AddFile(ctx, r.Number, f, r.Actor); err != nil {
			return caseAnswer{}, err
		}
	}
	list, err := n.queue.Files(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	lines := make([]string, len(list))
	for i, f := range list {
		lines[i] = fmt.Sprintf("%.8s  %s  %d octets  %s  %s", f.ID, f.Name, f.Size, f.By, stamp(f.At))
	}
	if len(lines) == 0 {
		lines = []string{"No file."}
	}
	return caseAnswer{Message: strings.Join(lines, "\n"), Data: list}, nil
}

// openScan opens one file of a case; that it was looked at is recorded first.
func (n *node) openScan(ctx context.Context, r caseOrder) (caseAnswer, error) {
	list, err := n.queue.Files(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	for _, f := range list {
		if len(r.ID) < 4 || !strings.HasPrefix(f.ID, r.ID) {
			continue
		}
		if err := n.queue.RecordView(ctx, queue.View{Actor: r.Actor, Case: r.Number, What: "file"}); err != nil {
			return caseAnswer{}, err
		}
		_, data, err := n.queue.File(ctx, r.Number, f.ID)
		return caseAnswer{Data: fulfil.File{Name: f.Name, Type: f.Type, Data: data}}, err
	}
	return caseAnswer{}, fmt.Errorf("case %s has no file %q", r.Number, r.ID)
}

func (n *node) judgeCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	return said("Noted for the error rate."), n.queue.Judge(ctx, r.Number, r.Yes, r.Actor, r.Note)
}
