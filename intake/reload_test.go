package intake

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"postern/testmail/mailbox"
)

// TestReload takes mailboxes away, adds and changes them while others read on.
func TestReload(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	r.opts.Registry = prometheus.NewRegistry()
	r.box.Revision = "1"
	p, stop := r.start()
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "Please", "Please erase my data."), time.Now()))
	eventually(t, "the first is stored", func() bool { n, _, _ := r.store.counts(); return n == 1 })
	first := p.list()[0]

	other := r.box
	other.Name, other.Folders = "dpo", []string{"Junk"}
	require.NoError(t, p.Reload([]Mailbox{r.box, other}))
	require.Same(t, first, p.list()[0], "what did not change reads on")
	require.NoError(t, r.imap.Deliver("Junk", letterFrom("2", "Please", "Please erase my data, too."), time.Now()))
	eventually(t, "a new mailbox is read", func() bool { n, _, _ := r.store.counts(); return n == 2 })

	broken := r.box
	broken.Address = "nowhere"
	require.ErrorContains(t, p.Reload([]Mailbox{broken}), "host:port")
	require.Len(t, p.Health(), 2, "a fault changes nothing")
	require.ErrorContains(t, p.Reload([]Mailbox{r.box, r.box}), "used twice")

	changed := r.box
	changed.Revision, changed.Folders = "2", []string{"INBOX", "Junk"}
	require.NoError(t, p.Reload([]Mailbox{changed}))
	require.Len(t, p.Health(), 1)
	require.NotSame(t, first, p.list()[0])
	<-first.done
	require.Equal(t, 1, testutil.CollectAndCount(p.metrics.success), "a mailbox that is gone is not silent")
	require.NoError(t, r.imap.Deliver("Junk", letterFrom("3", "Please", "And erase mine."), time.Now()))
	eventually(t, "the changed mailbox is read", func() bool { n, _, _ := r.store.counts(); return n == 3 })

	require.NoError(t, p.Reload(nil))
	require.Empty(t, p.Health())
	stop()
	require.NoError(t, p.Reload([]Mailbox{changed}), "nothing starts after the end")
}
