package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/queue/fulfil"
)

// intoCase is a mail that names a case in its subject, as anybody may write.
func intoCase(no, from string, labels ...classifier.Label) Incoming {
	in := mailFrom(from, labels...)
	in.CaseNo, in.Subject = no, "Re: "+no
	return in
}

func eraseIn(no string) Order { return Order{Verb: fulfil.Erase, Actor: eve, Approve: no} }

// Who asked for a copy has not shown that it is them who want everything gone.
func TestProofOfOneRightIsNoneOfAnother(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	no := w.open(classifier.Access)
	w.waive(no)
	_, err := w.q.Open(ctx, intoCase(no, "mallory@example.net", classifier.Erasure))
	require.NoError(t, err)
	c := w.show(no)
	require.Contains(t, c.Labels, classifier.Erasure, "nothing asked is lost")
	require.NotContains(t, c.Flags, FlagIdentified)
	_, err = w.q.Fulfil(ctx, no, eraseIn(no))
	require.ErrorIs(t, err, ErrOrder)
	w.drain()
	require.Contains(t, s.known, "alice@example.com")

	other := w.open(classifier.Access)
	w.waive(other)
	_, err = w.q.Open(ctx, intoCase(other, "alice@example.com", classifier.Access, classifier.Objection))
	require.NoError(t, err)
	require.Contains(t, w.show(other).Flags, FlagIdentified, "the same right again, and what needs no proof, need none")
}

func TestMergedCaseBringsNoProof(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	no := w.open(classifier.Access)
	w.waive(no)
	ref, err := w.q.Open(ctx, mailFrom("mallory@example.net", classifier.Erasure))
	require.NoError(t, err)
	_, err = w.q.Move(ctx, ref.Number, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: no})
	require.ErrorIs(t, err, ErrMove, "another person's request would be lost in it")
	require.True(t, w.state(ref.Number).Live())
	_, err = w.q.Move(ctx, ref.Number, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: no, SamePerson: "She says it is her second address."})
	require.NoError(t, err)
	c := w.show(no)
	require.NotContains(t, c.Flags, FlagIdentified)
	require.Contains(t, c.Flags, FlagOtherSender)
	_, err = w.q.Fulfil(ctx, no, eraseIn(no))
	require.ErrorIs(t, err, ErrOrder)
	require.Contains(t, s.known, "alice@example.com")
}

func TestNotMeTakesProofBack(t *testing.T) {
	w, _ := connected(t, fulfil.Erase)
	no := w.open(classifier.Erasure)
	require.NoError(t, w.q.Confirm(ctx, w.challenge(no), true))
	require.NoError(t, w.q.Confirm(ctx, w.challenge(no), false))
	_, err := w.q.Fulfil(ctx, no, eraseIn(no))
	require.ErrorIs(t, err, ErrOrder)
	w.waive(no) // an operator who knows better says why
	_, err = w.q.Fulfil(ctx, no, eraseIn(no))
	require.NoError(t, err)
}

// A mail that came meanwhile may say: leave it.
func TestErasureWaitsForUnreadMail(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	no := w.open(classifier.Erasure)
	w.waive(no)
	_, err := w.q.Open(ctx, intoCase(no, "alice@example.com"))
	require.NoError(t, err)
	_, err = w.q.Fulfil(ctx, no, eraseIn(no))
	require.ErrorIs(t, err, ErrOrder)
	require.Contains(t, s.known, "alice@example.com")
	_, err = w.q.Move(ctx, no, Move{Action: ActNote, Actor: eve, Note: "read"})
	require.NoError(t, err)
	_, err = w.q.Fulfil(ctx, no, eraseIn(no))
	require.NoError(t, err)
}

// What an erasure rests on is looked at when it is written down, not only when
// it was asked for.
func TestHoldBetweenOrderAndTask(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	no := w.open(classifier.Erasure)
	w.waive(no)
	w.onBind = func(r consent.Reason) {
		if r == consent.Erased {
			require.NoError(t, w.q.LegalHold(ctx, no, true, eve, "a law suit"))
		}
	}
	_, err := w.q.Fulfil(ctx, no, eraseIn(no))
	require.ErrorIs(t, err, ErrOrder)
	w.drain()
	require.Contains(t, s.known, "alice@example.com")
}

