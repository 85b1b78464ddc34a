package unsubscribe

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"postern/gateway/consent"
	"postern/gateway/stream"
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
		h.away(a, "preferences", form{Action: a.pathWithLang()})
		return
	}
	if r.Method == http.MethodPost {
		if v, err := readForm(w, r); err == nil {
			switch {
			case has(v, act, "stop"):
				h.stopAll(a, st.Controller, tok)
				return
			case has(v, act, "save"):
				h.save(a, st.Controller, tok, v["shown"], v["list"])
				return
			}
		}
	}
	h.showPreferences(a, st.Controller, tok)
}

func (h *handler) showPreferences(a *ask, controller string, tok Token) {
	ctx, cancel := h.working(a.r)
	defer cancel()
	p, err := h.reg.ProfileSubject(ctx, controller, tok.Subject)
	if err != nil {
		h.opts.Log.Error("preferences could not be read", "error", err)
		h.count.WithLabelValues("preferences", "away").Inc()
		h.write(a, page{
			Status: http.StatusServiceUnavailable, Heading: h.say(a, "preferences_heading", "controller", a.who.Name),
			Lead: []string{h.say(a, "away_lead")}, Forms: []form{h.stopForm(a)},
		})
		return
	}
	save := form{Action: a.pathWithLang(), Hidden: []pair{{act, "save"}}, Legend: h.say(a, "preferences_legend"), Button: h.say(a, "preferences_save")}
	for _, st := range h.lists(controller) {
		on := receives(p, st)
		save.Checks = append(save.Checks, check{Name: "list", Value: st.Name, Label: st.Title, On: on})
		if on {
			save.Hidden = append(save.Hidden, pair{"shown", st.Name})
		}
	}
	forms := []form{h.stopForm(a)}
	if len(save.Checks) > 0 {
		forms = []form{save, h.stopForm(a)}
	}
	h.count.WithLabelValues("preferences", "shown").Inc()
	h.write(a, page{
		Status: http.StatusOK, Heading: h.say(a, "preferences_heading", "controller", a.who.Name),
		Lead: []string{h.say(a, "preferences_lead")}, Forms: forms, After: []string{h.say(a, "preferences_stop_note")},
	})
}

func (h *handler) stopForm(a *ask) form {
	return form{Action: a.pathWithLang(), Hidden: []pair{{act, "stop"}}, Button: h.say(a, "preferences_stop")}
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

// receives tells whether the person gets the list now.
func receives(p consent.Profile, st stream.Stream) bool {
	for _, s := range p.Suppressions {
		if s.Stands() && !slices.Contains(s.SignedUp, st.Purpose) && reaches(s, st) {
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

func reaches(s consent.SuppressionRecord, st stream.Stream) bool {
	switch s.Scope {
	case consent.ScopeStream:
		return s.Stream == st.Number
	case consent.ScopePurpose:
		return s.Purpose == st.Purpose
	}
	return true
}

// save stops what was shown as on and came back without its tick.
func (h *handler) save(a *ask, controller string, tok Token, shown, kept []string) {
	ctx, cancel := h.working(a.r)
	defer cancel()
	var off, on []string
	var signUp []anchor
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
				signUp = append(signUp, anchor{Text: h.say(a, "signup_heading", "list", st.Title), Href: h.opts.BasePath + "/s/" + st.Name + a.langQuery()})
			}
		}
	}
	h.count.WithLabelValues("preferences", "acted").Inc()
	pg := page{Status: http.StatusOK, Heading: h.say(a, "saved_heading"), Links: signUp}
	if len(off) > 0 {
		pg.Lead = append(pg.Lead, h.say(a, "saved_lead", "lists", strings.Join(off, ", ")))
	} else {
		pg.Heading = h.say(a, "saved_none")
	}
	if len(on) > 0 {
		pg.Lead = append(pg.Lead, h.say(a, "saved_on", "lists", strings.Join(on, ", ")))
	}
	h.write(a, pg)
}

// repeat is the form that sends the same choice again.
func repeat(a *ask, shown, kept []string) form {
	f := form{Action: a.pathWithLang(), Hidden: []pair{{act, "save"}}}
	for _, s := range shown {
		f.Hidden = append(f.Hidden, pair{"shown", s})
	}
	for _, s := range kept {
		f.Hidden = append(f.Hidden, pair{"list", s})
	}
	return f
}

// quoted is a list's title in the quotation marks of the language, which
// stand in the words of the page that asks.
func (h *handler) quoted(a *ask, st stream.Stream) string {
	return h.say(a, "quoted", "list", st.Title)
}

// stopAll ends all advertising of the controller (GDPR Art. 21(2), (3)).
func (h *handler) stopAll(a *ask, controller string, tok Token) {
	ctx, cancel := h.working(a.r)
	defer cancel()
	id, err := h.reg.Suppress(ctx, consent.Suppression{
		ID: "link:controller", Time: h.opts.Now(), Controller: controller, Subject: tok.Subject,
		Scope: consent.ScopeController, Reason: consent.ObjectedTo, Source: "preferences", Actor: "link",
	})
	if err != nil {
		h.opts.Log.Error("objection could not be stored", "id", id, "error", err)
		h.away(a, "preferences", form{Action: a.pathWithLang(), Hidden: []pair{{act, "stop"}}})
		return
	}
	h.count.WithLabelValues("preferences", "acted").Inc()
	h.write(a, page{
		Status: http.StatusOK, Heading: h.say(a, "stopped_heading"),
		Lead:  []string{h.say(a, "stopped_lead", "controller", a.who.Name)},
		Forms: []form{h.undoForm(a, id, tok)},
	})
}

func (h *handler) undoForm(a *ask, id string, tok Token) form {
	path := h.opts.BasePath + "/undo/" + h.codec.SealUndo(id, tok, h.undoEnds())
	return form{Action: path + a.langQuery(), Hidden: []pair{{act, "undo"}}, Button: h.say(a, "done_undo"), Secondary: true}
}

// suppressStream stops one list. One id serves all its links: a repeated POST
// is one opt-out, and one undo takes it back.
func (h *handler) suppressStream(ctx context.Context, st stream.Stream, tok Token, source string) (string, error) {
	return h.reg.Suppress(ctx, consent.Suppression{
		ID: "link:stream:" + strconv.Itoa(int(st.Number)), Time: h.opts.Now(), Controller: st.Controller, Subject: tok.Subject,
		Scope: consent.ScopeStream, Stream: st.Number, Reason: consent.Unsubscribed, Source: source, Actor: "link",
	})
}
