package unsubscribe

import (
	"errors"
	"net/http"

	"postern/gateway/consent"
	"postern/gateway/webpage"
)

// undo serves /undo/LINK: it takes back one opt-out within its time (design
// D7). GET shows, POST with the page's own form acts.
func (h *handler) undo(w http.ResponseWriter, r *http.Request) {
	text := tokenOf(r.PathValue("link"))
	l, expired, ok := h.codec.openLink(linkUndo, text, h.opts.Now())
	tok, whole := l.token()
	if !ok || !whole {
		a := h.stranger(w, r, r.URL.EscapedPath())
		if h.allowed(a) {
			h.broken(a, "undo")
		}
		return
	}
	a, st, known := h.about(w, r, tok.Stream, "/undo/"+text)
	if !h.allowed(a) {
		return
	}
	again := webpage.Form{Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "undo"}}}
	if !known {
		h.opts.Log.Error("a genuine undo link names a stream that is not configured", "stream", tok.Stream)
		h.away(a, "undo", again)
		return
	}
	if expired {
		h.undoOver(a, st.Title)
		return
	}
	if !h.ownForm(w, r, "undo") {
		h.count.WithLabelValues("undo", "shown").Inc()
		again.Button = a.Say("done_undo")
		h.write(a, webpage.Page{Status: http.StatusOK, Heading: a.Say("undo_heading"), Lead: []string{a.Say("undo_lead")}, Forms: []webpage.Form{again}})
		return
	}
	ctx, cancel := h.working(r)
	defer cancel()
	err := h.reg.Undo(ctx, l.ID)
	switch {
	case errors.Is(err, consent.ErrUndoOver) || errors.Is(err, consent.ErrNotFound):
		h.undoOver(a, st.Title)
	case err != nil:
		h.opts.Log.Error("undo could not be stored", "id", l.ID, "error", err)
		h.away(a, "undo", again)
	default:
		h.count.WithLabelValues("undo", "acted").Inc()
		h.write(a, webpage.Page{Status: http.StatusOK, Heading: a.Say("undone_heading"), Lead: []string{a.Say("undone_lead")}})
	}
}

func (h *handler) undoOver(a *webpage.Ask, list string) {
	h.count.WithLabelValues("undo", "refused").Inc()
	h.write(a, webpage.Page{
		Status: http.StatusGone, Heading: a.Say("undo_over_heading"),
		Lead: []string{a.Say("undo_over_lead", "list", list, "controller", a.Who.Name)},
	})
}

// ownForm tells whether the request is a POST of one of our own forms.
func (h *handler) ownForm(w http.ResponseWriter, r *http.Request, want string) bool {
	if r.Method != http.MethodPost {
		return false
	}
	v, err := webpage.ReadForm(w, r)
	return err == nil && webpage.Has(v, act, want)
}
