package api

import (
	"encoding/json"
	"errors"
	"fmt"
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
	"postern/gateway/spool"
	"postern/queue"
	"postern/queue/fulfil"
	"postern/testmail/env"
)

const alice, bert = "alice@example.com", "bert@example.net"

func (c *client) allowed(stream, who string) bool {
	c.w.t.Helper()
	var got struct{ Results []struct{ Allowed bool } }
	c.want("POST", "/consent/check", object{"stream": stream, "addresses": []string{who}}, 200, &got)
	require.Len(c.w.t, got.Results, 1)
	return got.Results[0].Allowed
}

// Consent from sign-up to withdrawal, as a company's own form and shop use it.
func TestConsent(t *testing.T) {
	w := newWorld(t)
	c := w.client("shop", ConsentRead, ConsentWrite)
	grant := object{"purpose": "news", "address": alice, "wording": "Yes, send me News.", "source": "https://shop.example.org/signup", "language": "en"}

	require.False(t, c.allowed("news", alice), "nothing is known")
	require.True(t, c.allowed("orders", alice))
	c.want("POST", "/consent/sign-ups", object{"stream": "news", "address": bert, "wording": "Yes, send me News.", "source": "https://shop.example.org/signup", "language": "de"}, 202, nil)
	require.Len(t, w.mailed, 1)
	require.Contains(t, w.mailed[0].Text, "https://mail.example.org/c/")
	require.Equal(t, "de", w.mailed[0].Language)
	var found struct{ Results []checked }
	c.want("POST", "/consent/check", object{"stream": "news", "addresses": []string{bert, alice}}, 200, &found)
	require.Equal(t, "pending", found.Results[0].Status)
	require.Equal(t, "none", found.Results[1].Status)
	for range 5 { // a mailbox is not filled, and nothing tells
		c.want("POST", "/consent/sign-ups", object{"stream": "news", "address": bert, "wording": "Yes, send me News.", "source": "https://shop.example.org/signup"}, 202, nil)
	}
	require.Len(t, w.mailed, 3)

	var id idAnswer
	c.want("POST", "/consent/grants", grant, 201, &id)
	require.NotEmpty(t, id.ID)
	require.True(t, c.allowed("news", alice))
	c.want("POST", "/consent/withdrawals", object{"purpose": "news", "address": "Alice@Example.com"}, 201, nil)
	require.False(t, c.allowed("news", alice), "every writing of the address is stopped")

	var p struct {
		Consents []struct {
			Status  string
			History []struct {
				Action string
				Terms  struct{ Wording, Method, Actor string }
			}
		}
	}
	c.want("POST", "/consent/history", object{"address": alice}, 200, &p)
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	require.Contains(t, string(raw), "Yes, send me News.")
	require.Contains(t, string(raw), "operator:api:shop")
	require.Contains(t, string(c.want("POST", "/consent/records", object{"address": alice}, 200, nil).body), "Yes, send me News.")
	views := 0
	require.NoError(t, w.trail.Query(t.Context(), ledger.Filter{Kind: ledger.KindView}, func(e ledger.Entry) error {
		require.Equal(t, "operator:api:shop", e.Actor)
		views++
		return nil
	}))
	require.Equal(t, 2, views, "looks are on record")
	require.NotContains(t, w.log.String(), "example.com")

	for name, change := range map[string]object{
		"no wording":     {"wording": ""},
		"no address":     {"address": "alice"},
		"no controller":  {"controller": "nobody"},
		"in the future":  {"time": time.Now().Add(time.Hour)},
		"implied no end": {"basis": "implied", "jurisdiction": "CA"},
		"unknown purpos": {"purpose": ""},
	} {
		t.Run(name, func(t *testing.T) {
			broken := object{}
			for k, v := range grant {
				broken[k] = v
			}
			for k, v := range change {
				broken[k] = v
			}
			if name == "no wording" { // stored as unproven elsewhere, never here
				c.want("POST", "/consent/grants", broken, 422, nil)
				return
			}
			c.refused("POST", "/consent/grants", broken, "invalid")
		})
	}
}

