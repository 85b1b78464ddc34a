package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/classifier"
)

// Why a file that came with a mail is destroyed.
var destroyReasons = []string{"identity-paper", "not-needed", "other-person"}

// DestroyReasons are the closed words that say why a file is destroyed.
func DestroyReasons() []string { return slices.Clone(destroyReasons) }

// ErrByHand says that a mailbox can't destroy a file in a mail by itself, so
// that a person has to; the word after it says why. Nothing was deleted.
var ErrByHand = errors.New("to be done by hand in the mailbox")

// leftWaiting is what Attachment.Left says while a worker is at it.
const leftWaiting = "waiting"

// keyDestroying holds that a worker is at the original of a mail; lives as long
// as its work may last.
func keyDestroying(no string, mail int) string {
	return prefix + "destroying:" + no + ":" + strconv.Itoa(mail)
}

// Destruction is the order to destroy a file that came with a mail.
type Destruction struct {
	Mail, File int    // their places in the case
	Actor      string // "operator:<name>"
	Reason     string // one of DestroyReasons
	Note       string // free words, sealed at rest
}

// DestroyFile destroys what a file that came with a mail holds: an identity
// paper nobody asked for, or what belongs to someone else (GDPR Art. 5(1)(c),
// (e)). What was read from it leaves the case at once, a worker takes it out of
// the mail in the mailbox, and both are records of the ledger. The mail's other
// parts, its text and its date of receipt stay. Errors wrap ErrUnknown, and
// ErrOrder where a legal hold forbids it or it was done before.
func (q *Queue) DestroyFile(ctx context.Context, number string, d Destruction) error {
	no := FindCaseNo(number)
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(d.Actor, "operator:"):
		return fmt.Errorf("case %s: %w: an operator has to", no, ErrOrder)
	case !slices.Contains(destroyReasons, d.Reason):
		return fmt.Errorf("case %s: %w: the reason is one of %s", no, ErrOrder, strings.Join(destroyReasons, ", "))
	case d.Mail < 0 || d.Mail >= len(c.Mails) || d.File < 0 || d.File >= len(c.Mails[d.Mail].Attachments):
		return fmt.Errorf("case %s: no such file: %w", no, ErrUnknown)
	case c.Mails[d.Mail].Mailbox == SplitMailbox:
		return fmt.Errorf("case %s: %w: the mail belongs to the case this one was split from", no, ErrOrder)
	}
	if err := q.mayDestroy(&c); err != nil {
		return err
	}
	was := c.Mails[d.Mail].Attachments[d.File]
	for _, other := range c.Linked { // first: a copy that can't be cleaned must not be forgotten
		if err := q.destroyCopies(ctx, no, other, was, d); err != nil && !errors.Is(err, ErrUnknown) {
			return err
		}
	}
	return q.changeMail(ctx, no, d.Mail, func(c *Case, in *Incoming, ch *changing) error {
		if err := q.mayDestroy(c); err != nil {
			return err
		}
		a := &in.Attachments[d.File]
		if !a.Destroyed.IsZero() {
			return fmt.Errorf("case %s: %w: the file is destroyed already", no, ErrOrder)
		}
		in.forget(d.File, q.o.Now())
		if in.Mailbox != ByHandMailbox {
			a.Left = leftWaiting
			ch.jobs = append(ch.jobs, [3]string{"destroy", strconv.Itoa(d.Mail), millis(q.o.Now())})
		}
		c.acted(d.Actor)
		ch.events = append(ch.events, Event{Actor: d.Actor, Action: ActDestroy, Reason: d.Reason, Note: d.Note, Data: d.data(a, in)})
		return nil
	})
}

func (q *Queue) mayDestroy(c *Case) error {
	if _, held := q.heldByLaw(c.Controller); held || slices.Contains(c.Flags, FlagLegalHold) {
		return fmt.Errorf("case %s: %w: a legal hold keeps everything", c.Number, ErrOrder)
	}
	return nil
}

