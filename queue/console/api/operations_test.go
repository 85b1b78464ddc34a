package api

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/spool"
	"postern/queue"
	"postern/testmail/env"
)

// described is what the document says of an operation.
type described struct {
	method, path string
	wants        bool // it takes a body or parameters that may be wrong
	repeatable   bool
	successes    []int
}

func describedOperations(t *testing.T) map[string]described {
	t.Helper()
	raw, err := document()
	require.NoError(t, err)
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string              `json:"operationId"`
			Parameters  []map[string]string `json:"parameters"`
			RequestBody map[string]any      `json:"requestBody"`
			Responses   map[string]any      `json:"responses"`
		}
	}
	require.NoError(t, json.Unmarshal(raw, &doc))
	out := map[string]described{}
	for path, operations := range doc.Paths {
		for method, o := range operations {
			d := described{method: strings.ToUpper(method), path: path, wants: o.RequestBody != nil}
			for _, p := range o.Parameters {
				switch p["$ref"] {
				case "#/components/parameters/idempotencyKey":
					d.repeatable = true
				case "#/components/parameters/ifNoneMatch":
				default:
					d.wants = true
				}
			}
			for code := range o.Responses {
				if n, err := strconv.Atoi(code); err == nil {
					d.successes = append(d.successes, n)
				}
			}
			out[o.OperationID] = d
		}
	}
	return out
}

// repeated does a request under a key, and twice more: the same again gets the
// same answer, another body under the same key is refused. Bodies of two clients
// that only differ in white space are two bodies.
func (c *client) repeated(method, path string, body any, status int, into any) exchange {
	c.w.t.Helper()
	uid++
	key := fmt.Sprintf("k-%d", uid)
	c.key = key
	first := c.want(method, path, body, status, into)
	require.Empty(c.w.t, first.Header.Get("Idempotency-Replayed"), path)
	c.key = key
	again := c.want(method, path, body, status, nil)
	require.Equal(c.w.t, "true", again.Header.Get("Idempotency-Replayed"), path)
	require.Equal(c.w.t, strings.TrimSpace(string(first.body)), strings.TrimSpace(string(again.body)), path)
	require.Equal(c.w.t, first.Header.Get("Content-Type"), again.Header.Get("Content-Type"), path)
	raw, err := json.Marshal(body)
	require.NoError(c.w.t, err)
	if body == nil {
		raw = nil
	}
	c.key, c.bad = key, true
	c.refused(method, path, string(raw)+" ", "reused")
	return first
}

// unchanged asks again with the ETag of an answer.
func (c *client) unchanged(path string) {
	c.w.t.Helper()
	env.Eventually(c.w.t, 20*time.Second, "an answer that changed no more", func() bool { // work on a case goes on for a moment
		tag := c.want("GET", path, nil, 200, nil).Header.Get("ETag")
		require.NotEmpty(c.w.t, tag, path)
		c.match = tag
		return c.do("GET", path, nil).StatusCode == http.StatusNotModified
	})
	c.match = `"another"`
	c.want("GET", path, nil, 200, nil)
}

// wrong wants a refusal of a request that breaks the document or cannot be.
func (c *client) wrong(method, path string, body any, word string) {
	c.w.t.Helper()
	c.bad = true
	p := c.refused(method, path, body, word)
	require.NotContains(c.w.t, p.Detail+fmt.Sprint(p.Faults), "@", "what was sent is not repeated")
}

// world of the trials: tokens that may do everything, one more for the second
// pair of eyes, and cases to work on.
type trialWorld struct {
	*world
	c, other *client
	receiver *httptest.Server

	failed, failedOf string // an event that was given up, and the subscription it was for
}

// known makes a case that a person proved to be theirs.
func (w *trialWorld) known(labels ...classifier.Label) string {
	no := w.open(alice, "Please do as I ask.", labels...)
	w.c.want("POST", "/cases/"+no+"/identity", object{"waive": "known"}, 200, nil)
	return no
}

func (w *trialWorld) tasks(no string) []caseTask {
	var k caseWhole
	w.c.get("/cases/"+no, &k)
	return k.Tasks
}

// withPaper makes a case whose mail holds an identity paper, and gives the path
// that destroys it.
func (w *trialWorld) withPaper() (number, path string) {
	in := w.incoming("paper@example.com", "Please delete my data, my passport is attached.", classifier.Erasure)
	in.Attachments = []queue.Attachment{{Name: "passport.pdf", Type: "application/pdf", Size: 12345, Text: "Passport P1234567"}}
	ref, err := w.q.Open(w.t.Context(), in)
	require.NoError(w.t, err)
	return ref.Number, "/cases/" + ref.Number + "/mails/0/files/0/destruction"
}

