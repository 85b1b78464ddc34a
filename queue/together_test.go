package queue

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

func TestFourEyes(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	w.q.o.Handling = map[string]Handling{"shop": {FourEyes: []string{EyesErase, EyesDeny}}}
	no := w.open(classifier.Erasure)
	w.waive(no)
	bob := "operator:bob"
	erase := func(who string) error {
		_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Erase, Actor: who, Approve: no})
		return err
	}
	deny := func(who string) error {
		_, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Denied, Values: reply.Values{"reason": "of a law"}, Effect: ActDeny, Reason: "exception", Actor: who})
		return err
	}
	require.ErrorIs(t, erase(eve), ErrOrder)
	require.ErrorIs(t, deny(eve), ErrOrder)
	require.ErrorIs(t, w.q.Propose(ctx, no, "close", eve, ""), ErrMove)
	require.ErrorIs(t, w.q.Propose(ctx, no, EyesErase, "rule", ""), ErrMove)
	require.NoError(t, w.q.Propose(ctx, no, EyesErase, eve, ""))
	require.ErrorIs(t, erase(eve), ErrOrder, "not the same operator")
	require.Contains(t, s.known, "alice@example.com")
	require.NoError(t, erase(bob))
	w.drain()
	require.NotContains(t, s.known, "alice@example.com")
	require.ErrorIs(t, deny(bob), ErrOrder, "each act is proposed by itself")
	require.NoError(t, w.q.Propose(ctx, no, EyesDeny, bob, ""))
	list, err := w.q.Proposals(ctx, no)
	require.NoError(t, err)
	require.Equal(t, map[string]string{EyesDeny: bob}, list, "a proposal that was acted on is used up")
	require.NoError(t, deny(eve))
}

// Two names, or two programs, of one person are one pair of eyes; a program that
// nobody acts by is none.
func TestFourEyesCountPersons(t *testing.T) {
	w, _ := connected(t, fulfil.Erase)
	w.q.o.Handling = map[string]Handling{"shop": {FourEyes: []string{EyesErase, EyesDeny}}}
	persons := map[string]string{"operator:eve": "eve", "operator:e.smith": "eve", "operator:api:crm": "eve", "operator:api:shop": "eve", "operator:bob": "bob", "operator:api:robot": ""}
	w.q.d.Person = func(_ context.Context, actor string) (string, error) {
		who, ok := persons[actor]
		if !ok {
			return "", errDown
		}
		return who, nil
	}
	no := w.open(classifier.Erasure)
	w.waive(no)
	erase := func(who string) error {
		_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Erase, Actor: who, Approve: no})
		return err
	}
	deny := func(who string) error {
		_, _, err := w.q.Reply(ctx, no, Draft{Step: reply.Denied, Values: reply.Values{"reason": "of a law"}, Effect: ActDeny, Reason: "exception", Actor: who})
		return err
	}
	for _, c := range []struct{ first, second string }{
		{"operator:eve", "operator:e.smith"}, {"operator:e.smith", "operator:Eve "}, {"operator:api:crm", "operator:api:shop"},
		{"operator:api:crm", "operator:eve"}, {"operator:eve", "operator:api:robot"}, {"operator:api:robot", "operator:eve"},
	} {
		require.NoError(t, w.q.Propose(ctx, no, EyesErase, c.first, ""))
		require.NoError(t, w.q.Propose(ctx, no, EyesDeny, c.first, ""))
		require.ErrorIs(t, erase(c.second), ErrOrder, "%v", c)
		require.ErrorIs(t, deny(c.second), ErrOrder, "%v", c)
	}
	require.NoError(t, w.q.Propose(ctx, no, EyesErase, "operator:api:crm", ""))
	persons["operator:api:crm"] = "bob" // the name of the program went to another person meanwhile
	require.ErrorIs(t, erase("operator:eve"), ErrOrder, "she proposed it")
	require.ErrorIs(t, erase("operator:bob"), ErrOrder, "it looks like his")
	require.ErrorIs(t, erase("operator:ghost"), errDown, "in doubt nothing is done")
	require.NoError(t, w.q.Propose(ctx, no, EyesErase, "operator:eve", ""))
	require.NoError(t, erase("operator:bob"))
}

