package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"postern/intake/mime"
	"postern/queue"
	"postern/testmail/env"
)

// withPaper is a letter with an identity paper between two other parts.
const withPaper = "From: m@example.com\r\nMessage-ID: <paper@example.com>\r\nSubject: =?utf-8?q?L=C3=B6schung?=\r\nX-Odd :  kept as it is\r\n" +
	"Content-Type: multipart/mixed;\r\n boundary=\"b1\"\r\n\r\npreamble\r\n" +
	"--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nBitte l\xc3\xb6schen Sie meine Daten.  \r\n" +
	"--b1\r\nContent-Type: image/png; name=\"ausweis.png\"\r\nContent-Disposition: attachment; filename=\"ausweis.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\nUEFTU1BPUlQ=\r\n" +
	"--b1\r\nContent-Type: application/pdf; name=\"letter.pdf\"\r\nContent-Disposition: attachment; filename=\"letter.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTEVUVEVS\r\n" +
	"--b1--\r\nafter\r\n"

// paperFacts are the facts of a mail as the poller reads it.
func paperFacts(raw string) queue.Incoming {
	in, _ := Facts([]byte(raw), time.Now(), Mailbox{Name: "privacy", Controller: "acme"}, words{})
	return in
}

// Only the file goes: every byte before and after stays, and a second file of
// the same mail can go the same way.
func TestWithoutFile(t *testing.T) {
	in := paperFacts(withPaper)
	require.Len(t, in.Attachments, 2)
	got, err := withoutFile([]byte(withPaper), mime.Limits{}, 0, in.Attachments, "gone")
	require.NoError(t, err)
	from, to := strings.Index(withPaper, "Content-Type: image/png"), strings.Index(withPaper, "\r\n--b1\r\nContent-Type: application/pdf")
	require.Equal(t, withPaper[:from]+"Content-Type: text/plain; charset=us-ascii\r\nContent-Disposition: attachment; filename=\"destroyed.txt\"\r\n\r\ngone\r\n"+withPaper[to:], string(got))
	after := paperFacts(string(got))
	require.Equal(t, in.Text, after.Text)
	require.Equal(t, in.Subject, after.Subject)
	require.Equal(t, in.Attachments[1], after.Attachments[1])
	both, err := withoutFile(got, mime.Limits{}, 1, in.Attachments, "gone")
	require.NoError(t, err)
	require.NotContains(t, string(both), "TEVUVEVS")
	require.Equal(t, 2, strings.Count(string(both), "destroyed.txt"))

	bare := "From: m@example.com\r\nSubject: my\r\n paper\r\nContent-Type: image/png;\r\n name=\"p.png\"\r\nContent-Disposition: attachment; filename=\"p.png\"\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\nPASSPORT\r\n"
	in = paperFacts(bare)
	got, err = withoutFile([]byte(bare), mime.Limits{}, 0, in.Attachments, "gone")
	require.NoError(t, err)
	require.Equal(t, "From: m@example.com\r\nSubject: my\r\n paper\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nContent-Type: text/plain; charset=us-ascii\r\nContent-Disposition: attachment; filename=\"destroyed.txt\"\r\n\r\ngone\r\n", string(got))

	for name, recorded := range map[string][]queue.Attachment{
		"another mail": {{Name: "other.png", Type: "image/png", Size: in.Attachments[0].Size}}, "fewer files": nil,
	} {
		_, err = withoutFile([]byte(bare), mime.Limits{}, 0, recorded, "gone")
		require.ErrorIs(t, err, queue.ErrByHand, name)
	}
}

// On a real Dovecot the copy keeps flags and date, the original is gone and
// every other mail is there, also one that another program marked deleted; a
// crash in between is taken up again.
func TestDestroyFile(t *testing.T) {
	d := env.Dovecot(t)
	c := dovecotClient(t, d)
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	received := time.Date(2026, 11, 3, 9, 30, 15, 0, time.UTC)
	put := func(raw string, flags ...imap.Flag) {
		cmd := c.Append("INBOX", int64(len(raw)), &imap.AppendOptions{Flags: flags, Time: received})
		_, err := cmd.Write([]byte(raw))
		require.NoError(t, err)
		require.NoError(t, cmd.Close())
		_, err = cmd.Wait()
		require.NoError(t, err)
	}
	put(withPaper, imap.FlagSeen, "$PosternStored")
	twin := strings.Replace(withPaper, "UEFTU1BPUlQ=", "T1RIRVI=", 1) // the same id, other bytes
	put(twin)
	put("From: other@example.com\r\n\r\nmarked by another program\r\n", imap.FlagDeleted)

	in := paperFacts(withPaper)
	var planned string
	plan := func(hash string) error { planned = hash; return nil }
	broken := errors.New("down")
	_, err = DestroyFile(t.Context(), realBox(d), in, 0, "gone", func(string) error { return broken })
	require.ErrorIs(t, err, broken)
	raw, err := Original(t.Context(), realBox(d), in)
	require.NoError(t, err, "without the plan nothing was touched")
	require.Equal(t, withPaper, string(raw))

	hash, err := DestroyFile(t.Context(), realBox(d), in, 0, "gone", plan)
	require.NoError(t, err)
	require.Equal(t, planned, hash)
	_, err = Original(t.Context(), realBox(d), in)
	require.ErrorIs(t, err, queue.ErrUnknown)
	after := in
	after.ContentHash = hash
	raw, err = Original(t.Context(), realBox(d), after)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "UEFTU1BPUlQ=")
	require.Contains(t, string(raw), "TEVUVEVS")
	sum := sha256.Sum256([]byte(twin))
	_, err = Original(t.Context(), realBox(d), queue.Incoming{MessageID: in.MessageID, ContentHash: hex.EncodeToString(sum[:])})
	require.NoError(t, err)

	sel, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	require.NoError(t, err)
	require.EqualValues(t, 3, sel.NumMessages)
	msgs, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{Flags: true, InternalDate: true}).Collect()
	require.NoError(t, err)
	last := msgs[2]
	require.True(t, last.InternalDate.Equal(received), "%s", last.InternalDate)
	require.Subset(t, last.Flags, []imap.Flag{imap.FlagSeen, "$PosternStored"})
	require.NotContains(t, last.Flags, imap.FlagDeleted)

	// The process died after the original was deleted.
	in.Copy = hash
	again, err := DestroyFile(t.Context(), realBox(d), in, 0, "gone", plan)
	require.NoError(t, err)
	require.Equal(t, hash, again)
	in.Copy = ""
	_, err = DestroyFile(t.Context(), realBox(d), in, 0, "gone", plan)
	require.ErrorIs(t, err, queue.ErrUnknown)

	// It died after the copy was put there: no second copy is.
	in = paperFacts(twin)
	without, err := withoutFile([]byte(twin), mime.Limits{}, 0, in.Attachments, "gone")
	require.NoError(t, err)
	put(string(without))
	_, err = DestroyFile(t.Context(), realBox(d), in, 0, "gone", plan)
	require.NoError(t, err)
	require.EqualValues(t, 3, numMessages(t, c))
}

func numMessages(t *testing.T, c *imapclient.Client) uint32 {
	sel, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	require.NoError(t, err)
	return sel.NumMessages
}
