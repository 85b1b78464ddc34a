package portal

import (
	"context"
	"net/http"
	"strings"

	"postern/gateway/address"
	"postern/gateway/webpage"
	"postern/queue"
)

// maxMessage bounds a typed text, in characters: encoded for a form it stays
// under the 64 KiB that are read.
const maxMessage = 4000

// find serves /case: number and address are typed, and if they belong together
// a link is mailed. The answer is the same for everybody, and as slow.
func (h *handler) find(w http.ResponseWriter, r *http.Request) {
	a := h.stranger(w, r, "/case")
	if !h.allowed(a) {
		return
	}
	form := webpage.Form{Action: a.Action(), Hidden: does("find"), Button: a.Say("find_button"), Fields: []webpage.Field{
		{Name: "number", Label: a.Say("find_number"), Type: "text", Note: a.Say("find_number_note"), Most: 40},
		{Name: "address", Label: a.Say("address"), Type: "email", Autocomplete: "email", Most: 254},
	}}
	v := h.posted(a)
	if v == nil {
		h.show(a, "find", "shown", webpage.Page{Status: http.StatusOK, Heading: a.Say("find_heading"), Lead: []string{a.Say("find_lead")}, Forms: []webpage.Form{form}})
		return
	}
	ctx, cancel := h.working(r)
	defer cancel()
	if !h.admitted(ctx, a, "find") {
		return
	}
	wait := h.evenly(a)
	if to, err := address.Parse(strings.TrimSpace(v.Get("address"))); err == nil {
		if err := h.cases.SendStatusLink(ctx, v.Get("number"), to); err != nil {
			// Told to nobody: an outage must not show who has a case.
			h.o.Log.Error("link to a case could not be sent", "error", err)
		}
	}
	wait()
	h.show(a, "find", "acted", webpage.Page{Status: http.StatusOK, Heading: a.Say("find_sent_heading"), Lead: []string{a.Say("find_sent_lead")}})
}

// status shows how far a case is, takes a message, and takes the request back
// after asking once more.
func (h *handler) status(ctx context.Context, a *webpage.Ask, token string) {
	s, err := h.cases.Status(ctx, token)
	if err != nil {
		h.failed(a, "status", err, webpage.Form{})
		return
	}
	a = h.about(a, s.Controller, token, s.Language)
	back := webpage.Anchor{Text: a.Say("case_back"), Href: a.Action()}
	v := h.posted(a)
	switch words := strings.TrimSpace(v.Get("text")); {
	case v.Get(act) == "add" && words != "" && len(words) <= 64<<10:
		if !h.admitted(ctx, a, "status") {
			return
		}
		form := addForm(a)
		form.Fields[0].Value = words
		if err := h.cases.AddMessage(ctx, token, words); err != nil {
			h.failed(a, "status", err, form)
			return
		}
		h.show(a, "status", "acted", webpage.Page{Status: http.StatusOK, Heading: a.Say("added_heading"), Lead: []string{a.Say("added_lead")}, Links: []webpage.Anchor{back}})
	case v.Get(act) == "take" && s.Step != "answered":
		sure := webpage.Form{Action: a.Action(), Hidden: does("take-sure"), Button: a.Say("take_sure_button")}
		h.show(a, "status", "shown", webpage.Page{Status: http.StatusOK, Heading: a.Say("take_sure_heading"), Lead: []string{a.Say("take_sure_lead")}, Forms: []webpage.Form{sure}, Links: []webpage.Anchor{back}})
	case v.Get(act) == "take-sure" && s.Step != "answered":
		if err := h.cases.Withdraw(ctx, token); err != nil {
			h.failed(a, "status", err, webpage.Form{Action: a.Action(), Hidden: does("take-sure")})
			return
		}
		h.show(a, "status", "acted", webpage.Page{Status: http.StatusOK, Heading: a.Say("taken_heading"), Lead: []string{a.Say("taken_lead")}})
	default:
		h.show(a, "status", "shown", statusPage(a, s))
	}
}

func statusPage(a *webpage.Ask, s queue.Status) webpage.Page {
	at := map[string]int{"received": 0, "work": 1, "answered": 2}[s.Step]
	pg := webpage.Page{Status: http.StatusOK, Heading: a.Say("case_heading")}
	for i, name := range []string{"received", "work", "answered"} {
		st := webpage.Step{Name: a.Say("step_" + name), Done: i < at, Here: i == at}
		switch {
		case i == 0:
			st.Note = a.Date(s.Received)
		case i == 2 && at == 2:
			st.Note = a.Date(s.Since)
		case i == 1 && at == 1 && s.Waits:
			st.Note = a.Say("case_waits")
		}
		if i == 2 && s.Withdrawn {
			st.Name = a.Say("taken_heading")
		}
		pg.Steps = append(pg.Steps, st)
	}
	pg.Facts = append([]webpage.Fact{{Name: a.Say("find_number"), Value: s.Number}}, asked(a, s.Labels)...)
	if at < 2 {
		pg.Facts = append(pg.Facts, webpage.Fact{Name: a.Say("case_due"), Value: a.Date(s.Due)})
	}
	pg.Forms = []webpage.Form{addForm(a)}
	if at < 2 {
		pg.Forms = append(pg.Forms, webpage.Form{Action: a.Action(), Hidden: does("take"), Button: a.Say("take_button"), Secondary: true})
	}
	return pg
}

func addForm(a *webpage.Ask) webpage.Form {
	return webpage.Form{Action: a.Action(), Hidden: does("add"), Heading: a.Say("add_heading"), Button: a.Say("add_button"),
		Fields: []webpage.Field{{Name: "text", Label: a.Say("form_text"), Rows: 5, Most: maxMessage}}}
}
