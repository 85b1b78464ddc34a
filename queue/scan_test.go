package queue

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

func TestScanIsSealedAndDeletedEarly(t *testing.T) {
	w := newWorld(t)
	ref, err := w.q.OpenByHand(ctx, ByHand{Controller: "shop", Way: "post", Received: w.clock.Now().AddDate(0, 0, -3), Address: address.MustParse("alice@example.com"), Text: "secret letter", Labels: []classifier.Label{classifier.Access}, Language: "en", Actor: eve})
	require.NoError(t, err)
	no := ref.Number
	_, err = w.q.AddFile(ctx, no, fulfil.File{Name: "scan.pdf", Data: []byte("secret scan")}, eve)
	require.ErrorIs(t, err, ErrOrder, "no vault folder")
	w.withFiles()
	f, err := w.q.AddFile(ctx, no, fulfil.File{Name: "..\\alice.pdf", Type: "application/pdf", Data: []byte("secret scan")}, eve)
	require.NoError(t, err)
	require.Equal(t, "alice.pdf", f.Name)
	list, err := w.q.Files(ctx, no)
	require.NoError(t, err)
	require.Equal(t, f.ID, list[0].ID)
	_, data, err := w.q.File(ctx, no, f.ID)
	require.NoError(t, err)
	require.Equal(t, "secret scan", string(data))
	_, _, err = w.q.File(ctx, no, "00000000000000000000000000000000")
	require.ErrorIs(t, err, ErrUnknown)
	w.drain()
	requireSealed(t, w.rdb)

	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)
	w.clock.Set(w.clock.Now().AddDate(0, 0, 100))
	require.NoError(t, w.q.LegalHold(ctx, no, true, eve, "claim"))
	swept, err := w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Zero(t, swept.Files, "a legal hold keeps files too")
	require.NoError(t, w.q.LegalHold(ctx, no, false, eve, "over"))
	swept, err = w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, Swept{Files: 1}, swept)
	_, _, err = w.q.File(ctx, no, f.ID)
	require.ErrorIs(t, err, ErrUnknown)
	require.Equal(t, Closed, w.show(no).State, "the case itself is kept longer")
	swept, err = w.q.Sweep(ctx)
	require.NoError(t, err)
	require.Zero(t, swept.Files)
}

func TestLateOutcomeOfASystem(t *testing.T) {
	w := newWorld(t)
	w.withFiles()
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusAccepted) }))
	defer srv.Close()
	const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	hook, err := fulfil.NewWebhook(fulfil.WebhookOptions{Name: "crm", URL: srv.URL, Secrets: []string{secret}, Client: srv.Client(), Now: w.clock.Now})
	require.NoError(t, err)
	w.q.o.Connections = []Connection{{Verbs: []fulfil.Verb{fulfil.Export}, Connector: hook}}
	no := w.open(classifier.Access)
	w.waive(no)
	tasks, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve})
	require.NoError(t, err)
	w.drain()
	require.Equal(t, Waiting, w.show(no).State)

	// What the system will send, caught from its own signing.
	var header http.Header
	var body []byte
	caught := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		body = make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
	}))
	defer caught.Close()
	message := func(key string, o map[string]any) {
		out, err := fulfil.NewWebhook(fulfil.WebhookOptions{Name: "x", URL: caught.URL, Secrets: []string{secret}, Client: caught.Client(), Now: w.clock.Now})
		require.NoError(t, err)
		o["key"] = key
		require.NoError(t, out.Tell(ctx, "m"+strconv.Itoa(len(o)), "case.result", w.clock.Now(), o))
	}
	message(tasks[0].Key, map[string]any{"status": "done", "data": map[string]string{"name": "secret"}})
	require.ErrorIs(t, w.q.TakeResult(ctx, "other", header, body), ErrForged, "an unknown system")
	require.ErrorIs(t, w.q.TakeResult(ctx, "crm", http.Header{}, body), ErrForged)
	require.ErrorIs(t, w.q.TakeResult(ctx, "crm", header, append(body, ' ')), ErrForged)
	require.NoError(t, w.q.TakeResult(ctx, "crm", header, body))
	require.NoError(t, w.q.TakeResult(ctx, "crm", header, body), "twice is once")
	require.Equal(t, Opened, w.show(no).State)
	data, err := w.q.TaskData(ctx, no, 0)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"secret"}`, string(data))
	w.clock.Set(w.clock.Now().Add(time.Hour))
	require.ErrorIs(t, w.q.TakeResult(ctx, "crm", header, body), ErrForged, "an old message")
	message(tasks[0].Key, map[string]any{"status": "accepted"})
	require.ErrorIs(t, w.q.TakeResult(ctx, "crm", header, body), fulfil.ErrAnswer)
	message("PC-7K3Q-X9MD:9:erase", map[string]any{"status": "done"})
	require.ErrorIs(t, w.q.TakeResult(ctx, "crm", header, body), ErrUnknown)
}

func TestLookupGivesTheAddressOnFile(t *testing.T) {
	w, s := connected(t, fulfil.Lookup)
	no := w.open(classifier.Access)
	s.mu.Lock()
	s.answer = &fulfil.Outcome{Status: fulfil.Done, Data: json.RawMessage(`{"address":"onfile@example.com"}`)}
	s.mu.Unlock()
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Lookup, Actor: eve})
	require.NoError(t, err)
	w.drain()
	require.NoError(t, w.q.Challenge(ctx, no, address.Address{}, eve))
	w.drain()
	require.Equal(t, "onfile@example.com", w.sent["case:"+no+":out:0"].To.Plain())
	require.Equal(t, Identity, w.show(no).State)
}

func TestWhoMailedThePerson(t *testing.T) {
	w := newWorld(t)
	club := w.q.o.Keyring.Identify("club", address.MustParse("alice@example.com")).ID
	w.q.d.Mailed = func(_ context.Context, controller string, id address.SubjectID) (bool, error) {
		return controller == "club" && id == club, nil
	}
	no := w.open(classifier.Access)
	list, err := w.q.MailedBy(ctx, no)
	require.NoError(t, err)
	require.Equal(t, []string{"club"}, list)
	_, err = w.q.ForwardDraftTo(ctx, no, "nobody", eve)
	require.ErrorIs(t, err, ErrDraft)
	d, err := w.q.ForwardDraftTo(ctx, no, "club", eve)
	require.NoError(t, err)
	require.Equal(t, "privacy@club.example.net", d.To.Plain())
}

func TestRefusalInThePersonsLanguage(t *testing.T) {
	w := newWorld(t)
	in := mailFrom("alice@example.com", classifier.Erasure)
	in.Result.Language = "et"
	ref, err := w.q.Open(ctx, in)
	require.NoError(t, err)
	l, err := w.q.Preview(ctx, ref.Number, Draft{Step: reply.Denied, Effect: ActDeny, Reason: "law", Actor: eve})
	require.NoError(t, err)
	require.Contains(t, l.Text, "seadus kohustab meid")
	_, err = w.q.Preview(ctx, ref.Number, Draft{Step: reply.Denied, Effect: ActDeny, Reason: "my-own-word", Actor: eve})
	require.ErrorIs(t, err, ErrDraft, "a word of one's own needs its text")
}

func TestVerifyExportNeedsAnArchive(t *testing.T) {
	_, err := VerifyExport(t.TempDir()+"/none.zip", "key")
	require.ErrorIs(t, err, os.ErrNotExist)
}
