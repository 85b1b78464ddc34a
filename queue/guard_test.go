package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// Who confirms at an address that somebody typed in has shown nothing of the
// address that the mail came from: its sender may be forged.
func TestProofAtATypedAddressIsNoneOfTheSenders(t *testing.T) {
	w, s := connected(t, fulfil.Erase, fulfil.Export)
	s.known["mallory@example.net"] = "another record"
	no := w.open(classifier.Erasure)
	require.NoError(t, w.q.Confirm(ctx, w.challengeTo(no, "mallory@example.net"), true))
	require.Contains(t, w.show(no).Flags, FlagIdentified)
	_, err := w.q.Fulfil(ctx, no, eraseIn(no))
	require.ErrorIs(t, err, ErrOrder)
	_, err = w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve})
	require.ErrorIs(t, err, ErrOrder)
	w.drain()
	require.Contains(t, s.known, "alice@example.com")

	// The owner of the sender's address says so too: both are covered.
	require.NoError(t, w.q.Confirm(ctx, w.challenge(no), true))
	_, err = w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve, Address: address.MustParse("mallory@example.net")})
	require.NoError(t, err)
	w.drain()
	_, err = w.q.Fulfil(ctx, no, eraseIn(no))
	require.NoError(t, err)
}

// What a system of the company's knows the person under stands for both.
func TestProofAtTheAddressOnFile(t *testing.T) {
	w, s := connected(t, fulfil.Lookup, fulfil.Export)
	s.answer = &fulfil.Outcome{Status: fulfil.Done, Data: []byte(`{"address":"onfile@example.com"}`)}
	no := w.open(classifier.Access)
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Lookup, Actor: eve})
	require.NoError(t, err)
	w.drain()
	require.NoError(t, w.q.Challenge(ctx, no, address.Address{}, eve))
	w.drain()
	letters, _, err := w.q.Letters(ctx, no)
	require.NoError(t, err)
	require.Equal(t, "onfile@example.com", letters[0].To.Plain())
	require.NoError(t, w.q.Confirm(ctx, linkPattern.FindStringSubmatch(letters[0].Text)[1], true))
	for _, a := range []address.Address{{}, address.MustParse("onfile@example.com")} {
		_, err = w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve, Address: a})
		require.NoError(t, err)
		w.drain()
	}
}

// A legal hold, and the owner's "not me", go with a case into what is made of it.
func TestHoldGoesWithTheCase(t *testing.T) {
	erased := func(w *world, no string) error {
		_, err := w.q.Fulfil(ctx, no, eraseIn(no))
		return err
	}
	t.Run("merged", func(t *testing.T) {
		w, s := connected(t, fulfil.Erase)
		one, two := w.open(classifier.Erasure), w.open(classifier.Erasure)
		w.waive(two)
		require.NoError(t, w.q.LegalHold(ctx, one, true, eve, "a law suit"))
		_, err := w.q.Move(ctx, one, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: two})
		require.NoError(t, err)
		require.ErrorContains(t, erased(w, two), "legal hold")
		require.NoError(t, w.q.LegalHold(ctx, one, false, eve, "over"))
		require.NotContains(t, w.show(two).Flags, FlagLegalHold)
		require.NoError(t, w.q.LegalHold(ctx, one, true, eve, "another one, under the number it once had"))
		require.ErrorContains(t, erased(w, two), "legal hold")
		require.Contains(t, s.known, "alice@example.com")
	})
	t.Run("split", func(t *testing.T) {
		w, s := connected(t, fulfil.Erase)
		no := w.open(classifier.Access, classifier.Erasure)
		w.waive(no)
		require.NoError(t, w.q.LegalHold(ctx, no, true, eve, "a law suit"))
		ref, err := w.q.Split(ctx, no, []classifier.Label{classifier.Erasure}, eve, "")
		require.NoError(t, err)
		require.ErrorContains(t, erased(w, ref.Number), "legal hold")
		require.Contains(t, s.known, "alice@example.com")
	})
	t.Run("not me", func(t *testing.T) {
		w, s := connected(t, fulfil.Erase)
		one, two := w.open(classifier.Erasure), w.open(classifier.Erasure)
		w.waive(two)
		link := w.challenge(one)
		_, err := w.q.Move(ctx, one, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: two})
		require.NoError(t, err)
		require.NoError(t, w.q.Confirm(ctx, link, false), "said after it was merged")
		require.ErrorIs(t, erased(w, two), ErrOrder)
		require.Contains(t, s.known, "alice@example.com")
	})
}

