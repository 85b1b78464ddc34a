package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/queue"
	"postern/queue/fulfil"
)

// taskRow is one task of a case for listings.
type taskRow struct {
	Index  int           `json:"index"`
	System string        `json:"system"`
	Verb   fulfil.Verb   `json:"verb"`
	Status fulfil.Status `json:"status,omitempty"`
	Law    string        `json:"law,omitempty"`
	Until  string        `json:"until,omitempty"`
	Count  int           `json:"count,omitempty"`
	DryRun bool          `json:"dry_run,omitempty"`
	Due    time.Time     `json:"due,omitzero"`
}

func taskRows(tasks []queue.Task) []taskRow {
	rows := make([]taskRow, len(tasks))
	for i, t := range tasks {
		rows[i] = taskRow{t.Index, t.System, t.Verb, t.Status, t.Law, t.Until, t.Count, t.DryRun, t.Due}
	}
	return rows
}

// String is the task in one line.
func (t taskRow) String() string {
	line := fmt.Sprintf("%d  %s  %s  %s", t.Index, t.System, t.Verb, orNone(string(t.Status)))
	if t.DryRun {
		line += "  (dry run)"
	}
	if t.Law != "" {
		line += "  for " + t.Law
	}
	if t.Until != "" {
		line += " until " + t.Until
	}
	if t.Count > 0 {
		line += fmt.Sprintf("  %d records", t.Count)
	}
	if !t.Due.IsZero() {
		line += "  due " + t.Due.Format(time.DateOnly)
	}
	return line
}

func listed[T fmt.Stringer](rows []T) string {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = r.String()
	}
	return strings.Join(lines, "\n")
}

// fulfilCase orders the systems to act. Erasure is approved by the case number.
func (n *node) fulfilCase(ctx context.Context, r caseOrder) (caseAnswer, error) {
	o := queue.Order{Verb: fulfil.Verb(r.Verb), Actor: r.Actor, Facts: r.Values, DryRun: r.DryRun, Approve: r.Confirm}
	if r.Address != "" {
		var err error
		if o.Address, err = address.Parse(r.Address); err != nil {
			return caseAnswer{}, errors.New("--address is not a mail address")
		}
	}
	tasks, err := n.queue.Fulfil(ctx, r.Number, o)
	if err != nil {
		return caseAnswer{}, err
	}
	rows := taskRows(tasks)
	return n.about(ctx, r.Number, caseAnswer{Message: fmt.Sprintf("%d systems are asked:\n%s", len(rows), listed(rows)), Data: rows})
}

func (n *node) retryTask(ctx context.Context, r caseOrder) (caseAnswer, error) {
	return said("Task %d is asked again.", r.Index), n.queue.Retry(ctx, r.Number, r.Index, r.Actor)
}

