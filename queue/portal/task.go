package portal

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"postern/gateway/stream"
	"postern/gateway/webpage"
	"postern/queue"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// results a colleague may tell, by what they were asked; "" stands for all
// other verbs.
var results = map[fulfil.Verb][]string{
	fulfil.Lookup:   {"done", "nothing"},
	fulfil.Export:   {"done", "nothing"},
	fulfil.Erase:    {"erased", "nothing", "kept", "failed"},
	fulfil.Verify:   {"nothing", "kept", "failed"},
	fulfil.Restrict: {"restricted", "nothing", "failed"},
	"":              {"done", "nothing", "failed"},
}

// taskLater is the time a colleague has to send files.
const taskLater = 10 * time.Minute

// task serves the page of a colleague without account: what is asked, by when,
// and the place for the answer. It shows nothing of the mail unless the
// operator ticked that.
func (h *handler) task(ctx context.Context, stranger *webpage.Ask, token string) {
	t, err := h.cases.TaskByToken(ctx, token)
	if err != nil {
		h.failed(stranger, "task", err, webpage.Form{})
		return
	}
	// Whose task it is stands on the page; no notice, no contact for persons.
	who := stream.Controller{Name: t.Controller}
	for _, c := range h.streams().Controllers() {
		if c.Name == t.Controller {
			who.TimeZone, who.Language = c.TimeZone, c.Language
		}
	}
	a := h.tasks.Ask(stranger.W, stranger.R, &who, "/case/"+token, t.Language)
	if t.Answered {
		h.showTask(a, "shown", webpage.Page{Status: http.StatusOK, Heading: a.Say("done_heading"), Lead: []string{a.Say("done_lead")}})
		return
	}
	if a.R.Method != http.MethodPost {
		h.showTask(a, "shown", taskPage(a, t, nil, http.StatusOK, ""))
		return
	}
	select {
	case h.uploads <- struct{}{}:
		defer func() { <-h.uploads }()
	default:
		h.showTask(a, "refused", taskPage(a, t, nil, http.StatusServiceUnavailable, "busy_lead"))
		return
	}
	h.takeTask(a, t, token)
}

func (h *handler) takeTask(a *webpage.Ask, t queue.TaskView, token string) {
	// The listener's limits are for pages; who holds a good link may take longer.
	control := http.NewResponseController(a.W)
	late := time.Now().Add(taskLater)
	if err := errors.Join(control.SetReadDeadline(late), control.SetWriteDeadline(late.Add(time.Minute))); err != nil && !errors.Is(err, http.ErrNotSupported) {
		h.o.Log.Warn("time for an upload could not be set", "error", err)
	}
	v, files, err := readUpload(a.W, a.R)
	if err != nil {
		status, why := http.StatusUnprocessableEntity, "unread_lead"
		if errors.Is(err, errTooLarge) {
			status, why = http.StatusRequestEntityTooLarge, "large_lead"
		}
		h.showTask(a, "refused", taskPage(a, t, nil, status, why))
		return
	}
	result := v.Get("result")
	if v.Get(act) != "answer" || !slices.Contains(resultsOf(t.Verb), result) {
		h.showTask(a, "shown", taskPage(a, t, v, http.StatusOK, ""))
		return
	}
	answer := queue.TaskAnswer{Note: strings.TrimSpace(v.Get("note")), Law: strings.TrimSpace(v.Get("law")), Until: v.Get("until"), Files: files}
	switch result {
	case "nothing":
		answer.Nothing = true
	case "kept":
		answer.Status = fulfil.Kept
	case "failed":
		answer.Status = fulfil.Failed
	default:
		answer.Status = fulfil.Status(result)
	}
	if result != "kept" {
		answer.Law, answer.Until = "", ""
	}
	if result == "failed" && answer.Note == "" {
		h.showTask(a, "refused", taskPage(a, t, v, http.StatusUnprocessableEntity, "why_lead"))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.R.Context()), time.Minute)
	defer cancel()
	err = h.cases.AnswerTask(ctx, token, answer)
	switch {
	case errors.Is(err, queue.ErrOrder):
		h.showTask(a, "refused", taskPage(a, t, v, http.StatusUnprocessableEntity, "unusable_lead"))
	case errors.Is(err, queue.ErrUnknown):
		h.over(a, "task")
	case err != nil:
		h.o.Log.Error("a colleague's answer could not be kept", "case", t.Case, "error", err)
		h.showTask(a, "away", taskPage(a, t, v, http.StatusServiceUnavailable, "away_lead"))
	default:
		h.showTask(a, "acted", webpage.Page{Status: http.StatusOK, Heading: a.Say("done_heading"), Lead: []string{a.Say("done_lead")}})
	}
}