// An erasure is for whoever asked for one, also where an operator orders it.
func TestErasureThatNobodyAskedFor(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	no := w.open(classifier.Access)
	w.waive(no)
	_, err := w.q.Fulfil(ctx, no, eraseIn(no))
	require.ErrorIs(t, err, ErrOrder)
	_, err = w.q.AskColleague(ctx, no, Ask{Who: "archive", Mail: address.MustParse("archive@shop.example.org"), Verb: fulfil.Erase, Actor: eve, Approve: no})
	require.ErrorIs(t, err, ErrOrder)
	w.drain()
	require.Contains(t, s.known, "alice@example.com")
	require.NotContains(t, w.boundReasons(), "erased")
}

// Tries may last for days: no case that has ended or is held, and none in which
// the person wrote again, goes on deleting.
func TestErasureStopsWithItsCase(t *testing.T) {
	for name, stop := range map[string]func(w *world, no string){
		"legal hold": func(w *world, no string) { require.NoError(w.t, w.q.LegalHold(ctx, no, true, eve, "a law suit")) },
		"withdrawn": func(w *world, no string) {
			_, err := w.q.Move(ctx, no, Move{Action: ActWithdraw, Actor: "person", Reason: "by-page"})
			require.NoError(w.t, err)
		},
		"merged": func(w *world, no string) {
			other := w.open(classifier.Erasure)
			_, err := w.q.Move(ctx, no, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: other})
			require.NoError(w.t, err)
			_, err = w.q.Move(ctx, other, Move{Action: ActWithdraw, Actor: "person", Reason: "by-page"})
			require.NoError(w.t, err)
		},
		"answered": func(w *world, no string) {
			_, err := w.q.Move(ctx, no, Move{Action: ActAnswer, Actor: eve, Reason: "by-phone"})
			require.NoError(w.t, err)
		},
		"wrote again": func(w *world, no string) {
			_, err := w.q.Open(ctx, intoCase(no, "alice@example.com"))
			require.NoError(w.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, s := connected(t, fulfil.Erase)
			no := w.open(classifier.Erasure)
			w.waive(no)
			s.fail = errDown
			_, err := w.q.Fulfil(ctx, no, eraseIn(no))
			require.NoError(t, err)
			w.drain()
			stop(w, no)
			s.fail = nil
			w.later(48 * time.Hour)
			require.Contains(t, s.known, "alice@example.com")
			tasks, err := w.q.Tasks(ctx, no)
			require.NoError(t, err)
			require.Equal(t, fulfil.Failed, tasks[0].Status)
			require.ErrorIs(t, w.q.Retry(ctx, no, 0, eve), ErrOrder, "nor is it tried anew")
		})
	}
}

// A colleague who was asked to delete is neither told whose data it is nor
// reminded while the deletion must not go on.
func TestColleagueDoesNotDeleteAgainstAHold(t *testing.T) {
	w := newWorld(t)
	w.withFiles()
	no := w.open(classifier.Erasure)
	w.waive(no)
	task, err := w.q.AskColleague(ctx, no, Ask{Who: "archive", Mail: address.MustParse("archive@shop.example.org"), Verb: fulfil.Erase, Actor: eve, Approve: no, Due: 4 * 24 * time.Hour})
	require.NoError(t, err)
	w.drain()
	link, err := w.q.TaskLink(ctx, no, task.Index)
	require.NoError(t, err)
	_, err = w.q.TaskByToken(ctx, tokenOf(link))
	require.NoError(t, err)
	require.NoError(t, w.q.LegalHold(ctx, no, true, eve, "a law suit"))
	_, err = w.q.TaskByToken(ctx, tokenOf(link))
	require.ErrorIs(t, err, ErrUnknown)
	sent := len(w.sent)
	w.later(5 * 24 * time.Hour)
	require.Len(t, w.sent, sent, "no reminder to delete")
	require.Equal(t, "task-overdue", w.notices[len(w.notices)-1].Kind, "the operators know that it is open")
	require.NoError(t, w.q.LegalHold(ctx, no, false, eve, "over"))
	require.NoError(t, w.q.AnswerTask(ctx, tokenOf(link), TaskAnswer{Status: fulfil.Erased}))
}

// A person who takes back a request that was merged is heard: nothing is deleted
// in the case that lives on before somebody has looked.
func TestTakenBackAfterTheMerge(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	one, two := w.open(classifier.Erasure), w.open(classifier.Erasure)
	token := w.statusLink(one)
	_, err := w.q.Move(ctx, one, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: two})
	require.NoError(t, err)
	w.waive(two)
	require.NoError(t, w.q.Withdraw(ctx, token))
	require.NoError(t, w.q.Withdraw(ctx, token))
	require.Equal(t, 1, acts(w, two, ActNote, "taken-back"))
	require.Equal(t, "taken-back", w.notices[len(w.notices)-1].Reason)
	_, err = w.q.Fulfil(ctx, two, eraseIn(two))
	require.ErrorIs(t, err, ErrOrder)
	require.Contains(t, s.known, "alice@example.com")
}