func TestConfiguredLegalHold(t *testing.T) {
	w, s := connected(t, fulfil.Erase)
	w.q.o.LegalHolds = []LegalHold{{Controller: "shop", Reason: "proceedings", Until: w.clock.Now().AddDate(4, 0, 0)}}
	no := w.open(classifier.Erasure)
	w.waive(no)
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Erase, Actor: eve, Approve: no})
	require.ErrorContains(t, err, "proceedings")
	require.NotEmpty(t, s.known)
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)
	w.clock.Set(w.clock.Now().AddDate(3, 1, 0))
	swept, err := w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, Swept{Held: 1}, swept)
	w.clock.Set(w.clock.Now().AddDate(1, 0, 0))
	swept, err = w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, Swept{Cases: 1}, swept, "its day has come")
}

func TestRecipientsAreTold(t *testing.T) {
	w, _ := connected(t, fulfil.Rectify)
	w.q.o.Connections = append(w.q.o.Connections, Connection{Verbs: []fulfil.Verb{fulfil.Inform}, Connector: fulfil.Task{Who: "parcels"}, Owner: address.MustParse("parcels@shop.example.org")})
	no := w.open(classifier.Rectification)
	w.waive(no)
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Rectify, Actor: eve, Facts: map[string]string{"name": "New"}})
	require.NoError(t, err)
	w.drain()
	tasks, err := w.q.Tasks(ctx, no)
	require.NoError(t, err)
	require.Len(t, tasks, 2)
	require.Equal(t, fulfil.Inform, tasks[1].Verb)
	require.Equal(t, Opened, w.show(no).State, "the answer does not wait for it")
	link, err := w.q.TaskLink(ctx, no, 1)
	require.NoError(t, err)
	v, err := w.q.TaskByToken(ctx, tokenOf(link))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"act": "rectify", "name": "New"}, v.Facts)
	l, err := w.q.Preview(ctx, no, Draft{Step: reply.Rectified, Actor: eve})
	require.NoError(t, err)
	require.Contains(t, l.Text, "crm", "the letter names the systems by itself")
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)
	before := len(w.sent)
	w.later(8 * 24 * time.Hour)
	require.Greater(t, len(w.sent), before, "they are reminded although the case has ended")
	require.NoError(t, w.q.AnswerTask(ctx, tokenOf(link), TaskAnswer{Note: "told"}))
	require.Equal(t, Closed, w.show(no).State)
}

func TestSplitEarlierMergeAndBulk(t *testing.T) {
	w := newWorld(t)
	first := w.open(classifier.Information)
	no := w.open(classifier.Access, classifier.Erasure)
	before := w.show(no)
	_, err := w.q.Split(ctx, no, []classifier.Label{classifier.Access, classifier.Erasure}, eve, "")
	require.ErrorIs(t, err, ErrMove, "nothing would be left")
	_, err = w.q.Split(ctx, no, []classifier.Label{classifier.Objection}, eve, "")
	require.ErrorIs(t, err, ErrMove)
	sent := len(w.sent)
	ref, err := w.q.Split(ctx, no, []classifier.Label{classifier.Erasure}, eve, "two desks")
	require.NoError(t, err)
	w.drain()
	require.Len(t, w.sent, sent, "no second receipt")
	part, rest := w.show(ref.Number), w.show(no)
	require.Equal(t, []classifier.Label{classifier.Erasure}, part.Labels)
	require.Equal(t, []classifier.Label{classifier.Access}, rest.Labels)
	require.Equal(t, before.Due, part.Due, "the same clock")
	require.Equal(t, []string{no}, part.Linked)
	require.Equal(t, []string{ref.Number}, rest.Linked)

	list, err := w.q.Earlier(ctx, no)
	require.NoError(t, err)
	require.Len(t, list, 2)

	res := w.q.BulkMove(ctx, []string{first, no, "PC-nonsense", ref.Number}, Move{Action: ActAssign, Actor: eve, Owner: "bob"})
	require.NoError(t, res[0].Err)
	require.ErrorIs(t, res[2].Err, ErrUnknown, "one that can't does not stop the rest")
	require.Equal(t, "bob", w.show(ref.Number).Owner)
	res = w.q.BulkReply(ctx, []string{first, no}, Draft{Step: reply.Receipt, Actor: eve})
	require.NoError(t, res[0].Err)
	require.NoError(t, res[1].Err)
	res = w.q.BulkMove(ctx, []string{first, ref.Number}, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: no})
	require.NoError(t, res[0].Err)
	require.NoError(t, res[1].Err)
	require.Equal(t, Merged, w.show(first).State)
	foreign, err := w.q.Open(ctx, mailFrom("bob@example.com", classifier.Erasure))
	require.NoError(t, err)
	res = w.q.BulkMove(ctx, []string{foreign.Number}, Move{Action: ActMerge, Actor: eve, Reason: "duplicate", Into: no})
	require.ErrorIs(t, res[0].Err, ErrMove, "another person's request would be lost in it")
	require.True(t, w.show(foreign.Number).State.Live())
	mine, err := w.q.List(ctx, Filter{Owner: "bob", Live: true})
	require.NoError(t, err)
	require.Len(t, mine, 1)
}

