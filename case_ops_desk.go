package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/queue"
)

// deskOperations are the verbs that concern no single case: what was set
// aside, work given up, floods, absences, agreements, notices, exports.
func (n *node) deskOperations() []operation {
	return []operation{
		op("cases/export", n.exportCases),
		op("set-aside/list", n.listAsides), op("set-aside/promote", n.promoteAside),
		op("dead/list", n.listDead), op("dead/retry", n.retryDead),
		op("cases/revert-opt-outs", n.revertOptOuts), op("cases/away", n.setAway),
		op("dpa/list", n.listDPAs), op("dpa/sign", n.signDPA),
		op("notice/show", n.showNotice), op("notice/versions", n.noticeVersions), op("notice/send", n.sendNotice),
		op("report/audit", n.audit), op("report/month", n.month),
	}
}

// casesExport says which cases go into which new file of this machine: an
// archive may be larger than memory.
type casesExport struct {
	Filter queue.Filter
	Texts  bool
	Actor  string
	File   string // absolute
}

type casesExported struct {
	Cases int    `json:"cases"`
	File  string `json:"file"`
}

func (n *node) exportCases(ctx context.Context, r casesExport) (out casesExported, err error) {
	if err := n.trail.Flush(ctx); err != nil {
		return out, err
	}
	f, err := os.OpenFile(r.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return out, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	out.File = r.File
	out.Cases, err = n.queue.Export(ctx, w, queue.ExportOptions{Filter: r.Filter, Prover: n.trail, Texts: r.Texts, Actor: r.Actor})
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return out, errors.Join(err, os.Remove(r.File))
	}
	return out, nil
}

// asideRow is a mail set aside, for listings: the subject line and the sender
// are needed to tell what it is.
type asideRow struct {
	ID       string    `json:"id"`
	Why      string    `json:"why"`
	Received time.Time `json:"received"`
	From     string    `json:"from"`
	Subject  string    `json:"subject"`
}

func (n *node) listAsides(ctx context.Context, r caseOrder) ([]asideRow, error) {
	list, err := n.queue.Asides(ctx, r.Index, 0)
	if err != nil {
		return nil, err
	}
	if err := n.queue.RecordView(ctx, queue.View{Actor: r.Actor, What: "set-aside"}); err != nil {
		return nil, err
	}
	rows := []asideRow{}
	for _, a := range list {
		rows = append(rows, asideRow{a.ID, a.Why, a.Received, a.Mail.From.Plain(), a.Mail.Subject})
	}
	return rows, nil
}

func (n *node) promoteAside(ctx context.Context, r caseOrder) (caseAnswer, error) {
	ref, err := n.queue.Promote(ctx, r.ID)
	if err != nil {
		return caseAnswer{}, err
	}
	_, err = n.queue.Move(ctx, ref.Number, queue.Move{Action: queue.ActNote, Actor: r.Actor, Reason: "promoted"})
	if err != nil {
		return caseAnswer{}, err
	}
	return n.about(ctx, ref.Number, said("Case %s, its clock runs since the mail's receipt.", ref.Number))
}

func (n *node) listDead(ctx context.Context, _ struct{}) ([]queue.DeadWork, error) {
	return n.queue.Dead(ctx)
}

func (n *node) retryDead(ctx context.Context, r caseOrder) (caseAnswer, error) {
	return said("%s is worked on again.", r.ID), n.queue.RetryDead(ctx, r.ID)
}

func (n *node) revertOptOuts(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if r.Reason == "" {
		return caseAnswer{}, errors.New("a reason is needed: --reason")
	}
	got, err := n.queue.RevertOptOuts(ctx, queue.Revert{Source: r.Source, From: r.From, Till: r.Until, Controller: r.Controller, Actor: r.Actor, Reason: r.Reason, DryRun: r.DryRun})
	if err != nil {
		return caseAnswer{}, err
	}
	word := "%d opt-outs of %d cases are taken back, %d were gone."
	if r.DryRun {
		word = "%d opt-outs of %d cases would be taken back, %d are gone."
	}
	a := said(word, got.Released, len(got.Cases), got.Gone)
	a.Data = got
	return a, nil
}

