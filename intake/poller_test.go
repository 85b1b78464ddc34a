package intake

import (
	"fmt"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"postern/testmail/mailbox"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/alicebob/miniredis/v2.(*Miniredis).Start.func1"))
}

func TestMailBecomesCaseAndMoves(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	at := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "Please", "Please erase my data."), at))
	r.start()
	eventually(t, "the mail is moved", func() bool { return len(r.imap.Folder("Done")) == 1 })
	require.Empty(t, r.imap.Folder("INBOX"))
	cases, aside, _ := r.store.counts()
	require.Equal(t, 1, cases)
	require.Zero(t, aside)
	for _, in := range r.store.all() {
		require.Equal(t, "acme", in.Controller)
		require.Equal(t, "ada@example.net", in.From.Plain())
		require.Equal(t, "Please erase my data.", in.Text)
		require.True(t, in.Received.Equal(at), "the clock starts at INTERNALDATE, got %s", in.Received)
		require.EqualValues(t, 1, in.UID)
		require.Equal(t, "INBOX", in.Folder)
	}
	flags, err := r.imap.Flags("Done")
	require.NoError(t, err)
	require.Contains(t, flags[0], imap.Flag("$posternstored"))
}

func TestIdleTellsBeforeThePoll(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	r.box.PollEvery = time.Hour
	p, _ := r.start()
	eventually(t, "the folder was read", func() bool { return !p.Health()[0].LastSuccess.IsZero() })
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
	eventually(t, "IDLE told of the mail", func() bool { n, _, _ := r.store.counts(); return n == 1 })
}

func TestServersThatLackExtensions(t *testing.T) {
	for name, caps := range map[string]imap.CapSet{
		"bare":            {imap.CapIMAP4rev1: {}},
		"idle alone":      {imap.CapIMAP4rev1: {}, imap.CapIdle: {}},
		"uidplus no move": {imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, mailbox.Options{Caps: caps})
			r.box.PollEvery = 20 * time.Millisecond
			r.start()
			for i := range 3 {
				require.NoError(t, r.imap.Deliver("INBOX", letterFrom(fmt.Sprint(i), "x", "Please erase my data."), time.Now()))
				eventually(t, "stored", func() bool { n, _, _ := r.store.counts(); return n == i+1 })
			}
			eventually(t, "copied", func() bool { return len(r.imap.Folder("Done")) == 3 })
		})
	}
}

func TestNothingIsLostWhileTheStoreIsAway(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	r.store.set(true)
	p, _ := r.start()
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
	eventually(t, "the failure is told", func() bool { return p.Health()[0].Failing != "" })
	require.Len(t, r.imap.Folder("INBOX"), 1, "not touched before it is stored")
	r.store.set(false)
	eventually(t, "stored when the store is back", func() bool { return len(r.imap.Folder("Done")) == 1 })
}

func TestPoisonMailBecomesAManualCase(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	r.cls = words{panics: "break me"}
	for i, body := range []string{"Please erase my data.", "break me", "A copy of my data please."} {
		require.NoError(t, r.imap.Deliver("INBOX", letterFrom(fmt.Sprint(i), "x", body), time.Now()))
	}
	r.start()
	eventually(t, "all three have an outcome", func() bool { n, _, _ := r.store.counts(); return n == 3 })
	manual := 0
	for _, in := range r.store.all() {
		if in.Manual != "" {
			manual++
			require.True(t, in.Result.Abstain)
			require.False(t, in.MayReply)
		}
	}
	require.Equal(t, 1, manual)
}

func TestRebuiltFolderIsReadWhole(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	r.box.Done, r.box.Keyword = "", ""
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("2", "x", "Please erase my data, too."), time.Now()))
	_, stop := r.start()
	eventually(t, "stored", func() bool { n, _, _ := r.store.counts(); return n == 2 })
	stop()
	require.NoError(t, r.imap.Rebuild("INBOX"))
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("3", "x", "Erase it."), time.Now()))
	r.start()
	eventually(t, "the mail under a low UID is read", func() bool { n, _, _ := r.store.counts(); return n == 3 })
}

func TestHugeMailIsACaseForAPerson(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	r.box.MaxSize = 2000
	big := letterFrom("1", "big", "Please erase my data.\n"+string(make([]byte, 5000)))
	require.NoError(t, r.imap.Deliver("INBOX", big, time.Now()))
	r.start()
	eventually(t, "stored", func() bool { return len(r.imap.Folder("Done")) == 1 })
	for _, in := range r.store.all() {
		require.Equal(t, "over the size limit", in.Manual)
		require.Equal(t, "ada@example.net", in.From.Plain())
	}
}

func TestTwoPollersReadOnce(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	holder, stopFirst := r.start()
	eventually(t, "the first reads", func() bool { return !holder.Health()[0].LastSuccess.IsZero() })
	second := *r
	p, _ := second.start()
	eventually(t, "the second stands by", func() bool { return p.Health()[0].Standby })
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
	eventually(t, "stored", func() bool { n, _, _ := r.store.counts(); return n == 1 })
	stopFirst()
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("2", "x", "Erase it."), time.Now()))
	eventually(t, "the second takes over", func() bool { n, _, _ := r.store.counts(); return n == 2 })
	require.Equal(t, 2, r.store.opened(), "each mail was stored once")
}

func TestBadMailboxDoesNotStopAnother(t *testing.T) {
	r := newRig(t, mailbox.Options{})
	bad := r.box
	bad.Name, bad.Address = "bad", "127.0.0.1:1"
	wrong := r.box
	wrong.Name, wrong.Password = "wrong", func() (string, error) { return "no", nil }
	good := r.box
	p, err := New([]Mailbox{bad, wrong, good}, Deps{Cases: r.store, Aside: r.store, Optouts: r.store, Classifier: r.cls, State: NewRedisState(r.rdb)}, r.opts)
	require.NoError(t, err)
	ctx, cancel := contextWithCancel(t)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	require.NoError(t, r.imap.Deliver("INBOX", letterFrom("1", "x", "Please erase my data."), time.Now()))
	eventually(t, "stored", func() bool { n, _, _ := r.store.counts(); return n == 1 })
	eventually(t, "both failures are told", func() bool { h := p.Health(); return h[0].Failing != "" && h[1].Failing != "" })
	require.Contains(t, p.Health()[1].Failing, "refused")
	require.NotContains(t, p.Health()[1].Failing, "privacy@")
	cancel()
	require.NoError(t, <-done)
}

func TestNewReportsAllFaultsAtOnce(t *testing.T) {
	_, err := New([]Mailbox{{Name: "a b", Address: "x"}, {Name: "ok", Address: "h:1", TLS: "maybe", User: "u"}}, Deps{}, Options{})
	require.ErrorContains(t, err, "host:port")
	require.ErrorContains(t, err, "implicit, starttls or none")
	require.ErrorContains(t, err, "password or oauth")
	require.ErrorContains(t, err, "needs Cases")
}
