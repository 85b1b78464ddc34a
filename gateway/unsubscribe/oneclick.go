package unsubscribe

import (
	"net/http"
	"path"

	"postern/gateway/stream"
)

// act is the hidden field by which a page's own form says what it wants.
const act = "act"

// unsubscribe serves /u/TOKEN: the address in List-Unsubscribe (RFC 8058).
func (h *handler) unsubscribe(w http.ResponseWriter, r *http.Request) {
	text := tokenOf(r.PathValue("token"))
	tok, err := h.codec.Open(text)
	if err != nil {
		a := h.stranger(w, r, r.URL.EscapedPath())
		if h.allowed(a) {
			h.broken(a, "unsubscribe")
		}
		return
	}
	a, st, known := h.about(w, r, tok.Stream, "/u/"+text)
	if !h.allowed(a) {
		return
	}
	if !known {
		// The person is right and the configuration is wrong: nothing may be
		// claimed, and an operator must know.
		h.opts.Log.Error("a genuine token names a stream that is not configured", "stream", tok.Stream)
		h.away(a, "unsubscribe", form{Action: a.pathWithLang()})
		return
	}
	source := ""
	if r.Method == http.MethodPost {
		if v, err := readForm(w, r); err == nil {
			source = sourceOf(v)
		}
	}
	if source == "" {
		h.before(a, st)
		return
	}
	h.stop(a, st, tok, source)
}

// sourceOf names which of the two bodies that act a POST has, or "".
func sourceOf(v map[string][]string) string {
	switch {
	case isOneClick(v):
		return "one-click"
	case has(v, act, "unsubscribe"):
		return "page"
	}
	return ""
}

// before is the page that asks: it has changed nothing.
func (h *handler) before(a *ask, st stream.Stream) {
	h.count.WithLabelValues("unsubscribe", "shown").Inc()
	h.write(a, page{
		Status:  http.StatusOK,
		Heading: h.say(a, "unsubscribe_heading", "list", st.Title),
		Lead:    []string{h.say(a, "unsubscribe_lead", "list", st.Title, "controller", a.who.Name)},
		Forms:   []form{{Action: a.pathWithLang(), Hidden: []pair{{act, "unsubscribe"}}, Button: h.say(a, "unsubscribe_button")}},
		Links:   []anchor{h.other(a)},
	})
}

// stop carries the opt-out out and says so once it is durable (UNS-7).
func (h *handler) stop(a *ask, st stream.Stream, tok Token, source string) {
	ctx, cancel := h.working(a.r)
	defer cancel()
	id, err := h.suppressStream(ctx, st, tok, source)
	if err != nil {
		h.opts.Log.Error("opt-out could not be stored", "id", id, "error", err)
		h.away(a, "unsubscribe", form{Action: a.pathWithLang(), Hidden: []pair{{act, "unsubscribe"}}})
		return
	}
	h.count.WithLabelValues("unsubscribe", "acted").Inc()
	h.write(a, page{
		Status:  http.StatusOK,
		Heading: h.say(a, "done_heading"),
		Lead:    []string{h.say(a, "done_lead", "list", st.Title)},
		Forms:   []form{h.undoForm(a, id, tok)},
		Links:   []anchor{h.other(a)},
	})
}

// other leads to the preferences of the same person.
func (h *handler) other(a *ask) anchor {
	href := h.opts.BasePath + "/p/" + path.Base(a.here) + a.langQuery()
	return anchor{Text: h.say(a, "unsubscribe_other", "controller", a.who.Name), Href: href}
}

// langQuery carries a chosen language to another page.
func (a *ask) langQuery() string {
	if a.r.URL.Query().Get("lang") == "" {
		return ""
	}
	return "?lang=" + a.words.tag
}
