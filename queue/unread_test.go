package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/reply"
)

// unsure is a further mail to a case of which nobody knows yet what it asks.
func unsure(no, from string) Incoming {
	in := intoCase(no, from)
	in.Result.Kind, in.Result.Abstain = classifier.KindFollowUp, true
	return in
}

// A rule closes a bare unsubscribe, but never over a second mail that nobody
// has read.
func TestBareUnsubscribeStaysWithASecondMail(t *testing.T) {
	w := newWorld(t)
	first := mailFrom("alice@example.com", classifier.Unsubscribe)
	second := mailFrom("alice@example.com")
	second.InReplyTo, second.Result.Kind, second.Result.Abstain = first.MessageID, classifier.KindFollowUp, true
	refs, err := w.q.OpenAll(ctx, []Incoming{first, second})
	require.NoError(t, err)
	require.Equal(t, refs[0].Number, refs[1].Number)
	w.drain()
	require.Equal(t, Received, w.state(refs[0].Number))
}

// An answer that was under way when the person wrote again answers what was
// asked before: the case does not end over a mail that nobody has read.
func TestAnswerDoesNotEndOverAnUnreadMail(t *testing.T) {
	for name, started := range map[string]bool{"received": false, "opened": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			no := w.open(classifier.Access)
			if started {
				_, err := w.q.Move(ctx, no, Move{Action: ActStart, Actor: eve})
				require.NoError(t, err)
			}
			_, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Nothing, Effect: ActAnswer, Actor: eve})
			require.NoError(t, err)
			_, err = w.q.Open(ctx, unsure(no, "alice@example.com"))
			require.NoError(t, err)
			due := w.show(no).Due
			w.later(time.Minute)
			require.Contains(t, w.sent, "case:"+no+":out:0", "the answer leaves all the same")
			c := w.show(no)
			require.True(t, c.State.Live(), "its clock runs on")
			require.Equal(t, due, c.Due)
			require.Contains(t, c.Flags, FlagNews)
			live, err := w.q.List(ctx, Filter{Live: true})
			require.NoError(t, err)
			require.Len(t, live, 1)
			require.Equal(t, 1, acts(w, no, ActSent, ""), "it is on record, without its effect")
			require.Zero(t, acts(w, no, ActAnswer, ""))

			_, _, err = w.q.Reply(ctx, no, Draft{Step: reply.Nothing, Effect: ActAnswer, Actor: eve})
			require.NoError(t, err)
			w.later(time.Minute)
			require.Equal(t, Answered, w.state(no), "an answer after it was read ends it")
		})
	}
}

// Whoever ends a case on a page that does not show the latest mail yet is told.
func TestNobodyEndsACaseUnseen(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	_, err := w.q.Open(ctx, unsure(no, "alice@example.com"))
	require.NoError(t, err)
	for _, m := range []Move{{Action: ActClose, Reason: "done"}, {Action: ActWithdraw, Reason: "by-phone"}, {Action: ActAnswer, Reason: "by-post"}} {
		m.Actor, m.Seen = eve, 1
		_, err = w.q.Move(ctx, no, m)
		require.ErrorIs(t, err, ErrMove, m.Action)
		require.ErrorContains(t, err, "wrote again")
	}
	_, _, err = w.q.Reply(ctx, no, Draft{Step: reply.Nothing, Effect: ActAnswer, Actor: eve, Seen: 1})
	require.ErrorIs(t, err, ErrMove)
	require.True(t, w.state(no).Live())
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Reason: "done", Actor: eve, Seen: 2})
	require.NoError(t, err)
}