func TestNotOursGoesToSupport(t *testing.T) {
	w := newWorld(t)
	no := w.open()
	_, err := w.q.HandOver(ctx, no, eve, "")
	require.ErrorIs(t, err, ErrDraft, "nobody to hand it to")
	w.q.o.Handling = map[string]Handling{"shop": {Support: "support@shop.example.org"}}
	_, err = w.q.HandOver(ctx, no, eve, "an order")
	require.NoError(t, err)
	w.later(time.Minute)
	require.Equal(t, Forwarded, w.show(no).State)
	require.Equal(t, "support@shop.example.org", w.sent["case:"+no+":out:0"].To.Plain())
	require.Contains(t, decodeQP(t, w.sent["case:"+no+":out:0"].Body), "My secret words")
	require.Equal(t, "alice@example.com", w.sent["case:"+no+":out:1"].To.Plain())
	require.Contains(t, decodeQP(t, w.sent["case:"+no+":out:1"].Body), "support@shop.example.org")
}

func TestAbsence(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now()
	require.Error(t, w.q.SetAway(ctx, Away{Operator: "eve", Deputy: "eve", From: now, Until: now.Add(time.Hour)}))
	require.NoError(t, w.q.SetAway(ctx, Away{Operator: "eve", Deputy: "bob", From: now, Until: now.AddDate(0, 0, 20)}))
	require.NoError(t, w.q.SetAway(ctx, Away{Operator: "bob", Deputy: "ann", From: now.AddDate(0, 0, 5), Until: now.AddDate(0, 0, 10)}))
	require.NoError(t, w.q.SetAway(ctx, Away{Operator: "ann", Deputy: "eve", From: now.AddDate(0, 0, 5), Until: now.AddDate(0, 0, 7)}))
	who := func() string { d, err := w.q.Deputy(ctx, "eve"); require.NoError(t, err); return d }
	require.Equal(t, "bob", who())
	w.q.o.Operators = map[string][]string{"shop": {"dpo@shop.example.org"}}
	w.q.o.Handling = map[string]Handling{"shop": {StaffLanguage: "en"}}
	no := w.open(classifier.Access)
	_, err := w.q.Move(ctx, no, Move{Action: ActAssign, Actor: eve, Owner: "eve"})
	require.NoError(t, err)
	w.later(16 * 24 * time.Hour)
	found := ""
	for ref, m := range w.sent {
		if strings.HasPrefix(ref, "notice:"+no) {
			found += decodeQP(t, m.Body)
		}
	}
	require.Contains(t, found, "Owner: eve (away, deputy: bob)")
	w.clock.Set(now.AddDate(0, 0, 6))
	require.Equal(t, "eve", who(), "a ring of deputies ends where it began")
	w.clock.Set(now.AddDate(0, 0, 8))
	require.Equal(t, "ann", who())
	require.NoError(t, w.q.SetAway(ctx, Away{Operator: "eve"}))
	require.Equal(t, "eve", who())
}

