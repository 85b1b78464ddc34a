package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/queue/fulfil"
)

func typedRequest(right classifier.Label) FormRequest {
	return FormRequest{Controller: "shop", Address: address.MustParse("alice@example.com"), Right: right, Asker: "subject", Text: "My secret words", Language: "en",
		Result: classifier.Result{Language: "de", Kind: classifier.KindRequest, Abstain: true}}
}

// What is typed takes the path of a mail: the address is asked, says yes, and
// the same words again are the same case until it has ended.
func TestFormAsksTheAddress(t *testing.T) {
	w := newWorld(t)
	f := typedRequest(classifier.Access)
	ref, err := w.q.OpenByForm(ctx, f)
	require.NoError(t, err)
	require.True(t, ref.New)
	w.drain()
	c := w.show(ref.Number)
	require.Equal(t, Identity, c.State)
	require.Equal(t, []classifier.Label{classifier.Access}, c.Labels)
	require.Equal(t, "en", c.Language)
	require.False(t, c.Abstain)
	require.Equal(t, Unknown, c.Grade)
	require.Len(t, w.sent, 1, "one mail: the question, no receipt beside it")
	requireSealed(t, w.rdb)

	f.Text = "  My secret\nwords "
	again, err := w.q.OpenByForm(ctx, f)
	require.NoError(t, err)
	require.Equal(t, Ref{ref.Number, false}, again)
	w.drain()
	letters, _, err := w.q.Letters(ctx, ref.Number)
	require.NoError(t, err)
	require.Len(t, letters, 2, "the first mail may have been lost")
	require.Equal(t, Identity, w.show(ref.Number).State)
	f.Quiet = true
	_, err = w.q.OpenByForm(ctx, f)
	require.NoError(t, err)
	w.drain()
	letters, _, err = w.q.Letters(ctx, ref.Number)
	require.NoError(t, err)
	require.Len(t, letters, 2, "but a mailbox is not filled")

	first, second := linkPattern.FindStringSubmatch(letters[0].Text)[1], linkPattern.FindStringSubmatch(letters[1].Text)[1]
	require.ErrorIs(t, w.q.Confirm(ctx, first, true), ErrUnknown)
	require.NoError(t, w.q.Confirm(ctx, second, true))
	require.Contains(t, w.show(ref.Number).Flags, FlagIdentified)

	f.Text, f.Quiet = "other words", false
	other, err := w.q.OpenByForm(ctx, f)
	require.NoError(t, err)
	require.NotEqual(t, ref.Number, other.Number, "nothing unproven joins what is proven")
	_, err = w.q.Move(ctx, ref.Number, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)
	f.Text = "My secret words"
	later, err := w.q.OpenByForm(ctx, f)
	require.NoError(t, err)
	require.True(t, later.New, "what ended is asked anew")
}

// The owner who says no is not asked again by whoever repeats it.
func TestFormAfterNo(t *testing.T) {
	w := newWorld(t)
	ref, err := w.q.OpenByForm(ctx, typedRequest(classifier.Erasure))
	require.NoError(t, err)
	w.drain()
	letters, _, err := w.q.Letters(ctx, ref.Number)
	require.NoError(t, err)
	require.NoError(t, w.q.Confirm(ctx, linkPattern.FindStringSubmatch(letters[0].Text)[1], false))
	_, err = w.q.OpenByForm(ctx, typedRequest(classifier.Erasure))
	require.NoError(t, err)
	w.drain()
	letters, _, err = w.q.Letters(ctx, ref.Number)
	require.NoError(t, err)
	require.Len(t, letters, 1)
}

// To say stop needs no proof: it binds at once, and the address gets the
// receipt. Texts are read: what they ask beside the choice is asked too.
func TestFormStops(t *testing.T) {
	w := newWorld(t)
	f := typedRequest(classifier.Objection)
	ref, err := w.q.OpenByForm(ctx, f)
	require.NoError(t, err)
	require.Len(t, w.bound, 1)
	for _, s := range w.bound {
		require.Equal(t, consent.ObjectedTo, s.Reason)
		require.Equal(t, f.Address, s.Address)
	}
	w.drain()
	require.Equal(t, Received, w.show(ref.Number).State)
	require.Len(t, w.sent, 1)
	for _, m := range w.sent {
		require.Contains(t, string(m.Body), ref.Number)
		require.NotContains(t, string(m.Body), "/case/")
	}
	f.Right, f.Text = "", "And delete it all"
	f.Result = classifier.Result{Language: "en", Decided: []classifier.Label{classifier.Erasure}}
	ref, err = w.q.OpenByForm(ctx, f)
	require.NoError(t, err)
	w.drain()
	c := w.show(ref.Number)
	require.Equal(t, []classifier.Label{classifier.Erasure}, c.Labels)
	require.Equal(t, Identity, c.State)
}