// A POST with a key acts once; its repeat gets the first answer, another body
// is refused, and both are told apart from a request still at work.
func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	c := w.client("shop", SuppressionsRead, SuppressionsWrite, CasesWrite, CasesRead)
	body := object{"address": alice, "reason": "complaint"}
	c.key = "one"
	first := c.want("POST", "/suppressions", body, 201, nil)
	c.key = "one"
	again := c.want("POST", "/suppressions", body, 201, nil)
	require.JSONEq(t, string(first.body), string(again.body))
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	c.key = "one"
	c.refused("POST", "/suppressions", object{"address": bert}, "reused")
	var list struct{ Suppressions []suppression }
	c.want("POST", "/suppressions/search", object{"address": alice}, 200, &list)
	require.Len(t, list.Suppressions, 1)

	c.key = "two" // a refusal is kept as well
	c.refused("POST", "/suppressions", object{"address": "nobody"}, "invalid")
	c.key = "two"
	require.Equal(t, "true", c.do("POST", "/suppressions", object{"address": "nobody"}).Header.Get("Idempotency-Replayed"))

	request := object{"way": "post", "received": time.Now().Add(-time.Hour).UTC(), "address": alice, "text": "What do you hold on me?", "labels": []string{"access"}}
	numbers := make(chan string, 4)
	var wait sync.WaitGroup
	for range 4 { // side by side: one acts, the others are told to wait or get its answer
		wait.Go(func() {
			x := (&client{w: w, token: c.token, key: "letter"}).do("POST", "/cases", request)
			if x.StatusCode == 201 {
				var k caseRow
				_ = json.Unmarshal(x.body, &k)
				numbers <- k.Number
			}
		})
	}
	wait.Wait()
	close(numbers)
	seen := map[string]bool{}
	for no := range numbers {
		seen[no] = true
	}
	require.Len(t, seen, 1)
	var cases struct{ Cases []caseRow }
	c.get("/cases", &cases)
	require.Len(t, cases.Cases, 1)

	id := hashOf("x", "y")
	require.NoError(t, w.rdb.HSet(t.Context(), keyRepeat(id), "print", "p").Err())
	_, err := w.a.again(httptest.NewRecorder(), id, "p", []any{"p", nil, nil, nil})
	require.ErrorContains(t, err, "still at work")
	for _, key := range w.rdb.Keys(t.Context(), prefix+"repeat:*").Val() { // what is kept is sealed
		for _, v := range w.rdb.HGetAll(t.Context(), key).Val() {
			require.NotContains(t, v, "example.com")
			require.NotContains(t, v, "PC-")
		}
	}
}

// Suppressions: added, paged, exported, released with a reason.
func TestSuppressions(t *testing.T) {
	w := newWorld(t)
	c := w.client("esp", SuppressionsRead, SuppressionsWrite, SuppressionsRelease, ConsentRead)
	for i := range 7 {
		c.want("POST", "/suppressions", object{"address": fmt.Sprintf("p%d@example.com", i), "scope": "all"}, 201, nil)
	}
	require.False(t, c.allowed("orders", "p3@example.com"))
	seen, cursor := map[string]bool{}, ""
	for pages := 0; ; pages++ {
		var page struct {
			Suppressions []suppression
			Next         string
		}
		c.get("/suppressions?controller=shop&limit=3&cursor="+cursor, &page)
		for _, s := range page.Suppressions {
			require.False(t, seen[s.Subject], "twice")
			seen[s.Subject] = true
		}
		if cursor = page.Next; cursor == "" {
			require.Equal(t, 2, pages)
			break
		}
	}
	require.Len(t, seen, 7)
	require.Equal(t, 7, strings.Count(string(c.want("GET", "/suppressions/export", nil, 200, nil).body), "\n"))
	c.refused("GET", "/suppressions?cursor=AAAA", nil, "invalid")
	c.bad = true
	c.refused("POST", "/suppressions/release", object{"address": "p3@example.com"}, "invalid")
	c.want("POST", "/suppressions/release", object{"address": "p3@example.com", "why": "entered for the wrong person"}, 204, nil)
	require.True(t, c.allowed("orders", "p3@example.com"))
	c.refused("POST", "/suppressions/release", object{"address": "nobody@example.com", "why": "wrong"}, "missing")
	c.want("POST", "/suppressions", object{"address": alice, "scope": "stream", "stream": "news"}, 201, nil)
	c.refused("POST", "/suppressions", object{"address": alice, "scope": "stream", "stream": "nothing"}, "invalid")
	c.bad = true
	c.refused("POST", "/suppressions", object{"address": alice, "reason": "erased"}, "invalid")
}

