package unsubscribe

import (
	"errors"
	"net/http"
	"strings"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
	"postern/gateway/webpage"
)

const linkConfirm = "confirm"

// confirm serves /c/LINK: the second step of double opt-in (CON-12). GET shows
// the wording in full, POST with the page's own form confirms.
func (h *handler) confirm(w http.ResponseWriter, r *http.Request) {
	text := tokenOf(r.PathValue("link"))
	l, expired, ok := h.codec.openLink(linkConfirm, text, h.opts.Now())
	tok, whole := l.token()
	if !ok || !whole {
		a := h.stranger(w, r, r.URL.EscapedPath())
		if h.allowed(a) {
			h.broken(a, "confirm")
		}
		return
	}
	a, st, known := h.about(w, r, tok.Stream, "/c/"+text)
	if c := h.texts.Find(l.Locale); c != nil && h.texts.Find(r.URL.Query().Get("lang")) == nil {
		a.Words = c // the language of the mail
	}
	if !h.allowed(a) {
		return
	}
	again := webpage.Form{Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "confirm"}}}
	if !known {
		h.opts.Log.Error("a genuine confirmation names a stream that is not configured", "stream", tok.Stream)
		h.away(a, "confirm", again)
		return
	}
	if expired || st.Retired {
		h.confirmOver(a, st)
		return
	}
	if h.ownForm(w, r, "confirm") {
		h.takeConfirm(a, st, l, again)
		return
	}
	h.showConfirm(a, st, l, again)
}

// showConfirm shows what was agreed to, as it was stored.
func (h *handler) showConfirm(a *webpage.Ask, st stream.Stream, l link, again webpage.Form) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	head, _, _ := strings.Cut(l.ID, "-") // an event's id begins with its subject
	subject, err := address.ParseSubjectID(head)
	if err != nil {
		h.confirmOver(a, st)
		return
	}
	p, err := h.reg.ProfileSubject(ctx, st.Controller, subject)
	if err != nil {
		h.opts.Log.Error("sign-up could not be read", "id", l.ID, "error", err)
		h.away(a, "confirm", again)
		return
	}
	given, ok := eventOf(p, l.ID)
	if !ok {
		h.confirmOver(a, st)
		return
	}
	h.count.WithLabelValues("confirm", "shown").Inc()
	again.Button = a.Say("confirm_button")
	h.write(a, webpage.Page{
		Status: http.StatusOK, Heading: a.Say("confirm_heading", "list", st.Title),
		Lead:  []string{a.Say("confirm_lead", "date", a.Date(given.Time))},
		Quote: given.Terms.Wording,
		Forms: []webpage.Form{again}, After: []string{a.Say("confirm_back")},
	})
}

func eventOf(p consent.Profile, id string) (consent.EventRecord, bool) {
	for _, c := range p.Consents {
		for _, e := range c.History {
			if e.ID == id {
				return e, true
			}
		}
	}
	return consent.EventRecord{}, false
}

func (h *handler) takeConfirm(a *webpage.Ask, st stream.Stream, l link, again webpage.Form) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	_, err := h.reg.Record(ctx, consent.Event{
		// One id for the link: a second click is the same confirmation.
		ID: "confirm:" + l.ID, Time: h.opts.Now(), Action: consent.Confirmed, Controller: st.Controller, Purpose: st.Purpose,
		Ref: l.ID, Method: "link", Actor: "link",
	})
	switch {
	case errors.Is(err, consent.ErrNotFound) || errors.Is(err, consent.ErrRefused):
		h.confirmOver(a, st)
	case err != nil:
		h.opts.Log.Error("confirmation could not be stored", "id", l.ID, "error", err)
		h.away(a, "confirm", again)
	default:
		h.count.WithLabelValues("confirm", "acted").Inc()
		h.write(a, webpage.Page{
			Status: http.StatusOK, Heading: a.Say("confirmed_heading"),
			Lead: []string{a.Say("confirmed_lead", "list", st.Title, "controller", a.Who.Name)},
		})
	}
}

func (h *handler) confirmOver(a *webpage.Ask, st stream.Stream) {
	h.count.WithLabelValues("confirm", "refused").Inc()
	pg := webpage.Page{Status: http.StatusGone, Heading: a.Say("confirm_over_heading"), Lead: []string{a.Say("confirm_over_lead")}}
	if h.opts.Mailer != nil && !st.Retired {
		pg.Links = []webpage.Anchor{{Text: a.Say("signup_heading", "list", st.Title), Href: h.opts.BasePath + "/s/" + st.Name + a.LangQuery()}}
	}
	h.write(a, pg)
}
