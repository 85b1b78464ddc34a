package unsubscribe

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"postern/gateway/address"
	"postern/gateway/stream"
	"postern/gateway/throttle"
	"postern/gateway/webpage"
)

// Confirmation is a mail to a person who asked for something at a page: no
// advertising in it (CON-12, CON-18). It is service mail.
type Confirmation struct {
	To       address.Address
	Link     string // what the mail is for
	Stream   string // name of the list concerned, "" where it is about several
	Language string // BCP 47
	Subject  string // of the mail, ready
	Text     string // of the mail, ready: plain text with the link, without the controller's particulars
	// Controller is whose mail it is.
	Controller string
	// MessageID is to be the mail's, without brackets; "": any. It ties the
	// mail to the sign-up, so that its sending can be proven.
	MessageID string
}

// Mailer sends such mails through the relay's own spool. Send returns once the
// mail is durable.
type Mailer interface {
	Send(ctx context.Context, c Confirmation) error
}

// signUp serves /s/STREAM: the sign-up form, which may also stand on the
// company's own site (same fields, same wording). Nothing tells whether the
// address is known: whoever asks gets the same answer and the same mail.
func (h *handler) signUp(w http.ResponseWriter, r *http.Request) {
	set := h.streams()
	st, ok := set.ByName(r.PathValue("stream"))
	c, known := set.Controller(st.Controller)
	if !ok || !known || st.Kind != stream.Marketing || st.Retired || set.Elsewhere(r.Host, c.ID) {
		h.nothing(h.stranger(w, r, "/"), http.StatusNotFound)
		return
	}
	a := h.Ask(w, r, &c, "/s/"+st.Name, st.Language)
	if !h.allowed(a) {
		return
	}
	wording := h.opts.wording(a.Words, st, c)
	if r.Method == http.MethodPost {
		v, err := webpage.ReadForm(w, r)
		// What was agreed to has to be what this page would show: the form
		// says which wording it stood under.
		if err == nil && webpage.Has(v, act, "signup") && webpage.Has(v, "wording", versionOf(wording)) {
			h.takeSignUp(a, st, wording, strings.TrimSpace(v.Get("address")))
			return
		}
	}
	h.count.WithLabelValues("signup", "shown").Inc()
	h.write(a, h.signUpPage(a, st, wording, http.StatusOK))
}

func (h *handler) signUpPage(a *webpage.Ask, st stream.Stream, wording string, status int) webpage.Page {
	return webpage.Page{
		Status: status, Heading: a.Say("signup_heading", "list", st.Title), Lead: []string{wording},
		Forms: []webpage.Form{{
			Action: a.Action(), Hidden: []webpage.Pair{{Name: act, Value: "signup"}, {Name: "wording", Value: versionOf(wording)}},
			Fields: []webpage.Field{{Name: "address", Label: a.Say("address"), Type: "email", Autocomplete: "email", Note: a.Say("signup_note")}},
			Button: a.Say("signup_button"),
		}},
	}
}

func (h *handler) takeSignUp(a *webpage.Ask, st stream.Stream, wording, typed string) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	if !h.admitted(ctx, a, "signup") {
		return
	}
	to, err := address.Parse(typed)
	if err != nil {
		h.count.WithLabelValues("signup", "refused").Inc()
		pg := h.signUpPage(a, st, wording, http.StatusUnprocessableEntity)
		pg.Heading, pg.Lead = a.Say("signup_bad_heading"), []string{a.Say("signup_bad_lead"), wording}
		h.write(a, pg)
		return
	}
	// A third person's mailbox is not to be filled: further mails of the day
	// are not sent, and the answer is the same.
	_, err = h.inviter.Invite(ctx, Invitation{
		Controller: *a.Who, Stream: st, To: to, Language: a.Words.Tag(), Method: "form", Source: a.Who.Base(h.opts.PublicURL) + "/s/" + st.Name, Actor: "link",
	})
	switch {
	case err == nil || errors.Is(err, ErrEnough): // the same answer
	case errors.Is(err, throttle.ErrUnavailable):
		h.uncounted(a, "signup", err)
		return
	default:
		h.opts.Log.Error("sign-up could not be stored", "stream", st.Name, "error", err)
		h.count.WithLabelValues("signup", "away").Inc()
		h.write(a, webpage.Page{Status: http.StatusServiceUnavailable, Heading: a.Say("away_heading"), Lead: []string{a.Say("away_lead")}, Forms: h.signUpPage(a, st, wording, 0).Forms})
		return
	}
	h.count.WithLabelValues("signup", "acted").Inc()
	h.write(a, webpage.Page{Status: http.StatusOK, Heading: a.Say("signup_sent_heading"), Lead: []string{a.Say("signup_sent_lead")}})
}

func (h *handler) tooMany(a *webpage.Ask, name string) {
	h.count.WithLabelValues(name, "refused").Inc()
	a.W.Header().Set("Retry-After", "3600")
	h.write(a, webpage.Page{Status: http.StatusTooManyRequests, Heading: a.Say("many_heading"), Lead: []string{a.Say("many_lead")}})
}
