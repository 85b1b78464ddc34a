package intake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"postern/intake/mime"
	"postern/queue"
)

// DestroyFile takes one attachment out of a mail in its mailbox, for who asked
// without need sent a paper that must not be kept (GDPR Art. 5(1)(c)). A copy
// without the file, all other bytes, flags and the date of receipt as they
// were, is put beside the original; only when it lies there as it was written
// is the original deleted. planned is told the hash of the copy before it is
// put there, so that whoever reads the mailbox knows it. Errors wrap
// queue.ErrUnknown where no folder has the mail any more, and
// queue.ErrByHand where this mailbox can't do it: nothing was deleted then.
func DestroyFile(ctx context.Context, m Mailbox, in queue.Incoming, file int, note string, planned func(hash string) error) (hash string, err error) {
	err = visitNamed(ctx, m, m.Done, false, false, func(c *conn, folder string) (bool, error) {
		found, err := c.findHash(searchOf(in), in.ContentHash)
		if err != nil || found == nil {
			return false, err
		}
		caps := c.Caps()
		switch {
		case caps.Has("X-GM-EXT-1"): // it keeps what is expunged under "All Mail"
			return true, fmt.Errorf("mailbox %q: %w: gmail", m.Name, queue.ErrByHand)
		case !caps.Has(imap.CapUIDPlus) && !caps.Has(imap.CapIMAP4rev2): // EXPUNGE alone takes other people's mails with it
			return true, fmt.Errorf("mailbox %q: %w: no-uidplus", m.Name, queue.ErrByHand)
		}
		without, err := withoutFile(found.raw, m.Limits, file, in.Attachments, note)
		if err != nil {
			return true, fmt.Errorf("mailbox %q: %w", m.Name, err)
		}
		sum := sha256.Sum256(without)
		hash = hex.EncodeToString(sum[:])
		if err := planned(hash); err != nil {
			return true, err
		}
		return true, c.swap(folder, in, found, without, hash)
	})
	if err == nil && hash == "" && in.Copy != "" { // a crash came after the original was deleted
		in.ContentHash = in.Copy
		if _, err = Original(ctx, m, in); err == nil {
			return in.Copy, nil
		}
	}
	if err == nil && hash == "" {
		err = fmt.Errorf("mail of mailbox %q: %w", m.Name, queue.ErrUnknown)
	}
	return hash, err
}

// swap puts a copy beside a mail of the selected folder and then deletes the
// mail. A copy that is there already, after a crash, is taken.
func (c *conn) swap(folder string, in queue.Incoming, found *foundMail, copied []byte, hash string) error {
	there, err := c.findHash(searchOf(in), hash)
	if err != nil {
		return err
	}
	if there == nil {
		uid, err := c.put(folder, found, copied)
		if err != nil {
			return err
		}
		if there, err = c.findHash(searchOf(in), hash); err != nil {
			return err
		}
		if there == nil || !there.received.Equal(found.received) {
			if uid != 0 {
				err = c.expunge(uid)
			}
			return fmt.Errorf("%w: altered: %w", queue.ErrByHand, err)
		}
	}
	if err := c.expunge(found.uid); err != nil {
		return err
	}
	left, err := c.findHash(searchOf(in), in.ContentHash)
	if err == nil && left != nil {
		err = fmt.Errorf("%w: not-expunged", queue.ErrByHand)
	}
	return err
}

// put appends a mail with flags and date of another.
func (c *conn) put(folder string, like *foundMail, raw []byte) (imap.UID, error) {
	done := c.guard()
	defer done()
	var flags []imap.Flag
	for _, f := range like.flags {
		if f != `\Recent` && f != imap.FlagDeleted {
			flags = append(flags, f)
		}
	}
	cmd := c.Append(folder, int64(len(raw)), &imap.AppendOptions{Flags: flags, Time: like.received})
	if _, err := cmd.Write(raw); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	if err := cmd.Close(); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	got, err := cmd.Wait()
	if err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	done2 := c.guard()
	defer done2()
	if err := c.Noop().Wait(); err != nil { // the server tells of the new one: searches see it
		return 0, fmt.Errorf("append: %w", err)
	}
	return got.UID, nil
}

// expunge deletes one mail and no other.
func (c *conn) expunge(uid imap.UID) error {
	done := c.guard()
	defer done()
	set := imap.UIDSetNum(uid)
	if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		return fmt.Errorf("mark mail deleted: %w", err)
	}
	if err := c.UIDExpunge(set).Close(); err != nil {
		return fmt.Errorf("expunge mail: %w", err)
	}
	return nil
}

// withoutFile is a mail with a note in the place of one of its files; every
// other byte stays. Errors wrap queue.ErrByHand where the file is not where it
// was when the mail was read.
func withoutFile(raw []byte, limits mime.Limits, n int, recorded []queue.Attachment, note string) ([]byte, error) {
	files := mime.Parse(raw, limits).Files()
	if n < 0 || n >= len(recorded) || len(files) != len(recorded) {
		return nil, fmt.Errorf("%w: other-files", queue.ErrByHand)
	}
	f, was := files[n], recorded[n]
	if clip(f.Name, 255) != was.Name || clip(f.Type, 100) != was.Type || f.Size != was.Size {
		return nil, fmt.Errorf("%w: other-files", queue.ErrByHand)
	}
	end := "\n"
	if bytes.Contains(raw, []byte("\r\n")) {
		end = "\r\n"
	}
	var out bytes.Buffer
	out.Write(raw[:f.Part.Start])
	if f.Part.Start == 0 { // the mail is nothing but this file: who wrote it and when stays
		out.Write(otherFields(raw[:len(raw)-len(f.Part.Body)]))
	}
	out.WriteString(strings.Join([]string{
		"Content-Type: text/plain; charset=us-ascii", `Content-Disposition: attachment; filename="destroyed.txt"`, "", note, "",
	}, end))
	out.Write(raw[f.Part.End:])
	return out.Bytes(), nil
}

// otherFields are the fields of a header but those that describe a body.
func otherFields(header []byte) []byte {
	var out []byte
	drop := false
	for line := range bytes.Lines(header) {
		bare := bytes.TrimRight(line, "\r\n")
		if len(bare) == 0 {
			break
		}
		if bare[0] != ' ' && bare[0] != '\t' {
			drop = len(bare) > 8 && strings.EqualFold(string(bare[:8]), "content-")
		}
		if !drop {
			out = append(out, line...)
		}
	}
	return out
}

// foundMail is a message of the selected folder.
type foundMail struct {
	uid      imap.UID
	raw      []byte
	received time.Time
	flags    []imap.Flag
}