func (n *node) setAway(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if r.Owner != "" {
		if err := n.queue.SetAway(ctx, queue.Away{Operator: r.Owner, Deputy: r.Who, From: r.From, Until: r.Until}); err != nil {
			return caseAnswer{}, err
		}
	}
	list, err := n.queue.Aways(ctx)
	if err != nil {
		return caseAnswer{}, err
	}
	lines := make([]string, len(list))
	for i, a := range list {
		lines[i] = fmt.Sprintf("%s until %s, deputy %s", a.Operator, a.Until.Format(time.DateOnly), a.Deputy)
	}
	if len(lines) == 0 {
		lines = []string{"Nobody is away."}
	}
	return caseAnswer{Message: strings.Join(lines, "\n"), Data: list}, nil
}

func (n *node) listDPAs(ctx context.Context, _ struct{}) ([]queue.DPA, error) {
	return n.queue.DPAs(ctx)
}

func (n *node) signDPA(ctx context.Context, d queue.DPA) (caseAnswer, error) {
	if d.Controller == "" && len(n.config().Controllers) == 1 {
		d.Controller = n.config().Controllers[0].ID
	}
	return said("The agreement with %s of %s is in the register.", d.Customer, d.Signed), n.queue.RecordDPA(ctx, d)
}

// onlyController is the one named, or the only one there is.
func (n *node) onlyController(id string) (string, error) {
	if id == "" && len(n.config().Controllers) == 1 {
		return n.config().Controllers[0].ID, nil
	}
	if _, ok := n.engine.Streams().Controller(id); !ok {
		return "", fmt.Errorf("no controller has the id %q: name one with --controller", id)
	}
	return id, nil
}

func (n *node) showNotice(_ context.Context, r caseOrder) (caseAnswer, error) {
	id, err := n.onlyController(r.Controller)
	if err != nil {
		return caseAnswer{}, err
	}
	notice, ok := n.queue.Notice(id, r.Language)
	if !ok {
		return caseAnswer{}, fmt.Errorf("controller %q has no [[controller.notice]]", id)
	}
	title, parts, err := n.queue.NoticeParts(notice)
	if err != nil {
		return caseAnswer{}, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", title, notice.Version)
	for i, p := range parts {
		fmt.Fprintf(&b, "\n%d. %s\n%s\n", i+1, p.Heading, p.Text)
	}
	return caseAnswer{Message: strings.TrimRight(b.String(), "\n"), Data: notice}, nil
}

func (n *node) noticeVersions(ctx context.Context, r caseOrder) ([]queue.PublishedNotice, error) {
	id, err := n.onlyController(r.Controller)
	if err != nil {
		return nil, err
	}
	if err := n.queue.PublishNotices(ctx); err != nil {
		return nil, err
	}
	return n.queue.NoticeVersions(ctx, id)
}

// sendNotice sends the notice in force to a list of addresses.
func (n *node) sendNotice(ctx context.Context, r caseOrder) (caseAnswer, error) {
	id, err := n.onlyController(r.Controller)
	if err != nil {
		return caseAnswer{}, err
	}
	sent, before, bad := 0, 0, 0
	for _, line := range r.Numbers {
		to, err := address.Parse(strings.TrimSpace(line))
		if err != nil {
			bad++
			continue
		}
		now, err := n.queue.SendNoticeChange(ctx, queue.NoticeChange{Controller: id, To: to, Language: r.Language, Actor: r.Actor})
		switch {
		case err != nil:
			return said("%d sent", sent), fmt.Errorf("after %d mails: %w", sent, err)
		case now:
			sent++
		default:
			before++
		}
	}
	a := said("%d sent, %d told before or refused by the relay, %d lines are no address.", sent, before, bad)
	a.Data = map[string]int{"sent": sent, "before": before, "bad": bad}
	return a, nil
}

type monthRequest struct {
	Year  int
	Month time.Month
}

func (n *node) month(ctx context.Context, r monthRequest) ([]queue.Month, error) {
	return n.queue.Report(ctx, r.Year, r.Month)
}

// remarshal turns what came as any into a value of its type.
func remarshal[T any](v any) (T, error) {
	var out T
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	return out, err
}
