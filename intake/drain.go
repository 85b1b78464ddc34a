package intake

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sync/errgroup"
)

// wireMail is a mail as it came over IMAP.
type wireMail struct {
	uid      uint32
	received time.Time
	size     int64
	raw      []byte
	cut      bool // raw is only its beginning
}

// batchBytes bounds what one batch holds in memory.
const batchBytes = 32 << 20

// drain reads every mail above the checkpoint.
func (s *folderSession) drain(ctx context.Context) error {
	uids, err := s.newer()
	if err != nil || len(uids) == 0 {
		return err
	}
	return s.take(ctx, uids)
}

// sweep takes mails at or below the checkpoint that are still in the folder
// unmarked: a move that failed, or a server that used UIDs again after a crash.
// Storing them again changes nothing; then they are moved. Where the server
// counts changes and none came since nothing was left, nothing is searched.
func (s *folderSession) sweep(ctx context.Context) error {
	if s.at.Last == 0 || !s.done && !s.keyword || s.modseq != 0 && s.modseq == s.at.Swept {
		return nil
	}
	criteria := &imap.SearchCriteria{UID: []imap.UIDSet{{{Start: 1, Stop: imap.UID(s.at.Last)}}}}
	if s.keyword {
		criteria.NotFlag = []imap.Flag{imap.Flag(s.b.Keyword)}
	} else {
		criteria.NotFlag = []imap.Flag{imap.FlagDeleted} // copied where nothing can be expunged
	}
	uids, err := s.search(criteria)
	if err != nil {
		return err
	}
	if len(uids) == 0 {
		if s.modseq == 0 {
			return nil
		}
		s.at.Swept = s.modseq
		return s.b.p.d.State.Save(ctx, s.b.Name, s.folder, s.fence, s.at)
	}
	s.b.p.o.Log.Info("mails below the checkpoint are read again", "mailbox", s.b.Name, "folder", s.folder, "count", len(uids))
	return s.take(ctx, uids)
}

