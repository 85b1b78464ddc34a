package intake

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// readMail takes the items of one FETCH answer.
func readMail(data *imapclient.FetchMessageData, limit int64) (wireMail, error) {
	var m wireMail
	for item := data.Next(); item != nil; item = data.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			m.uid = uint32(item.UID)
		case imapclient.FetchItemDataInternalDate:
			m.received = item.Time
		case imapclient.FetchItemDataBodySection:
			if item.Literal == nil {
				m.raw = []byte{}
				continue
			}
			b, cut, err := limited(item.Literal, limit)
			if err != nil {
				return m, err
			}
			m.raw, m.cut = b, cut
		}
	}
	return m, nil
}

// finish marks and moves mails whose outcome is stored, then notes how far the
// folder is done.
func (s *folderSession) finish(ctx context.Context, uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	set := uidSet(uids)
	if s.keyword {
		if err := s.mark(set); err != nil {
			return err
		}
	}
	if s.done {
		if err := s.move(set); err != nil {
			return err
		}
	}
	s.at.Last = max(s.at.Last, uids[len(uids)-1])
	s.at.Swept = 0 // a move that was refused left the count of changes as it was
	return s.b.p.d.State.Save(ctx, s.b.Name, s.folder, s.fence, s.at)
}

func (s *folderSession) mark(set imap.UIDSet) error {
	done := s.c.guard()
	defer done()
	err := s.c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.Flag(s.b.Keyword)}}, nil).Close()
	return s.tolerate(err, "mark mails")
}

// move takes mails to the Done folder: MOVE, or COPY, \Deleted and UID EXPUNGE
// of just these (IM-6). Without UIDPLUS they are copied and marked deleted, for
// a plain EXPUNGE would take other people's mails with it.
func (s *folderSession) move(set imap.UIDSet) error {
	done := s.c.guard()
	defer done()
	caps := s.c.Caps()
	if caps.Has(imap.CapMove) || caps.Has(imap.CapIMAP4rev2) {
		_, err := s.c.Move(set, s.b.Done).Wait()
		return s.tolerate(err, "move mails")
	}
	if _, err := s.c.Copy(set, s.b.Done).Wait(); err != nil {
		return s.tolerate(err, "copy mails")
	}
	if err := s.c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		return s.tolerate(err, "mark mails deleted")
	}
	if caps.Has(imap.CapUIDPlus) {
		return s.tolerate(s.c.UIDExpunge(set).Close(), "expunge mails")
	}
	return nil
}

// tolerate turns a NO into a warning: the outcome is stored, and a mail that
// can't be moved, as one another program took away, is no reason to stop. A
// lost connection is.
func (s *folderSession) tolerate(err error, doing string) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s in folder %q of mailbox %q: %w", doing, s.folder, s.b.Name, err)
	var no *imap.Error
	if errors.As(err, &no) && no.Type == imap.StatusResponseTypeNo {
		s.b.p.o.Log.Warn("stored, but the mailbox did not obey", "err", err)
		return nil
	}
	return err
}

func uidSet(uids []uint32) imap.UIDSet {
	var set imap.UIDSet
	for _, u := range uids {
		set.AddNum(imap.UID(u))
	}
	return set
}
