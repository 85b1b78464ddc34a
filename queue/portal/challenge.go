package portal

import (
	"context"
	"net/http"
	"strings"

	"postern/classifier"
	"postern/gateway/webpage"
)

// challenge asks the owner of an address whether a request was theirs. GET
// shows what was asked and when, and nothing that is held; the first answer
// counts, and with it the link ends (DSR-5).
func (h *handler) challenge(ctx context.Context, a *webpage.Ask, token string) {
	q, err := h.cases.Challenged(ctx, token)
	if err != nil {
		h.failed(a, "challenge", err, webpage.Form{})
		return
	}
	a = h.about(a, q.Controller, token, q.Language)
	if q.Answered {
		h.over(a, "challenge")
		return
	}
	yes := webpage.Form{Action: a.Action(), Hidden: does("yes"), Button: a.Say("you_yes")}
	no := webpage.Form{Action: a.Action(), Hidden: does("no"), Button: a.Say("you_no"), Secondary: true}
	switch v := h.posted(a); v.Get(act) {
	case "yes":
		h.answer(ctx, a, token, true, yes, "you_yes_heading", "you_yes_lead")
	case "no":
		h.answer(ctx, a, token, false, no, "you_no_heading", "you_no_lead")
	default:
		h.show(a, "challenge", "shown", webpage.Page{
			Status: http.StatusOK, Heading: a.Say("you_heading"), Lead: []string{a.Say("you_lead")},
			Facts: append(asked(a, q.Labels),
				webpage.Fact{Name: a.Say("you_when"), Value: a.Date(q.Received)}, webpage.Fact{Name: a.Say("you_until"), Value: a.Date(q.Until)}),
			Forms: []webpage.Form{yes, no},
		})
	}
}

func (h *handler) answer(ctx context.Context, a *webpage.Ask, token string, yes bool, again webpage.Form, heading, lead string) {
	if err := h.cases.Confirm(ctx, token, yes); err != nil {
		h.failed(a, "challenge", err, again)
		return
	}
	h.show(a, "challenge", "acted", webpage.Page{Status: http.StatusOK, Heading: a.Say(heading), Lead: []string{a.Say(lead)}})
}

// asked tells in plain words what a case is about.
func asked(a *webpage.Ask, labels []classifier.Label) []webpage.Fact {
	var texts []string
	for _, l := range labels {
		if text := a.Say("ask_" + string(l)); text != "" {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		texts = []string{a.Say("ask_other")}
	}
	return []webpage.Fact{{Name: a.Say("you_asked"), Value: strings.Join(texts, "\n")}}
}