// take gives the mails their outcome. Four batches are in hand at once: one is
// fetched while one is read, one stored and one moved.
func (s *folderSession) take(ctx context.Context, uids []uint32) error {
	g, ctx := errgroup.WithContext(ctx)
	fetched := make(chan []wireMail, 1)
	g.Go(func() error {
		defer close(fetched)
		return s.fetchAll(ctx, uids, fetched)
	})
	read := stage(ctx, g, fetched, s.readAll)
	stored := stage(ctx, g, read, s.store)
	g.Go(func() error {
		for done := range stored {
			if err := s.finish(ctx, done); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// stage does one step with every batch of in, in a goroutine of g.
func stage[A, B any](ctx context.Context, g *errgroup.Group, in <-chan A, step func(context.Context, A) (B, error)) <-chan B {
	out := make(chan B, 1)
	g.Go(func() error {
		defer close(out)
		for batch := range in {
			done, err := step(ctx, batch)
			if err != nil {
				return err
			}
			select {
			case out <- done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return out
}

// newer lists the UIDs above the checkpoint, lowest first. "n:*" always names
// the last message, so what is not above is filtered (IM-2).
func (s *folderSession) newer() ([]uint32, error) {
	found, err := s.search(&imap.SearchCriteria{UID: []imap.UIDSet{{{Start: imap.UID(s.at.Last) + 1, Stop: 0}}}})
	if err != nil {
		return nil, err
	}
	out := found[:0]
	for _, u := range found {
		if u > s.at.Last {
			out = append(out, u)
		}
	}
	return out, nil
}

func (s *folderSession) search(criteria *imap.SearchCriteria) ([]uint32, error) {
	done := s.c.guard()
	defer done()
	data, err := s.c.UIDSearch(criteria, nil).Wait()
	if err != nil {
		return nil, fmt.Errorf("search folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	var out []uint32
	for _, u := range data.AllUIDs() {
		out = append(out, uint32(u))
	}
	slices.Sort(out)
	return out, nil
}

// fetchAll sends the mails of uids batch by batch.
func (s *folderSession) fetchAll(ctx context.Context, uids []uint32, out chan<- []wireMail) error {
	for len(uids) > 0 {
		n := min(len(uids), s.b.p.o.Batch)
		sizes, err := s.sizes(uids[:n])
		if err != nil {
			return err
		}
		n = fits(uids[:n], sizes, s.b.MaxSize)
		batch, err := s.fetch(uids[:n], sizes)
		if err != nil {
			return err
		}
		select {
		case out <- batch:
		case <-ctx.Done():
			return ctx.Err()
		}
		uids = uids[n:]
	}
	return nil
}

// fits tells how many of the mails fit into one batch, at least one.
func fits(uids []uint32, sizes map[uint32]int64, limit int64) int {
	total := int64(0)
	for i, u := range uids {
		total += min(sizes[u], limit)
		if total > batchBytes && i > 0 {
			return i
		}
	}
	return len(uids)
}

// sizes asks before any body is read (IM-3).
func (s *folderSession) sizes(uids []uint32) (map[uint32]int64, error) {
	done := s.c.guard()
	defer done()
	cmd := s.c.Fetch(uidSet(uids), &imap.FetchOptions{UID: true, RFC822Size: true})
	list, err := cmd.Collect()
	if err != nil {
		return nil, fmt.Errorf("fetch sizes in folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	out := make(map[uint32]int64, len(list))
	for _, m := range list {
		out[uint32(m.UID)] = m.RFC822Size
	}
	return out, nil
}

// fetch reads bodies; of a mail over the limit only the beginning. A mail that
// is gone by now gets an entry without bytes.
func (s *folderSession) fetch(uids []uint32, sizes map[uint32]int64) ([]wireMail, error) {
	var normal, huge []uint32
	for _, u := range uids {
		switch size, ok := sizes[u]; {
		case !ok:
		case size > s.b.MaxSize:
			huge = append(huge, u)
		default:
			normal = append(normal, u)
		}
	}
	got := map[uint32]wireMail{}
	whole := &imap.FetchItemBodySection{Peek: true}
	if err := s.fetchInto(got, normal, whole, sizes, s.b.MaxSize); err != nil {
		return nil, err
	}
	beginning := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Offset: 0, Size: hugeRead}}
	if err := s.fetchInto(got, huge, beginning, sizes, hugeRead); err != nil {
		return nil, err
	}
	out := make([]wireMail, 0, len(uids))
	var missing []uint32
	for _, u := range uids {
		m, ok := got[u]
		if !ok {
			m = wireMail{uid: u}
			missing = append(missing, u)
		}
		out = append(out, m)
	}
	return out, s.gone(missing)
}

// gone makes sure that mails the server did not send are not there any more: a
// server may leave one out for other reasons, and then it must come again.
func (s *folderSession) gone(uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	done := s.c.guard()
	err := s.c.Noop().Wait() // takes in what other programs removed
	done()
	if err != nil {
		return fmt.Errorf("poll folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	still, err := s.search(&imap.SearchCriteria{UID: []imap.UIDSet{uidSet(uids)}})
	if err != nil {
		return err
	}
	if len(still) > 0 {
		return fmt.Errorf("folder %q of mailbox %q holds %d mails that the server did not send", s.folder, s.b.Name, len(still))
	}
	return nil
}

// hugeRead is how much of a mail over the limit is read: header and letter
// stand at the beginning.
const hugeRead = 2 << 20

func (s *folderSession) fetchInto(got map[uint32]wireMail, uids []uint32, section *imap.FetchItemBodySection, sizes map[uint32]int64, limit int64) error {
	if len(uids) == 0 {
		return nil
	}
	done := s.c.guard()
	defer done()
	cmd := s.c.Fetch(uidSet(uids), &imap.FetchOptions{UID: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}})
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		m, err := readMail(data, limit)
		if err != nil {
			_ = cmd.Close()
			return fmt.Errorf("fetch mail in folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
		}
		if m.raw == nil {
			continue
		}
		m.size = max(sizes[m.uid], int64(len(m.raw)))
		m.cut = m.cut || section.Partial != nil
		if _, twice := got[m.uid]; !twice && m.uid != 0 {
			got[m.uid] = m
		}
	}
	if err := cmd.Close(); err != nil {
		return fmt.Errorf("fetch mails in folder %q of mailbox %q: %w", s.folder, s.b.Name, err)
	}
	return nil
}

// limited reads at most limit bytes of a literal and skips the rest.
func limited(r io.Reader, limit int64) ([]byte, bool, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, false, err
	}
	if int64(len(b)) <= limit {
		return b, false, nil
	}
	_, err = io.Copy(io.Discard, r)
	return b[:limit], true, err
}
