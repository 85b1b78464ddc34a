package queue

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"postern/classifier"
)

// requireProven looks for each event of the cases in the ledger and for
// nothing else.
func (w *world) requireProven(numbers ...string) {
	w.t.Helper()
	want := map[string]bool{}
	for _, no := range numbers {
		_, events, err := w.q.Show(ctx, no)
		require.NoError(w.t, err)
		for i, e := range events {
			id := fmt.Sprintf("case:%s:%d", no, i)
			want[id] = true
			require.Contains(w.t, w.proofs, id)
			require.Equal(w.t, string(e.Action), w.proofs[id].Action)
			require.Equal(w.t, e.Time, w.proofs[id].Time)
		}
	}
	require.Len(w.t, w.proofs, len(want))
}

// TestBatchIsProvenAtOnce: what happened to the cases of a batch is in the
// ledger when OpenAll returns, with no worker running, in one commit.
func TestBatchIsProvenAtOnce(t *testing.T) {
	w := newWorld(t)
	var mails []Incoming
	for i := range runCases + 4 { // more than one run of the script takes
		mails = append(mails, mailFrom(fmt.Sprintf("p%d@example.com", i), [][]classifier.Label{{classifier.Access}, {classifier.Objection}, {classifier.Erasure, classifier.Objection}}[i%3]...))
	}
	refs, err := w.q.OpenAll(ctx, mails)
	require.NoError(t, err)
	var numbers []string
	for _, r := range refs {
		require.True(t, r.New)
		numbers = append(numbers, r.Number)
	}
	require.Equal(t, 1, w.commits)
	require.Len(t, w.bound, 36)
	w.requireProven(numbers...)
	require.Zero(t, w.rdb.ZCard(ctx, keyLater).Val(), "nothing is left for workers to take up")
	w.drain()
	w.requireProven(numbers...)
	require.Len(t, w.bound, 36)
}

// TestDeadAfterStoring: a process that dies between storing and all that
// follows loses nothing; a worker does it, once.
func TestDeadAfterStoring(t *testing.T) {
	w := newWorld(t)
	mails := []Incoming{mailFrom("alice@example.com", classifier.Objection), mailFrom("bob@example.com", classifier.Access)}
	list := []*opening{{in: mails[0]}, {in: mails[1]}}
	require.NoError(t, w.q.storeAll(ctx, list))
	w.drain()
	require.Empty(t, w.bound, "the process that stored them has its time")

	refs, err := w.q.OpenAll(ctx, mails) // the mailbox was not touched: they come again
	require.NoError(t, err)
	for i, r := range refs {
		require.Equal(t, Ref{list[i].ref.Number, false}, r)
	}
	w.later(followWithin + time.Second)
	require.Len(t, w.bound, 1)
	w.requireProven(refs[0].Number, refs[1].Number)
	require.Len(t, w.sent, 2, "a receipt each")
	_, events, err := w.q.Show(ctx, refs[0].Number)
	require.NoError(t, err)
	require.Equal(t, []Action{ActOpen, ActSuppress, ActReceipt}, actions(events))
}

// TestDeadBeforeTheWorkIsTakenBack: all of it is done, and is done again.
func TestDeadBeforeTheWorkIsTakenBack(t *testing.T) {
	w := newWorld(t)
	list := []*opening{{in: mailFrom("alice@example.com", classifier.Objection)}, {in: mailFrom("bob@example.com", classifier.Access)}}
	require.NoError(t, w.q.storeAll(ctx, list))
	kept := w.rdb.ZRangeWithScores(ctx, keyLater, 0, -1).Val()
	require.Len(t, kept, 1)
	w.q.follow(ctx, list)
	w.drain()
	require.NoError(t, w.rdb.ZAdd(ctx, keyLater, kept...).Err())
	before := maps.Clone(w.proofs)
	w.later(followWithin + time.Second)
	require.Equal(t, before, w.proofs)
	require.Len(t, w.bound, 1)
	require.Len(t, w.sent, 2)
	w.requireProven(list[0].ref.Number, list[1].ref.Number)
}