// A colleague is asked to delete on the same terms as a system.
func TestColleagueDeletesOnTheSameTerms(t *testing.T) {
	w := newWorld(t)
	w.withFiles()
	w.q.o.Handling = map[string]Handling{"shop": {FourEyes: []string{EyesErase}}}
	no := w.open(classifier.Erasure)
	ask := Ask{Who: "archive", Mail: address.MustParse("archive@shop.example.org"), Verb: fulfil.Erase, Actor: eve}
	refused := func(why string) {
		_, err := w.q.AskColleague(ctx, no, ask)
		require.ErrorIs(t, err, ErrOrder, why)
	}
	refused("identity is open")
	w.waive(no)
	refused("the number was not typed")
	ask.Approve = no
	refused("nobody proposed it")
	require.NoError(t, w.q.Propose(ctx, no, EyesErase, eve, ""))
	refused("proposed by the same")
	ask.Actor = "operator:EVE"
	refused("another spelling is no other person")
	ask.Actor = "operator:bob"
	_, err := w.q.AskColleague(ctx, no, ask)
	require.NoError(t, err)
	require.Contains(t, w.boundReasons(), consent.Erased)
}

func TestReleaseNeedsProofStill(t *testing.T) {
	w, no := collected(t, classifier.Access)
	_, err := w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	w.ticked(no)
	require.NoError(t, w.q.Confirm(ctx, w.challenge(no), false))
	_, err = w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "person"})
	require.ErrorIs(t, err, ErrOrder)
}

// TestProofCoversAnAddress: identity is shown for an address; what concerns
// another one takes proof of its own, and where erasure takes two operators the
// second one erases what the first one proposed.
func TestProofCoversAnAddress(t *testing.T) {
	other, third := address.MustParse("a.smith@example.com"), address.MustParse("carol@example.com")
	w, s := connected(t, fulfil.Erase, fulfil.Export)
	s.known["a.smith@example.com"], s.known["carol@example.com"] = "other record", "another person's record"
	no := w.open(classifier.Erasure)
	w.waive(no)
	order := func(a address.Address) error {
		o := eraseIn(no)
		o.Address = a
		_, err := w.q.Fulfil(ctx, no, o)
		return err
	}
	require.ErrorIs(t, order(third), ErrOrder, "the waiver was for who wrote")
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve, Address: third})
	require.ErrorIs(t, err, ErrOrder, "nor is their data shown")
	require.Empty(t, w.bound["case:"+no+":erased"].Reason, "nothing was bound for them")

	// The owner of the address on file confirms: it is covered, no other is.
	require.NoError(t, w.q.Confirm(ctx, w.challengeTo(no, other.Plain()), true))
	require.ErrorIs(t, order(third), ErrOrder)
	w.q.o.Handling = map[string]Handling{"shop": {FourEyes: []string{EyesErase}}}
	require.NoError(t, w.q.AskApproval(ctx, no, Approval{What: EyesErase, By: "operator:bob"}))
	require.ErrorIs(t, order(other), ErrOrder, "proposed was the erasure of who wrote")
	require.NoError(t, w.q.AskApproval(ctx, no, Approval{What: EyesErase, By: "operator:bob", Address: other}))
	require.ErrorIs(t, order(address.Address{}), ErrOrder)
	require.NoError(t, order(other))
	w.drain()
	require.NotContains(t, s.known, "a.smith@example.com")
	require.Contains(t, s.known, "alice@example.com")
	require.Contains(t, s.known, "carol@example.com")

	// A waiver may name the address it is for, in its words on record.
	ref, err := w.q.Open(ctx, mailFrom("carol.new@example.com", classifier.Access))
	require.NoError(t, err)
	w.drain()
	_, err = w.q.Move(ctx, ref.Number, Move{Action: ActIdentify, Actor: eve, Reason: "seen-in-person", Address: third})
	require.NoError(t, err)
	_, err = w.q.Fulfil(ctx, ref.Number, Order{Verb: fulfil.Export, Actor: eve, Address: third})
	require.NoError(t, err)
}

// TestCorrectedLabelTakesProof: an operator who reads an erasure out of what
// was confirmed as a request for access has the person asked about it.
func TestCorrectedLabelTakesProof(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	no := w.open(classifier.Access)
	require.NoError(t, w.q.Confirm(ctx, w.challenge(no), true))
	label := func(labels ...classifier.Label) {
		t.Helper()
		_, err := w.q.Move(ctx, no, Move{Action: ActLabel, Actor: eve, Labels: labels})
		require.NoError(t, err)
	}
	label(classifier.Access, classifier.Objection)
	require.Contains(t, w.show(no).Flags, FlagIdentified, "a stop needs no proof")
	label(classifier.Access, classifier.Erasure)
	require.NotContains(t, w.show(no).Flags, FlagIdentified)
	_, err := w.q.Fulfil(ctx, no, eraseIn(no))
	require.ErrorIs(t, err, ErrOrder)
	require.Contains(t, s.known, "alice@example.com")
	require.NoError(t, w.q.Confirm(ctx, w.challenge(no), true))
	label(classifier.Erasure)
	require.Contains(t, w.show(no).Flags, FlagIdentified, "taking a right off needs none")
	_, err = w.q.Fulfil(ctx, no, eraseIn(no))
	require.NoError(t, err)
}
