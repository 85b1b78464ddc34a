package queue

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/fulfil"
	"postern/queue/vault"
)

const eve = "operator:eve"

// withFiles gives a world a vault folder.
func (w *world) withFiles() {
	w.t.Helper()
	files, err := vault.NewFiles(w.t.TempDir())
	require.NoError(w.t, err)
	w.q.files = files
}

// collected is an access case whose system has answered.
func collected(t *testing.T, labels ...classifier.Label) (*world, string) {
	w, _ := connected(t, fulfil.Export)
	w.withFiles()
	w.q.o.Handling = map[string]Handling{"shop": {Facts: []Facts{
		{Language: "de", Purposes: "Bestellungen"},
		{Language: "en", Purposes: "Orders", Categories: "Name", Recipients: "Parcel service", Storage: "Ten years", Source: "You", Automated: "None", Transfers: "None"}}}}
	no := w.open(labels...)
	w.waive(no)
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve})
	require.NoError(t, err)
	w.drain()
	return w, no
}

func (w *world) ticked(no string) {
	w.t.Helper()
	files, err := w.q.PackageFiles(ctx, no)
	require.NoError(w.t, err)
	for _, f := range files {
		require.NoError(w.t, w.q.TickFile(ctx, no, f.ID, TickKeep, eve, ""))
	}
}

func TestPackageFromSystemsToPerson(t *testing.T) {
	w, no := collected(t, classifier.Access)
	_, err := w.q.Package(ctx, no)
	require.ErrorIs(t, err, ErrUnknown)
	task, err := w.q.AskColleague(ctx, no, Ask{Who: "archive", Mail: address.MustParse("archive@shop.example.org"), Actor: eve})
	require.NoError(t, err)
	w.drain()
	_, err = w.q.BuildPackage(ctx, no, eve)
	require.ErrorIs(t, err, ErrOrder, "a colleague has not answered")
	link, err := w.q.TaskLink(ctx, no, task.Index)
	require.NoError(t, err)
	require.NoError(t, w.q.AnswerTask(ctx, tokenOf(link), TaskAnswer{Files: []fulfil.File{
		{Name: "../../etc/letter.txt", Type: "text/plain", Data: []byte("letter about Alice and Bob")},
		{Name: "list.txt", Type: "text/plain", Data: []byte("others alone")}}}))
	require.Equal(t, Opened, w.show(no).State)

	p, err := w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	require.Len(t, p.Files, 3)
	require.Equal(t, "letter.txt", p.Files[1].Name, "a stranger's path is only a name")
	require.Equal(t, "Orders", p.Checklist[0].Text, "prefilled in the person's language")
	require.Contains(t, p.Checklist[5].Text, "the data protection authority")

	rel := Release{Actor: eve, CodeWay: "post"}
	_, err = w.q.ReleasePackage(ctx, no, rel)
	require.ErrorContains(t, err, "not looked through yet")
	require.NoError(t, w.q.TickFile(ctx, no, p.Files[0].ID, TickKeep, eve, ""))
	require.ErrorIs(t, w.q.TickFile(ctx, no, p.Files[1].ID, TickRedact, eve, ""), ErrOrder, "nothing redacted yet")
	require.NoError(t, w.q.ReplaceFile(ctx, no, p.Files[1].ID, []byte("letter about Alice and [redacted]"), eve, "Bob"))
	require.ErrorIs(t, w.q.TickFile(ctx, no, p.Files[2].ID, TickExclude, eve, ""), ErrOrder, "a reason is needed")
	require.NoError(t, w.q.TickFile(ctx, no, p.Files[2].ID, TickExclude, eve, "others alone"))
	require.NoError(t, w.q.SetChecklist(ctx, no, map[string]string{"storage": ""}, eve))
	_, err = w.q.ReleasePackage(ctx, no, rel)
	require.ErrorContains(t, err, `no answer for "storage"`)
	require.NoError(t, w.q.SetChecklist(ctx, no, map[string]string{"storage": "Three years"}, eve))
	p, err = w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	require.Equal(t, TickRedact, p.Files[1].Tick, "what did not change stays ticked")
	require.Equal(t, "Three years", p.Checklist[3].Text)
	_, err = w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "mail"})
	require.ErrorIs(t, err, ErrOrder, "never by the mail that holds the link")

	h, err := w.q.ReleasePackage(ctx, no, rel)
	require.NoError(t, err)
	w.later(time.Minute)
	require.Equal(t, Answered, w.show(no).State)
	letters, _, err := w.q.Letters(ctx, no)
	require.NoError(t, err)
	require.Contains(t, letters[h.Letter].Text, h.Link)
	require.NotContains(t, letters[h.Letter].Text, h.Code)
	require.ErrorIs(t, w.q.TickFile(ctx, no, p.Files[0].ID, TickExclude, eve, "late"), ErrOrder)

	kind, err := w.q.LinkKind(ctx, h.Token)
	require.NoError(t, err)
	require.Equal(t, LinkDownload, kind)
	facts, err := w.q.OpenPackage(ctx, h.Token)
	require.NoError(t, err)
	require.Equal(t, 5, facts.Left)
	got, err := w.q.FetchPackage(ctx, h.Token, strings.ToLower(strings.ReplaceAll(h.Code, "-", " ")))
	require.NoError(t, err, "as people type it")
	z, err := zip.NewReader(bytes.NewReader(got.Data), int64(len(got.Data)))
	require.NoError(t, err)
	in := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		raw, err := io.ReadAll(r)
		require.NoError(t, err)
		in[f.Name] = string(raw)
	}
	require.Len(t, in, 3)
	require.Contains(t, in["index.html"], "secret record")
	require.Contains(t, in["index.html"], "Three years")
	require.Equal(t, "letter about Alice and [redacted]", in["files/2-letter.txt"])
	require.True(t, json.Valid([]byte(in["data.json"])))
	require.NotContains(t, in["data.json"]+in["index.html"], "others alone")

	facts, err = w.q.OpenPackage(ctx, h.Token)
	require.NoError(t, err)
	require.Equal(t, 1, facts.Fetched)
	_, events, err := w.q.Show(ctx, no)
	require.NoError(t, err)
	last := events[len(events)-1]
	require.Equal(t, ActFetched, last.Action)
	require.Equal(t, "fetched", last.Reason)
	requireSealed(t, w.rdb)

	w.later(15 * 24 * time.Hour)
	_, err = w.q.FetchPackage(ctx, h.Token, h.Code)
	require.ErrorIs(t, err, ErrUnknown, "the link has ended")
	after, err := w.q.Package(ctx, no)
	require.NoError(t, err)
	require.True(t, after.Gone)
	for _, n := range w.notices {
		require.NotEqual(t, "not-fetched", n.Kind)
	}
}

