package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

// paperMail is a letter with an identity paper and a letter as a file.
func paperMail(labels ...classifier.Label) Incoming {
	in := mailFrom("alice@example.com", labels...)
	in.Attachments = []Attachment{{Name: "ausweis.pdf", Type: "application/pdf", Size: 900, Text: "passport number secret"}, {Name: "letter.pdf", Type: "application/pdf", Size: 70, Text: "Delete my data."}}
	in.Result.Reasons = []classifier.Reason{
		{Label: classifier.Erasure, Words: "secret words", Weight: 1, Rule: "sentence: My secret words"},
		{Label: classifier.Access, Words: "number", Weight: 1, Rule: "sentence: passport number secret"},
	}
	return in
}

func (w *world) openMail(in Incoming) string {
	w.t.Helper()
	ref, err := w.q.Open(w.t.Context(), in)
	require.NoError(w.t, err)
	return ref.Number
}

// mailboxFake stands for the mailbox: it holds hashes and fails as told.
type mailboxFake struct {
	holds map[string]bool
	fail  error
	calls int
}

func (m *mailboxFake) remove(_ context.Context, in Incoming, file int, note string, planned func(string) error) (string, error) {
	m.calls++
	if !m.holds[in.ContentHash] && in.Copy != "" && m.holds[in.Copy] {
		return in.Copy, nil
	}
	if !m.holds[in.ContentHash] {
		return "", ErrUnknown
	}
	hash := sha(fmt.Sprint(in.ContentHash, file, note))
	if err := planned(hash); err != nil {
		return "", err
	}
	if errors.Is(m.fail, ErrByHand) {
		return "", m.fail
	}
	m.holds[hash] = true
	delete(m.holds, in.ContentHash)
	if err := m.fail; err != nil { // the process dies after the mailbox obeyed
		m.fail = nil
		return "", err
	}
	return hash, nil
}

// An identity paper goes: its words from the case, its bytes from the mailbox,
// one try failing in between. The rest of the mail stays, the mail that lies
// there now is known, and the ledger tells who did it and why.
func TestDestroyFile(t *testing.T) {
	w := newWorld(t)
	in := paperMail(classifier.Erasure)
	box := &mailboxFake{holds: map[string]bool{in.ContentHash: true}, fail: errDown}
	w.q.d.Remove = box.remove
	no := w.openMail(in)
	w.drain()
	before := w.show(no).Mails[0]
	require.NoError(t, w.q.DestroyFile(ctx, no, Destruction{File: 0, Actor: eve, Reason: "identity-paper", Note: "nobody asked for it"}))
	gone := w.show(no).Mails[0]
	require.Empty(t, gone.Attachments[0].Text)
	require.Equal(t, w.clock.Now(), gone.Attachments[0].Destroyed.UTC())
	require.Equal(t, leftWaiting, gone.Attachments[0].Left)
	require.Len(t, gone.Result.Reasons, 1, "the paper's own words went with it")

	at := w.clock.Now()
	w.drain()
	require.Equal(t, leftWaiting, w.show(no).Mails[0].Attachments[0].Left, "the mailbox failed")
	w.clock.Set(at.Add(time.Minute))
	w.drain()
	after := w.show(no).Mails[0]
	require.Empty(t, after.Attachments[0].Left)
	require.NotEqual(t, in.ContentHash, after.ContentHash)
	require.True(t, box.holds[after.ContentHash])
	require.Empty(t, after.Copy)
	require.Equal(t, before.Attachments[1], after.Attachments[1])
	require.Equal(t, []any{before.Text, before.Subject, before.From, before.Received.UTC(), before.Quoted}, []any{after.Text, after.Subject, after.From, after.Received.UTC(), after.Quoted})

	copied := in // the poller meets the copy
	copied.UID, copied.ContentHash = in.UID+5000, after.ContentHash
	ref, err := w.q.Open(ctx, copied)
	require.NoError(t, err)
	require.Equal(t, Ref{no, false}, ref)
	require.Len(t, w.show(no).Mails, 1, "the copy is no further mail")

	w.drain()
	var reasons []string
	for _, r := range w.proofs {
		if r.Action == string(ActDestroy) {
			reasons = append(reasons, r.Reason)
			require.Equal(t, "0", r.Data["file"])
			require.NotContains(t, fmt.Sprint(r.Data), "ausweis")
		}
	}
	require.ElementsMatch(t, []string{"identity-paper", "mailbox"}, reasons)
	require.ErrorIs(t, w.q.DestroyFile(ctx, no, Destruction{File: 0, Actor: eve, Reason: "identity-paper"}), ErrOrder)
	requireSealed(t, w.rdb)

	require.NoError(t, w.q.DestroyFile(ctx, no, Destruction{File: 1, Actor: eve, Reason: "not-needed"}))
	w.drain()
	last := w.show(no).Mails[0]
	require.Empty(t, last.Attachments[1].Left)
	require.Len(t, box.holds, 1)
	require.True(t, box.holds[last.ContentHash], "both are gone from the one mail that is left")
}

