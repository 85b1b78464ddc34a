package intake

import (
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"postern/testmail/env"
	"postern/testmail/mailbox"
)

// A mailbox is read only when each of its folders is: requests that lie in one
// that was renamed have clocks that run.
func TestUnreadFolderIsNotHiddenByTheOthers(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	r.box.Folders = []string{"INBOX", "Requests"}
	p, _ := r.start()
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
	eventually(t, "the other folder is read", func() bool { n, _, _ := r.store.counts(); return n == 1 })
	eventually(t, "the failure is told", func() bool { return p.Health()[0].Failing != "" })
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("2", "x", "Please erase my data."), time.Now()))
	eventually(t, "the other folder is read again", func() bool { n, _, _ := r.store.counts(); return n == 2 })
	h := p.Health()[0]
	require.Contains(t, h.Failing, "Requests")
	require.True(t, h.LastSuccess.IsZero(), "one folder was never read")
	require.ErrorContains(t, Probe(t.Context(), r.box), `folder "Requests"`)
	require.InDelta(t, h.Started.Unix(), testutil.ToFloat64(p.metrics.success.WithLabelValues("privacy")), 1, "the alert counts from the start")
}

func TestJunkFolderIsFoundByItsMark(t *testing.T) {
	d := env.Dovecot(t)
	box := realBox(d)
	box.Folders = nil
	raw := letterFrom("junk", "x", "Please erase my data.")
	put := dovecotClient(t, d).Append("Junk", int64(len(raw)), nil)
	_, err := put.Write(raw)
	require.NoError(t, err)
	require.NoError(t, put.Close())
	_, err = put.Wait()
	require.NoError(t, err)
	s := newStore()
	p, err := New([]Mailbox{box}, Deps{Cases: s, Aside: s, Optouts: s, Bounces: s, Classifier: words{}, State: memoryState(t)}, Options{})
	require.NoError(t, err)
	runPoller(t, p)
	eventually(t, "the mail in Junk is read", func() bool { n, _, _ := s.counts(); return n == 1 })
	for _, in := range s.all() {
		require.Equal(t, "Junk", in.Folder)
	}
	require.NoError(t, Probe(t.Context(), box))
}

func TestServerWithoutJunkFolder(t *testing.T) {
	r := newRig(t, mailbox.Options{Folders: []string{"INBOX", "Done"}})
	r.box.Folders = nil
	p, _ := r.start()
	eventually(t, "the mailbox counts as read", func() bool { return !p.Health()[0].LastSuccess.IsZero() })
	require.Empty(t, p.Health()[0].Failing)
	require.NoError(t, Probe(t.Context(), r.box))
}

func TestJunkOf(t *testing.T) {
	list := func(names ...string) (all []*imap.ListData) {
		for _, n := range names {
			all = append(all, &imap.ListData{Mailbox: n})
		}
		return all
	}
	marked := list("INBOX", "Spam", "[Gmail]/Spam")
	marked[2].Attrs = []imap.MailboxAttr{imap.MailboxAttrHasNoChildren, imap.MailboxAttrJunk}
	require.Equal(t, "[Gmail]/Spam", junkOf(marked), "the mark goes before the name")
	require.Equal(t, "Junk Email", junkOf(list("INBOX", "Junk Email")))
	require.Equal(t, "spam", junkOf(list("INBOX", "spam")))
	require.Empty(t, junkOf(list("INBOX", "Junkyard")))
}

// Two pollers: who stands by knows nothing of its own, and starts anew when it
// takes over, so that an old success is not told as a silence.
func TestStandbyForgetsWhatItRead(t *testing.T) {
	b := &box{Mailbox: Mailbox{Name: "privacy"}, p: &Poller{o: Options{}.withDefaults(), metrics: newMetrics(nil)}}
	b.healthOf("INBOX")
	b.succeeded("INBOX")
	require.False(t, b.summary().LastSuccess.IsZero())
	b.standby()
	h := b.summary()
	require.True(t, h.Standby)
	require.True(t, h.LastSuccess.IsZero())
	require.WithinDuration(t, b.p.o.Now(), h.Started, time.Minute)
	b.succeeded("INBOX")
	require.False(t, b.summary().Standby)
}
