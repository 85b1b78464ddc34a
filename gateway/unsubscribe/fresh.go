package unsubscribe

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/stream"
	"postern/gateway/webpage"
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
		if v, err := webpage.ReadForm(w, r); err == nil && webpage.Has(v, act, "fresh") {
			h.takeFresh(a, strings.TrimSpace(v.Get("address")))
			return
		}
	}
	h.count.WithLabelValues("fresh", "shown").Inc()
	h.write(a, webpage.Page{Status: http.StatusOK, Heading: a.Say("broken_button"), Forms: []webpage.Form{h.freshForm(a)}})
}

func (h *handler) freshForm(a *webpage.Ask) webpage.Form {
	return webpage.Form{
		Action: h.opts.BasePath + "/fresh" + a.LangQuery(), Hidden: []webpage.Pair{{Name: act, Value: "fresh"}},
		Fields: []webpage.Field{{Name: "address", Label: a.Say("address"), Type: "email", Autocomplete: "email", Note: a.Say("broken_note")}},
		Button: a.Say("broken_button"),
	}
}

func (h *handler) takeFresh(a *webpage.Ask, typed string) {
	ctx, cancel := h.working(a.R)
	defer cancel()
	if !h.admitted(ctx, a, "fresh") {
		return
	}
	to, err := address.Parse(typed)
	if err != nil {
		h.count.WithLabelValues("fresh", "refused").Inc()
		h.write(a, webpage.Page{
			Status: http.StatusUnprocessableEntity, Heading: a.Say("signup_bad_heading"),
			Lead: []string{a.Say("signup_bad_lead")}, Forms: []webpage.Form{h.freshForm(a)},
		})
		return
	}
	even := time.NewTimer(h.opts.EvenTime)
	defer even.Stop()
	send, err := h.inviter.spares(ctx, "fresh\x00"+to.Wide())
	if err != nil {
		h.uncounted(a, "fresh", err)
		return
	}
	if send {
		if err := h.sendFresh(ctx, a, to); err != nil {
			h.opts.Log.Error("fresh links could not be sent", "error", err)
		}
	}
	select {
	case <-even.C:
	case <-a.R.Context().Done():
	}
	h.count.WithLabelValues("fresh", "acted").Inc()
	h.write(a, webpage.Page{Status: http.StatusOK, Heading: a.Say("fresh_heading"), Lead: []string{a.Say("fresh_lead")}})
}

// sendFresh mails links of each controller that mails this address; at a
// controller's own host, its own alone.
func (h *handler) sendFresh(ctx context.Context, a *webpage.Ask, to address.Address) error {
	var errs []error
	for _, c := range h.streams().Controllers() {
		if !h.streams().Elsewhere(a.R.Host, c.ID) {
			errs = append(errs, h.sendFreshOf(ctx, a, c, to))
		}
	}
	return errors.Join(errs...)
}

func (h *handler) sendFreshOf(ctx context.Context, a *webpage.Ask, c stream.Controller, to address.Address) error {
	p, err := h.reg.Profile(ctx, c.ID, to)
	if err != nil || len(p.Subjects) == 0 {
		return err
	}
	var lines []string
	var first string
	for _, st := range h.lists(c.ID) {
		if !receives(p, st, h.streams().Former(st.Number)) {
			continue
		}
		href := c.Base(h.opts.PublicURL) + "/u/" + h.codec.Seal(p.Subjects[0], st.Number, h.opts.Now())
		if first == "" {
			first = href
		}
		lines = append(lines, st.Title+"\n"+href)
	}
	if len(lines) == 0 {
		return nil
	}
	return h.opts.Mailer.Send(ctx, Confirmation{
		To: to, Link: first, Language: a.Words.Tag(), Controller: c.ID, Subject: a.Say("fresh_subject"),
		Text: a.Say("fresh_body", "controller", c.Name) + "\n\n" + strings.Join(lines, "\n\n") + "\n\n" + a.Say("fresh_ignore") + "\n",
	})
}
