package unsubscribe

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/stream"
)

// fresh serves POST /fresh: a person whose link is broken types their address
// and gets links by mail if they are on a list. The answer is the same for
// everybody, and as slow (no oracle).
func (h *handler) fresh(w http.ResponseWriter, r *http.Request) {
	a := h.stranger(w, r, "/fresh")
	if !h.allowed(a) {
		return
	}
	if r.Method == http.MethodPost {
		if v, err := readForm(w, r); err == nil && has(v, act, "fresh") {
			h.takeFresh(a, strings.TrimSpace(v.Get("address")))
			return
		}
	}
	h.count.WithLabelValues("fresh", "shown").Inc()
	h.write(a, page{Status: http.StatusOK, Heading: h.say(a, "broken_button"), Forms: []form{h.freshForm(a)}})
}

func (h *handler) freshForm(a *ask) form {
	return form{
		Action: h.opts.BasePath + "/fresh" + a.langQuery(), Hidden: []pair{{act, "fresh"}},
		Fields: []field{{Name: "address", Label: h.say(a, "address"), Type: "email", Autocomplete: "email", Note: h.say(a, "broken_note")}},
		Button: h.say(a, "broken_button"),
	}
}

func (h *handler) takeFresh(a *ask, typed string) {
	now := h.opts.Now()
	if !h.perClient.take(h.clientOf(a.r), now) || !h.total.take("", now) {
		h.tooMany(a, "fresh")
		return
	}
	to, err := address.Parse(typed)
	if err != nil {
		h.count.WithLabelValues("fresh", "refused").Inc()
		h.write(a, page{
			Status: http.StatusUnprocessableEntity, Heading: h.say(a, "signup_bad_heading"),
			Lead: []string{h.say(a, "signup_bad_lead")}, Forms: []form{h.freshForm(a)},
		})
		return
	}
	ctx, cancel := h.working(a.r)
	defer cancel()
	even := time.NewTimer(h.opts.EvenTime)
	defer even.Stop()
	if h.perAddress.take("fresh\x00"+to.Wide(), now) {
		if err := h.sendFresh(ctx, a, to); err != nil {
			h.opts.Log.Error("fresh links could not be sent", "error", err)
		}
	}
	select {
	case <-even.C:
	case <-a.r.Context().Done():
	}
	h.count.WithLabelValues("fresh", "acted").Inc()
	h.write(a, page{Status: http.StatusOK, Heading: h.say(a, "fresh_heading"), Lead: []string{h.say(a, "fresh_lead")}})
}

// sendFresh mails links of each controller that mails this address.
func (h *handler) sendFresh(ctx context.Context, a *ask, to address.Address) error {
	var errs []error
	for _, c := range h.streams().Controllers() {
		errs = append(errs, h.sendFreshOf(ctx, a, c, to))
	}
	return errors.Join(errs...)
}

func (h *handler) sendFreshOf(ctx context.Context, a *ask, c stream.Controller, to address.Address) error {
	p, err := h.reg.Profile(ctx, c.ID, to)
	if err != nil || len(p.Subjects) == 0 {
		return err
	}
	var lines []string
	var first string
	for _, st := range h.lists(c.ID) {
		if !receives(p, st) {
			continue
		}
		href := h.opts.PublicURL + "/u/" + h.codec.Seal(p.Subjects[0], st.Number, h.opts.Now())
		if first == "" {
			first = href
		}
		lines = append(lines, st.Title+"\n"+href)
	}
	if len(lines) == 0 {
		return nil
	}
	return h.opts.Mailer.Send(ctx, Confirmation{
		To: to, Link: first, Language: a.words.tag, Controller: c.ID, Subject: h.say(a, "fresh_subject"),
		Text: h.say(a, "fresh_body", "controller", c.Name) + "\n\n" + strings.Join(lines, "\n\n") + "\n\n" + h.say(a, "fresh_ignore") + "\n",
	})
}
