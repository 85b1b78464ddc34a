package queue

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/consent"
)

var ctx = context.Background()

func TestNumber(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		no, err := newNumber()
		require.NoError(rt, err)
		require.Equal(rt, no, FindCaseNo("Re: Fall "+no+", bitte"))
		require.Equal(rt, no, FindCaseNo(strings.ToLower(no)))
		// every wrong sign and every swap of neighbours is found
		i := rapid.IntRange(3, len(no)-1).Filter(func(i int) bool { return no[i] != '-' }).Draw(rt, "at")
		wrong := rapid.SampledFrom([]byte(digits)).Filter(func(c byte) bool { return c != no[i] }).Draw(rt, "sign")
		require.Empty(rt, FindCaseNo(no[:i]+string(wrong)+no[i+1:]))
		if i+1 < len(no) && no[i+1] != '-' && no[i] != no[i+1] {
			require.Empty(rt, FindCaseNo(no[:i]+string(no[i+1])+string(no[i])+no[i+2:]))
		}
	})
	for _, text := range []string{"", "PC-", "PC-0000-0000", "XPC-7K3Q-X9MD", "PC-7K3Q-X9MD9"} {
		require.Empty(t, FindCaseNo(text), text)
	}
}

func FuzzFindCaseNo(f *testing.F) {
	f.Add("Re: [PC-7K3Q-X9MD] your request")
	f.Add("pc-7k3qx9md PC-1111-1111")
	f.Fuzz(func(t *testing.T, text string) {
		no := FindCaseNo(text)
		if no != "" {
			require.Equal(t, no, FindCaseNo(no))
			require.Len(t, no, 12)
		}
	})
}

func TestOpenStoresAndBinds(t *testing.T) {
	w := newWorld(t)
	in := mailFrom("alice@example.com", classifier.Objection)
	ref, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	require.True(t, ref.New)
	require.Len(t, w.bound, 1, "bound before Open returned, with no worker running")
	for _, s := range w.bound {
		require.Equal(t, consent.ObjectedTo, s.Reason)
		require.Equal(t, consent.ScopeController, s.Scope)
		require.Equal(t, "alice@example.com", s.Address.Plain())
		require.Equal(t, ref.Number, s.Case)
	}
	again, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	require.Equal(t, Ref{ref.Number, false}, again)

	c, events, err := w.q.Show(ctx, ref.Number)
	require.NoError(t, err)
	require.Equal(t, Received, c.State)
	require.Equal(t, "EU-ANSWER", c.Rule)
	require.Equal(t, "2026-12-24 22:59:59", c.Due.Format(time.DateTime), "24 Dec, 23:59:59 in Berlin")
	require.Len(t, c.Mails, 1)
	require.Equal(t, in, c.Mails[0])
	require.Equal(t, []Action{ActOpen, ActSuppress}, actions(events))

	w.drain()
	requireSealed(t, w.rdb)
	require.Len(t, w.bound, 1, "the worker's repetition has the same id")
	_, events, err = w.q.Show(ctx, ref.Number)
	require.NoError(t, err)
	require.Equal(t, []Action{ActOpen, ActSuppress, ActReceipt}, actions(events))
	require.Len(t, w.proofs, 3)
	for i := range events {
		require.Contains(t, w.proofs, "case:"+ref.Number+":"+string(rune('0'+i)))
	}
}

func actions(events []Event) []Action {
	var out []Action
	for _, e := range events {
		out = append(out, e.Action)
	}
	return out
}

func TestReceiptMergesNotice(t *testing.T) {
	w := newWorld(t)
	in := mailFrom("alice@example.com", classifier.WithdrawConsent, classifier.Access)
	in.Result.Language = "de"
	in.References = []string{"first@mail.example.com"}
	ref, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	w.drain()
	m := w.sent["case:"+ref.Number+":ack:0"]
	require.Equal(t, "service", m.Stream)
	require.True(t, m.ReversePath.IsZero())
	require.True(t, m.NotifyNever)
	require.Equal(t, "alice@example.com", m.To.Plain())
	head, body := strings.ReplaceAll(string(m.Header), "\r\n ", " "), decodeQP(t, m.Body)
	require.Contains(t, head, "Auto-Submitted: auto-replied\r\n")
	require.Contains(t, head, "X-Auto-Response-Suppress: All\r\n")
	require.Contains(t, head, "In-Reply-To: <"+in.MessageID+">\r\n")
	require.Contains(t, head, "References: <first@mail.example.com> <"+in.MessageID+">\r\n")
	require.Contains(t, body, "Ihre Nachricht ist am 24. November 2026 eingegangen. Fall "+ref.Number)
	require.Contains(t, body, "24. Dezember 2026")
	require.Contains(t, body, "Example Shop hat die E-Mail-Werbung an diese Adresse am 24. November")
	require.NotContains(t, body, "secret", "the request is not echoed")
	require.NotContains(t, body, "{")
	for _, line := range strings.Split(body, "\r\n") {
		require.LessOrEqual(t, len([]rune(line)), 72)
	}
	require.Equal(t, ref.Number, FindCaseNo(head), "the answer finds its case")
}

