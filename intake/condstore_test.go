package intake

import (
	"context"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// TestIM8 looks below the checkpoint only where the folder changed since
// nothing was left undone there; HIGHESTMODSEQ dies with UIDVALIDITY.
func TestIM8(t *testing.T) {
	ctx := context.Background()
	d := env.Dovecot(t)
	state := memoryState(t)
	s := newStore()
	box := realBox(d)
	box.Done, box.Folders = "", []string{"INBOX"} // mails stay, marked
	poll := func(until string, cond func() bool) {
		t.Helper()
		p, err := New([]Mailbox{box}, Deps{Cases: s, Aside: s, Optouts: s, Bounces: s, Classifier: words{}, State: state}, Options{BackoffMax: 100 * time.Millisecond, Owner: "one"})
		require.NoError(t, err)
		stop := runPoller(t, p)
		eventually(t, until, cond)
		stop()
	}
	at := func() Checkpoint {
		c, err := state.Load(ctx, box.Name, "INBOX")
		require.NoError(t, err)
		return c
	}
	c := dovecotClient(t, d)
	marked := func(i int) bool {
		list := dovecotFlags(t, c, "INBOX")
		if len(list) <= i {
			return false
		}
		for _, f := range list[i] {
			if f == imap.Flag(box.Keyword) {
				return true
			}
		}
		return false
	}
	d.Deliver(letterFrom("1", "x", "Please erase my data."))
	poll("stored and marked", func() bool { return at().Last > 0 && marked(0) })
	poll("nothing is left", func() bool { return at().Swept > 0 })
	quiet := at()
	require.Equal(t, modseq(t, d), quiet.Swept)

	unmark(t, d, box.Keyword)
	poll("another program's change is seen and mended", func() bool { return marked(0) })

	unmark(t, d, box.Keyword)
	known := at()
	known.Swept = modseq(t, d)
	fence, _, err := state.Acquire(ctx, box.Name, "one", time.Second)
	require.NoError(t, err)
	require.NoError(t, state.Save(ctx, box.Name, "INBOX", fence, known))
	d.Deliver(letterFrom("2", "x", "Erase me, too."))
	known.Swept = modseq(t, d) // as if nothing had been left at this count
	require.NoError(t, state.Save(ctx, box.Name, "INBOX", fence, known))
	poll("the new mail is read", func() bool { return marked(1) })
	require.False(t, marked(0), "where nothing changed nothing is searched below the checkpoint")

	require.NoError(t, state.Save(ctx, box.Name, "INBOX", fence+100, Checkpoint{Validity: known.Validity + 1, Last: 900, Swept: known.Swept}))
	poll("a rebuilt folder is read whole", func() bool { return at().Validity == known.Validity && marked(0) })
}

// modseq is the folder's HIGHESTMODSEQ as a client of its own sees it.
func modseq(t *testing.T, d *env.DovecotServer) uint64 {
	c := dovecotClient(t, d)
	data, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	require.NoError(t, err)
	require.NotZero(t, data.HighestModSeq)
	return data.HighestModSeq
}

// unmark takes the keyword from every mail, as another program may.
func unmark(t *testing.T, d *env.DovecotServer, keyword string) {
	c := dovecotClient(t, d)
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	var all imap.SeqSet
	all.AddRange(1, 0)
	require.NoError(t, c.Store(all, &imap.StoreFlags{Op: imap.StoreFlagsDel, Flags: []imap.Flag{imap.Flag(keyword)}}, nil).Close())
}