// Agents, companies and authorities are not asked whether they are the person;
// to an authority nothing leaves by itself, nor to an address that is no
// person's, nor to one of our own.
func TestFormOfOthers(t *testing.T) {
	for name, x := range map[string]struct {
		asker, address string
		mails          int
	}{
		"agent":     {"agent", "agent@example.com", 1},
		"authority": {"authority", "office@example.com", 0},
		"no person": {"subject", "noreply@example.com", 0},
		"own":       {"subject", "someone@shop.example.org", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := typedRequest(classifier.Access)
			f.Asker, f.Address = x.asker, address.MustParse(x.address)
			ref, err := w.q.OpenByForm(ctx, f)
			require.NoError(t, err)
			w.drain()
			require.Len(t, w.sent, x.mails)
			c := w.show(ref.Number)
			require.Equal(t, Received, c.State)
			require.Equal(t, x.asker, c.Asker)
		})
	}
}

// A request is never lost because a mail can't leave.
func TestFormWithoutMail(t *testing.T) {
	w := newWorld(t)
	f := typedRequest(classifier.Access)
	f.Controller = "club" // has no pages, so no link
	ref, err := w.q.OpenByForm(ctx, f)
	require.NoError(t, err)
	w.drain()
	require.Equal(t, Received, w.show(ref.Number).State)
	f.Controller = "unknown"
	_, err = w.q.OpenByForm(ctx, f)
	require.Error(t, err)
	f = typedRequest(classifier.Access)
	f.Address = address.Address{}
	_, err = w.q.OpenByForm(ctx, f)
	require.Error(t, err)
}

// Where a request was merged, its page tells of the case it lives on in, and
// while we wait for the person it says so.
func TestStatusOfMergedAndWaiting(t *testing.T) {
	w := newWorld(t)
	first, second := w.open(classifier.Access), w.open(classifier.Access)
	require.NoError(t, w.q.SendStatusLink(ctx, second, address.MustParse("alice@example.com")))
	w.drain()
	letters, _, err := w.q.Letters(ctx, second)
	require.NoError(t, err)
	token := linkPattern.FindStringSubmatch(letters[0].Text)[1]
	_, err = w.q.Move(ctx, second, Move{Action: ActMerge, Into: first, Actor: eve, Reason: "same"})
	require.NoError(t, err)
	s, err := w.q.Status(ctx, token)
	require.NoError(t, err)
	require.Equal(t, "received", s.Step)
	require.False(t, s.Waits)
	require.NoError(t, w.q.Challenge(ctx, first, address.MustParse("alice@example.com"), eve))
	w.clock.Set(w.clock.Now().Add(time.Minute))
	w.drain()
	s, err = w.q.Status(ctx, token)
	require.NoError(t, err)
	require.True(t, s.Waits)
	require.Equal(t, "work", s.Step)
}

// What a colleague is shown of a mail is the operator's choice.
func TestColleagueReadsLetterWhereTicked(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	for _, letter := range []bool{false, true} {
		task, err := w.q.AskColleague(ctx, no, Ask{Who: "archive", Mail: address.MustParse("archive@shop.example.org"), Verb: map[bool]fulfil.Verb{false: fulfil.Lookup, true: fulfil.Export}[letter], Actor: eve, Letter: letter})
		require.NoError(t, err)
		link, err := w.q.TaskLink(ctx, no, task.Index)
		require.NoError(t, err)
		v, err := w.q.TaskByToken(ctx, link[strings.LastIndex(link, "/")+1:])
		require.NoError(t, err)
		require.Equal(t, letter, v.Letter == "My secret words", v.Letter)
	}
}
