package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
)

// Probe connects to a mailbox and logs in as the poller would, and selects
// each folder that is read: one that is not there would never be read. Errors
// name the mailbox, no address.
func Probe(ctx context.Context, m Mailbox) error {
	return visit(ctx, m, "", true, func(*conn) (bool, error) { return false, nil })
}

// Find looks for a message in the folders that are read and in that of the
// done ones, without changing a flag. nil where there is none (yet).
func Find(ctx context.Context, m Mailbox, messageID string) (raw []byte, err error) {
	err = visit(ctx, m, m.Done, false, func(c *conn) (bool, error) {
		raw, err = c.message(messageID)
		return raw != nil, err
	})
	return raw, err
}

// visit opens the folders that are read, and then done, one after another, for
// reading only, until f says that it is done. Where not all are asked for, one
// that is not there is passed over but for the first.
func visit(ctx context.Context, m Mailbox, done string, all bool, f func(*conn) (bool, error)) error {
	return visitNamed(ctx, m, done, all, true, func(c *conn, _ string) (bool, error) { return f(c) })
}

// visitNamed is visit that tells f the folder's name on the server, for
// writing too where it is not readOnly.
func visitNamed(ctx context.Context, m Mailbox, done string, all, readOnly bool, f func(*conn, string) (bool, error)) error {
	m, err := m.withDefaults()
	if err != nil {
		return err
	}
	b := &box{Mailbox: m, p: &Poller{o: Options{}.withDefaults()}}
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	folders := slices.Clone(m.Folders)
	if done != "" {
		folders = append(folders, done)
	}
	for i, folder := range folders {
		name, err := b.look(c, folder, readOnly)
		if errors.Is(err, errNoJunk) || err != nil && i > 0 && !all && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("open folder %q of mailbox %q: %w", folder, m.Name, refused(err))
		}
		if found, err := f(c, name); found || err != nil {
			return err
		}
	}
	return nil
}

// look selects a folder and gives its name on the server.
func (b *box) look(c *conn, folder string, readOnly bool) (name string, err error) {
	name, err = b.resolve(c, folder)
	if err != nil {
		return "", err
	}
	done := c.guard()
	defer done()
	_, err = c.Select(name, &imap.SelectOptions{ReadOnly: readOnly}).Wait()
	return name, err
}

// message fetches one message of the selected folder by its Message-ID.
func (c *conn) message(id string) ([]byte, error) {
	done := c.guard()
	defer done()
	got, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: id}}}, nil).Wait()
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	uids := got.AllUIDs()
	if len(uids) == 0 {
		return nil, nil
	}
	section := &imap.FetchItemBodySection{Peek: true}
	msgs, err := c.Fetch(imap.UIDSetNum(uids[0]), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	if len(msgs) == 0 {
		return nil, nil // moved in between: the next look finds it
	}
	return msgs[0].FindBodySection(section), nil
}