func TestDownloadCodeIsGuarded(t *testing.T) {
	w, no := collected(t, classifier.Portability)
	_, err := w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	w.ticked(no)
	h, err := w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "phone"})
	require.NoError(t, err)
	w.later(time.Minute)
	for i := range 5 {
		_, err = w.q.FetchPackage(ctx, h.Token, "AAAA-AAAA")
		require.ErrorIs(t, err, ErrCode, i)
	}
	_, err = w.q.FetchPackage(ctx, h.Token, h.Code)
	require.ErrorIs(t, err, ErrLocked, "even the right one")
	require.Equal(t, "code-locked", w.notices[len(w.notices)-1].Kind)
	_, wrong := w.q.OpenPackage(ctx, "aaaaaaaabbbbbbbbccccccccdddddddd")
	require.ErrorIs(t, wrong, ErrUnknown)
	_, wrong = w.q.FetchPackage(ctx, "aaaaaaaabbbbbbbbccccccccdddddddd", h.Code)
	require.ErrorIs(t, wrong, ErrUnknown)
	code, err := w.q.NewCode(ctx, no, eve)
	require.NoError(t, err)
	require.NotEqual(t, h.Code, code)
	_, err = w.q.FetchPackage(ctx, h.Token, h.Code)
	require.ErrorIs(t, err, ErrCode, "the first code is void")
	_, err = w.q.FetchPackage(ctx, h.Token, code)
	require.NoError(t, err)
}

func TestUnfetchedPackageIsTold(t *testing.T) {
	w, no := collected(t, classifier.Portability)
	_, err := w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
	w.ticked(no)
	_, err = w.q.ReleasePackage(ctx, no, Release{Actor: eve, CodeWay: "person"})
	require.NoError(t, err)
	w.later(time.Minute)
	w.later(15 * 24 * time.Hour)
	require.Equal(t, "not-fetched", w.notices[len(w.notices)-1].Kind)
}