func TestConfidentialMailboxHasItsOwnRole(t *testing.T) {
	w := newWorld(t)
	w.q.o.Roles = map[string]string{"hr": "hr"}
	in := mailFrom("alice@example.com", classifier.Access)
	in.Mailbox, in.Confidential = "hr", true
	ref, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	w.open(classifier.Access)
	count := func(roles []string) int {
		list, err := w.q.List(ctx, Filter{Roles: roles})
		require.NoError(t, err)
		return len(list)
	}
	require.Equal(t, "hr", w.show(ref.Number).Role)
	require.Equal(t, 2, count(nil))
	require.Equal(t, 1, count([]string{}))
	require.Equal(t, 1, count([]string{"dpo"}))
	require.Equal(t, 2, count([]string{"hr"}))
}

func TestCustomers(t *testing.T) {
	w := newWorld(t)
	w.q.o.Customers = []Customer{{Name: "Customer", Controller: "shop", Domains: []string{"customer.example.net"}, AssistWithin: 48 * time.Hour}}
	w.q.o.Handling = map[string]Handling{"shop": {DPA: Template{Text: "We process for you.", Version: "2026-11-01"}}}
	ref, err := w.q.Open(ctx, mailFrom("dpo@customer.example.net", classifier.AssistanceRequest, classifier.DPARequest))
	require.NoError(t, err)
	c := w.show(ref.Number)
	require.Equal(t, "EU-ASSIST", c.Rule)
	require.Equal(t, "2026-11-26", c.Due.In(w.q.zone("shop")).Format(time.DateOnly))
	require.NotContains(t, c.Flags, FlagNoCustomer)
	stranger, err := w.q.Open(ctx, mailFrom("dpo@other.example.net", classifier.AssistanceRequest))
	require.NoError(t, err)
	require.Contains(t, w.show(stranger.Number).Flags, FlagNoCustomer)
	require.Equal(t, "EU-ANSWER", w.show(stranger.Number).Rule)

	d, check, err := w.q.DPADraft(ctx, ref.Number, eve)
	require.NoError(t, err)
	require.Equal(t, "Customer", check.Customer)
	for _, l := range DPALetters {
		require.Contains(t, d.Text, "("+l[0]+")")
	}
	covered := map[string]string{}
	signed := DPA{Case: ref.Number, Controller: "shop", Customer: "Customer", Version: "2026-11-01", Signed: "2026-11-24", By: eve, Covered: covered}
	require.ErrorIs(t, w.q.RecordDPA(ctx, signed), ErrOrder, "every letter of Art. 28(3)")
	for _, l := range DPALetters {
		covered[l[0]] = "§ " + l[0]
	}
	require.NoError(t, w.q.RecordDPA(ctx, signed))
	list, err := w.q.DPAs(ctx)
	require.NoError(t, err)
	require.Equal(t, []DPA{signed}, list)
	_, _, err = w.q.DPADraft(ctx, w.open(), eve)
	require.NoError(t, err)
}

