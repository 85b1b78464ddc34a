package intake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"

	"postern/queue"
)

// originalTries bounds how many messages that look alike are fetched.
const originalTries = 200

// Original fetches the bytes of a mail a case holds from its mailbox, wherever
// the done ones went. They are those that were read, proven by their hash: an
// id that another mail has as well leads nowhere. Errors wrap queue.ErrUnknown
// where no folder has it any more.
func Original(ctx context.Context, m Mailbox, in queue.Incoming) ([]byte, error) {
	criteria := &imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: in.MessageID}}}
	if in.MessageID == "" {
		day := in.Received.Truncate(24 * time.Hour)
		criteria = &imap.SearchCriteria{Since: day.AddDate(0, 0, -1), Before: day.AddDate(0, 0, 2)}
	}
	var raw []byte
	err := visit(ctx, m, m.Done, false, func(c *conn) (found bool, err error) {
		raw, err = c.byHash(criteria, in.ContentHash)
		return raw != nil, err
	})
	if err == nil && raw == nil {
		err = fmt.Errorf("mail of mailbox %q: %w", m.Name, queue.ErrUnknown)
	}
	return raw, err
}

// byHash fetches the message of the selected folder whose bytes have a hash,
// nil where there is none.
func (c *conn) byHash(criteria *imap.SearchCriteria, hash string) ([]byte, error) {
	done := c.guard()
	defer done()
	got, err := c.UIDSearch(criteria, nil).Wait()
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	uids := got.AllUIDs()
	for _, uid := range uids[:min(len(uids), originalTries)] {
		section := &imap.FetchItemBodySection{Peek: true}
		msgs, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			return nil, fmt.Errorf("fetch: %w", err)
		}
		if len(msgs) == 0 {
			continue
		}
		raw := msgs[0].FindBodySection(section)
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) == hash {
			return raw, nil
		}
	}
	return nil, nil
}
