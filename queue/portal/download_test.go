package portal

import (
	"archive/zip"
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/fulfil"
)

// released is an access case with its package at the person's disposal.
func (w *world) released() (no, path, code string) {
	w.t.Helper()
	ctx := w.t.Context()
	no = w.open(classifier.Access)
	_, err := w.q.Move(ctx, no, queue.Move{Action: queue.ActIdentify, Actor: eve, Reason: "waived", Note: "known"})
	require.NoError(w.t, err)
	_, err = w.q.Fulfil(ctx, no, queue.Order{Verb: fulfil.Export, Actor: eve})
	require.NoError(w.t, err)
	w.work("the system to answer", func() bool { return w.show(no).State == queue.Opened })
	p, err := w.q.BuildPackage(ctx, no, eve)
	require.NoError(w.t, err)
	for _, f := range p.Files {
		require.NoError(w.t, w.q.TickFile(ctx, no, f.ID, queue.TickKeep, eve, ""))
	}
	h, err := w.q.ReleasePackage(ctx, no, queue.Release{Actor: eve, CodeWay: "post", To: address.MustParse(alice)})
	require.NoError(w.t, err)
	w.work("the answer to leave", func() bool { return w.show(no).State == queue.Answered })
	return no, "/case/" + h.Token, h.Code
}

func TestDownload(t *testing.T) {
	w := newWorld(t)
	no, path, code := w.released()
	fetched := func() int {
		p, err := w.q.Package(t.Context(), no)
		require.NoError(t, err)
		return len(p.Fetched)
	}
	page := w.get(path)
	require.Equal(t, http.StatusOK, page.Code)
	for _, words := range []string{"The copy of your data is ready.", "Size", " kB", "2026-12-08", no, "Download"} {
		require.Contains(t, page.Body.String(), words)
	}
	require.NotContains(t, page.Body.String(), "fetched on")
	require.NotContains(t, page.Body.String(), "Alice", "the data itself is no page")
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		w.do(method, path+"?act=fetch&code="+code, "", "Range", "bytes=0-10")
	}
	w.post(path, "code="+code)
	require.Zero(t, fetched())

	wrong := w.post(path, "act=fetch&code=AAAA-AAAA")
	require.Equal(t, http.StatusUnprocessableEntity, wrong.Code)
	require.Contains(t, wrong.Body.String(), "Tries left: 4.")
	require.Zero(t, fetched())

	got := w.do("POST", path, "act=fetch&code="+code, "Content-Type", "application/x-www-form-urlencoded", "Range", "bytes=0-10")
	require.Equal(t, http.StatusOK, got.Code)
	require.Equal(t, "application/zip", got.Header().Get("Content-Type"))
	require.Equal(t, "attachment; filename="+no+".zip", got.Header().Get("Content-Disposition"))
	require.Equal(t, "none", got.Header().Get("Accept-Ranges"))
	require.Contains(t, got.Header().Get("Content-Security-Policy"), "sandbox")
	z, err := zip.NewReader(bytes.NewReader(got.Body.Bytes()), int64(got.Body.Len()))
	require.NoError(t, err)
	require.NotEmpty(t, z.File)
	require.Equal(t, 1, fetched())
	require.Contains(t, w.get(path).Body.String(), "Last fetched on")
	w.pass(15 * 24 * time.Hour)
	require.Equal(t, http.StatusNotFound, w.get(path).Code)
	require.Equal(t, http.StatusNotFound, w.post(path, "act=fetch&code="+code).Code)
}

func TestDownloadLocks(t *testing.T) {
	w := newWorld(t)
	no, path, code := w.released()
	for i := range 5 {
		require.Equal(t, map[bool]int{true: 422, false: 403}[i < 4], w.post(path, "act=fetch&code=AAAA-AAAA").Code)
	}
	require.Contains(t, w.post(path, "act=fetch&code="+code).Body.String(), "The download is locked.")
	require.Contains(t, w.get(path).Body.String(), "The download is locked.")
	require.Equal(t, "code-locked", w.told[len(w.told)-1].Kind)
	code, err := w.q.NewCode(t.Context(), no, eve)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.post(path, "act=fetch&code="+code).Code)
}

func TestSize(t *testing.T) {
	for n, want := range map[int]string{0: "0 B", 1023: "1023 B", 1024: "1 kB", 1536: "2 kB", 5 << 20: "5.0 MB"} {
		require.Equal(t, want, size(n))
	}
}
