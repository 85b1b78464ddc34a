package queue

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/reply"
)

// What was passed on, or closed, is open again when the mail that did it comes
// back.
func TestBouncedAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(w *world, no string){
		"passed on to support": func(w *world, no string) {
			w.q.o.Handling = map[string]Handling{"shop": {Support: "support@shop.example.org"}}
			_, err := w.q.HandOver(ctx, no, eve, "")
			require.NoError(w.t, err)
			w.later(time.Minute)
			require.Equal(w.t, Forwarded, w.state(no))
		},
		"closed after the answer": func(w *world, no string) {
			_, _, err := w.q.Reply(ctx, no, Draft{Subject: "Your request", Text: "We hold nothing.", Effect: ActAnswer, Actor: eve})
			require.NoError(w.t, err)
			w.later(time.Minute)
			_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
			require.NoError(w.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			no := w.open(classifier.Information)
			end(w, no)
			in := mailFrom("mailer-daemon@example.com")
			in.ReplyToken, in.Result.Kind = w.q.CaseToken(no), classifier.KindBounce
			require.NoError(t, w.q.SetAside(ctx, Aside{Why: bounceFailed, Mail: in}))
			require.Equal(t, Opened, w.state(no))
			live, err := w.q.List(ctx, Filter{Live: true})
			require.NoError(t, err)
			require.Len(t, live, 1, "its clock runs again")
		})
	}
}

// A node whose clock is a second behind does not end the daily reminders of an
// overdue case.
func TestOverdueIsToldOfAfterAStepBack(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	midnight := time.Date(2026, 12, 28, 0, 0, 0, 0, time.UTC)
	w.clock.Set(midnight.Add(500 * time.Millisecond))
	w.drain()
	overdue := func() (n int) {
		for _, told := range w.notices {
			if told.Kind == RemindOverdue {
				n++
			}
		}
		return n
	}
	require.Equal(t, 1, overdue())
	w.clock.Set(midnight.Add(23*time.Hour + 59*time.Minute + 59*time.Second)) // the other node's clock, as it takes what was rung
	require.NoError(t, w.q.remind(ctx, no, RemindOverdue))
	require.Equal(t, 1, overdue(), "once a day")
	for range 3 {
		w.later(24*time.Hour + time.Second)
	}
	require.Equal(t, 4, overdue())
}

// Two waits that end on one day both end.
func TestTwoWaitsOfOneDay(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	for range 2 {
		_, err := w.q.Move(ctx, no, Move{Action: ActWait, Actor: eve, Reason: "archive", Until: w.clock.Now().Add(time.Hour)})
		require.NoError(t, err)
		w.later(2 * time.Hour)
		require.Equal(t, Opened, w.state(no))
	}
}

// The letter of which nobody knows whether it left is told to those who answer
// for its controller.
func TestUnsureLetterNamesItsController(t *testing.T) {
	w := newWorld(t)
	w.q.o.Operators = map[string][]string{"shop": {"dpo@shop.example.org"}}
	no := w.open(classifier.Access)
	_, _, err := w.q.Reply(ctx, no, Draft{Subject: "Your request", Text: "We hold nothing.", Effect: ActAnswer, Actor: eve})
	require.NoError(t, err)
	_, _, err = w.q.takeUp(ctx, no, "0") // a process that dies right here
	require.NoError(t, err)
	sent := w.count()
	w.later(time.Minute)
	require.Equal(t, "shop", w.notices[len(w.notices)-1].Controller)
	require.Equal(t, sent+1, w.count(), "they are mailed")
}

// Two alarms of one day about one case are two mails: each has an id of its own,
// for mailboxes drop the second mail of one.
func TestAlarmsOfOneDayDiffer(t *testing.T) {
	w := newWorld(t)
	w.q.o.Operators = map[string][]string{"shop": {"dpo@shop.example.org"}}
	no := w.open(classifier.Access)
	sent := w.count()
	w.q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: "shop", Reason: "not-me"})
	w.q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: "shop", Reason: "undeliverable"})
	require.Equal(t, sent+2, w.count())
}

// The same words on another day are a message of their own.
func TestSameWordsOnAnotherDay(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	token := w.statusLink(no)
	for range 2 { // pressed twice
		require.NoError(t, w.q.AddMessage(ctx, token, "Any news?"))
	}
	require.Len(t, w.show(no).Mails, 2)
	w.later(2 * 24 * time.Hour)
	require.NoError(t, w.q.AddMessage(ctx, token, "Any news?"))
	require.Len(t, w.show(no).Mails, 3)
}