// until waits for the system to have done, or not done, a verb.
func (w *trialWorld) until(no, verb, status string) (task caseTask) {
	w.t.Helper()
	env.Eventually(w.t, 20*time.Second, verb+" to be "+status, func() bool {
		list := w.tasks(no)
		i := slices.IndexFunc(list, func(k caseTask) bool { return string(k.Verb) == verb })
		if i >= 0 {
			task = list[i]
		}
		return string(task.Status) == status
	})
	return task
}

// trials are, for each operation, requests that go well in every way the
// document names, and some that do not. Scopes are tried by
// TestEveryRouteAsksForItsScope.
var trials = map[string]func(w *trialWorld, c *client){
	"document": func(_ *trialWorld, c *client) { c.unchanged("/openapi.json") },
	"status":   func(_ *trialWorld, c *client) { c.get("/status", nil) },

	"signUp": func(_ *trialWorld, c *client) {
		body := object{"stream": "news", "address": bert, "wording": "Yes.", "source": "https://shop.example.org/signup"}
		c.repeated("POST", "/consent/sign-ups", body, 202, nil)
		c.wrong("POST", "/consent/sign-ups", object{"stream": "nothing", "address": bert, "wording": "Yes.", "source": "x"}, "invalid")
		c.wrong("POST", "/consent/sign-ups", object{"stream": "news", "address": bert}, "invalid")
		c.wrong("POST", "/consent/sign-ups", object{"stream": "news", "address": "bert@"}, "invalid")
	},
	"grant": func(_ *trialWorld, c *client) {
		c.repeated("POST", "/consent/grants", object{"purpose": "news", "address": alice, "wording": "Yes, send me News.", "source": "till 3", "language": "en"}, 201, nil)
		c.repeated("POST", "/consent/grants", object{"purpose": "news", "address": bert, "wording": "Yes.", "source": "till 3", "confirmed": true, "language": "en"}, 201, nil)
		c.wrong("POST", "/consent/grants", object{"purpose": "news", "address": alice, "controller": "nobody"}, "invalid")
		c.wrong("POST", "/consent/grants", "[]", "invalid")
	},
	"withdraw": func(_ *trialWorld, c *client) {
		c.repeated("POST", "/consent/withdrawals", object{"purpose": "news", "address": bert, "kind": "objected"}, 201, nil)
		c.wrong("POST", "/consent/withdrawals", object{"purpose": "news", "address": bert, "kind": "perhaps"}, "invalid")
	},
	"check": func(_ *trialWorld, c *client) {
		c.repeated("POST", "/consent/check", object{"stream": "news", "addresses": []string{alice, bert}}, 200, nil)
		c.wrong("POST", "/consent/check", object{"stream": "news", "addresses": []string{}}, "invalid")
		c.wrong("POST", "/consent/check", object{"stream": "news", "addresses": []string{alice, "x@y z"}}, "invalid")
		c.wrong("POST", "/consent/check", object{"stream": "nothing", "addresses": []string{alice}}, "invalid")
	},
	"history": func(_ *trialWorld, c *client) {
		c.repeated("POST", "/consent/history", object{"address": alice}, 200, nil)
		c.repeated("POST", "/consent/history", object{"address": "nobody@example.com"}, 200, nil)
		c.wrong("POST", "/consent/history", object{"address": "x", "controller": "shop"}, "invalid")
	},
	"records": func(_ *trialWorld, c *client) {
		c.repeated("POST", "/consent/records", object{"address": alice}, 200, nil)
		c.wrong("POST", "/consent/records", object{"address": alice, "controller": "nobody"}, "invalid")
	},

	"suppress": func(_ *trialWorld, c *client) {
		c.repeated("POST", "/suppressions", object{"address": "p1@example.com", "scope": "stream", "stream": "news", "reason": "complaint"}, 201, nil)
		c.repeated("POST", "/suppressions", object{"address": "p2@example.com", "scope": "purpose", "purpose": "news"}, 201, nil)
		c.wrong("POST", "/suppressions", object{"address": "p1@example.com", "scope": "stream"}, "invalid")
		c.wrong("POST", "/suppressions", object{"address": "p1@example.com", "scope": "everything"}, "invalid")
	},
	"listSuppressions": func(_ *trialWorld, c *client) {
		c.get("/suppressions?controller=shop&ended=true&limit=1", nil)
		c.wrong("GET", "/suppressions?ended=maybe", nil, "invalid")
		c.wrong("GET", "/suppressions?limit=0", nil, "invalid")
		c.wrong("GET", "/suppressions?reason=manual", nil, "invalid")
		c.wrong("GET", "/suppressions?controller=nobody", nil, "invalid")
	},
	"searchSuppressions": func(_ *trialWorld, c *client) {
		c.repeated("POST", "/suppressions/search", object{"address": "p1@example.com"}, 200, nil)
		c.wrong("POST", "/suppressions/search", object{}, "invalid")
	},
	"releaseSuppressions": func(w *trialWorld, c *client) {
		var id idAnswer
		c.want("POST", "/suppressions", object{"address": "p3@example.com"}, 201, &id)
		c.repeated("POST", "/suppressions/release", object{"id": id.ID, "why": "entered by mistake"}, 204, nil)
		c.want("POST", "/suppressions", object{"address": "p4@example.com"}, 201, nil)
		c.repeated("POST", "/suppressions/release", object{"address": "p4@example.com", "why": "entered by mistake"}, 204, nil)
		c.wrong("POST", "/suppressions/release", object{"id": id.ID}, "invalid")
		c.wrong("POST", "/suppressions/release", object{"id": "nothing", "why": "x"}, "missing")
	},
	"exportSuppressions": func(_ *trialWorld, c *client) {
		c.want("GET", "/suppressions/export?controller=shop", nil, 200, nil)
		c.wrong("GET", "/suppressions/export?controller=nobody", nil, "invalid")
	},

	"listCases": func(w *trialWorld, c *client) {
		w.open(alice, "What do you hold on me?", classifier.Access)
		c.unchanged("/cases?live=true&label=access&limit=2&due_before=2099-01-01&state=received&language=en&flag=none&owner=")
		c.wrong("GET", "/cases?live=perhaps", nil, "invalid")
		c.wrong("GET", "/cases?due_before=soon", nil, "invalid")
		c.wrong("GET", "/cases?cursor=%21", nil, "invalid")
		c.wrong("GET", "/cases?limit=%zz", nil, "request")
	},
	"newCase": func(_ *trialWorld, c *client) {
		body := object{"way": "phone", "received": time.Now().Add(-time.Hour).UTC(), "name": "A. Example", "text": "Stop all mail.", "labels": []string{"objection"}, "address": "p5@example.com"}
		c.repeated("POST", "/cases", body, 201, nil)
		c.wrong("POST", "/cases", object{"way": "pigeon", "received": time.Now().Add(-time.Hour)}, "invalid")
		c.wrong("POST", "/cases", object{"way": "post", "received": time.Now().Add(time.Hour)}, "invalid")
		c.wrong("POST", "/cases", object{"way": "post", "received": time.Now().Add(-time.Hour), "labels": []string{"gossip"}}, "invalid")
	},
	"searchCases": func(_ *trialWorld, c *client) {
		c.repeated("POST", "/cases/search", object{"address": alice}, 200, nil)
		c.wrong("POST", "/cases/search", object{"address": "alice"}, "invalid")
	},
	"showCase": func(w *trialWorld, c *client) {
		c.unchanged("/cases/" + w.known(classifier.Access))
		c.wrong("GET", "/cases/PC-0000-0000", nil, "missing")
		c.wrong("GET", "/cases/..%2f..%2fetc", nil, "missing")
	},
	"addNote": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		c.repeated("POST", "/cases/"+no+"/notes", object{"text": "Rang back."}, 200, nil)
		c.wrong("POST", "/cases/"+no+"/notes", object{"text": ""}, "invalid")
		require.Len(w.t, w.noted(no, "Rang back."), 1, "a repeat notes nothing")
	},
	"assign": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		c.want("PUT", "/cases/"+no+"/owner", object{"owner": "bob"}, 200, nil)
		c.want("PUT", "/cases/"+no+"/owner", object{"owner": ""}, 200, nil)
		c.wrong("PUT", "/cases/PC-0000-0000/owner", object{"owner": "bob"}, "missing")
		c.wrong("PUT", "/cases/"+no+"/owner", object{"name": "bob"}, "request")
	},
	"correct": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		var row caseRow
		c.want("PUT", "/cases/"+no+"/labels", object{"labels": []string{"access", "portability"}, "note": "reads so"}, 200, &row)
		require.Equal(w.t, []classifier.Label{classifier.Access, classifier.Portability}, row.Labels)
		c.wrong("PUT", "/cases/"+no+"/labels", object{"labels": []string{}}, "invalid")
		c.wrong("PUT", "/cases/"+no+"/labels", object{"labels": []string{"gossip"}}, "invalid")
	},
	"breach": func(w *trialWorld, c *client) {
		no := w.known(classifier.BreachReport)
		var b object
		c.wrong("POST", "/cases/"+no+"/breach", object{"what": "told", "at": "2026-11-01T10:00:00Z"}, "conflict")
		c.wrong("POST", "/cases/"+no+"/breach", object{"what": "lunch", "at": "2026-11-01T10:00:00Z"}, "invalid")
		c.want("POST", "/cases/"+no+"/breach", object{"what": "aware", "at": "2026-11-01T10:00:00+01:00", "note": "seen in logs"}, 200, &b)
		require.Equal(w.t, "2026-11-04T09:00:00Z", b["due"])
		c.want("POST", "/cases/"+no+"/breach", object{"what": "told", "at": "2026-11-02T10:00:00Z"}, 200, &b)
		c.want("GET", "/cases/"+no, nil, 200, &b)
		require.Equal(w.t, "told", b["breach"].(map[string]any)["outcome"])
	},
	"destroyFile": func(w *trialWorld, c *client) {
		no, path := w.withPaper()
		for body, word := range map[*object]string{
			{}: "invalid", {"reason": "boredom"}: "invalid", {"reason": "identity-paper", "file": 1}: "request",
		} {
			c.wrong("POST", path, *body, word)
		}
		c.refused("POST", strings.Replace(path, "/files/0/", "/files/7/", 1), object{"reason": "not-needed"}, "missing")
		c.refused("POST", strings.Replace(path, "/mails/0/", "/mails/x/", 1), object{"reason": "not-needed"}, "missing")
		c.want("PUT", "/cases/"+no+"/legal-hold", object{"held": true, "why": "a lawsuit"}, 200, nil)
		c.refused("POST", path, object{"reason": "identity-paper"}, "conflict")
		c.want("PUT", "/cases/"+no+"/legal-hold", object{"held": false, "why": "it ended"}, 200, nil)
		c.repeated("POST", path, object{"reason": "identity-paper", "note": "nobody asked for it"}, 200, nil)
		var k caseWhole
		c.get("/cases/"+no, &k)
		require.False(w.t, k.Mails[0].Files[0].Destroyed.IsZero())
		require.Equal(w.t, "passport.pdf", k.Mails[0].Files[0].Name)
		require.True(w.t, slices.ContainsFunc(k.Events, func(e caseEvent) bool {
			return e.Action == queue.ActDestroy && e.Reason == "identity-paper" && strings.Contains(e.Actor, "api:")
		}), "%v", k.Events)
		c.refused("POST", path, object{"reason": "identity-paper"}, "conflict")
	},
	"fileRemoved": func(w *trialWorld, c *client) {
		no, path := w.withPaper()
		removed := strings.Replace(path, "/destruction", "/removal", 1)
		c.refused("POST", removed, object{}, "conflict")
		c.want("POST", path, object{"reason": "other-person"}, 200, nil)
		var k caseWhole
		env.Eventually(w.t, 20*time.Second, "the mailbox to be found missing", func() bool { c.get("/cases/"+no, &k); return k.Mails[0].Files[0].Left == "no-mailbox" })
		c.repeated("POST", removed, object{"note": "deleted by the postmaster"}, 200, nil)
		var after caseWhole
		c.get("/cases/"+no, &after)
		require.Empty(w.t, after.Mails[0].Files[0].Left)
		c.wrong("POST", removed, object{"what": "x"}, "request")
	},
	"legalHold": func(w *trialWorld, c *client) {
		no := w.known(classifier.Erasure)
		var row caseRow
		c.want("PUT", "/cases/"+no+"/legal-hold", object{"held": true, "why": "a lawsuit"}, 200, &row)
		require.Contains(w.t, row.Flags, queue.FlagLegalHold)
		c.want("POST", "/cases/"+no+"/proposals", object{"act": "erase"}, 204, nil)
		w.other.refused("POST", "/cases/"+no+"/erasure", object{"confirm": no}, "conflict")
		c.want("PUT", "/cases/"+no+"/legal-hold", object{"held": false, "why": "it ended"}, 200, &row)
		require.NotContains(w.t, row.Flags, queue.FlagLegalHold)
		c.wrong("PUT", "/cases/"+no+"/legal-hold", object{"why": "x"}, "invalid")
	},
	"decideHold": func(w *trialWorld, c *client) {
		in := w.incoming("p6@example.com", "Please stop all advertising to me and to second@example.com and third@example.com.", classifier.Objection)
		ref, err := w.q.Open(w.t.Context(), in)
		require.NoError(w.t, err)
		var k caseWhole
		env.Eventually(w.t, 20*time.Second, "the addresses named", func() bool { c.get("/cases/"+ref.Number, &k); return len(k.Holds) == 2 })
		require.False(w.t, c.allowed("news", "second@example.com"))
		path := "/cases/" + ref.Number + "/holds"
		c.repeated("POST", path, object{"hold": k.Holds[0].Hold, "confirm": true, "why": "the same person"}, 200, nil)
		c.repeated("POST", path, object{"hold": k.Holds[1].Hold, "confirm": false, "why": "somebody else"}, 200, nil)
		c.get("/cases/"+ref.Number, &k)
		require.Equal(w.t, []string{"confirmed", "released"}, []string{k.Holds[0].Decided, k.Holds[1].Decided})
		c.wrong("POST", path, object{"hold": k.Holds[1].Hold, "confirm": true, "why": "x"}, "conflict")
		c.wrong("POST", path, object{"hold": "9:9", "confirm": true, "why": "x"}, "invalid")
		c.wrong("POST", path, object{"hold": k.Holds[0].Hold, "why": "x"}, "invalid")
	},
	"weigh": func(w *trialWorld, c *client) {
		no := w.known(classifier.Objection)
		var row caseRow
		c.repeated("POST", "/cases/"+no+"/weighing", object{"note": "the scoring of their orders"}, 200, &row)
		require.Contains(w.t, row.Flags, queue.FlagWeighed)
		w.until(no, "restrict", "failed")
		c.wrong("POST", "/cases/"+no+"/close", object{"reason": "done"}, "conflict") // nobody told the person
		c.wrong("POST", "/cases/"+no+"/weighing", object{"note": "again"}, "conflict")
		c.wrong("POST", "/cases/"+no+"/weighing", object{}, "invalid")
		c.wrong("POST", "/cases/"+w.known(classifier.Access)+"/weighing", object{"note": "x"}, "conflict")
	},
	"identify": func(w *trialWorld, c *client) {
		no := w.open("p7@example.com", "What do you hold on me?", classifier.Access)
		c.repeated("POST", "/cases/"+no+"/identity", object{}, 200, nil)
		env.Eventually(w.t, 20*time.Second, "the link's mail", func() bool { return w.mailedBody("https://mail.example.org/case/") })
		c.repeated("POST", "/cases/"+no+"/identity", object{"waive": "known", "note": "came in person"}, 200, nil)
		c.wrong("POST", "/cases/"+no+"/identity", object{"to": "nobody"}, "invalid")
	},
	"previewReply": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		var l letterAnswer
		c.repeated("POST", "/cases/"+no+"/replies/preview", object{"subject": "Your request", "text": "Dear Alice"}, 200, &l)
		require.Nil(w.t, l.Index)
		c.wrong("POST", "/cases/"+no+"/replies/preview", object{"subject": "x", "text": "x", "effect": "deny"}, "invalid")
		c.wrong("POST", "/cases/"+no+"/replies/preview", object{"template": "gossip"}, "invalid")
	},
	"reply": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		var l letterAnswer
		c.repeated("POST", "/cases/"+no+"/replies", object{"subject": "Your request", "text": "Dear Alice", "effect": "sent"}, 202, &l)
		require.Equal(w.t, 0, *l.Index)
		c.wrong("POST", "/cases/"+no+"/replies", object{"subject": "A\r\nBcc: evil@example.net", "text": "x"}, "invalid")
		c.wrong("POST", "/cases/"+no+"/replies", object{"subject": "x", "text": "x", "to": "a@b\r\nBcc: c@d.example"}, "invalid")
	},
	"takeBackReply": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		c.want("POST", "/cases/"+no+"/replies", object{"subject": "Your request", "text": "Dear Alice"}, 202, nil)
		c.want("DELETE", "/cases/"+no+"/replies/0", nil, 204, nil)
		c.wrong("DELETE", "/cases/"+no+"/replies/0", nil, "conflict")
		c.wrong("DELETE", "/cases/"+no+"/replies/nine", nil, "missing")
	},
	"extend": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		c.repeated("POST", "/cases/"+no+"/extension", object{"reason": "complexity", "because": "many systems have to be asked"}, 202, nil)
		c.wrong("POST", "/cases/"+no+"/extension", object{"reason": "my-own-word"}, "invalid") // who asked would read no reason
	},
	"lift": func(w *trialWorld, c *client) {
		no := w.known(classifier.Restriction)
		path := "/cases/" + no + "/lifting"
		c.repeated("POST", path, object{"reason": "accurate"}, 202, nil)
		c.wrong("POST", path, object{"reason": "my-own-word"}, "invalid")
		c.wrong("POST", path, object{"reason": "accurate", "from": "soon"}, "invalid")
		c.wrong("POST", path, object{"reason": "accurate", "from": "2020-01-01"}, "invalid")                      // told after it ended
		c.wrong("POST", "/cases/"+w.known(classifier.Access)+"/lifting", object{"reason": "accurate"}, "invalid") // nothing is restricted
	},
	"propose": func(w *trialWorld, c *client) {
		no := w.known(classifier.Erasure)
		c.repeated("POST", "/cases/"+no+"/proposals", object{"act": "erase", "note": "all systems know them"}, 204, nil)
		c.wrong("POST", "/cases/"+no+"/proposals", object{"act": "extend"}, "conflict")
		c.wrong("POST", "/cases/"+no+"/proposals", object{"act": 1}, "invalid")
	},
	"deny": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		path, body := "/cases/"+no+"/denial", object{"reason": "excessive", "because": "the same was asked last week"}
		c.wrong("POST", path, body, "conflict") // nobody proposed it
		c.want("POST", "/cases/"+no+"/proposals", object{"act": "deny"}, 204, nil)
		c.wrong("POST", path, body, "conflict") // not the one who proposed it
		var l letterAnswer
		w.other.repeated("POST", path, body, 202, &l)
		require.Contains(w.t, strings.Join(strings.Fields(l.Text), " "), "the authority", "where to complain is told (GDPR Art. 12(4))")
		require.Contains(w.t, strings.Join(strings.Fields(l.Text), " "), "because the same was asked last week")
		c.wrong("POST", path, object{"because": "x"}, "invalid")
		no = w.known(classifier.Objection)
		c.want("POST", "/cases/"+no+"/proposals", object{"act": "deny"}, 204, nil)
		w.other.repeated("POST", "/cases/"+no+"/denial", object{"reason": "compelling-grounds"}, 202, &l)
		require.Contains(w.t, strings.Join(strings.Fields(l.Text), " "), "because our compelling legitimate grounds override your interests, rights and freedoms.", "GDPR Art. 21(1), in the person's language")
	},
	"order": func(w *trialWorld, c *client) {
		for verb, status := range map[string]string{"lookup": "done", "rectify": "done", "inform-recipients": "done", "marketing.stopped": "done", "verify": "done", "restrict": "failed", "export": "accepted"} {
			no := w.known(classifier.Access)
			c.repeated("POST", "/cases/"+no+"/orders", object{"verb": verb, "facts": map[string]string{"name": "Alice Example"}}, 202, nil)
			w.until(no, verb, status)
		}
		no := w.known(classifier.Erasure)
		c.repeated("POST", "/cases/"+no+"/orders", object{"verb": "erase", "dry_run": true}, 202, nil)
		require.True(w.t, w.until(no, "erase", "erased").DryRun)
		c.wrong("POST", "/cases/"+no+"/orders", object{"verb": "erase"}, "forbidden")
		c.wrong("POST", "/cases/"+no+"/orders", object{"verb": "burn"}, "conflict")
		c.wrong("POST", "/cases/"+no+"/orders", object{"verb": "lookup", "address": "x"}, "invalid")
		unknown := w.open(alice, "Please send me all.", classifier.Access)
		c.wrong("POST", "/cases/"+unknown+"/orders", object{"verb": "export"}, "conflict") // who asks is not known
	},
	"approveErasure": func(w *trialWorld, c *client) {
		no := w.known(classifier.Erasure)
		path := "/cases/" + no + "/erasure"
		c.want("POST", "/cases/"+no+"/proposals", object{"act": "erase"}, 204, nil)
		w.other.wrong("POST", path, object{"confirm": "PC-7K3Q-X9MD"}, "conflict")
		w.other.wrong("POST", path, object{"confirm": no, "address": "x"}, "invalid")
		c.wrong("POST", path, object{"confirm": no}, "conflict")
		w.other.repeated("POST", path, object{"confirm": no}, 202, nil)
		require.Equal(w.t, 3, w.until(no, "erase", "erased").Count)
		var k caseWhole
		c.get("/cases/"+no, &k)
		require.NotContains(w.t, k.Flags, queue.FlagApproval, "the wish is over")
		require.Empty(w.t, k.Proposed)
		require.False(w.t, c.allowed("news", alice), "the suppression outlives the data")
		w.other.wrong("POST", path, object{"confirm": no}, "conflict")
	},
	"taskResult": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		c.want("POST", "/cases/"+no+"/orders", object{"verb": "export"}, 202, nil)
		w.until(no, "export", "accepted")
		path := "/cases/" + no + "/tasks/0/result"
		c.wrong("POST", path, object{"status": "accepted"}, "invalid")
		c.wrong("POST", path, object{"status": "kept"}, "invalid")
		c.wrong("POST", path, object{"status": "kept", "law": "HGB 257", "until": "soon"}, "invalid")
		c.wrong("POST", "/cases/"+no+"/tasks/7/result", object{"status": "done"}, "missing")
		c.repeated("POST", path, object{"status": "done", "count": 2, "data": object{"name": "Alice"},
			"files": []object{{"name": "../../letter.txt", "type": "text/plain", "data": "aGVsbG8="}}}, 200, nil)
		w.until(no, "export", "done")
		data, err := w.q.TaskData(w.t.Context(), no, 0)
		require.NoError(w.t, err)
		require.JSONEq(w.t, `{"name":"Alice"}`, string(data))
	},
	"retryTask": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		c.want("POST", "/cases/"+no+"/orders", object{"verb": "restrict"}, 202, nil)
		w.until(no, "restrict", "failed")
		c.repeated("POST", "/cases/"+no+"/tasks/0/retry", nil, 200, nil)
		w.until(no, "restrict", "failed")
		c.wrong("POST", "/cases/"+no+"/tasks/nine/retry", nil, "missing")
		done := w.known(classifier.Access)
		c.want("POST", "/cases/"+done+"/orders", object{"verb": "lookup"}, 202, nil)
		w.until(done, "lookup", "done")
		c.wrong("POST", "/cases/"+done+"/tasks/0/retry", nil, "conflict")
	},
	"closeCase": func(w *trialWorld, c *client) {
		no := w.known(classifier.Access)
		c.wrong("POST", "/cases/"+no+"/close", object{}, "conflict")
		c.repeated("POST", "/cases/"+no+"/close", object{"reason": "done", "note": "by telephone"}, 200, nil)
		c.wrong("POST", "/cases/"+no+"/close", object{"reason": "done"}, "conflict")
	},

	"listStreams": func(_ *trialWorld, c *client) { c.unchanged("/streams") },
	"setMode": func(_ *trialWorld, c *client) {
		c.want("PUT", "/streams/news/mode", object{"mode": "annotate"}, 200, nil)
		c.want("PUT", "/streams/news/mode", object{"mode": "file"}, 200, nil)
		c.wrong("PUT", "/streams/news/mode", object{"mode": "off"}, "invalid")
	},
	"wouldBlock": func(_ *trialWorld, c *client) {
		c.get("/reports/would-block?since=2026-11-01&until=2026-11-20", nil)
		c.wrong("GET", "/reports/would-block?since=2026-11-20&until=2026-11-01", nil, "invalid")
	},

	"listSpool": func(w *trialWorld, c *client) {
		w.waiting("p8@example.com")
		c.get("/spool?limit=1&stream=orders&client=tool&state=queued", nil)
		c.wrong("GET", "/spool?state=lost", nil, "invalid")
		c.wrong("GET", "/spool?stream=nothing", nil, "invalid")
		c.wrong("GET", "/spool?address=p8@example.com", nil, "invalid")
	},
	"searchSpool": func(w *trialWorld, c *client) {
		c.repeated("POST", "/spool/search", object{"address": "p8@example.com", "state": "queued"}, 200, nil)
		c.wrong("POST", "/spool/search", object{"address": "p8"}, "invalid")
	},
	"showSpool": func(w *trialWorld, c *client) {
		c.get("/spool/"+w.waiting("p9@example.com"), nil)
		c.wrong("GET", "/spool/..%2f..%2fkeys.toml", nil, "missing")
	},
	"holdSpool":    func(w *trialWorld, c *client) { w.movesSpool(c, "/spool/hold") },
	"releaseSpool": func(w *trialWorld, c *client) { w.movesSpool(c, "/spool/release") },
	"retrySpool":   func(w *trialWorld, c *client) { w.movesSpool(c, "/spool/retry") },

	"prove": func(w *trialWorld, c *client) {
		c.want("POST", "/suppressions", object{"address": "p10@example.com"}, 201, nil)
		c.repeated("POST", "/ledger/prove", object{"address": "p10@example.com"}, 200, nil)
		c.wrong("POST", "/ledger/prove", object{"ref": "nothing"}, "missing")
		c.wrong("POST", "/ledger/prove", object{"controller": "shop"}, "invalid")
	},

	"addWebhook": func(w *trialWorld, c *client) {
		c.repeated("POST", "/webhooks", object{"url": w.receiver.URL, "events": []string{"case.note"}, "controllers": []string{"shop"}}, 201, nil)
		for _, bad := range []object{
			{"url": w.receiver.URL, "events": []string{}},
			{"url": w.receiver.URL, "events": []string{"case.gossip"}},
			{"url": w.receiver.URL, "events": []string{"case.*"}, "controllers": []string{"nobody"}},
			{"url": "http://example.org/", "events": []string{"case.*"}},
			{"url": "http://127.example.org/", "events": []string{"case.*"}}, // a name, not this machine
			{"url": "http://[::1]:9/", "events": []string{"case.*"}},         // not among the networks
			{"url": "https://169.254.169.254/latest/meta-data", "events": []string{"case.*"}},
			{"url": "https://10.0.0.1/", "events": []string{"case.*"}},
			{"url": "https://[::ffff:192.168.0.1]/", "events": []string{"case.*"}},
			{"url": "file:///etc/passwd", "events": []string{"case.*"}},
		} {
			c.wrong("POST", "/webhooks", bad, "invalid")
		}
	},
	"listWebhooks": func(_ *trialWorld, c *client) { c.get("/webhooks", nil) },
	"removeWebhook": func(w *trialWorld, c *client) {
		c.want("DELETE", "/webhooks/"+w.subscribed("/").ID, nil, 204, nil)
		c.wrong("DELETE", "/webhooks/nothing", nil, "missing")
	},
	"testWebhook": func(w *trialWorld, c *client) {
		var got tried
		c.repeated("POST", "/webhooks/"+w.subscribed("/").ID+"/test", nil, 200, &got)
		require.Equal(w.t, tried{Taken: true}, got)
		c.want("POST", "/webhooks/"+w.subscribed("/gone").ID+"/test", nil, 200, &got)
		require.Equal(w.t, tried{Fault: "the receiver answered with 410"}, got)
		c.want("POST", "/webhooks/"+w.subscribed("/elsewhere").ID+"/test", nil, 200, &got)
		require.Equal(w.t, tried{Fault: "the receiver answered with 302"}, got, "no redirect is followed")
		c.wrong("POST", "/webhooks/nothing/test", nil, "missing")
	},
	"listFailedEvents": func(w *trialWorld, c *client) {
		sub := w.subscribed("/gone")
		no := w.open(alice, "What do you hold on me?", classifier.Access)
		var list struct{ Failed []failedEvent }
		env.Eventually(w.t, 20*time.Second, "an event that is given up", func() bool {
			c.get("/webhooks/"+sub.ID+"/failed", &list)
			return len(list.Failed) > 0
		})
		require.Equal(w.t, no, list.Failed[0].Case)
		require.True(w.t, strings.HasPrefix(list.Failed[0].Message, "case_"+no+"_"))
		c.wrong("GET", "/webhooks/nothing/failed", nil, "missing")
		w.failed, w.failedOf = list.Failed[0].ID, sub.ID
	},
	"retryFailedEvent": func(w *trialWorld, c *client) {
		path := "/webhooks/" + w.failedOf + "/failed/"
		c.repeated("POST", path+w.failed+"/retry", nil, 204, nil)
		c.wrong("POST", path+w.failed+"/retry", nil, "missing")
		c.wrong("POST", "/webhooks/"+w.subscribed("/").ID+"/failed/"+w.failed+"/retry", nil, "missing")
	},
}