// An export that breaks off is no whole one: the connection is cut, and what
// fails before the first octet is a problem.
func TestExportIsCutWhereItFails(t *testing.T) {
	w := newWorld(t)
	fault := errors.New("the store went away")
	serve := func(lines int) *httptest.Server {
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.a.write(rw, &call{a: w.a, r: r}, answer{status: 200, media: "application/x-ndjson", stream: func(out io.Writer) error {
				for range lines {
					if _, err := io.WriteString(out, strings.Repeat("x", 1000)+"\n"); err != nil {
						return err
					}
				}
				return fault
			}})
		}))
		t.Cleanup(srv.Close)
		return srv
	}
	resp, err := w.srv.Client().Get(serve(1000).URL)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, resp.Body.Close())
	resp, err = w.srv.Client().Get(serve(1).URL)
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	require.NoError(t, resp.Body.Close())
}

// A case from the list to its end: shown, noted, assigned, answered, and its
// erasure by four eyes.
func TestCases(t *testing.T) {
	w := newWorld(t)
	c := w.client("desk", CasesRead, CasesWrite)
	boss := w.client("boss", CasesRead, CasesWrite, CasesApprove)
	no := w.open(alice, "Please delete all my data.", classifier.Erasure)
	w.open(bert, "What do you hold on me?", classifier.Access)

	var list struct{ Cases []caseRow }
	x := c.want("GET", "/cases?label=erasure&live=true", nil, 200, &list)
	require.Len(t, list.Cases, 1)
	require.Equal(t, no, list.Cases[0].Number)
	require.NotContains(t, string(x.body), "@")
	c.bad = true
	c.refused("GET", "/cases?adress=1", nil, "invalid")
	c.want("POST", "/cases/search", object{"address": "ALICE@example.com"}, 200, &list)
	require.Len(t, list.Cases, 1)

	var k caseWhole
	shown := c.want("GET", "/cases/"+no, nil, 200, &k)
	require.Equal(t, "Please delete all my data.", k.Mails[0].Text)
	c.unchanged("/cases/" + no)
	c.refused("GET", "/cases/PC-0000-0000", nil, "missing")

	stale := c.want("GET", "/cases/"+no, nil, 200, nil).Header.Get("ETag")
	c.since = stale
	c.want("POST", "/cases/"+no+"/notes", object{"text": "Rang back."}, 200, nil)
	c.since = stale
	c.refused("PUT", "/cases/"+no+"/owner", object{"owner": "eve"}, "changed")
	c.since, c.key = stale, "not kept"
	c.refused("POST", "/cases/"+no+"/notes", object{"text": "Again."}, "changed")
	c.since, c.key = `"other", *`, "not kept"
	c.want("POST", "/cases/"+no+"/notes", object{"text": "Again."}, 200, nil)
	var row caseRow
	c.want("PUT", "/cases/"+no+"/owner", object{"owner": "bob"}, 200, &row)
	require.Equal(t, "bob", row.Owner)
	require.NotEqual(t, shown.Header.Get("ETag"), c.want("GET", "/cases/"+no, nil, 200, nil).Header.Get("ETag"))
	c.want("POST", "/cases/"+no+"/identity", object{"waive": "known"}, 200, &row)
	require.Equal(t, queue.Opened, row.State)

	c.refused("POST", "/cases/"+no+"/orders", object{"verb": "erase"}, "forbidden")
	c.bad = true
	c.refused("POST", "/cases/"+no+"/erasure", object{"confirm": no}, "forbidden")
	boss.refused("POST", "/cases/"+no+"/erasure", object{"confirm": no}, "conflict")
	boss.want("POST", "/cases/"+no+"/proposals", object{"act": "erase"}, 204, nil)
	boss.refused("POST", "/cases/"+no+"/erasure", object{"confirm": no}, "conflict")
	c.want("POST", "/cases/"+no+"/proposals", object{"act": "erase"}, 204, nil)
	boss.refused("POST", "/cases/"+no+"/erasure", object{"confirm": "PC-7K3Q-X9MD"}, "conflict")

	var letter letterAnswer
	c.want("POST", "/cases/"+no+"/replies/preview", object{"subject": "Your request", "text": "Dear Alice"}, 200, &letter)
	require.Nil(t, letter.Index)
	require.Equal(t, alice, letter.To)
	c.want("POST", "/cases/"+no+"/replies", object{"subject": "Your request", "text": "Dear Alice", "effect": "sent"}, 202, &letter)
	c.want("DELETE", fmt.Sprintf("/cases/%s/replies/%d", no, *letter.Index), nil, 204, nil)
	c.want("POST", "/cases/"+no+"/extension", object{"reason": "complexity", "because": "many systems have to be asked"}, 202, &letter)
	require.Contains(t, letter.Text, "many systems have to be asked")
	c.want("POST", "/cases/"+no+"/close", object{"reason": "done"}, 200, &row)
	require.Equal(t, queue.Closed, row.State)
	c.refused("POST", "/cases/"+no+"/identity", object{"waive": "x"}, "conflict")
}