// A legal hold on all of a controller keeps what became no case as well.
func TestLegalHoldKeepsMailsSetAside(t *testing.T) {
	w := newWorld(t)
	w.q.o.LegalHolds = []LegalHold{{Controller: "shop", Reason: "proceedings"}}
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: "spam", Mail: mailFrom("carol@example.com")}))
	w.clock.Set(w.clock.Now().AddDate(1, 0, 0))
	swept, err := w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, Swept{Held: 1}, swept)
	w.q.o.LegalHolds = nil
	swept, err = w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, Swept{Asides: 1}, swept)
}

// What reaches an open case through a confidential mailbox makes it one, for the
// archive of an audit as for the pages.
func TestConfidentialMailMakesTheCaseOne(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	in := intoCase(no, "alice@example.com")
	in.Mailbox, in.Confidential = "dpo", true
	_, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	require.Equal(t, "confidential", w.show(no).Role)
	list, err := w.q.List(ctx, Filter{Roles: []string{"auditor"}})
	require.NoError(t, err)
	require.Empty(t, list)

	w.q.o.Roles = map[string]string{"works-council": "council"}
	in = mailFrom("bob@example.com", classifier.Access)
	in.Mailbox = "works-council"
	ref, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	require.Contains(t, w.show(ref.Number).Flags, FlagConfidential, "a role of its own is one")
}

// Where no reverse-path of its own is configured, the report of a letter that
// came back lies among others at the contact address: it is known by the mail it
// returns.
func TestBounceAtTheContactAddress(t *testing.T) {
	w := newWorld(t)
	w.q.o.ReplyPath = nil
	no := w.open(classifier.Access)
	_, _, err := w.q.Reply(ctx, no, Draft{Subject: "Your request", Text: "We hold nothing.", Effect: ActAnswer, Actor: eve})
	require.NoError(t, err)
	w.later(time.Minute)
	require.Equal(t, Answered, w.state(no))
	m := regexp.MustCompile(`(?i)message-id: <([^>]+)>`).FindStringSubmatch(string(w.sent["case:"+no+":out:0"].Header))
	require.NotNil(t, m)
	for _, returned := range []struct {
		id, controller string
		want           State
	}{
		{no + ".0123456789abcdef@shop.example.org", "shop", Answered}, // none of ours
		{m[1], "club", Answered},
		{m[1], "shop", Opened},
	} {
		in := mailFrom("mailer-daemon@example.com")
		in.Returned, in.Controller, in.Result.Kind = returned.id, returned.controller, classifier.KindBounce
		require.NoError(t, w.q.SetAside(ctx, Aside{Why: bounceFailed, Mail: in}))
		require.Equal(t, returned.want, w.state(no), returned.id)
	}
}

// A link that did not reach the person is sent anew, and the first one ends.
func TestPackageIsReleasedAnewWhenItsLetterCameBack(t *testing.T) {
	w, no := collected(t, classifier.Portability)
	_, err := w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	w.ticked(no)
	release := func() (Handover, error) { return w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "post"}) }
	first, err := release()
	require.NoError(t, err)
	_, err = release()
	require.ErrorIs(t, err, ErrOrder, "its letter waits")
	require.NoError(t, w.q.TakeBack(ctx, no, first.Letter, eve))
	second, err := release()
	require.NoError(t, err)
	_, err = w.q.OpenPackage(ctx, first.Token)
	require.ErrorIs(t, err, ErrUnknown)
	w.later(time.Minute)
	require.Equal(t, Answered, w.state(no))
	_, err = release()
	require.ErrorIs(t, err, ErrOrder, "it left")
	require.NoError(t, w.q.Undeliverable(ctx, no, "5.1.1"))
	third, err := release()
	require.NoError(t, err)
	_, err = w.q.OpenPackage(ctx, second.Token)
	require.ErrorIs(t, err, ErrUnknown)
	w.later(time.Minute)
	_, err = w.q.FetchPackage(ctx, third.Token, first.Code)
	require.ErrorIs(t, err, ErrCode)
	_, err = w.q.FetchPackage(ctx, third.Token, third.Code)
	require.NoError(t, err)
	require.Equal(t, Answered, w.state(no))
}

// Whose case it is, and a receipt sent to a heap of them, say nothing of whether
// somebody read the mail that came last.
func TestNewsStaysUntilItIsRead(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Erasure)
	w.waive(no)
	_, err := w.q.Open(ctx, intoCase(no, "alice@example.com"))
	require.NoError(t, err)
	_, err = w.q.Move(ctx, no, Move{Action: ActAssign, Actor: eve, Owner: "bob"})
	require.NoError(t, err)
	require.NoError(t, w.q.BulkReply(ctx, []string{no}, Draft{Step: reply.Receipt, Actor: eve})[0].Err)
	require.Contains(t, w.show(no).Flags, FlagNews)
	_, err = w.q.Move(ctx, no, Move{Action: ActNote, Actor: eve, Note: "read"})
	require.NoError(t, err)
	require.NotContains(t, w.show(no).Flags, FlagNews)
}
