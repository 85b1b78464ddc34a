package unsubscribe

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"postern/gateway/consent"
	"postern/gateway/stream"
	"postern/gateway/webpage"
)

// preferences serves /p/TOKEN: every list of the controller, and the end of
// all advertising as a button of equal weight (UNS-13). It turns nothing on:
// for that the person signs up anew with their address (look.md section 2).
func (h *handler) preferences(w http.ResponseWriter, r *http.Request) {
	text := tokenOf(r.PathValue("token"))
	tok, err := h.codec.Open(text)
	if err != nil {
		a := h.stranger(w, r, r.URL.EscapedPath())
		if h.allowed(a) {
			h.broken(a, "preferences")
		}
		return
	}
	a, st, known := h.about(w, r, tok.Stream, "/p/"+text)
	if !h.allowed(a) {
		return
	}
	if !known {
		h.opts.Log.Error("a genuine token names a stream that is not configured", "stream", tok.Stream)
		h.away(a, "preferences", webpage.Form{Action: a.Action()})
		return
	}
	if r.Method == http.MethodPost {
		if v, err := webpage.ReadForm(w, r); err == nil {
			switch {
			case webpage.Has(v, act, "stop"):
				h.stopAll(a, st.Controller, tok)
				return
			case webpage.Has(v, act, "save"):
				h.save(a, st.Controller, tok, v["shown"], v["list"])
				return
			}
		}
	}
	h.showPreferences(a, st.Controller, tok)
}

func (h *handler) showPreferences(a *webpage.Ask, controller string, tok Token) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	p, err := h.reg.ProfileSubject(ctx, controller, tok.Subject)
	if err != nil {
		h.opts.Log.Error("preferences could not be read", "error", err)
		h.count.WithLabelValues("preferences", "away").Inc()
		h.write(a, webpage.Page{
			Status: http.StatusServiceUnavailable, Heading: a.Say("preferences_heading", "controller", a.Who.Name),
			Lead: []string{a.Say("away_lead")}, Forms: []webpage.Form{h.stopForm(a)},
		})
		return
	}
	save := webpage.Form{Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "save"}}, Legend: a.Say("preferences_legend"), Button: a.Say("preferences_save")}
	for _, st := range h.lists(controller) {
		on := receives(p, st, h.streams().Former(st.Number))
		save.Checks = append(save.Checks, webpage.Check{Name: "list", Value: st.Name, Label: st.Title, On: on})
		if on {
			save.Hidden = append(save.Hidden, webpage.Pair{Name: "shown", Value: st.Name})
		}
	}
	forms := []webpage.Form{h.stopForm(a)}
	if len(save.Checks) > 0 {
		forms = []webpage.Form{save, h.stopForm(a)}
	}
	h.count.WithLabelValues("preferences", "shown").Inc()
	h.write(a, webpage.Page{
		Status: http.StatusOK, Heading: a.Say("preferences_heading", "controller", a.Who.Name),
		Lead: []string{a.Say("preferences_lead")}, Forms: forms, After: []string{a.Say("preferences_stop_note")},
	})
}

func (h *handler) stopForm(a *webpage.Ask) webpage.Form {
	return webpage.Form{Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "stop"}}, Button: a.Say("preferences_stop")}
}

// lists are the marketing streams of a controller that still send.
func (h *handler) lists(controller string) (out []stream.Stream) {
	for _, st := range h.streams().Streams() {
		if st.Controller == controller && st.Kind == stream.Marketing && !st.Retired {
			out = append(out, st)
		}
	}
	return out
}

// receives tells whether the person gets the list now, which took the place of
// former ones.
func receives(p consent.Profile, st stream.Stream, former []uint16) bool {
	for _, s := range p.Suppressions {
		if s.Stands() && !slices.Contains(s.SignedUp, st.Purpose) && reaches(s, st, former) {
			return false
		}
	}
	for _, c := range p.Consents {
		if c.Purpose == st.Purpose && c.Status == consent.StatusActive {
			return true
		}
	}
	return false
}

func reaches(s consent.SuppressionRecord, st stream.Stream, former []uint16) bool {
	switch s.Scope {
	case consent.ScopeStream:
		return s.Stream == st.Number || slices.Contains(former, s.Stream)
	case consent.ScopePurpose:
		return s.Purpose == st.Purpose
	}
	return true
}

