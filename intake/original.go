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
	var raw []byte
	err := visit(ctx, m, m.Done, false, func(c *conn) (bool, error) {
		found, err := c.findHash(searchOf(in), in.ContentHash)
		if found != nil {
			raw = found.raw
		}
		return found != nil, err
	})
	if err == nil && raw == nil {
		err = fmt.Errorf("mail of mailbox %q: %w", m.Name, queue.ErrUnknown)
	}
	return raw, err
}

// searchOf finds what may be a mail: by its id, or by its day where it has none.
func searchOf(in queue.Incoming) *imap.SearchCriteria {
	if in.MessageID != "" {
		return &imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: in.MessageID}}}
	}
	day := in.Received.Truncate(24 * time.Hour)
	return &imap.SearchCriteria{Since: day.AddDate(0, 0, -1), Before: day.AddDate(0, 0, 2)}
}

// findHash finds the message of the selected folder whose bytes have a hash,
// nil where there is none.
func (c *conn) findHash(criteria *imap.SearchCriteria, hash string) (*foundMail, error) {
	done := c.guard()
	defer done()
	got, err := c.UIDSearch(criteria, nil).Wait()
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	uids := got.AllUIDs()
	for _, uid := range uids[:min(len(uids), originalTries)] {
		section := &imap.FetchItemBodySection{Peek: true}
		msgs, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err != nil {
			return nil, fmt.Errorf("fetch: %w", err)
		}
		if len(msgs) == 0 {
			continue
		}
		raw := msgs[0].FindBodySection(section)
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) == hash {
			return &foundMail{uid, raw, msgs[0].InternalDate, msgs[0].Flags}, nil
		}
	}
	return nil, nil
}
