package intake

import (
	"context"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
)

// idleLimit is how long one IDLE lasts at most (RFC 2177 says 29 minutes).
const idleLimit = 25 * time.Minute

// folderSession reads one folder over one connection.
type folderSession struct {
	b       *box
	c       *conn
	named   string // as configured
	folder  string // as the server has it
	fence   int64
	at      Checkpoint
	keyword bool   // the server keeps our keyword (IM-7)
	modseq  uint64 // HIGHESTMODSEQ when the folder was opened, 0 if the server has none (IM-8)
	done    bool   // the Done folder is there
}

func (s *folderSession) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.c.close)
	defer stop()
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.sweep(ctx); err != nil {
		return err
	}
	for {
		if err := s.drain(ctx); err != nil {
			return err
		}
		s.b.succeeded(s.named)
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
}

// open selects the folder and finds where it was left.
func (s *folderSession) open(ctx context.Context) error {
	done := s.c.guard()
	data, err := s.c.Select(s.folder, &imap.SelectOptions{CondStore: s.c.Caps().Has(imap.CapCondStore)}).Wait()
	done()
	if err != nil {
		return fmt.Errorf("open folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	at, err := s.b.p.d.State.Load(ctx, s.b.Name, s.folder)
	if err != nil {
		return err
	}
	if at.Validity != data.UIDValidity {
		if at.Validity != 0 {
			s.b.p.o.Log.Warn("folder was rebuilt, reading it whole", "mailbox", s.b.Name, "folder", s.folder)
		}
		at = Checkpoint{Validity: data.UIDValidity} // IM-1
	}
	if data.UIDNext != 0 && at.Last >= uint32(data.UIDNext) {
		// The server forgot UIDs it had given out: all may be others by now.
		s.b.p.o.Log.Warn("folder counts its UIDs anew, reading it whole", "mailbox", s.b.Name, "folder", s.folder)
		at.Last = 0
	}
	s.at, s.modseq = at, data.HighestModSeq // 0 with NOMODSEQ
	s.keyword = keeps(data.PermanentFlags, s.b.Keyword)
	return s.makeDone()
}

// keeps tells whether the server stores a keyword for good (IM-7).
func keeps(permanent []imap.Flag, keyword string) bool {
	if keyword == "" {
		return false
	}
	for _, f := range permanent {
		if f == imap.FlagWildcard || string(f) == keyword {
			return true
		}
	}
	return false
}

// makeDone creates the folder that mails are moved to, if it is missing.
func (s *folderSession) makeDone() error {
	if s.b.Done == "" {
		return nil
	}
	done := s.c.guard()
	defer done()
	found, err := s.c.List("", s.b.Done, nil).Collect()
	if err != nil {
		return fmt.Errorf("look for folder %q of mailbox %q: %w", s.b.Done, s.b.Name, err)
	}
	if len(found) > 0 {
		s.done = true
		return nil
	}
	if err := s.c.Create(s.b.Done, nil).Wait(); err != nil {
		s.b.p.o.Log.Error("the folder for mails done can't be created, they stay where they are", "mailbox", s.b.Name, "folder", s.b.Done, "err", err)
		return nil
	}
	s.done = true
	return nil
}

// wait sleeps until the server tells of news or it is time to look: by IDLE
// where offered, and by a NOOP every PollEvery beside it, which also finds a
// dead connection (IM-4).
func (s *folderSession) wait(ctx context.Context) error {
	if s.c.Caps().Has(imap.CapIdle) {
		if err := s.idle(ctx); err != nil {
			return err
		}
	} else {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.b.PollEvery):
		}
	}
	done := s.c.guard()
	defer done()
	if err := s.c.Noop().Wait(); err != nil {
		return fmt.Errorf("poll folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	return nil
}

func (s *folderSession) idle(ctx context.Context) error {
	select {
	case <-s.c.news: // came while we were reading
		return nil
	default:
	}
	done := s.c.guard()
	cmd, err := s.c.Idle()
	done()
	if err != nil {
		return fmt.Errorf("idle in folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	t := time.NewTimer(min(s.b.PollEvery, idleLimit))
	defer t.Stop()
	select {
	case <-s.c.news:
	case <-t.C:
	case <-ctx.Done():
	case <-s.c.Closed():
	}
	done = s.c.guard()
	defer done()
	if err := cmd.Close(); err != nil {
		return fmt.Errorf("end idle in folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("end idle in folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	return ctx.Err()
}
