package main

import (
	"context"
	"fmt"
	"strings"

	"postern/queue"
)

// destroyFile destroys a file that came with a mail of a case, notes that it was
// deleted in the mailbox by hand (Status removed), or without a choice (Index
// below 0) lists what there is.
func (n *node) destroyFile(ctx context.Context, r caseOrder) (caseAnswer, error) {
	if r.Index < 0 {
		return n.mailFiles(ctx, r)
	}
	d := queue.Destruction{Mail: r.Index, File: r.File, Actor: r.Actor, Reason: r.Reason, Note: r.Note}
	if r.Status == "removed" {
		if err := n.queue.FileRemoved(ctx, r.Number, d); err != nil {
			return caseAnswer{}, err
		}
		return n.about(ctx, r.Number, said("Noted: the mailbox holds nothing of file %d of mail %d any more.", r.File, r.Index))
	}
	if err := n.queue.DestroyFile(ctx, r.Number, d); err != nil {
		return caseAnswer{}, err
	}
	return n.about(ctx, r.Number, said("File %d of mail %d is destroyed in the case. A worker takes it out of the mailbox; `cases destroy %s` tells when that is done.", r.File, r.Index, r.Number))
}

// mailFileRow is a file that came with a mail, as `cases destroy` lists it.
type mailFileRow struct {
	Mail int    `json:"mail"`
	File int    `json:"file"`
	Name string `json:"name"`
	Type string `json:"type"`
	Size int64  `json:"size"`

	Destroyed string `json:"destroyed,omitempty"`
	Left      string `json:"left,omitempty"` // why the mailbox still holds it
}

// mailFiles lists the files that came with the mails of a case. It names what
// people sent, so it is recorded as a view.
func (n *node) mailFiles(ctx context.Context, r caseOrder) (caseAnswer, error) {
	k, _, err := n.queue.Show(ctx, r.Number)
	if err != nil {
		return caseAnswer{}, err
	}
	if err := n.queue.RecordView(ctx, queue.View{Actor: r.Actor, Case: k.Number, What: "attachment"}); err != nil {
		return caseAnswer{}, err
	}
	rows, lines := []mailFileRow{}, []string{}
	for i, m := range k.Mails {
		for j, a := range m.Attachments {
			row := mailFileRow{Mail: i, File: j, Name: a.Name, Type: a.Type, Size: a.Size, Left: a.Left}
			line := fmt.Sprintf("mail %d file %d: %q, %s, %d octets", i, j, a.Name, a.Type, a.Size)
			if !a.Destroyed.IsZero() {
				row.Destroyed = stamp(a.Destroyed)
				line += ", destroyed " + row.Destroyed
			}
			if a.Left != "" {
				line += ", but not yet in the mailbox: " + a.Left
			}
			rows, lines = append(rows, row), append(lines, line)
		}
	}
	a := said("%s", strings.Join(lines, "\n"))
	if len(lines) == 0 {
		a = said("No file came with the mails of case %s.", k.Number)
	}
	a.Data = rows
	return a, nil
}