// TestOperations tries every operation of the document: each answer that it
// names for a success is given, and a request that is wrong is refused with a
// problem. An operation without a trial fails.
func TestOperations(t *testing.T) {
	doc := describedOperations(t)
	require.ElementsMatch(t, slices.Collect(maps.Keys(doc)), slices.Collect(maps.Keys(trials)), "each operation has its trial")
	w := &trialWorld{world: newWorld(t, func(o *Options) { o.PerMinute = 100_000 })}
	w.c, w.other = w.client("desk", Scopes()...), w.client("boss", Scopes()...)
	w.receiver = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/gone":
			rw.WriteHeader(http.StatusGone)
		case "/elsewhere":
			http.Redirect(rw, r, "/", http.StatusFound)
		}
	}))
	t.Cleanup(w.receiver.Close)
	for _, rt := range routes { // in the order of the table
		t.Run(rt.operation, func(t *testing.T) {
			w.t = t
			d := doc[rt.operation]
			trials[rt.operation](w, w.c)
			got := w.reached[d.method+" "+d.path]
			for _, status := range d.successes {
				require.Positive(t, got[status], "%d is in the document and was never answered", status)
			}
			if d.repeatable {
				require.Positive(t, got[http.StatusUnprocessableEntity], "the key of another request")
			}
			if d.wants {
				refusals := 0
				for status, n := range got {
					if status >= 400 && status < 500 {
						refusals += n
					}
				}
				require.Positive(t, refusals, "nothing wrong was tried")
			}
		})
	}
	w.t = t
}