func (d Destruction) data(a *Attachment, in *Incoming) map[string]string {
	return map[string]string{"mail": strconv.Itoa(d.Mail), "file": strconv.Itoa(d.File), "type": a.Type, "size": strconv.FormatInt(a.Size, 10), "sha256": in.ContentHash}
}

// destroyCopies forgets the file in what was split off a case.
func (q *Queue) destroyCopies(ctx context.Context, no, other string, was Attachment, d Destruction) error {
	c, _, err := q.Show(ctx, other)
	if err != nil {
		return err
	}
	for i, in := range c.Mails {
		if in.Mailbox != SplitMailbox || !strings.HasPrefix(in.Folder, no+"/") {
			continue
		}
		n := slices.IndexFunc(in.Attachments, func(a Attachment) bool { return a == was })
		if n < 0 {
			continue
		}
		err := q.changeMail(ctx, other, i, func(c *Case, in *Incoming, ch *changing) error {
			if err := q.mayDestroy(c); err != nil {
				return err
			}
			in.forget(n, q.o.Now())
			data := Destruction{Mail: i, File: n}.data(&was, in)
			data["case"] = no
			ch.events = append(ch.events, Event{Actor: d.Actor, Action: ActDestroy, Reason: d.Reason, Note: d.Note, Data: data})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// forget drops what was read from a file, and the sentences of it that spoke
// for a label.
func (in *Incoming) forget(n int, now time.Time) {
	a := &in.Attachments[n]
	if a.Text != "" {
		kept := strings.Join(strings.Fields(in.Subject+"\n"+in.Text+"\n"+in.Quoted), " ")
		in.Result.Reasons = slices.DeleteFunc(slices.Clone(in.Result.Reasons), func(r classifier.Reason) bool {
			from := r.Words
			if sentence, ok := strings.CutPrefix(r.Rule, "sentence: "); ok {
				from = sentence
			}
			return !containsFold(kept, strings.Join(strings.Fields(from), " "))
		})
	}
	a.Text, a.Destroyed = "", now
}

func containsFold(text, part string) bool {
	return strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// changeMail changes one mail of a case, as change does the case.
func (q *Queue) changeMail(ctx context.Context, no string, index int, fn func(*Case, *Incoming, *changing) error) error {
	_, _, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
		sealed, err := q.rdb.LIndex(ctx, keyMails(no), int64(index)).Result()
		if isNil(err) {
			return fmt.Errorf("case %s: no such mail: %w", no, ErrUnknown)
		}
		if err != nil {
			return fmt.Errorf("read mail %d of case %s: %w", index, no, err)
		}
		key, err := q.vault.Unwrap(no, ch.before["key"])
		if err != nil {
			return err
		}
		in, err := openMail(key, no, sealed)
		if err != nil {
			return err
		}
		in.Attachments = slices.Clone(in.Attachments)
		if err := fn(c, &in, ch); err != nil {
			return err
		}
		ch.rewritten, ch.rewriteAt = &in, index
		return nil
	})
	return err
}

// destroyOriginal takes the files that wait for it out of a mail in its
// mailbox, one worker at a time: two copies, each without another file, would
// keep both.
func (q *Queue) destroyOriginal(ctx context.Context, no, n string) error {
	index, err := strconv.Atoi(n)
	if err != nil {
		return fmt.Errorf("%w: mail %q", errPermanent, n)
	}
	lock := keyDestroying(no, index)
	mine, err := q.rdb.SetNX(ctx, lock, q.o.Node, jobTime+15*time.Second).Result()
	if err != nil {
		return fmt.Errorf("destroy file of case %s: %w", no, err)
	}
	if !mine {
		return fmt.Errorf("destroy file of case %s: another worker is at this mail", no)
	}
	defer q.rdb.Del(context.WithoutCancel(ctx), lock)
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return err
	}
	if index >= len(c.Mails) {
		return fmt.Errorf("%w: case %s has no mail %d", errPermanent, no, index)
	}
	in := c.Mails[index]
	waiting := make([]int, 0, len(in.Attachments))
	for f, a := range in.Attachments {
		if a.Left == leftWaiting {
			waiting = append(waiting, f)
		}
	}
	if i := slices.Index(waiting, in.CopyOf); in.Copy != "" && i > 0 { // what was begun comes first
		waiting[0], waiting[i] = waiting[i], waiting[0]
	}
	for _, f := range waiting {
		hash, left, err := q.removeFile(ctx, no, index, in, f)
		if err != nil {
			return err
		}
		if err := q.noteRemoved(ctx, no, index, f, hash, left); err != nil {
			return err
		}
		if in.Copy = ""; hash != "" {
			in.ContentHash = hash
		}
	}
	return nil
}

// removeFile takes one file out of a mail in its mailbox and gives the hash of
// what lies there now, or a word that says why a person has to.
func (q *Queue) removeFile(ctx context.Context, no string, index int, in Incoming, file int) (hash, left string, err error) {
	if q.d.Remove == nil {
		return "", "no-mailbox", nil
	}
	note := fmt.Sprintf("A file (%s, %d octets) was destroyed on %s under case %s. It must not be kept.",
		plainType(in.Attachments[file].Type), in.Attachments[file].Size, in.Attachments[file].Destroyed.UTC().Format(time.DateOnly), no)
	hash, err = q.d.Remove(ctx, in, file, note, func(hash string) error {
		return q.changeMail(ctx, no, index, func(_ *Case, m *Incoming, ch *changing) error {
			m.Copy, m.CopyOf = hash, file
			ch.known = append(ch.known, "b:"+m.Controller+"/"+hash)
			return nil
		})
	})
	switch {
	case errors.Is(err, ErrByHand):
		return "", handWord(err), nil
	case errors.Is(err, ErrUnknown):
		return "", "not-found", nil
	}
	return hash, "", err
}

func (q *Queue) noteRemoved(ctx context.Context, no string, index, file int, hash, left string) error {
	return q.changeMail(ctx, no, index, func(c *Case, in *Incoming, ch *changing) error {
		e := Event{Actor: "rule", Action: ActDestroy, Reason: "mailbox", Data: map[string]string{"mail": strconv.Itoa(index), "file": strconv.Itoa(file)}}
		in.Attachments[file].Left, in.Copy = left, ""
		if left != "" {
			e.Reason, e.Data["why"] = "by-hand", left
			c.addFlag(FlagManual)
		}
		if hash != "" {
			e.Data["was"], e.Data["sha256"] = in.ContentHash, hash
			in.ContentHash = hash
		}
		ch.events = append(ch.events, e)
		return nil
	})
}

// FileRemoved notes that an operator deleted in the mailbox what Postern could
// not.
func (q *Queue) FileRemoved(ctx context.Context, number string, d Destruction) error {
	no := FindCaseNo(number)
	if !strings.HasPrefix(d.Actor, "operator:") {
		return fmt.Errorf("case %s: %w: an operator has to", no, ErrOrder)
	}
	return q.changeMail(ctx, no, d.Mail, func(c *Case, in *Incoming, ch *changing) error {
		if d.File < 0 || d.File >= len(in.Attachments) || in.Attachments[d.File].Left == "" {
			return fmt.Errorf("case %s: %w: nothing of it is left", no, ErrOrder)
		}
		in.Attachments[d.File].Left = ""
		c.acted(d.Actor)
		ch.events = append(ch.events, Event{Actor: d.Actor, Action: ActDestroy, Reason: "removed-by-hand", Note: d.Note,
			Data: map[string]string{"mail": strconv.Itoa(d.Mail), "file": strconv.Itoa(d.File)}})
		return nil
	})
}

// handWord is the closed word that follows ErrByHand.
func handWord(err error) string {
	_, after, _ := strings.Cut(err.Error(), ErrByHand.Error()+": ")
	word, _, _ := strings.Cut(after, ":")
	if !closedReason.MatchString(word) {
		return "other"
	}
	return word
}

// plainType keeps a stranger's type a token (RFC 2045 section 5.1).
func plainType(s string) string {
	if strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789/.+-") != "" || s == "" {
		return "application/octet-stream"
	}
	return s
}
