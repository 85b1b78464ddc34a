package queue

import (
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/reply"
)

func decodeQP(t *testing.T, body []byte) string {
	t.Helper()
	out, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(string(body))))
	require.NoError(t, err)
	return string(out)
}

// testToken is the token a world's queue gives a case.
var testToken func(string) string

func TestAttach(t *testing.T) {
	cases := []struct {
		name  string
		alter func(first Incoming, ref Ref, in *Incoming)
		same  bool
	}{
		{"same Message-ID, other bytes", func(f Incoming, _ Ref, in *Incoming) { in.MessageID = f.MessageID }, true},
		{"same bytes in another folder", func(f Incoming, _ Ref, in *Incoming) {
			in.MessageID, in.ContentHash, in.Folder = f.MessageID, f.ContentHash, "Junk"
		}, true},
		{"case number", func(_ Incoming, ref Ref, in *Incoming) { in.CaseNo = ref.Number }, true},
		{"answer to the first mail", func(f Incoming, _ Ref, in *Incoming) { in.InReplyTo = f.MessageID }, true},
		{"answer to our receipt", func(_ Incoming, ref Ref, in *Incoming) {
			in.References = []string{ref.Number + ".0123456789abcdef@shop.example.org"}
		}, true},
		{"reply token", func(_ Incoming, ref Ref, in *Incoming) { in.ReplyToken = testToken(ref.Number) }, true},
		{"nothing in common", func(Incoming, Ref, *Incoming) {}, false},
		{"another controller", func(_ Incoming, ref Ref, in *Incoming) { in.Controller, in.CaseNo = "club", ref.Number }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			testToken = w.q.CaseToken
			first := mailFrom("alice@example.com", classifier.Access)
			ref, err := w.q.Open(ctx, first)
			require.NoError(t, err)
			in := mailFrom("alice@example.com", classifier.Objection)
			c.alter(first, ref, &in)
			got, err := w.q.Open(ctx, in)
			require.NoError(t, err)
			require.Equal(t, !c.same, got.New)
			require.Equal(t, c.same, got.Number == ref.Number)
			again, err := w.q.Open(ctx, in)
			require.NoError(t, err)
			require.Equal(t, Ref{got.Number, false}, again, "idempotent")
			w.drain()
		})
	}
}

func TestReusedMessageIDOfAnotherPerson(t *testing.T) {
	w := newWorld(t)
	first := mailFrom("alice@example.com", classifier.Access)
	ref, err := w.q.Open(ctx, first)
	require.NoError(t, err)
	in := mailFrom("bob@example.net", classifier.Access)
	in.MessageID = first.MessageID
	got, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	require.True(t, got.New, "a web form with one constant Message-ID must not swallow requests")
	require.NotEqual(t, ref.Number, got.Number)
}

func TestAttachedOptOutBindsAndReopens(t *testing.T) {
	w := newWorld(t)
	ref, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Unsubscribe))
	require.NoError(t, err)
	w.drain()
	c, _, err := w.q.Show(ctx, ref.Number)
	require.NoError(t, err)
	require.Equal(t, Closed, c.State)

	in := mailFrom("alice@example.com", classifier.Erasure)
	in.CaseNo = ref.Number
	_, err = w.q.Open(ctx, in)
	require.NoError(t, err)
	require.Len(t, w.bound, 2)
	c, events, err := w.q.Show(ctx, ref.Number)
	require.NoError(t, err)
	require.Equal(t, Opened, c.State)
	require.Equal(t, []classifier.Label{classifier.Unsubscribe, classifier.Erasure}, c.Labels)
	require.Contains(t, actions(events), ActReopen)
	due, err := w.q.List(ctx, Filter{Live: true})
	require.NoError(t, err)
	require.Len(t, due, 1, "the clock runs again")
}

func TestBounceOfLetterMarksCase(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	_, err := w.q.Move(ctx, no, Move{Action: ActAnswer, Actor: "operator:eve", Reason: "by-portal"})
	require.NoError(t, err)
	in := mailFrom("mailer-daemon@example.com")
	in.ReplyToken, in.Result.Kind = w.q.CaseToken(no), classifier.KindBounce
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: "delayed", Mail: in}))
	require.Equal(t, Answered, w.show(no).State, "a delay is no failure")
	in.UID++
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: bounceFailed, Mail: in}))
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: bounceFailed, Mail: in}))
	c, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	require.Equal(t, Opened, c.State)
	n := 0
	for _, a := range actions(events) {
		if a == ActBounced {
			n++
		}
	}
	require.Equal(t, 1, n)
	in.UID++
	in.ReplyToken = in.ReplyToken[:8] + "aaaaaaaaaaaa"
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: bounceFailed, Mail: in}), "a forged token marks nothing")
}

// TestNewRightHasItsOwnPeriod: an extension of the first request does not
// stretch the time of a right asked later in the same case.
func TestNewRightHasItsOwnPeriod(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	_, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Extension, Effect: ActExtend, Actor: "operator:eve", Reason: "complex", Values: reply.Values{"reason": "x"}})
	require.NoError(t, err)
	w.later(time.Minute)
	require.True(t, w.show(no).Extended)
	w.clock.Set(time.Date(2026, 12, 14, 9, 0, 0, 0, time.UTC))
	in := mailFrom("alice@example.com", classifier.Erasure)
	in.CaseNo, in.Received = no, w.clock.Now()
	_, err = w.q.Open(ctx, in)
	require.NoError(t, err)
	c := w.show(no)
	require.Equal(t, "2027-01-14", c.Due.Format(time.DateOnly))
	again := mailFrom("alice@example.com", classifier.Access)
	again.CaseNo, again.Received = no, w.clock.Now().AddDate(0, 0, 1)
	_, err = w.q.Open(ctx, again)
	require.NoError(t, err)
	require.Equal(t, c.Due, w.show(no).Due, "a reminder of the same right moves nothing")
}
