package unsubscribe

import (
	"net/http"
	"path"

	"postern/gateway/stream"
	"postern/gateway/webpage"
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
		h.away(a, "unsubscribe", webpage.Form{Action: a.Action()})
		return
	}
	source := ""
	if r.Method == http.MethodPost {
		if v, err := webpage.ReadForm(w, r); err == nil {
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
	case webpage.Has(v, act, "unsubscribe"):
		return "page"
	}
	return ""
}

// before is the page that asks: it has changed nothing.
func (h *handler) before(a *webpage.Ask, st stream.Stream) {
	h.count.WithLabelValues("unsubscribe", "shown").Inc()
	h.write(a, webpage.Page{
		Status:  http.StatusOK,
		Heading: a.Say("unsubscribe_heading", "list", st.Title),
		Lead:    []string{a.Say("unsubscribe_lead", "list", st.Title, "controller", a.Who.Name)},
		Forms:   []webpage.Form{{Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "unsubscribe"}}, Button: a.Say("unsubscribe_button")}},
		Links:   []webpage.Anchor{h.other(a)},
	})
}

// stop carries the opt-out out and says so once it is durable (UNS-7).
func (h *handler) stop(a *webpage.Ask, st stream.Stream, tok Token, source string) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	id, err := h.suppressStream(ctx, st, tok, source)
	if err != nil {
		h.opts.Log.Error("opt-out could not be stored", "id", id, "error", err)
		h.away(a, "unsubscribe", webpage.Form{Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "unsubscribe"}}})
		return
	}
	h.count.WithLabelValues("unsubscribe", "acted").Inc()
	h.write(a, webpage.Page{
		Status:  http.StatusOK,
		Heading: a.Say("done_heading"),
		Lead:    []string{a.Say("done_lead", "list", st.Title)},
		Forms:   []webpage.Form{h.undoForm(a, id, tok)},
		Links:   []webpage.Anchor{h.other(a)},
	})
}

// other leads to the preferences of the same person.
func (h *handler) other(a *webpage.Ask) webpage.Anchor {
	href := h.opts.BasePath + "/p/" + path.Base(a.Here) + a.LangQuery()
	return webpage.Anchor{Text: a.Say("unsubscribe_other", "controller", a.Who.Name), Href: href}
}

// isOneClick tells whether the form holds the pair of RFC 8058 section 3.1.
// Further fields are ignored (UNS-4).
func isOneClick(v map[string][]string) bool {
	return webpage.Has(v, "List-Unsubscribe", "One-Click")
}
