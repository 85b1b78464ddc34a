package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
)

// labels are all rights a person can ask for, in the order they are offered.
var labels = []classifier.Label{
	classifier.Access, classifier.Erasure, classifier.Objection, classifier.WithdrawConsent, classifier.Unsubscribe,
	classifier.Rectification, classifier.Restriction, classifier.Portability, classifier.AutomatedDecision, classifier.OptOutSale,
	classifier.Information, classifier.Complaint, classifier.AuthorityLetter, classifier.DPARequest, classifier.AssistanceRequest, classifier.BreachReport,
}

// byHandPage takes down a request that was no mail.
func (c *Console) byHandPage(v *visit) error { return v.byHand(map[string]any{}) }

func (v *visit) byHand(data map[string]any) error {
	data["Controllers"] = v.c.d.Streams().Controllers()
	data["Labels"], data["Ways"] = labels, []string{"post", "phone", "counter"}
	data["Langs"] = v.replyLanguages(v.field("lang"))
	data["Today"] = v.now().Format(time.DateOnly)
	form := map[string]string{}
	for _, name := range []string{"controller", "way", "received", "address", "name", "text", "key"} {
		form[name] = v.field(name)
	}
	if form["key"] == "" {
		form["key"] = v.token()[:22] // the same form sent twice is one case
	}
	data["Form"] = form
	chosen := map[classifier.Label]bool{}
	for _, l := range v.r.PostForm["label"] {
		chosen[classifier.Label(l)] = true
	}
	data["Chosen"] = chosen
	return v.page("byhand", "byhand.title", data)
}

func (v *visit) replyLanguages(here string) []choice {
	var out []choice
	for _, l := range v.c.d.Cases.ReplyLanguages() {
		out = append(out, choice{l, v.languageName(l), l == here})
	}
	slices.SortFunc(out, func(a, b choice) int { return strings.Compare(a.Text, b.Text) })
	return out
}

// openByHand makes the case; its clock starts on the day it was received.
func (c *Console) openByHand(v *visit) error {
	controller, ok := c.d.Streams().Controller(v.field("controller"))
	if !ok {
		return errForm
	}
	fault := ""
	loc, err := time.LoadLocation(controller.TimeZone)
	if err != nil {
		loc = time.UTC
	}
	received, err := time.ParseInLocation(time.DateOnly, v.field("received"), loc)
	if err != nil || received.After(v.now()) {
		fault = "byhand.date_bad"
	}
	var addr address.Address
	if text := v.field("address"); text != "" && fault == "" {
		if addr, err = address.Parse(text); err != nil {
			fault = "byhand.address_bad"
		}
	}
	var asked []classifier.Label
	for _, l := range v.r.PostForm["label"] {
		if !slices.Contains(labels, classifier.Label(l)) {
			return errForm
		}
		asked = append(asked, classifier.Label(l))
	}
	if v.field("text") == "" && fault == "" {
		fault = "byhand.text_missing"
	}
	if fault != "" {
		v.status = http.StatusBadRequest
		return v.byHand(map[string]any{"Fault": fault})
	}
	ref, err := c.d.Cases.OpenByHand(v.ctx(), queue.ByHand{
		Controller: controller.ID, Way: v.field("way"), Received: received, Address: addr, Name: v.field("name"), Text: v.field("text"),
		Labels: asked, Language: v.field("lang"), Actor: v.user.Actor(), Key: v.field("key"),
	})
	if err != nil {
		return err
	}
	return v.redirect(casePath(ref.Number), "opened")
}