// noted are the notes of a case with a text.
func (w *trialWorld) noted(no, text string) []caseEvent {
	var k caseWhole
	w.c.get("/cases/"+no, &k)
	return slices.DeleteFunc(k.Events, func(e caseEvent) bool { return e.Note != text })
}

// mailedBody tells whether a mail with these words left.
func (w *trialWorld) mailedBody(words string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.sent, func(m queue.Outgoing) bool { return strings.Contains(string(m.Body), words) })
}

// waiting puts a message into the spool and gives its id.
func (w *trialWorld) waiting(to string) string {
	m := &spool.Message{Stream: 3, Client: "tool", ReversePath: address.MustParse("shop@shop.example.org"), Header: []byte("Subject: x\r\n"), Body: []byte("x\r\n"),
		Recipients: []spool.Recipient{{Address: address.MustParse(to), State: spool.Queued}}}
	require.NoError(w.t, w.spool.Accept(w.t.Context(), m))
	return m.ID
}

// movesSpool tries one act of the spool on messages by id, and its refusals.
func (w *trialWorld) movesSpool(c *client, path string) {
	id := w.waiting("p11@example.com")
	c.repeated("POST", path, object{"ids": []string{id}}, 200, nil)
	c.repeated("POST", path, object{"domain": "example.com"}, 200, nil)
	c.wrong("POST", path, object{}, "invalid")
	c.wrong("POST", path, object{"stream": "nothing"}, "invalid")
	c.wrong("POST", path, object{"all": "yes"}, "invalid")
}

func (w *trialWorld) subscribed(path string) subscribed {
	var sub subscribed
	w.c.want("POST", "/webhooks", object{"url": w.receiver.URL + path, "events": []string{"case.open"}}, 201, &sub)
	return sub
}