func TestBareUnsubscribeCloses(t *testing.T) {
	w := newWorld(t)
	ref, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Unsubscribe))
	require.NoError(t, err)
	both, err := w.q.Open(ctx, mailFrom("bob@example.com", classifier.Unsubscribe, classifier.Erasure))
	require.NoError(t, err)
	agent := mailFrom("carol@law.example.com", classifier.Unsubscribe)
	agent.Result.Asker = "agent"
	another, err := w.q.Open(ctx, agent)
	require.NoError(t, err)
	w.drain()
	c, _, err := w.q.Show(ctx, ref.Number)
	require.NoError(t, err)
	require.Equal(t, Closed, c.State)
	c, _, err = w.q.Show(ctx, both.Number)
	require.NoError(t, err)
	require.Equal(t, Received, c.State, "nothing but a bare unsubscribe closes by itself")
	c, _, err = w.q.Show(ctx, another.Number)
	require.NoError(t, err)
	require.Equal(t, Received, c.State, "whether someone may write for another is for an operator to see")
	live, err := w.q.List(ctx, Filter{Live: true})
	require.NoError(t, err)
	require.Len(t, live, 2)
	require.NotContains(t, decodeQP(t, w.sent["case:"+ref.Number+":ack:0"].Body), "You will have our answer")
}

func TestWhoIsBound(t *testing.T) {
	cases := []struct {
		name  string
		alter func(*Incoming)
		want  map[string]consent.Reason // address or "token" → reason
		flag  string
	}{
		{"sender", func(*Incoming) {}, map[string]consent.Reason{"alice@example.com": consent.ObjectedTo}, ""},
		{"colleague's forward", func(in *Incoming) {
			in.From, in.Forwarded = address.MustParse("desk@shop.example.org"), address.MustParse("carol@example.com")
		}, map[string]consent.Reason{"carol@example.com": consent.ObjectedTo}, ""},
		{"own domain alone", func(in *Incoming) { in.From = address.MustParse("desk@shop.example.org") }, map[string]consent.Reason{}, FlagNoAddress},
		{"named in the text", func(in *Incoming) { in.Text = "My old address dave@example.net too, not desk@shop.example.org" },
			map[string]consent.Reason{"alice@example.com": consent.ObjectedTo, "dave@example.net": consent.Held}, FlagHold},
		{"no sender", func(in *Incoming) { in.From = address.Address{} }, map[string]consent.Reason{}, FlagNoAddress},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			in := mailFrom("alice@example.com", classifier.Objection)
			c.alter(&in)
			ref, err := w.q.Open(ctx, in)
			require.NoError(t, err)
			got := map[string]consent.Reason{}
			for _, s := range w.bound {
				got[s.Address.Plain()] = s.Reason
			}
			require.Equal(t, c.want, got)
			shown, _, err := w.q.Show(ctx, ref.Number)
			require.NoError(t, err)
			if c.flag != "" {
				require.Contains(t, shown.Flags, c.flag)
			}
		})
	}
}

func TestErasureIsPendingOnly(t *testing.T) {
	w := newWorld(t)
	_, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Erasure))
	require.NoError(t, err)
	require.Len(t, w.bound, 1)
	for _, s := range w.bound {
		require.Equal(t, consent.ErasurePending, s.Reason)
	}
}

func TestBindingFailureIsRepeated(t *testing.T) {
	w := newWorld(t)
	w.failBind = true
	ref, err := w.q.Open(ctx, mailFrom("alice@example.com", classifier.Objection))
	require.NoError(t, err, "the case is stored: the mailbox may be touched")
	require.Empty(t, w.bound)
	w.set(func() { w.failBind = false })
	w.drain()
	require.Len(t, w.bound, 1)
	_, events, err := w.q.Show(ctx, ref.Number)
	require.NoError(t, err)
	require.Contains(t, actions(events), ActSuppress)
}

func TestOptOutByToken(t *testing.T) {
	w := newWorld(t)
	in := mailFrom("alice@example.com")
	require.NoError(t, w.q.OptOut(ctx, "goodtoken", in))
	require.NoError(t, w.q.OptOut(ctx, "goodtoken", in))
	require.Len(t, w.bound, 1)
	for _, s := range w.bound {
		require.Equal(t, consent.ScopeStream, s.Scope)
		require.EqualValues(t, 2, s.Stream)
		require.False(t, s.Subject.IsZero())
	}
	require.NoError(t, w.q.OptOut(ctx, "broken", mailFrom("bob@example.com", classifier.Unsubscribe)))
	cases, err := w.q.List(ctx, Filter{})
	require.NoError(t, err)
	require.Len(t, cases, 1, "a broken token makes a case")
	w.drain()
	require.Empty(t, w.sent, "nothing is answered")
}

func TestSetAsideAndPromote(t *testing.T) {
	w := newWorld(t)
	in := mailFrom("alice@example.com", classifier.Access)
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: "spam", Mail: in}))
	require.NoError(t, w.q.SetAside(ctx, Aside{Why: "spam", Mail: in}))
	list, err := w.q.Asides(ctx, 0, 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, in, list[0].Mail)
	requireSealed(t, w.rdb)
	w.clock.Set(w.clock.Now().AddDate(0, 0, 10))
	ref, err := w.q.Promote(ctx, list[0].ID)
	require.NoError(t, err)
	c, _, err := w.q.Show(ctx, ref.Number)
	require.NoError(t, err)
	require.Equal(t, in.Received, c.Received, "the true receipt date counts")
	list, err = w.q.Asides(ctx, 0, 0)
	require.NoError(t, err)
	require.Empty(t, list)
}