// TestLedgerDownWhileStoring: a case is stored and its opt-out bound although
// the ledger takes nothing; it is proven once it does.
func TestLedgerDownWhileStoring(t *testing.T) {
	w := newWorld(t)
	w.failProof = true
	ref, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Objection))
	require.NoError(t, err)
	require.Len(t, w.bound, 1)
	require.Empty(t, w.proofs)
	w.set(func() { w.failProof = false })
	w.drain()
	w.requireProven(ref.Number)
}

// TestThreadWithinBatch: mails of one batch that answer each other are one
// case, in whatever order they come.
func TestThreadWithinBatch(t *testing.T) {
	first := mailFrom("alice@example.com", classifier.Access)
	answer := mailFrom("alice@example.com")
	answer.InReplyTo = first.MessageID
	further := mailFrom("alice@example.com", classifier.Objection) // knows only what it answers
	further.InReplyTo = answer.MessageID
	byReference := mailFrom("alice@example.com")
	byReference.References = []string{"elsewhere@mail.example.com", first.MessageID, further.MessageID}
	stranger := mailFrom("bob@example.net", classifier.Access)
	stranger.References = []string{"elsewhere@mail.example.com"} // what both answer is none of the mails
	club := mailFrom("alice@example.com", classifier.Access)
	club.Controller, club.InReplyTo = "club", first.MessageID
	thread := []Incoming{first, answer, further, byReference}

	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		mails := rapid.Permutation(append(slices.Clone(thread), stranger, club)).Draw(rt, "mails")
		cut := rapid.IntRange(0, len(mails)).Draw(rt, "stored before") // what came again is known
		if slices.IndexFunc(mails[:cut], func(in Incoming) bool { return in.UID == first.UID }) < 0 {
			cut = 0 // a batch of answers alone could not know what comes
		}
		_, err := w.q.OpenAll(ctx, mails[:cut])
		require.NoError(rt, err)
		refs, err := w.q.OpenAll(ctx, mails)
		require.NoError(rt, err)
		of := map[uint32]string{}
		for i, r := range refs {
			of[mails[i].UID] = r.Number
		}
		if cut == 0 {
			for _, in := range thread {
				require.Equal(rt, of[first.UID], of[in.UID])
			}
		}
		require.NotEqual(rt, of[first.UID], of[stranger.UID])
		require.NotEqual(rt, of[first.UID], of[club.UID])
		w.drain()
		c, _, err := w.q.Show(ctx, of[first.UID])
		require.NoError(rt, err)
		if cut == 0 {
			require.Len(rt, c.Mails, len(thread))
			require.Equal(rt, first.UID, c.Mails[0].UID, "what the others answer begins the case")
			require.ElementsMatch(rt, []classifier.Label{classifier.Access, classifier.Objection}, c.Labels)
		}
		require.Len(rt, w.bound, 1, "the objection binds, once")
		again, err := w.q.OpenAll(ctx, mails)
		require.NoError(rt, err)
		for i, r := range again {
			require.Equal(rt, Ref{refs[i].Number, false}, r)
		}
	})
}

// TestRingOfAnswers: mails that claim to answer each other are one case, too.
func TestRingOfAnswers(t *testing.T) {
	w := newWorld(t)
	mails := []Incoming{mailFrom("alice@example.com", classifier.Access), mailFrom("alice@example.com"), mailFrom("alice@example.com")}
	for i := range mails {
		mails[i].InReplyTo = mails[(i+1)%len(mails)].MessageID
	}
	mails = append(mails, mailFrom("bob@example.com"))
	mails[3].InReplyTo = mails[3].MessageID
	refs, err := w.q.OpenAll(ctx, mails)
	require.NoError(t, err)
	require.Equal(t, refs[0].Number, refs[1].Number)
	require.Equal(t, refs[0].Number, refs[2].Number)
	require.NotEqual(t, refs[0].Number, refs[3].Number)
}
