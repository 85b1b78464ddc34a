package api

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/queue"
)

// mailFile is a file that came with a mail, without its bytes.
type mailFile struct {
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Size      int64     `json:"size"`
	Destroyed time.Time `json:"destroyed,omitzero"`
	Left      string    `json:"left,omitempty"` // why the mailbox still holds it
}

func filesOf(list []queue.Attachment) []mailFile {
	out := make([]mailFile, len(list))
	for i, a := range list {
		out[i] = mailFile{a.Name, a.Type, a.Size, a.Destroyed, a.Left}
	}
	return out
}

type destroyRequest struct {
	Reason string `json:"reason"` // of queue.DestroyReasons
	Note   string `json:"note"`
}

// destroyFile destroys what a file that came with a mail holds, in the case and
// in the mailbox. Nobody can bring it back.
func destroyFile(c *call) (answer, error) {
	var r destroyRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	if !slices.Contains(queue.DestroyReasons(), r.Reason) {
		return answer{}, bad("reason", "is one of %s", strings.Join(queue.DestroyReasons(), ", "))
	}
	number, d, err := c.fileOf()
	if err != nil {
		return answer{}, err
	}
	d.Reason, d.Note = r.Reason, r.Note
	if err := c.a.d.Cases.DestroyFile(c.ctx(), number, d); err != nil {
		return answer{}, err
	}
	return c.changed(number)
}

type removedRequest struct {
	Note string `json:"note"`
}

// fileRemoved notes that somebody deleted in the mailbox what Postern could not.
func fileRemoved(c *call) (answer, error) {
	var r removedRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	number, d, err := c.fileOf()
	if err != nil {
		return answer{}, err
	}
	d.Note = r.Note
	if err := c.a.d.Cases.FileRemoved(c.ctx(), number, d); err != nil {
		return answer{}, err
	}
	return c.changed(number)
}

// fileOf is the file that the path names, in an order of this token.
func (c *call) fileOf() (string, queue.Destruction, error) {
	k, _, err := c.open()
	if err != nil {
		return "", queue.Destruction{}, err
	}
	mail, err := strconv.Atoi(c.path("index"))
	if err != nil || mail < 0 || mail >= len(k.Mails) {
		return "", queue.Destruction{}, problem("missing", "")
	}
	file, err := strconv.Atoi(c.path("file"))
	if err != nil || file < 0 || file >= len(k.Mails[mail].Attachments) {
		return "", queue.Destruction{}, problem("missing", "")
	}
	return k.Number, queue.Destruction{Mail: mail, File: file, Actor: c.actor()}, nil
}