// save stops what was shown as on and came back without its tick.
func (h *handler) save(a *webpage.Ask, controller string, tok Token, shown, kept []string) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	var off, on []string
	var signUp []webpage.Anchor
	for _, st := range h.lists(controller) {
		was, is := slices.Contains(shown, st.Name), slices.Contains(kept, st.Name)
		switch {
		case was && !is:
			if _, err := h.suppressStream(ctx, st, tok, "preferences"); err != nil {
				h.opts.Log.Error("opt-out could not be stored", "error", err)
				h.away(a, "preferences", repeat(a, shown, kept))
				return
			}
			off = append(off, h.quoted(a, st))
		case is && !was:
			on = append(on, h.quoted(a, st))
			if h.opts.Mailer != nil {
				signUp = append(signUp, webpage.Anchor{Text: a.Say("signup_heading", "list", st.Title), Href: h.opts.BasePath + "/s/" + st.Name + a.LangQuery()})
			}
		}
	}
	h.count.WithLabelValues("preferences", "acted").Inc()
	pg := webpage.Page{Status: http.StatusOK, Heading: a.Say("saved_heading"), Links: append(signUp, h.other(a))}
	if len(off) > 0 {
		pg.Lead = append(pg.Lead, a.Say("saved_lead", "lists", strings.Join(off, ", ")))
	} else {
		pg.Heading = a.Say("saved_none")
	}
	if len(on) > 0 {
		pg.Lead = append(pg.Lead, a.Say("saved_on", "lists", strings.Join(on, ", ")))
	}
	h.write(a, pg)
}

// repeat is the form that sends the same choice again.
func repeat(a *webpage.Ask, shown, kept []string) webpage.Form {
	f := webpage.Form{Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "save"}}}
	for _, s := range shown {
		f.Hidden = append(f.Hidden, webpage.Pair{Name: "shown", Value: s})
	}
	for _, s := range kept {
		f.Hidden = append(f.Hidden, webpage.Pair{Name: "list", Value: s})
	}
	return f
}

// quoted is a list's title in the quotation marks of the language, which
// stand in the words of the page that asks.
func (h *handler) quoted(a *webpage.Ask, st stream.Stream) string {
	return a.Say("quoted", "list", st.Title)
}

// stopAll ends all advertising of the controller (GDPR Art. 21(2), (3)).
func (h *handler) stopAll(a *webpage.Ask, controller string, tok Token) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	id, err := h.reg.Suppress(ctx, consent.Suppression{
		ID: "link:controller", Time: h.opts.Now(), Controller: controller, Subject: tok.Subject,
		Scope: consent.ScopeController, Reason: consent.ObjectedTo, Source: "preferences", Actor: "link",
	})
	if err != nil {
		h.opts.Log.Error("objection could not be stored", "id", id, "error", err)
		h.away(a, "preferences", webpage.Form{Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "stop"}}})
		return
	}
	h.count.WithLabelValues("preferences", "acted").Inc()
	h.write(a, webpage.Page{
		Status: http.StatusOK, Heading: a.Say("stopped_heading"),
		Lead:  []string{a.Say("stopped_lead", "controller", a.Who.Name)},
		Forms: []webpage.Form{h.undoForm(a, id, tok)},
	})
}

func (h *handler) undoForm(a *webpage.Ask, id string, tok Token) webpage.Form {
	path := h.opts.BasePath + "/undo/" + h.codec.SealUndo(id, tok, h.undoEnds())
	return webpage.Form{Action: path + a.LangQuery(), Hidden: []webpage.Pair{{Name: act, Value: "undo"}}, Button: a.Say("done_undo"), Secondary: true}
}

// suppressStream stops one list. One id serves all its links: a repeated POST
// is one opt-out, and one undo takes it back.
func (h *handler) suppressStream(ctx context.Context, st stream.Stream, tok Token, source string) (string, error) {
	return h.reg.Suppress(ctx, consent.Suppression{
		ID: "link:stream:" + strconv.Itoa(int(st.Number)), Time: h.opts.Now(), Controller: st.Controller, Subject: tok.Subject,
		Scope: consent.ScopeStream, Stream: st.Number, Reason: consent.Unsubscribed, Source: source, Actor: "link",
	})
}