// Two papers ordered at once leave one mail without either, also after a crash
// in the middle of the first.
func TestDestroyTwoFilesAtOnce(t *testing.T) {
	w := newWorld(t)
	in := paperMail(classifier.Erasure)
	box := &mailboxFake{holds: map[string]bool{in.ContentHash: true}, fail: errDown}
	w.q.d.Remove = box.remove
	no := w.openMail(in)
	require.NoError(t, w.q.DestroyFile(ctx, no, Destruction{File: 1, Actor: eve, Reason: "other-person"}))
	require.ErrorIs(t, w.q.destroyOriginal(ctx, no, "0"), errDown)
	require.NoError(t, w.q.DestroyFile(ctx, no, Destruction{File: 0, Actor: eve, Reason: "identity-paper"}))
	w.drain()
	got := w.show(no).Mails[0]
	require.Empty(t, got.Attachments[0].Left+got.Attachments[1].Left)
	require.Equal(t, map[string]bool{got.ContentHash: true}, box.holds)
}

// Where the mailbox can't do it, the case says so until a person did.
func TestDestroyByHand(t *testing.T) {
	for name, c := range map[string]struct {
		fail error
		want string
		none bool
	}{
		"gmail": {fail: fmt.Errorf("mailbox: %w: gmail", ErrByHand), want: "gmail"}, "odd": {fail: fmt.Errorf("%w: Free Words", ErrByHand), want: "other"},
		"gone": {want: "not-found"}, "no mailbox": {want: "no-mailbox", none: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			in := paperMail(classifier.Erasure)
			box := &mailboxFake{holds: map[string]bool{in.ContentHash: c.fail != nil}, fail: c.fail}
			if !c.none {
				w.q.d.Remove = box.remove
			}
			no := w.openMail(in)
			require.NoError(t, w.q.DestroyFile(ctx, no, Destruction{File: 0, Actor: eve, Reason: "identity-paper"}))
			w.drain()
			got := w.show(no)
			require.Equal(t, c.want, got.Mails[0].Attachments[0].Left)
			require.Contains(t, got.Flags, FlagManual)
			require.Empty(t, got.Mails[0].Attachments[0].Text)
			require.Equal(t, in.ContentHash, got.Mails[0].ContentHash)
			require.NoError(t, w.q.FileRemoved(ctx, no, Destruction{File: 0, Actor: eve}))
			require.Empty(t, w.show(no).Mails[0].Attachments[0].Left)
			require.ErrorIs(t, w.q.FileRemoved(ctx, no, Destruction{File: 0, Actor: eve}), ErrOrder)
		})
	}
}

// A legal hold keeps everything, and a case split off loses its copy too.
func TestDestroyHeldAndSplit(t *testing.T) {
	w := newWorld(t)
	in := paperMail(classifier.Erasure, classifier.Access)
	box := &mailboxFake{holds: map[string]bool{in.ContentHash: true}}
	w.q.d.Remove = box.remove
	no := w.openMail(in)
	ref, err := w.q.Split(ctx, no, []classifier.Label{classifier.Access}, eve, "")
	require.NoError(t, err)
	require.Equal(t, "passport number secret", w.show(ref.Number).Mails[0].Attachments[0].Text)
	d := Destruction{File: 0, Actor: eve, Reason: "identity-paper"}
	require.ErrorIs(t, w.q.DestroyFile(ctx, ref.Number, d), ErrOrder, "the mail is the first case's")
	for _, held := range []string{no, ref.Number} {
		require.NoError(t, w.q.LegalHold(ctx, held, true, eve, "court"))
		require.ErrorIs(t, w.q.DestroyFile(ctx, no, d), ErrOrder)
		require.NotEmpty(t, w.show(no).Mails[0].Attachments[0].Text)
		require.NoError(t, w.q.LegalHold(ctx, held, false, eve, "over"))
	}
	require.NoError(t, w.q.DestroyFile(ctx, no, d))
	w.drain()
	for _, n := range []string{no, ref.Number} {
		a := w.show(n).Mails[0].Attachments[0]
		require.Empty(t, a.Text+a.Left)
		require.False(t, a.Destroyed.IsZero())
	}
	for _, bad := range []Destruction{{File: 9, Actor: eve, Reason: "identity-paper"}, {Mail: 4, Actor: eve, Reason: "not-needed"}} {
		require.ErrorIs(t, w.q.DestroyFile(ctx, no, bad), ErrUnknown)
	}
	require.ErrorIs(t, w.q.DestroyFile(ctx, no, Destruction{File: 1, Actor: "rule", Reason: "not-needed"}), ErrOrder)
	require.ErrorIs(t, w.q.DestroyFile(ctx, no, Destruction{File: 1, Actor: eve, Reason: strings.Repeat("x", 9)}), ErrOrder)
}