func TestProcessingNotice(t *testing.T) {
	w := newWorld(t)
	n := func(lang, version, text string) ProcessingNotice {
		return ProcessingNotice{lang, version, text, "third", "retention", "place", "security", "changes"}
	}
	h := Handling{Notices: []ProcessingNotice{n("en", "2026-01-01", "old"), n("en", "2026-11-01", "new"), n("en", "2027-01-01", "to come"), n("de", "2026-11-01", "neu")}}
	w.q.o.Handling = map[string]Handling{"shop": h}
	got, ok := w.q.Notice("shop", "en-GB")
	require.True(t, ok)
	require.Equal(t, "new", got.Data)
	got, _ = w.q.Notice("shop", "fr")
	require.Equal(t, "neu", got.Data, "the controller's language where there is none in the person's")
	_, ok = w.q.Notice("club", "en")
	require.False(t, ok)

	no := w.open(classifier.Information)
	d, err := w.q.InformationDraft(ctx, no, eve)
	require.NoError(t, err)
	_, _, err = w.q.Reply(ctx, no, d)
	require.NoError(t, err)
	w.later(time.Minute)
	require.Equal(t, Answered, w.show(no).State)
	require.Contains(t, decodeQP(t, w.sent["case:"+no+":out:0"].Body), "6. Changes")

	require.NoError(t, w.q.PublishNotices(ctx))
	list, err := w.q.NoticeVersions(ctx, "shop")
	require.NoError(t, err)
	require.Len(t, list, 4)
	h.Notices[1].Data = "quietly changed"
	require.ErrorContains(t, w.q.PublishNotices(ctx), "a version of its own")
	h.Notices[1].Data = "new"

	send := func() bool {
		left, err := w.q.SendNoticeChange(ctx, NoticeChange{Controller: "shop", To: address.MustParse("alice@example.com"), Language: "en", Actor: eve})
		require.NoError(t, err)
		return left
	}
	require.True(t, send())
	require.False(t, send(), "once per person and version")
	found := false
	for ref, m := range w.sent {
		if strings.HasPrefix(ref, "notice-change:shop:2026-11-01") {
			found = true
			require.Contains(t, decodeQP(t, m.Body), "This is the new text")
			require.Equal(t, "service", m.Stream)
		}
	}
	require.True(t, found)
	w.clock.Set(time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC))
	require.True(t, send(), "a new version is told again")
	_, err = w.q.SendNoticeChange(ctx, NoticeChange{Controller: "shop", To: address.MustParse("alice@example.com"), Actor: "rule"})
	require.ErrorIs(t, err, ErrOrder)

	// A process that died between its mark and the spool loses no mail: the mark
	// holds for a minute and then the person is sent to.
	bob := NoticeChange{Controller: "shop", To: address.MustParse("bob@example.com"), Language: "en", Actor: eve}
	field := "2027-01-01 " + w.q.o.Keyring.Identify("shop", bob.To).ID.String()
	state, err := claimNotice.Run(ctx, w.rdb, []string{keyNoticed("shop")}, field, millis(w.clock.Now()), noticeClaim.Milliseconds()).Text()
	require.NoError(t, err)
	require.Equal(t, "mine", state)
	_, err = w.q.SendNoticeChange(ctx, bob)
	require.ErrorIs(t, err, ErrOrder, "another run may be sending it")
	w.clock.Set(w.clock.Now().Add(noticeClaim))
	w.failSend = true
	_, err = w.q.SendNoticeChange(ctx, bob)
	require.Error(t, err)
	w.failSend = false
	left, err := w.q.SendNoticeChange(ctx, bob)
	require.NoError(t, err)
	require.True(t, left)
	require.Contains(t, w.sent, "notice-change:shop:"+field)
	left, err = w.q.SendNoticeChange(ctx, bob)
	require.NoError(t, err)
	require.False(t, left)
}

// listener is a receiver of hooks that fails at first.
type listener struct {
	mu    sync.Mutex
	fails int
	got   []HookEvent
	kinds []string
	ids   map[string]int
}

// ServeHTTP takes one event.
func (l *listener) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[r.Header.Get("Webhook-Id")]++
	if l.fails > 0 {
		l.fails--
		rw.WriteHeader(http.StatusInternalServerError)
		return
	}
	var m struct {
		Type string
		Data HookEvent
	}
	if json.Unmarshal(body, &m) != nil || strings.Contains(string(body), "alice") || strings.Contains(string(body), "secret") {
		rw.WriteHeader(http.StatusGone)
		return
	}
	l.kinds, l.got = append(l.kinds, m.Type), append(l.got, m.Data)
}

