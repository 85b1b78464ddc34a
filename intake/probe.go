package intake

import (
	"context"
	"fmt"

	"github.com/emersion/go-imap/v2"
)

// Probe connects to a mailbox and logs in as the poller would, and selects
// each folder that is read. Errors name the mailbox, no address.
func Probe(ctx context.Context, m Mailbox) error {
	return visit(ctx, m, m.Folders, func(*conn) (bool, error) { return false, nil })
}

// Find looks for a message in the folders that are read and in that of the
// done ones, without changing a flag. nil where there is none (yet).
func Find(ctx context.Context, m Mailbox, messageID string) (raw []byte, err error) {
	folders := append([]string(nil), m.Folders...)
	if m.Done != "" {
		folders = append(folders, m.Done)
	}
	err = visit(ctx, m, folders, func(c *conn) (bool, error) {
		raw, err = c.message(messageID)
		return raw != nil, err
	})
	return raw, err
}

// visit opens the folders one after another, for reading only, until f says
// that it is done. A folder that is not there is passed over but for the first.
func visit(ctx context.Context, m Mailbox, folders []string, f func(*conn) (bool, error)) error {
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
	for i, folder := range folders {
		done := c.guard()
		_, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait()
		done()
		if err != nil && i > 0 && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("open a folder of mailbox %q: %w", m.Name, refused(err))
		}
		if found, err := f(c); found || err != nil {
			return err
		}
	}
	return nil
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
