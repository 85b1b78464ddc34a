package portal

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/stream"
	"postern/gateway/webpage"
	"postern/queue"
)

// choices of the form, those asked most first; other is no label.
var choices = []classifier.Label{
	classifier.Access, classifier.Erasure, classifier.Rectification, classifier.Unsubscribe, classifier.Objection, classifier.WithdrawConsent,
	classifier.Portability, classifier.Restriction, classifier.AutomatedDecision, classifier.Information, classifier.Complaint, "other",
}

var askers = []string{"subject", "agent", "company", "authority"}

// pick shows whose page there is, or the page itself where there is one only,
// as at a controller's own host.
func (h *handler) pick(w http.ResponseWriter, r *http.Request, name, base string, has func(stream.Controller) bool, page func(*webpage.Ask)) {
	var list []stream.Controller
	for _, c := range h.streams().Controllers() {
		if has(c) && !h.streams().Elsewhere(r.Host, c.ID) {
			list = append(list, c)
		}
	}
	if len(list) == 1 {
		page(h.Ask(w, r, &list[0], base+"/"+list[0].ID, ""))
		return
	}
	a := h.stranger(w, r, base)
	if !h.allowed(a) {
		return
	}
	if len(list) == 0 {
		h.nothing(a, http.StatusNotFound)
		return
	}
	pg := webpage.Page{Status: http.StatusOK, Heading: a.Say("pick_heading")}
	for _, c := range list {
		pg.Links = append(pg.Links, webpage.Anchor{Text: c.Name, Href: h.o.BasePath + base + "/" + c.ID + a.LangQuery()})
	}
	h.show(a, name, "shown", pg)
}

// pickRequest serves /request.
func (h *handler) pickRequest(w http.ResponseWriter, r *http.Request) {
	h.pick(w, r, "request", "/request", func(stream.Controller) bool { return true }, h.requestOf)
}

// request serves /request/CONTROLLER: a request typed instead of mailed.
func (h *handler) request(w http.ResponseWriter, r *http.Request) {
	c, ok := h.streams().Controller(r.PathValue("controller"))
	if !ok || h.streams().Elsewhere(r.Host, c.ID) {
		h.nothing(h.stranger(w, r, "/"), http.StatusNotFound)
		return
	}
	h.requestOf(h.Ask(w, r, &c, "/request/"+c.ID, ""))
}

// typed is what stands in the form.
type typed struct {
	right, who, address, text string
}

func (h *handler) requestOf(a *webpage.Ask) {
	if !h.allowed(a) {
		return
	}
	v := h.posted(a)
	if v == nil {
		h.show(a, "request", "shown", h.requestPage(a, typed{}, http.StatusOK, "form_heading", "form_lead"))
		return
	}
	t := typed{v.Get("right"), v.Get("who"), strings.TrimSpace(v.Get("address")), strings.TrimSpace(v.Get("text"))}
	other := t.right == "other"
	if !slices.Contains(choices, classifier.Label(t.right)) || !slices.Contains(askers, t.who) || t.text == "" && (other || t.who != "subject") || utf8.RuneCountInString(t.text) > maxMessage {
		h.show(a, "request", "refused", h.requestPage(a, t, http.StatusUnprocessableEntity, "missing_heading", "missing_lead"))
		return
	}
	to, err := address.Parse(t.address)
	if err != nil || !strings.Contains(to.Domain(), ".") { // no public mailbox
		h.show(a, "request", "refused", h.requestPage(a, t, http.StatusUnprocessableEntity, "bad_heading", "bad_lead"))
		return
	}
	h.takeRequest(a, t, to)
}

func (h *handler) takeRequest(a *webpage.Ask, t typed, to address.Address) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	if !h.admitted(ctx, a, "request") {
		return
	}
	wait := h.evenly(a)
	// A third person's mailbox is not to be filled: what comes beyond the
	// day's number is kept all the same, without mail, and the answer is alike.
	send, err := h.spares(ctx, to.Wide())
	f := queue.FormRequest{Controller: a.Who.ID, Address: to, Asker: t.who, Text: t.text, Language: a.Words.Tag(), Quiet: !send}
	if err == nil {
		if t.right != "other" {
			f.Right = classifier.Label(t.right)
		}
		if t.text != "" {
			f.Result = h.reader.Classify(classifier.Input{Text: t.text, Hint: a.Words.Tag()})
		}
		_, err = h.cases.OpenByForm(ctx, f)
	}
	if err != nil {
		h.o.Log.Error("a typed request could not be kept", "controller", a.Who.ID, "error", err)
		h.show(a, "request", "away", h.requestPage(a, t, http.StatusServiceUnavailable, "away_heading", "away_lead"))
		return
	}
	wait()
	h.show(a, "request", "acted", webpage.Page{
		Status: http.StatusOK, Heading: a.Say("sent_heading"), Lead: []string{a.Say("sent_lead", "date", a.Date(h.o.Now()))}, Links: []webpage.Anchor{h.findLink(a)},
	})
}

func (h *handler) requestPage(a *webpage.Ask, t typed, status int, heading, lead string) webpage.Page {
	f := webpage.Form{Action: a.Action(), Hidden: does("ask"), Legend: a.Say("form_which"), Button: a.Say("form_button"), Lead: ""}
	for _, l := range choices {
		f.Choices = append(f.Choices, webpage.Check{Name: "right", Value: string(l), Label: a.Say("ask_" + string(l)), On: t.right == string(l)})
	}
	who := webpage.Group{Legend: a.Say("form_who")}
	for _, w := range askers {
		who.Choices = append(who.Choices, webpage.Check{Name: "who", Value: w, Label: a.Say("who_" + w), On: t.who == w || t.who == "" && w == "subject"})
	}
	f.Groups = []webpage.Group{who}
	f.Fields = []webpage.Field{
		{Name: "address", Label: a.Say("address"), Type: "email", Autocomplete: "email", Note: a.Say("form_address_note"), Value: t.address, Most: 254},
		{Name: "text", Label: a.Say("form_text"), Rows: 6, Note: a.Say("form_text_note"), Value: t.text, Optional: true, Most: maxMessage},
	}
	return webpage.Page{
		Status: status, Heading: a.Say(heading, "controller", a.Who.Name), Lead: []string{a.Say(lead)},
		Forms: []webpage.Form{f}, After: []string{a.Say("form_next")}, Links: []webpage.Anchor{h.findLink(a)},
	}
}