// taskResult enters an outcome by hand.
func (n *node) taskResult(ctx context.Context, r caseOrder) (caseAnswer, error) {
	tasks, err := n.queue.Tasks(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	if r.Index < 0 || r.Index >= len(tasks) {
		return caseAnswer{}, fmt.Errorf("case %s has no task %d", r.Number, r.Index)
	}
	o := fulfil.Outcome{Status: fulfil.Status(r.Status), Law: r.Law, Until: r.UntilOn, Note: r.Note, Files: r.Files, Count: len(r.Files)}
	if err := o.Check(); err != nil {
		return caseAnswer{}, err
	}
	if !o.Final() {
		return caseAnswer{}, errors.New("\"accepted\" is no outcome: write done, erased, restricted, kept, not_found or failed")
	}
	if err := n.queue.Result(ctx, r.Number, tasks[r.Index].Key, o, r.Actor); err != nil {
		return caseAnswer{}, err
	}
	return n.about(ctx, r.Number, said("%s: %s.", tasks[r.Index].System, o.Status))
}

func (n *node) askColleague(ctx context.Context, r caseOrder) (caseAnswer, error) {
	to, err := address.Parse(r.To)
	if err != nil {
		return caseAnswer{}, errors.New("--mail is not a mail address")
	}
	t, err := n.queue.AskColleague(ctx, r.Number, queue.Ask{Who: r.Who, Mail: to, Verb: fulfil.Verb(r.Verb), Words: r.Text, Due: r.Due, Actor: r.Actor, Approve: r.Confirm, Letter: r.Yes, Language: r.Language})
	if err != nil {
		return caseAnswer{}, err
	}
	rows := taskRows([]queue.Task{t})
	return caseAnswer{Message: "The link leaves by mail:\n" + listed(rows), Data: rows[0]}, nil
}

func (n *node) taskLink(ctx context.Context, r caseOrder) (caseAnswer, error) {
	link, err := n.queue.TaskLink(ctx, r.Number, r.Index)
	return caseAnswer{Message: link, Data: map[string]string{"link": link}}, err
}

// fileRow is one file of a package.
type fileRow struct {
	queue.PackageFile
}

// String is the file in one line; eight signs of its id are enough to name it.
func (f fileRow) String() string {
	return fmt.Sprintf("%.8s  %s  %s  %s  %d octets  %s", f.ID, f.System, f.Name, f.Type, f.Size, orNone(f.Tick))
}

func (n *node) packageOperations() []operation {
	return []operation{
		op("cases/package", n.buildPackage), op("cases/files", n.packageFiles), op("cases/file", n.packageFile),
		op("cases/tick", n.tickFile), op("cases/checklist", n.checklist), op("cases/release", n.releasePackage), op("cases/code", n.newCode),
	}
}

func (n *node) buildPackage(ctx context.Context, r caseOrder) (caseAnswer, error) {
	p, err := n.queue.BuildPackage(ctx, r.Number, r.Actor)
	if err != nil {
		return caseAnswer{}, err
	}
	return showPackage(p), nil
}

func showPackage(p queue.Package) caseAnswer {
	rows := make([]fileRow, len(p.Files))
	for i, f := range p.Files {
		rows[i] = fileRow{f}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nChecklist of Art. 15(1):\n", listed(rows))
	for _, c := range p.Checklist {
		fmt.Fprintf(&b, "  %s: %s\n", c.Key, orNone(c.Text))
	}
	if !p.Released.IsZero() {
		fmt.Fprintf(&b, "\nReleased %s, link until %s, fetched %d times, wrong codes %d\n", stamp(p.Released), stamp(p.Until), len(p.Fetched), p.Tries)
	}
	return caseAnswer{Message: strings.TrimRight(b.String(), "\n"), Data: map[string]any{"files": p.Files, "checklist": p.Checklist, "released": p.Released, "until": p.Until, "fetched": p.Fetched}}
}

func (n *node) packageFiles(ctx context.Context, r caseOrder) (caseAnswer, error) {
	p, err := n.queue.Package(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	return showPackage(p), nil
}

// fileID completes a shortened id.
func (n *node) fileID(ctx context.Context, number, id string) (string, error) {
	files, err := n.queue.PackageFiles(ctx, number)
	if err != nil {
		return "", err
	}
	found := ""
	for _, f := range files {
		if len(id) >= 4 && strings.HasPrefix(f.ID, id) {
			if found != "" {
				return "", fmt.Errorf("%q names more than one file", id)
			}
			found = f.ID
		}
	}
	if found == "" {
		return "", fmt.Errorf("no file of the package is called %q: `postern cases files` lists them", id)
	}
	return found, nil
}

// packageFile opens one file; that it was looked at is recorded first.
func (n *node) packageFile(ctx context.Context, r caseOrder) (caseAnswer, error) {
	id, err := n.fileID(ctx, r.Number, r.ID)
	if err != nil {
		return caseAnswer{}, err
	}
	if err := n.queue.RecordView(ctx, queue.View{Actor: r.Actor, Case: r.Number, What: "package"}); err != nil {
		return caseAnswer{}, err
	}
	f, data, err := n.queue.PackageFile(ctx, r.Number, id, r.Yes)
	return caseAnswer{Data: fulfil.File{Name: f.Name, Type: f.Type, Data: data}}, err
}

func (n *node) tickFile(ctx context.Context, r caseOrder) (caseAnswer, error) {
	id, err := n.fileID(ctx, r.Number, r.ID)
	if err != nil {
		return caseAnswer{}, err
	}
	if len(r.Data) > 0 {
		err = n.queue.ReplaceFile(ctx, r.Number, id, r.Data, r.Actor, r.Note)
	} else {
		err = n.queue.TickFile(ctx, r.Number, id, r.Tick, r.Actor, r.Note)
	}
	if err != nil {
		return caseAnswer{}, err
	}
	return n.packageFiles(ctx, r)
}

func (n *node) checklist(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if len(r.Values) > 0 {
		if err := n.queue.SetChecklist(ctx, r.Number, r.Values, r.Actor); err != nil {
			return caseAnswer{}, err
		}
	}
	return n.packageFiles(ctx, r)
}

func (n *node) releasePackage(ctx context.Context, r caseOrder) (caseAnswer, error) {
	rel := queue.Release{Actor: r.Actor, CodeWay: r.Way, Note: r.Note}
	if r.To != "" {
		var err error
		if rel.To, err = address.Parse(r.To); err != nil {
			return caseAnswer{}, errors.New("--to is not a mail address")
		}
	}
	h, err := n.queue.ReleasePackage(ctx, r.Number, rel)
	if err != nil {
		return caseAnswer{}, err
	}
	a := said("The link leaves by mail and works until %s.\nThe code, shown this once, goes to the person by %s: %s", stamp(h.Until), r.Way, h.Code)
	a.Data = map[string]any{"code": h.Code, "until": h.Until, "letter": h.Letter}
	return a, nil
}

func (n *node) newCode(ctx context.Context, r caseOrder) (caseAnswer, error) {
	code, err := n.queue.NewCode(ctx, r.Number, r.Actor)
	return caseAnswer{Message: "The new code, shown this once: " + code, Data: map[string]string{"code": code}}, err
}