// Cases of confidential mailboxes are not there for a token without that scope.
func TestConfidentialCases(t *testing.T) {
	w := newWorld(t)
	in := queue.Incoming{Controller: "shop", Mailbox: "whistle", Folder: "INBOX", UIDValidity: 1, UID: 9, ContentHash: "aa", Received: time.Now(),
		From: address.MustParse(alice), Text: "x", Confidential: true, Result: classifier.Result{Kind: classifier.KindRequest, Abstain: true}}
	ref, err := w.q.Open(t.Context(), in)
	require.NoError(t, err)
	c, full := w.client("desk", CasesRead, CasesWrite), w.client("dpo", CasesRead, CasesConfidential)
	var list struct{ Cases []caseRow }
	c.get("/cases", &list)
	require.Empty(t, list.Cases)
	c.want("POST", "/cases/search", object{"address": alice}, 200, &list)
	require.Empty(t, list.Cases)
	c.refused("GET", "/cases/"+ref.Number, nil, "missing")
	c.refused("POST", "/cases/"+ref.Number+"/notes", object{"text": "x"}, "missing")
	full.get("/cases", &list)
	require.Len(t, list.Cases, 1)
}

// Pages of a list hold each case once, also while cases come between.
func TestCaseCursors(t *testing.T) {
	w := newWorld(t)
	c := w.client("desk", CasesRead)
	want := map[string]bool{}
	for i := range 25 {
		want[w.open(fmt.Sprintf("p%d@example.com", i), "What do you hold on me?", classifier.Access)] = true
	}
	cursor := ""
	for {
		var page struct {
			Cases []caseRow
			Next  string
		}
		c.get("/cases?limit=4&cursor="+cursor, &page)
		for _, k := range page.Cases {
			delete(want, k.Number)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
		w.open("new@example.com", "What do you hold on me?", classifier.Access)
	}
	require.Empty(t, want)
}

func TestStreamsAndReports(t *testing.T) {
	w := newWorld(t)
	c := w.client("ops", StreamsRead, StreamsWrite, StatusRead)
	var list struct{ Streams []streamRow }
	c.get("/streams", &list)
	require.Len(t, list.Streams, 3)
	var s streamRow
	c.want("PUT", "/streams/news/mode", object{"mode": "enforce"}, 200, &s)
	require.EqualValues(t, "enforce", s.Mode)
	require.EqualValues(t, "observe", s.FileMode)
	c.bad = true
	c.refused("PUT", "/streams/news/mode", object{"mode": "off"}, "invalid")
	c.refused("PUT", "/streams/nothing/mode", object{"mode": "enforce"}, "missing")
	c.want("GET", "/reports/would-block?since=2026-11-01&until=2026-11-20", nil, 200, nil)
	c.refused("GET", "/reports/would-block?since=yesterday", nil, "invalid")
	var st struct{ Ready bool }
	c.get("/status", &st)
	require.True(t, st.Ready)
	c.bad = true
	require.Equal(t, "PUT", c.do("GET", "/streams/news/mode", nil).Header.Get("Allow"))
}

func TestSpoolAndProof(t *testing.T) {
	w := newWorld(t)
	c := w.client("ops", SpoolRead, SpoolWrite, LedgerRead, SuppressionsWrite)
	for i := range 5 {
		require.NoError(t, w.spool.Accept(t.Context(), &spool.Message{Stream: 3, Client: "tool", ReversePath: address.MustParse("shop@shop.example.org"),
			Header: []byte("Subject: x\r\n"), Body: []byte("x\r\n"), Recipients: []spool.Recipient{{Address: address.MustParse(fmt.Sprintf("p%d@example.com", i)), State: spool.Queued}}}))
	}
	var page struct {
		Messages []spoolRow
		Next     string
	}
	x := c.want("GET", "/spool?limit=3&stream=orders", nil, 200, &page)
	require.Len(t, page.Messages, 3)
	require.NotContains(t, string(x.body), "@")
	first := page.Messages[0].ID
	c.get("/spool?cursor="+page.Next, &page)
	require.Len(t, page.Messages, 2)
	c.want("POST", "/spool/search", object{"address": "p4@example.com"}, 200, &page)
	require.Len(t, page.Messages, 1)
	var whole spoolWhole
	c.get("/spool/"+first, &whole)
	require.Equal(t, "p0@example.com", whole.Recipients[0].Address)
	c.refused("GET", "/spool/nothing", nil, "missing")
	var n struct{ Count int }
	c.want("POST", "/spool/hold", object{"stream": "orders"}, 200, &n)
	require.Equal(t, 5, n.Count)
	c.want("POST", "/spool/release", object{"ids": []string{first}}, 200, &n)
	require.Equal(t, 1, n.Count)
	c.want("POST", "/spool/retry", object{"all": true}, 200, &n)
	c.refused("POST", "/spool/hold", object{}, "invalid")

	c.refused("POST", "/ledger/prove", object{"address": alice}, "missing")
	c.want("POST", "/suppressions", object{"address": alice}, 201, nil)
	var proven struct{ Proofs []ledger.Proof }
	c.want("POST", "/ledger/prove", object{"address": alice}, 200, &proven)
	require.NoError(t, ledger.CheckProof(proven.Proofs[0], w.trail.PublicKey()))
	c.refused("POST", "/ledger/prove", object{}, "invalid")
}

// Events of cases and of consent reach a subscriber signed and without an
// address, until the subscription ends.
func TestWebhooks(t *testing.T) {
	w := newWorld(t)
	c := w.client("crm", WebhooksWrite, ConsentWrite, ConsentRead)
	var mu sync.Mutex
	var told []string
	var hook *fulfil.Webhook
	receiver := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if hook == nil || !hook.Authentic(r.Header, body, time.Minute) {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		told = append(told, r.Header.Get("Webhook-Id")+" "+string(body))
	}))
	defer receiver.Close()
	c.refused("POST", "/webhooks", object{"url": "http://example.org/x", "events": []string{"case.*"}}, "invalid")
	c.refused("POST", "/webhooks", object{"url": receiver.URL, "events": []string{"case.nothing"}}, "invalid")
	var sub subscribed
	c.want("POST", "/webhooks", object{"url": receiver.URL, "events": []string{"case.open", "consent.*", "suppression.*"}}, 201, &sub)
	mu.Lock()
	var err error
	hook, err = fulfil.NewWebhook(fulfil.WebhookOptions{Name: "test", URL: receiver.URL, Secrets: []string{sub.Secret}})
	mu.Unlock()
	require.NoError(t, err)
	require.NotContains(t, string(c.want("GET", "/webhooks", nil, 200, nil).body), sub.Secret)
	require.NotContains(t, w.rdb.HGet(t.Context(), keyHooks, sub.ID).Val(), sub.Secret)

	w.open(bert, "What do you hold on me?", classifier.Access)
	c.want("POST", "/consent/withdrawals", object{"purpose": "news", "address": alice}, 201, nil)
	var found struct{ Results []checked }
	c.want("POST", "/consent/check", object{"stream": "news", "addresses": []string{alice}}, 200, &found)
	heard := func(what string) bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(strings.Join(told, "\n"), what)
	}
	env.Eventually(t, 20*time.Second, "the events", func() bool {
		return heard(`"type":"case.open"`) && heard(`"type":"consent.withdrawn"`) && heard(found.Results[0].Subject)
	})
	require.False(t, heard("@"))
	c.want("DELETE", "/webhooks/"+sub.ID, nil, 204, nil)
	c.refused("DELETE", "/webhooks/"+sub.ID, nil, "missing")
}