func TestHooks(t *testing.T) {
	w := newWorld(t)
	l := &listener{fails: 2, ids: map[string]int{}}
	srv := httptest.NewServer(l)
	defer srv.Close()
	hook, err := fulfil.NewWebhook(fulfil.WebhookOptions{Name: "tickets", URL: srv.URL, Secrets: []string{"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}, Client: srv.Client()})
	require.NoError(t, err)
	w.q.o.Hooks = []Hook{{Name: "tickets", Webhook: hook, Events: []string{"case.open", "case.close", "notice.*"}, Controllers: []string{"shop"}}}
	no := w.open(classifier.Access)
	w.drain()
	w.later(time.Second)
	w.clock.Set(w.show(no).Due.Add(-time.Hour))
	w.drain()
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)
	w.drain()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.Unlock()
	w.q.tell(ctx, Notice{Kind: "task-overdue", Case: no, Controller: "shop", Reason: "archive | cellar"})
	w.drain()
	l.mu.Lock()
	require.Equal(t, "archive / cellar", l.got[len(l.got)-1].Reason)
	l.kinds = l.kinds[:len(l.kinds)-1]
	require.ElementsMatch(t, []string{"case.open", "notice.half", "notice.three-quarters", "notice.three-days", "case.close"}, l.kinds)
	for id, n := range l.ids {
		require.LessOrEqual(t, n, 3, id)
	}
	require.Len(t, l.ids, 6, "tries of one event have one id")
	for _, e := range l.got {
		require.Equal(t, no, e.Case)
		require.Equal(t, "shop", e.Controller)
	}
	require.Error(t, CheckEvent("case.fly"))
	require.Error(t, CheckEvent("nonsense"))
	require.NoError(t, CheckEvent("*"))
	require.NoError(t, CheckEvent("case.*"))
	require.NoError(t, CheckEvent("notice.overdue"))
}

func TestViewsAndSample(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Objection)
	require.Error(t, w.q.RecordView(ctx, View{Actor: eve}))
	require.NoError(t, w.q.RecordView(ctx, View{Actor: eve, Case: no, What: "case"}))
	require.NoError(t, w.q.RecordView(ctx, View{Actor: eve, Controller: "shop", Address: address.MustParse("alice@example.com"), What: "person"}))
	views := 0
	for _, r := range w.proofs {
		if r.Kind == ledger.KindView {
			views++
			require.Equal(t, w.show(no).Subject, r.Subject, "both name the same person by the pseudonym")
		}
	}
	require.Equal(t, 2, views)
	from, to := w.clock.Now().AddDate(0, -1, 0), w.clock.Now().AddDate(0, 1, 0)
	rep, err := w.q.AutomaticActs(ctx, from, to, 5)
	require.NoError(t, err)
	require.Equal(t, []string{no}, rep.Sample)
	_, ok := rep.ErrorRate()
	require.False(t, ok)
	require.ErrorIs(t, w.q.Judge(ctx, no, true, "rule", ""), ErrMove)
	require.NoError(t, w.q.Judge(ctx, no, true, eve, ""))
	require.NoError(t, w.q.Judge(ctx, no, false, eve, "on second thoughts"))
	rep, err = w.q.AutomaticActs(ctx, from, to, 5)
	require.NoError(t, err)
	rate, ok := rep.ErrorRate()
	require.True(t, ok)
	require.Equal(t, 1.0, rate)
}

func TestFreeWordsStayOutOfTheLedger(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	_, err := w.q.Move(ctx, no, Move{Action: ActIdentify, Actor: eve, Reason: "alice called, secret word known", Note: "twice"})
	require.NoError(t, err)
	_, _, err = w.q.Reply(ctx, no, Draft{Text: "Hello.", Subject: "Re", Effect: ActAnswer, Reason: "as alice wished", Actor: eve})
	require.NoError(t, err)
	w.later(time.Minute)
	for _, r := range w.proofs {
		for _, s := range secrets {
			require.NotContains(t, r.Reason, s)
			for _, v := range r.Data {
				require.NotContains(t, v, s)
			}
		}
	}
	_, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	notes := ""
	for _, e := range events {
		notes += e.Note + "\n"
	}
	require.Contains(t, notes, "alice called, secret word known\ntwice", "an operator still reads them")
	require.Contains(t, notes, "as alice wished")
	requireSealed(t, w.rdb)
}
