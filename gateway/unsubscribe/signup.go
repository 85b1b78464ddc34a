package unsubscribe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
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
	if !ok || !known || st.Kind != stream.Marketing || st.Retired {
		h.nothing(h.stranger(w, r, "/"), http.StatusNotFound)
		return
	}
	a := &ask{w: w, r: r, who: &c, words: h.words(r, st.Language, c.Language), here: h.opts.BasePath + "/s/" + st.Name}
	if !h.allowed(a) {
		return
	}
	wording := h.say(a, "signup_wording", "list", st.Title, "controller", c.Name)
	if r.Method == http.MethodPost {
		v, err := readForm(w, r)
		// What was agreed to has to be what this page would show: the form
		// says which wording it stood under.
		if err == nil && has(v, act, "signup") && has(v, "wording", versionOf(wording)) {
			h.takeSignUp(a, st, wording, strings.TrimSpace(v.Get("address")))
			return
		}
	}
	h.count.WithLabelValues("signup", "shown").Inc()
	h.write(a, h.signUpPage(a, st, wording, http.StatusOK))
}

func (h *handler) signUpPage(a *ask, st stream.Stream, wording string, status int) page {
	return page{
		Status: status, Heading: h.say(a, "signup_heading", "list", st.Title), Lead: []string{wording},
		Forms: []form{{
			Action: a.pathWithLang(), Hidden: []pair{{act, "signup"}, {"wording", versionOf(wording)}},
			Fields: []field{{Name: "address", Label: h.say(a, "address"), Type: "email", Autocomplete: "email", Note: h.say(a, "signup_note")}},
			Button: h.say(a, "signup_button"),
		}},
	}
}

// versionOf names a wording by its content.
func versionOf(wording string) string {
	sum := sha256.Sum256([]byte(wording))
	return "page-" + hex.EncodeToString(sum[:6])
}

func (h *handler) takeSignUp(a *ask, st stream.Stream, wording, typed string) {
	now := h.opts.Now()
	if !h.perClient.take(h.clientOf(a.r), now) || !h.total.take("", now) {
		h.tooMany(a, "signup")
		return
	}
	to, err := address.Parse(typed)
	if err != nil {
		h.count.WithLabelValues("signup", "refused").Inc()
		pg := h.signUpPage(a, st, wording, http.StatusUnprocessableEntity)
		pg.Heading, pg.Lead = h.say(a, "signup_bad_heading"), []string{h.say(a, "signup_bad_lead"), wording}
		h.write(a, pg)
		return
	}
	// A third person's mailbox is not to be filled: further mails of the day
	// are not sent, and the answer is the same.
	if h.perAddress.take(st.Controller+"\x00"+to.Wide(), now) {
		ctx, cancel := h.working(a.r)
		defer cancel()
		if err := h.askToConfirm(ctx, a, st, wording, to); err != nil {
			h.opts.Log.Error("sign-up could not be stored", "stream", st.Name, "error", err)
			h.count.WithLabelValues("signup", "away").Inc()
			h.write(a, page{Status: http.StatusServiceUnavailable, Heading: h.say(a, "away_heading"), Lead: []string{h.say(a, "away_lead")}, Forms: h.signUpPage(a, st, wording, 0).Forms})
			return
		}
	}
	h.count.WithLabelValues("signup", "acted").Inc()
	h.write(a, page{Status: http.StatusOK, Heading: h.say(a, "signup_sent_heading"), Lead: []string{h.say(a, "signup_sent_lead")}})
}

// askToConfirm records the sign-up as pending and sends its mail.
func (h *handler) askToConfirm(ctx context.Context, a *ask, st stream.Stream, wording string, to address.Address) error {
	now := h.opts.Now()
	id, err := h.reg.Record(ctx, consent.Event{
		Time: now, Action: consent.Given, Pending: true, Controller: st.Controller, Purpose: st.Purpose, Address: to,
		Basis: consent.Express, Method: "form", Source: h.opts.PublicURL + "/s/" + st.Name,
		Wording: wording, WordingVer: versionOf(wording), Language: a.words.tag, PolicyURL: a.who.PrivacyURL, Actor: "link",
	})
	if err != nil {
		return err
	}
	ends := now.Add(h.opts.PendingFor)
	sealed := h.codec.sealLink(link{Kind: linkConfirm, ID: id, Token: Token{Stream: st.Number}.bytes(), Ends: ends.Unix(), Locale: a.words.tag})
	href := h.opts.PublicURL + "/c/" + sealed
	return h.opts.Mailer.Send(ctx, Confirmation{
		To: to, Link: href, Stream: st.Name, Language: a.words.tag, Controller: st.Controller,
		Subject: h.say(a, "confirm_subject", "list", st.Title),
		Text: h.say(a, "confirm_body", "list", st.Title, "controller", a.who.Name) + "\n\n" + href + "\n\n" +
			h.say(a, "confirm_ignore", "date", h.date(a, ends)) + "\n",
	})
}

func (h *handler) tooMany(a *ask, name string) {
	h.count.WithLabelValues(name, "refused").Inc()
	a.w.Header().Set("Retry-After", "3600")
	h.write(a, page{Status: http.StatusTooManyRequests, Heading: h.say(a, "many_heading"), Lead: []string{h.say(a, "many_lead")}})
}
