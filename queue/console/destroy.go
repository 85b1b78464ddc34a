package console

import (
	"errors"
	"net/http"
	"strconv"

	"postern/queue"
)

// attachmentOf finds the attachment that the URL names, without its bytes.
func (v *visit) attachmentOf() (queue.Case, queue.Destruction, queue.Attachment, error) {
	k, in, err := v.mailOf()
	if err != nil {
		return k, queue.Destruction{}, queue.Attachment{}, err
	}
	n, err := strconv.Atoi(v.r.PathValue("n"))
	if err != nil || n < 0 || n >= len(in.Attachments) {
		return k, queue.Destruction{}, queue.Attachment{}, errNotFound
	}
	i, err := strconv.Atoi(v.r.PathValue("i"))
	if err != nil {
		return k, queue.Destruction{}, queue.Attachment{}, errNotFound
	}
	return k, queue.Destruction{Mail: i, File: n, Actor: v.user.Actor(), Reason: v.field("reason"), Note: v.field("note")}, in.Attachments[n], nil
}

// destroyPage says what goes and what stays before a file is destroyed: it is a
// page of its own, for nobody can bring the file back.
func (c *Console) destroyPage(v *visit) error { return v.destruction("") }

func (v *visit) destruction(fault string) error {
	k, d, a, err := v.attachmentOf()
	if err != nil {
		return err
	}
	if !a.Destroyed.IsZero() {
		return errNotFound
	}
	if err := v.saw("attachment", &k, map[string]string{"mail": v.r.PathValue("i")}); err != nil {
		return err
	}
	in := k.Mails[d.Mail]
	return v.page("destroy", "destroy.title", map[string]any{
		"Number": k.Number, "Mail": d.Mail, "File": fileView{Index: d.File, Name: fileName(a.Name), Type: a.Type, Size: a.Size, Text: a.Text != ""}, "Note": d.Note, "Reason": d.Reason,
		"Held": has(k.Flags, queue.FlagLegalHold), "Reasons": queue.DestroyReasons(), "Mailbox": in.Mailbox, "Lies": in.Mailbox != queue.ByHandMailbox, "Fault": fault,
	})
}

// destroyFile destroys it.
func (c *Console) destroyFile(v *visit) error {
	k, d, _, err := v.attachmentOf()
	if err != nil {
		return err
	}
	err = c.d.Cases.DestroyFile(v.ctx(), k.Number, d)
	if errors.Is(err, queue.ErrOrder) {
		v.status = http.StatusConflict
		return v.destruction("destroy.refused")
	}
	if err != nil {
		return err
	}
	return v.redirect(casePath(k.Number), "file-destroyed")
}

// fileRemoved notes that somebody deleted in the mailbox what Postern could not.
func (c *Console) fileRemoved(v *visit) error {
	k, d, _, err := v.attachmentOf()
	if err != nil {
		return err
	}
	if err := c.d.Cases.FileRemoved(v.ctx(), k.Number, d); err != nil {
		return err
	}
	return v.redirect(casePath(k.Number), "file-removed")
}
