package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/ledger"
	"postern/gateway/wording"
	"postern/queue"
	"postern/queue/console/auth"
)

// fixedRules are those of a small shop; broken is a system that does not answer.
type fixedRules struct{ broken string }

func (fixedRules) Settings(context.Context) []SettingGroup {
	return []SettingGroup{
		{Name: "controller", Of: "Example Shop", Rows: []Setting{{Key: "controller.contact", Value: "privacy@shop.example.org"}, {Key: "controller.target_days", Value: ""}}},
		{Name: "policy", Of: "Example Shop", Rows: []Setting{{Key: "controller.policy.objection", Value: "policy.automatic", Trust: true}, {Key: "controller.policy.erasure", Value: "policy.propose", Trust: true}}},
		{Name: "retention", Rows: []Setting{{Key: "cases.keep_cases", Span: 1098 * 24 * time.Hour}, {Key: "ledger.keep_marketing", Years: 3}, {Key: "operator.session_idle", Span: 90 * time.Minute}}},
	}
}

func (fixedRules) Mailboxes(context.Context) []Mailbox {
	return []Mailbox{{Name: "privacy", Controller: "shop", Address: "imap.example.org:993", Read: time.Date(2026, 11, 24, 9, 58, 0, 0, time.UTC)}, {Name: "bounces", Controller: "shop", Address: "imap.example.org:993"}}
}

func (fixedRules) Systems(context.Context) []System {
	return []System{{Name: "crm", Kind: "webhook", Verbs: []string{"lookup", "export", "erase", "verify"}, Testable: true}, {Name: "archive", Kind: "task", Verbs: []string{"erase"}}}
}

func (r fixedRules) TestSystem(_ context.Context, name string) error {
	if name == r.broken {
		return errors.New("post to crm: connection refused")
	}
	return nil
}

// rules gives a world the pages of Settings.
func (o *outbound) rules() *outbound {
	o.deps.Rules, o.deps.Texts = fixedRules{}, wording.New(o.rdb, o, o.Now, nil)
	o.deps.SignUps = map[string]string{"en": "Yes, send me {list} of {controller} by mail.", "de": "Ja, schicken Sie mir {list} von {controller} per E-Mail."}
	o.rebuild()
	return o
}

func TestSettings(t *testing.T) {
	o := newOutbound(t).proofs().rules()
	b := o.signedIn("anna", auth.Admin)
	page := visible(b.get("/settings"))
	for _, want := range []string{"controller.contact", "privacy@shop.example.org", "binds at once", "Not since the start", "Tue 24 Nov, 10:58"} {
		require.Contains(t, page, want)
	}
	require.Contains(t, b.get("/settings/systems"), "Not tested")
	require.Contains(t, b.done("/settings/systems/crm", nil), "answers as it should")
	require.Equal(t, "ok", o.recorded(ledger.KindConfig, "system-test")[0].Reason)
	o.deps.Rules = fixedRules{broken: "crm"}
	o.rebuild()
	resp, text := b.post("/settings/systems/crm", nil)
	require.Equal(t, http.StatusBadGateway, resp.StatusCode)
	require.Contains(t, text, "connection refused")
	resp, _ = b.post("/settings/systems/archive", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode, "a colleague is not tested")
}

// A text keeps its placeholders, has versions, and with four eyes another
// person's approval.
func TestTextsAreEdited(t *testing.T) {
	o := newOutbound(t).rules()
	b := o.signedIn("anna", auth.Admin)
	page := b.get("/settings/texts?lang=de")
	require.Contains(t, page, "Built in")
	subject, text, ok := o.q.ReplyTexts().Source("de", "receipt")
	require.True(t, ok)
	path := "/settings/texts/de/receipt"
	require.Contains(t, b.get(path), "C-2026-0017", "a preview with sample values")
	_, page = b.post(path, url.Values{"act": {"preview"}, "subject": {subject}, "text": {text + "\n\nGuten Tag {controller}"}})
	require.Contains(t, page, "Guten Tag Example Shop")

	resp, page := b.post(path, url.Values{"act": {"keep"}, "subject": {subject}, "text": {"Ihre Nachricht ist da."}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, page, "{due}", "what is missing is named")
	require.Contains(t, page, "Ihre Nachricht ist da.", "what was typed stays")

	require.Contains(t, b.done(path, url.Values{"act": {"keep"}, "subject": {subject}, "text": {text + "\n\nDanke."}}), "The text is in force.")
	require.Contains(t, b.get("/settings/texts?lang=de"), "Version 1")
	v, ok := o.deps.Texts.(*wording.Store).Current("reply/de/receipt")
	require.True(t, ok)
	require.True(t, strings.HasSuffix(v.Text, "Danke."))
	require.Contains(t, b.done(path, url.Values{"act": {"reset"}}), "built-in text is in force")

	path = "/settings/wordings/de/news"
	require.Contains(t, b.get("/settings/wordings?lang=de"), "News")
	resp, _ = b.post(path, url.Values{"act": {"keep"}, "text": {"Ja, ich will."}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "who it is given to has to be said")
	b.done(path, url.Values{"act": {"keep"}, "text": {"Ja, {controller} darf mir {list} schicken."}})
	require.Contains(t, b.get(path), "Ja, Example Shop darf mir News schicken.")

	auditor := o.signedIn("otto", auth.Auditor)
	require.NotContains(t, auditor.get(path), "<textarea")
	resp, _ = auditor.post(path, url.Values{"act": {"reset"}})
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
}

func TestTextsTakeTwoWhereFourEyesAreOn(t *testing.T) {
	o := &outbound{world: newWorld(t, func(_ *Options, q *queue.Options) {
		q.Handling = map[string]queue.Handling{"shop": {FourEyes: []string{queue.EyesErase}}}
	})}
	o.rules()
	anna, otto := o.signedIn("anna", auth.Admin), o.signedIn("otto", auth.Approver)
	subject, text, _ := o.q.ReplyTexts().Source("en", "receipt")
	path := "/settings/texts/en/receipt"
	require.Contains(t, anna.done(path, url.Values{"act": {"keep"}, "subject": {subject}, "text": {text + "\n\nThank you."}}), "waits for another person")
	_, ok := o.deps.Texts.(*wording.Store).Current("reply/en/receipt")
	require.False(t, ok)
	resp, page := anna.post(path, url.Values{"act": {"approve"}, "n": {"1"}})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Contains(t, page, "Another person than the one who wrote it")
	require.Contains(t, otto.done(path, url.Values{"act": {"approve"}, "n": {"1"}}), "The text is in force.")
	v, ok := o.deps.Texts.(*wording.Store).Current("reply/en/receipt")
	require.True(t, ok)
	require.Equal(t, "operator:otto", v.Decided)
}