// What is no request of the document is refused with a problem that repeats
// nothing of it.
func TestBadRequests(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.PerMinute = 12 })
	c := w.client("xx", ConsentWrite, CasesRead)
	for body, word := range map[string]string{
		`{"address": "alice@example.com", "alice@example.com": 1}`: "request",
		`{`:                              "request",
		`{} {}`:                          "request",
		`{"address": 5}`:                 "invalid",
		strings.Repeat(" ", bodyLimit+1): "large",
	} {
		c.bad = true
		x := c.do("POST", "/consent/grants", body)
		require.Contains(t, string(x.body), "urn:postern:problem:"+word, "%.40s", body)
		require.NotContains(t, string(x.body), "alice")
	}
	req, err := http.NewRequest("POST", w.srv.URL+Base+"/consent/grants", strings.NewReader("address=x"))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.srv.Client().Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusUnsupportedMediaType, resp.StatusCode)
	for range 12 {
		c.bad = true
		c.do("GET", "/cases", nil)
	}
	c.bad = true
	p := c.do("GET", "/cases", nil)
	require.Equal(t, http.StatusTooManyRequests, p.StatusCode)
	require.NotEmpty(t, p.Header.Get("Retry-After"))
}

// With Redis away everything is 503 and nothing was done; back again, the same
// request is done once.
func TestRedisAway(t *testing.T) {
	w := newWorld(t)
	c := w.client("xx", Scopes()...)
	w.redis.Kill()
	for _, rt := range routes {
		if rt.scope == "" {
			continue
		}
		c.bad = true
		path := strings.NewReplacer("{number}", "PC-7K3Q-X9MD", "{index}", "0", "{file}", "0", "{id}", "x", "{name}", "news").Replace(rt.path)
		x := c.do(rt.method, path, object{"address": alice})
		require.Equal(t, http.StatusServiceUnavailable, x.StatusCode, "%s %s: %s", rt.method, path, x.body)
		require.NotEmpty(t, x.Header.Get("Retry-After"))
	}
	count := 0
	require.NoError(t, w.trail.Query(t.Context(), ledger.Filter{Kind: ledger.KindSuppression}, func(ledger.Entry) error { count++; return nil }))
	require.Zero(t, count)
	w.redis.Start()
	env.Eventually(t, 20*time.Second, "the store to be believed again", func() bool { return w.reg.Check(t.Context()) == nil })
	c.key = "again"
	c.want("POST", "/suppressions", object{"address": alice}, 201, nil)
	require.NotContains(t, w.log.String(), "alice")
}
