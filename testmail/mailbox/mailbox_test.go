package mailbox

import (
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"
)

func TestDeliverAndRead(t *testing.T) {
	s, err := New(Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	raw := []byte("Subject: one\r\n\r\nbody\r\n")
	require.NoError(t, s.Deliver("INBOX", raw, time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)))
	require.Equal(t, [][]byte{raw}, s.Folder("INBOX"))
	require.Empty(t, s.Folder("Done"))
	require.Nil(t, s.Folder("no such folder"))
	require.Error(t, s.Deliver("no such folder", raw, time.Time{}))
}

func TestIdleIsToldAtOnce(t *testing.T) {
	s, err := New(Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	told := make(chan uint32, 4)
	c, err := imapclient.DialInsecure(s.Addr(), &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				told <- *d.NumMessages
			}
		},
	}})
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.Login("privacy@example.org", "secret").Wait())
	_, err = c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.True(t, c.Caps().Has(imap.CapIdle))
	idle, err := c.Idle()
	require.NoError(t, err)
	require.NoError(t, s.Deliver("INBOX", []byte("Subject: x\r\n\r\n\r\n"), time.Time{}))
	select {
	case n := <-told:
		require.EqualValues(t, 1, n)
	case <-time.After(5 * time.Second):
		t.Fatal("IDLE was not told")
	}
	require.NoError(t, idle.Close())
	require.NoError(t, idle.Wait())
}

func TestRebuildChangesValidity(t *testing.T) {
	s, err := New(Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	before, err := s.user.Status("INBOX", &imap.StatusOptions{UIDValidity: true})
	require.NoError(t, err)
	require.NoError(t, s.Rebuild("INBOX"))
	after, err := s.user.Status("INBOX", &imap.StatusOptions{UIDValidity: true})
	require.NoError(t, err)
	require.NotEqual(t, before.UIDValidity, after.UIDValidity)
}