func resultsOf(v fulfil.Verb) []string {
	if list, ok := results[v]; ok {
		return list
	}
	return results[""]
}

// taskPage shows what is asked; why says what was wrong with an answer, of
// which typed stays.
func taskPage(a *webpage.Ask, t queue.TaskView, typed url.Values, status int, why string) webpage.Page {
	pg := webpage.Page{Status: status, Heading: a.Say("heading", "system", t.System), Lead: []string{a.Say(reply.TaskKey(t.Verb), "system", t.System)}, Quote: t.Words}
	if why != "" {
		pg.Heading, pg.Lead = a.Say("again_heading"), append([]string{a.Say(why)}, pg.Lead...)
	}
	pg.Facts = []webpage.Fact{
		{Name: a.Say("person"), Value: t.Person}, {Name: a.Say("due"), Value: a.Date(t.Due)},
		{Name: a.Say("case"), Value: t.Case}, {Name: a.Say("asked"), Value: a.Date(t.Asked)},
	}
	for _, name := range slices.Sorted(maps.Keys(t.Facts)) {
		pg.Facts = append(pg.Facts, webpage.Fact{Name: name, Value: t.Facts[name]})
	}
	if t.Letter != "" {
		pg.Parts = []webpage.Part{{Heading: a.Say("letter"), Text: t.Letter}}
	}
	f := webpage.Form{Action: a.Action(), Hidden: does("answer"), Legend: a.Say("result"), Button: a.Say("button"), Upload: true}
	list := resultsOf(t.Verb)
	for _, r := range list {
		label := a.Say("result_" + r)
		if r == "done" && (t.Verb == fulfil.Export || t.Verb == fulfil.Lookup) {
			label = a.Say("result_files")
		}
		f.Choices = append(f.Choices, webpage.Check{Name: "result", Value: r, Label: label, On: typed.Get("result") == r})
	}
	if slices.Contains(list, "kept") {
		f.Fields = append(f.Fields, webpage.Field{Name: "law", Label: a.Say("law"), Type: "text", Note: a.Say("law_note"), Value: typed.Get("law"), Optional: true, Most: 200},
			webpage.Field{Name: "until", Label: a.Say("until"), Type: "date", Value: typed.Get("until"), Optional: true})
	}
	if t.Verb == fulfil.Export || t.Verb == fulfil.Lookup {
		f.Fields = append(f.Fields, webpage.Field{Name: "files", Label: a.Say("files"), Type: "file", Note: a.Say("files_note"), Optional: true})
	}
	f.Fields = append(f.Fields, webpage.Field{Name: "note", Label: a.Say("note"), Rows: 4, Value: typed.Get("note"), Optional: true, Most: maxMessage})
	pg.Forms = []webpage.Form{f}
	return pg
}

func (h *handler) showTask(a *webpage.Ask, result string, pg webpage.Page) {
	h.count.WithLabelValues("task", result).Inc()
	if err := h.tasks.Render(a, pg); err != nil {
		h.o.Log.Error("page could not be made", "error", err)
		http.Error(a.W, "error", http.StatusInternalServerError)
	}
}
