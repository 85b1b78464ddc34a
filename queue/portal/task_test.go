package portal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/fulfil"
)

// asked gives the path of a task of a colleague.
func (w *world) asked(verb fulfil.Verb, letter bool) (no, path string) {
	w.t.Helper()
	asks := classifier.Access
	if verb == fulfil.Erase {
		asks = classifier.Erasure
	}
	no = w.open(asks)
	_, err := w.q.Move(w.t.Context(), no, queue.Move{Action: queue.ActIdentify, Actor: eve, Reason: "known-by-phone"})
	require.NoError(w.t, err)
	n := w.mails()
	_, err = w.q.AskColleague(w.t.Context(), no, queue.Ask{Who: "sales archive", Mail: address.MustParse("sales@shop.example.org"), Verb: verb, Words: "Folder 7, please.", Actor: eve, Approve: no, Letter: letter})
	require.NoError(w.t, err)
	return no, w.mailed(n + 1)
}

type upload struct{ field, name, kind, data string }

// form writes a multipart form; uploads without name are fields.
func form(t testing.TB, parts ...upload) (string, string) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name=%q`, p.field)}}
		if p.kind != "" {
			h.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, p.field, p.name))
			h.Set("Content-Type", p.kind)
		}
		part, err := m.CreatePart(h)
		require.NoError(t, err)
		_, err = io.WriteString(part, p.data)
		require.NoError(t, err)
	}
	require.NoError(t, m.Close())
	return m.FormDataContentType(), b.String()
}

func (w *world) send(path string, parts ...upload) *httptest.ResponseRecorder {
	kind, body := form(w.t, parts...)
	return w.do("POST", path, body, "Content-Type", kind)
}

func TestTaskWithFiles(t *testing.T) {
	w := newWorld(t)
	no, path := w.asked(fulfil.Export, false)
	page := w.get(path).Body.String()
	for _, words := range []string{"Task: sales archive", "Folder 7, please.", alice, "2026-12-01", no, `enctype="multipart/form-data"`, `type="file" name="files"`, "Nothing is held"} {
		require.Contains(t, page, words)
	}
	require.Contains(t, w.get(path+"?lang=de").Body.String(), "Aufgabe: sales archive")
	require.Contains(t, w.get(path+"?lang=fr").Body.String(), "Tâche : sales archive")
	require.Contains(t, w.get(path+"?lang=ru").Body.String(), `<html lang="en">`, "languages there is no text in are not claimed")
	answered := func() bool {
		v, err := w.q.TaskByToken(t.Context(), strings.TrimPrefix(path, "/case/"))
		require.NoError(t, err)
		return v.Answered
	}
	w.post(path, "act=answer&result=nothing") // not this page's form
	require.False(t, answered())
	require.Equal(t, http.StatusUnprocessableEntity, w.send(path, upload{field: "act", data: "answer"}, upload{field: "result", data: "nothing"}, upload{"files", "a.txt", "text/plain", "x"}).Code)
	require.False(t, answered())

	got := w.send(path, upload{field: "act", data: "answer"}, upload{field: "result", data: "done"}, upload{field: "note", data: "Two of three."},
		upload{"files", `C:\Users\x\..\..\contract?.txt`, "text/plain; charset=utf-8", "contract"}, upload{"files", "../../etc/passwd", "nonsense", "second"}, upload{"files", "", "application/octet-stream", ""})
	require.Equal(t, http.StatusOK, got.Code)
	require.Contains(t, got.Body.String(), "Your answer is in the case.")
	require.True(t, answered())
	require.Contains(t, w.get(path).Body.String(), "Your answer is in the case.")
	tasks, err := w.q.Tasks(t.Context(), no)
	require.NoError(t, err)
	var names, kinds []string
	for _, f := range tasks[0].Files {
		names, kinds = append(names, f.Name), append(kinds, f.Type)
	}
	require.Equal(t, []string{"contract_.txt", "passwd"}, names)
	require.Equal(t, []string{"text/plain", "application/octet-stream"}, kinds)
}

func TestTaskLetterWhereTicked(t *testing.T) {
	w := newWorld(t)
	_, path := w.asked(fulfil.Export, true)
	r := httptest.NewRequest("GET", path, nil)
	rec := httptest.NewRecorder()
	w.pages.ServeHTTP(rec, r)
	require.Contains(t, rec.Body.String(), "Confidential words")
	require.NotContains(t, rec.Body.String(), "Confidential subject")
}

// Each verb has its own answers; what is kept names its law, and what can't be
// done says why.
func TestTaskAnswers(t *testing.T) {
	for _, x := range []struct {
		verb   fulfil.Verb
		fields map[string]string
		code   int
		status fulfil.Status
	}{
		{fulfil.Erase, map[string]string{"result": "erased"}, 200, fulfil.Erased},
		{fulfil.Erase, map[string]string{"result": "kept", "law": "section 257", "until": "2036-12-31"}, 200, fulfil.Kept},
		{fulfil.Erase, map[string]string{"result": "kept"}, 422, ""},
		{fulfil.Erase, map[string]string{"result": "done"}, 200, ""},
		{fulfil.Erase, map[string]string{"result": "failed"}, 422, ""},
		{fulfil.Rectify, map[string]string{"result": "failed", "note": "The system is gone."}, 200, fulfil.Failed},
		{fulfil.Restrict, map[string]string{"result": "restricted"}, 200, fulfil.Restricted},
		{fulfil.Verify, map[string]string{"result": "nothing"}, 200, fulfil.NotFound},
		{fulfil.Inform, map[string]string{"result": "done"}, 200, fulfil.Done},
	} {
		t.Run(string(x.verb)+" "+x.fields["result"], func(t *testing.T) {
			w := newWorld(t)
			no, path := w.asked(x.verb, false)
			require.NotContains(t, w.get(path).Body.String(), "<p></p>")
			parts := []upload{{field: "act", data: "answer"}}
			for k, v := range x.fields {
				parts = append(parts, upload{field: k, data: v})
			}
			page := w.send(path, parts...)
			require.Equal(t, x.code, page.Code)
			if x.code == http.StatusUnprocessableEntity {
				require.Contains(t, page.Body.String(), `value="`+x.fields["result"]+`" required checked`, "what was chosen stays")
			}
			tasks, err := w.q.Tasks(t.Context(), no)
			require.NoError(t, err)
			if x.status != "" {
				require.Equal(t, x.status, tasks[0].Status)
			} else {
				require.False(t, tasks[0].Done())
			}
		})
	}
}

// endless is a body that never ends.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) { e.n += len(p); return len(p), nil }

func TestTaskUploadLimits(t *testing.T) {
	w := newWorld(t)
	_, path := w.asked(fulfil.Export, false)
	large := upload{"files", "a.bin", "application/octet-stream", strings.Repeat("x", maxFiles+1)}
	require.Equal(t, http.StatusRequestEntityTooLarge, w.send(path, upload{field: "act", data: "answer"}, upload{field: "result", data: "done"}, large).Code)
	var many []upload
	for range maxFileCount + 1 {
		many = append(many, upload{"files", "a.txt", "text/plain", "x"})
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, w.send(path, many...).Code)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.send(path, upload{field: "note", data: strings.Repeat("x", maxFieldBytes+1)}).Code)
	require.Equal(t, http.StatusUnprocessableEntity, w.do("POST", path, "--b\r\nbroken", "Content-Type", "multipart/form-data; boundary=b").Code)

	// A body without end is cut off at the limit; one behind a bad link is not
	// read at all.
	body := &endless{}
	head := "--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\n"
	r := httptest.NewRequest("POST", path, io.MultiReader(strings.NewReader(head), body))
	r.ContentLength = -1
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	rec := httptest.NewRecorder()
	w.pages.ServeHTTP(rec, r)
	require.Equal(t, http.StatusRequestEntityTooLarge, rec.Code)
	require.Less(t, body.n, 40<<20)
	body.n = 0
	r = httptest.NewRequest("POST", "/case/bad", io.MultiReader(strings.NewReader(head), body))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	w.pages.ServeHTTP(httptest.NewRecorder(), r)
	require.Zero(t, body.n)
}

// slow tells when it is read from and then waits.
type slow struct {
	began, end chan struct{}
	once       sync.Once
}

func (s *slow) Read([]byte) (int, error) {
	s.once.Do(func() { close(s.began) })
	<-s.end
	return 0, io.ErrUnexpectedEOF
}

// Only so many uploads are held in memory at once; others are told to wait.
func TestTaskUploadsAtOnce(t *testing.T) {
	w := newWorld(t, func(o *Options, _ *queue.Options) { o.Uploads = 1 })
	_, path := w.asked(fulfil.Export, false)
	body := &slow{began: make(chan struct{}), end: make(chan struct{})}
	done := make(chan int, 1)
	go func() {
		r := httptest.NewRequest("POST", path, body)
		r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		rec := httptest.NewRecorder()
		w.pages.ServeHTTP(rec, r)
		done <- rec.Code
	}()
	<-body.began
	require.Equal(t, http.StatusServiceUnavailable, w.send(path, upload{field: "act", data: "answer"}).Code)
	close(body.end)
	require.Equal(t, http.StatusUnprocessableEntity, <-done)
	require.Equal(t, http.StatusOK, w.send(path, upload{field: "act", data: "answer"}, upload{field: "result", data: "nothing"}).Code)
}

// A slow upload outlives the listener's limit for pages.
func TestTaskSlowUpload(t *testing.T) {
	w := newWorld(t)
	no, path := w.asked(fulfil.Export, false)
	srv := httptest.NewUnstartedServer(w.pages)
	srv.Config.ReadTimeout = 2 * time.Second
	srv.Start()
	defer srv.Close()
	kind, body := form(t, upload{field: "act", data: "answer"}, upload{field: "result", data: "done"}, upload{"files", "a.txt", "text/plain", "content"})
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, kind, len(body), body[:20])
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	<-ctx.Done() // longer than the listener waits for a page's form
	_, err = io.WriteString(conn, body[20:])
	require.NoError(t, err)
	answer, err := io.ReadAll(io.LimitReader(conn, 200))
	require.NoError(t, err)
	require.Contains(t, string(answer), "200 OK")
	tasks, err := w.q.Tasks(t.Context(), no)
	require.NoError(t, err)
	require.Equal(t, fulfil.Done, tasks[0].Status)
}
