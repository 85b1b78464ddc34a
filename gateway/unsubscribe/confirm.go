package unsubscribe

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
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
	if c := h.texts.find(l.Locale); c != nil && h.texts.find(r.URL.Query().Get("lang")) == nil {
		a.words = c // the language of the mail
	}
	if !h.allowed(a) {
		return
	}
	again := form{Action: a.pathWithLang(), Hidden: []pair{{act, "confirm"}}}
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
func (h *handler) showConfirm(a *ask, st stream.Stream, l link, again form) {
	ctx, cancel := h.working(a.r)
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
	again.Button = h.say(a, "confirm_button")
	h.write(a, page{
		Status: http.StatusOK, Heading: h.say(a, "confirm_heading", "list", st.Title),
		Lead:  []string{h.say(a, "confirm_lead", "date", h.date(a, given.Time)), given.Terms.Wording},
		Forms: []form{again}, After: []string{h.say(a, "confirm_back")},
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

func (h *handler) takeConfirm(a *ask, st stream.Stream, l link, again form) {
	ctx, cancel := h.working(a.r)
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
		h.write(a, page{
			Status: http.StatusOK, Heading: h.say(a, "confirmed_heading"),
			Lead: []string{h.say(a, "confirmed_lead", "list", st.Title, "controller", a.who.Name)},
		})
	}
}

func (h *handler) confirmOver(a *ask, st stream.Stream) {
	h.count.WithLabelValues("confirm", "refused").Inc()
	pg := page{Status: http.StatusGone, Heading: h.say(a, "confirm_over_heading"), Lead: []string{h.say(a, "confirm_over_lead")}}
	if h.opts.Mailer != nil && !st.Retired {
		pg.Links = []anchor{{Text: h.say(a, "signup_heading", "list", st.Title), Href: h.opts.BasePath + "/s/" + st.Name + a.langQuery()}}
	}
	h.write(a, pg)
}

// date writes a day in the page's language and the controller's zone.
func (h *handler) date(a *ask, t time.Time) string {
	zone := time.UTC
	if a.who != nil {
		if z, err := time.LoadLocation(a.who.TimeZone); err == nil {
			zone = z
		}
	}
	return t.In(zone).Format(h.say(a, "date_layout"))
}