// Two operators who merge two cases into each other at the same time leave one
// alive.
func TestCasesMergedIntoEachOther(t *testing.T) {
	w := newWorld(t)
	one, two := w.open(classifier.Access), w.open(classifier.Erasure)
	move := func(into string) Move { return Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: into} }
	require.NoError(t, w.q.mergeTarget(ctx, one, move(two))) // the first half of one
	_, err := w.q.Move(ctx, two, move(one))                  // the whole of the other
	require.ErrorIs(t, err, ErrMove)
	_, err = w.q.Move(ctx, one, move(two))
	require.ErrorIs(t, err, ErrMove)
	require.True(t, w.state(one).Live())
	require.True(t, w.state(two).Live())
}

// The copy of data holds nothing of an address whose owner took it back, and
// goes to no address that was not shown.
func TestPackageOfAnotherPerson(t *testing.T) {
	w, no := collected(t, classifier.Access)
	carol := address.MustParse("carol@example.com")
	_, err := w.q.Move(ctx, no, Move{Action: ActIdentify, Actor: eve, Reason: "she says it is her second address", Address: carol})
	require.NoError(t, err)
	_, err = w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve, Address: carol})
	require.NoError(t, err)
	w.drain()
	_, err = w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	require.NoError(t, w.q.Confirm(ctx, w.challengeTo(no, carol.Plain()), false))
	require.NoError(t, w.q.Confirm(ctx, w.challenge(no), true), "who wrote is who they say they are")
	_, err = w.q.BuildPackage(ctx, no, eve)
	require.ErrorIs(t, err, ErrOrder, "but gets nothing of hers")
}

func TestPackageGoesToAProvenAddress(t *testing.T) {
	w, no := collected(t, classifier.Portability)
	_, err := w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	w.ticked(no)
	_, err = w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "post", To: address.MustParse("mallory@example.net")})
	require.ErrorIs(t, err, ErrOrder)
	_, err = w.q.Open(ctx, intoCase(no, "alice@example.com"))
	require.NoError(t, err)
	_, err = w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "post"})
	require.ErrorIs(t, err, ErrOrder, "she wrote again")
	_, err = w.q.Move(ctx, no, Move{Action: ActNote, Actor: eve, Note: "read"})
	require.NoError(t, err)
	_, err = w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "post"})
	require.NoError(t, err)
}

// A file that is left out while the package is being sealed does not leave.
func TestPackageThatChangesWhileItIsSealed(t *testing.T) {
	w, no := collected(t, classifier.Portability)
	p, err := w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	w.ticked(no)
	done := false
	now := w.q.o.Now
	w.q.o.Now = func() time.Time { // asked for the date of the archive, after the ticks were read
		if !done {
			done = true
			require.NoError(t, w.q.TickFile(ctx, no, p.Files[0].ID, TickExclude, "operator:bob", "of somebody else"))
		}
		return now()
	}
	_, err = w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "post"})
	require.ErrorIs(t, err, ErrOrder)
	after, err := w.q.Package(ctx, no)
	require.NoError(t, err)
	require.True(t, after.Released.IsZero())
}

// A confirmation that comes when the case has moved on is neither lost nor a
// fault of the page.
func TestConfirmedWhileItWaits(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	link := w.challenge(no)
	w.waive(no)
	_, err := w.q.Move(ctx, no, Move{Action: ActWait, Actor: eve, Reason: "archive"})
	require.NoError(t, err)
	require.NoError(t, w.q.Confirm(ctx, link, true))
	c := w.show(no)
	require.Equal(t, Waiting, c.State)
	require.Contains(t, c.Flags, FlagIdentified)
	require.Equal(t, 1, acts(w, no, ActNote, "confirmed-by-link"))
}

// Who confirms in the last minute is not refused by a letter that waits.
func TestNoRefusalAfterTheConfirmation(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	link := w.challenge(no)
	_, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Unproven, Effect: ActDeny, Reason: "not-identified", Actor: eve})
	require.NoError(t, err)
	require.NoError(t, w.q.Confirm(ctx, link, true))
	w.later(time.Minute)
	require.Equal(t, Opened, w.state(no))
	_, status, err := w.q.Letters(ctx, no)
	require.NoError(t, err)
	require.Equal(t, "taken", status[len(status)-1])
}

// statusLink mails alice the link to the page of her case and gives its token.
func (w *world) statusLink(no string) string {
	w.t.Helper()
	require.NoError(w.t, w.q.SendStatusLink(ctx, no, alice))
	w.drain()
	letters, _, err := w.q.Letters(ctx, no)
	require.NoError(w.t, err)
	m := linkPattern.FindStringSubmatch(letters[len(letters)-1].Text)
	require.NotNil(w.t, m)
	return m[1]
}