func TestPackageNeedsProofAndAnswers(t *testing.T) {
	w, s := connected(t, fulfil.Export)
	no := w.open(classifier.Access)
	_, err := w.q.BuildPackage(ctx, no, eve)
	require.ErrorContains(t, err, "no vault folder")
	w.withFiles()
	_, err = w.q.BuildPackage(ctx, no, eve)
	require.ErrorContains(t, err, "identity")
	w.waive(no)
	_, err = w.q.BuildPackage(ctx, no, eve)
	require.ErrorContains(t, err, "no system was asked")
	s.fail = errDown
	w.q.o.Attempts = 1
	_, err = w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve})
	require.NoError(t, err)
	w.drain()
	_, err = w.q.BuildPackage(ctx, no, eve)
	require.ErrorContains(t, err, "crm failed")
	require.Contains(t, w.show(no).Flags, FlagFailed)
	s.fail = nil
	require.ErrorIs(t, w.q.Retry(ctx, no, 7, eve), ErrOrder)
	require.NoError(t, w.q.Retry(ctx, no, 0, eve))
	w.drain()
	require.NotContains(t, w.show(no).Flags, FlagFailed)
	_, err = w.q.BuildPackage(ctx, no, eve)
	require.NoError(t, err)
}

func tokenOf(link string) string { return link[strings.LastIndexByte(link, '/')+1:] }

func TestColleagueIsRemindedAndEscalated(t *testing.T) {
	w := newWorld(t)
	w.withFiles()
	no := w.open(classifier.Access)
	w.waive(no)
	_, err := w.q.AskColleague(ctx, no, Ask{Who: "archive", Actor: eve})
	require.ErrorIs(t, err, ErrOrder, "nobody to write to")
	task, err := w.q.AskColleague(ctx, no, Ask{Who: "archive", Mail: address.MustParse("archive@shop.example.org"), Words: "Folder 7, please.", Due: 4 * 24 * time.Hour, Actor: eve})
	require.NoError(t, err)
	w.drain()
	mails := func() (n int) {
		for ref, m := range w.sent {
			if strings.HasPrefix(ref, "task:") {
				require.Equal(t, "archive@shop.example.org", m.To.Plain())
				require.NotContains(t, string(m.Body)+string(m.Header), "alice@")
				n++
			}
		}
		return n
	}
	require.Equal(t, 1, mails())
	link, err := w.q.TaskLink(ctx, no, task.Index)
	require.NoError(t, err)
	for _, m := range w.sent {
		if strings.HasPrefix(m.Ref, "task:") {
			require.Contains(t, decodeQP(t, m.Body), link, "the link of the mail is the one an operator sees")
		}
	}
	v, err := w.q.TaskByToken(ctx, tokenOf(link))
	require.NoError(t, err)
	require.Equal(t, "alice@example.com", v.Person)
	require.Equal(t, "Folder 7, please.", v.Words)
	require.False(t, v.Answered)
	w.later(2*24*time.Hour + time.Minute)
	require.Equal(t, 2, mails(), "reminded halfway")
	require.Empty(t, w.notices)
	w.later(2 * 24 * time.Hour)
	require.Equal(t, 3, mails(), "and when it is due")
	require.Equal(t, "task-overdue", w.notices[len(w.notices)-1].Kind, "operators are told")

	require.ErrorIs(t, w.q.AnswerTask(ctx, tokenOf(link), TaskAnswer{Nothing: true, Files: []fulfil.File{{Name: "x", Data: []byte("x")}}}), ErrOrder)
	require.ErrorIs(t, w.q.AnswerTask(ctx, tokenOf(link), TaskAnswer{Status: "maybe"}), ErrOrder)
	require.ErrorIs(t, w.q.AnswerTask(ctx, "unknown", TaskAnswer{Nothing: true}), ErrUnknown)
	require.NoError(t, w.q.AnswerTask(ctx, tokenOf(link), TaskAnswer{Nothing: true, Note: "looked twice"}))
	require.ErrorIs(t, w.q.AnswerTask(ctx, tokenOf(link), TaskAnswer{Nothing: true}), ErrOrder, "the first answer counts")
	before := mails()
	w.later(3 * 24 * time.Hour)
	require.Equal(t, before, mails(), "nobody is reminded of what is done")
	_, err = w.q.Move(ctx, no, Move{Action: ActClose, Actor: eve, Reason: "done"})
	require.NoError(t, err)
	_, err = w.q.TaskByToken(ctx, tokenOf(link))
	require.ErrorIs(t, err, ErrUnknown, "the link ends with the case")
	requireSealed(t, w.rdb)
}
