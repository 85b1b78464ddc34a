package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue"
	"postern/queue/console/auth"
)

// A paper is destroyed on a page of its own that says what goes and stays;
// afterwards nothing hands it out, and where the mailbox can't follow the case
// says so until an operator did it there.
func TestDestroyFile(t *testing.T) {
	w := newWorld(t)
	in := w.mail("maria@example.net", "Please delete my data.", classifier.Erasure)
	in.Attachments = []queue.Attachment{{Name: "../paper.pdf", Type: "application/pdf", Size: 9000, Text: "passport 123"}, {Name: "paper.pdf", Type: "application/pdf", Size: 70, Text: "second"}}
	w.raw[in.ContentHash] = []byte("From: m@example.com\r\nContent-Type: application/pdf; name=paper.pdf\r\n\r\nPDF")
	no := w.open(in)
	auditor := w.signedIn("otto", auth.Auditor)
	require.NotContains(t, auditor.get("/cases/"+no), "/destroy")
	b := w.signedIn("anna", auth.Operator)
	file := "/cases/" + no + "/mails/0/files/0"
	require.Contains(t, b.get("/cases/"+no), file+"/destroy")
	page := b.get(file + "/destroy")
	require.Contains(t, page, "privacy")
	require.Contains(t, page, "Nobody can bring it back.")

	require.NoError(t, w.q.LegalHold(t.Context(), no, true, "operator:otto", "court"))
	require.NotContains(t, b.get(file+"/destroy"), "Destroy the file")
	resp, text := b.post(file+"/destroy", url.Values{"reason": {"identity-paper"}})
	require.Equal(t, http.StatusConflict, resp.StatusCode)
	require.Contains(t, text, "A legal hold forbids it")
	require.NoError(t, w.q.LegalHold(t.Context(), no, false, "operator:otto", "over"))

	text = b.done(file+"/destroy", url.Values{"reason": {"identity-paper"}, "note": {"sent unasked"}})
	require.Contains(t, text, "It is being taken out.")
	require.Contains(t, text, "A file was destroyed: identity paper nobody asked for")
	require.Contains(t, text, "sent unasked")
	require.NotContains(t, text, file+"/text")
	for _, gone := range []string{"", "/text", "/picture", "/destroy"} {
		resp, _ := b.do("GET", file+gone, nil)
		require.Equal(t, http.StatusNotFound, resp.StatusCode, gone)
	}
	require.Contains(t, b.get("/cases/"+no), "/cases/"+no+"/mails/0/files/1/text", "the other file stays")

	w.work(func() bool {
		k, _, _ := w.q.Show(t.Context(), no)
		return k.Mails[0].Attachments[0].Left == "no-mailbox"
	})
	text = b.get("/cases/" + no)
	require.Contains(t, text, "Delete the mail in “privacy” by hand")
	require.Contains(t, text, in.MessageID)
	text = b.done(file+"/removed", nil)
	require.NotContains(t, text, "still holds it.")
	require.Contains(t, text, "deleted in the mailbox by hand")
	w.work(func() bool {
		n := 0
		for _, r := range w.recorded("case", "destroy") {
			if strings.Contains(r.Reason, "identity-paper") {
				n++
			}
		}
		return n == 1
	})
}
