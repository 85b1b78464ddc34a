package queue

import (
	"mime"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// read gives language, subject and text of a mail that went out.
func (w *world) read(t *testing.T, m Outgoing) (lang, subject, text string) {
	t.Helper()
	got, err := mail.ReadMessage(strings.NewReader(string(m.Header) + "\r\n"))
	require.NoError(t, err)
	subject, err = new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	require.NoError(t, err)
	return got.Header.Get("Content-Language"), subject, decodeQP(t, m.Body)
}

func (w *world) taskMails() (out []Outgoing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ref, m := range w.sent {
		if strings.HasPrefix(ref, "task:") {
			out = append(out, m)
		}
	}
	return out
}

// A colleague is written to in the language of the question, of the connector,
// of the controller's staff, or of the controller, in this order.
func TestColleaguesReadTheirLanguage(t *testing.T) {
	for name, x := range map[string]struct {
		staff, own      string
		lang, says, due string
		page            string
	}{
		"the controller's":    {"", "", "de", "Bitte schicken Sie, was bei „archive“ über die Person vorliegt.", "01.12.2026", ""},
		"the staff's":         {"pl", "", "pl", "Prosimy przesłać to, co system „archive” zawiera na temat tej osoby.", "01.12.2026", "pl"},
		"the colleague's own": {"pl", "fr", "fr", "Veuillez envoyer ce que « archive » contient sur la personne.", "01/12/2026", "fr"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.q.o.Handling = map[string]Handling{"shop": {StaffLanguage: x.staff}}
			no := w.open(classifier.Access)
			w.waive(no)
			_, err := w.q.AskColleague(ctx, no, Ask{Who: "archive", Mail: address.MustParse("archive@shop.example.org"), Words: "Folder 7, please.", Actor: eve, Language: x.own})
			require.NoError(t, err)
			w.drain()
			sent := w.taskMails()
			require.Len(t, sent, 1)
			lang, subject, text := w.read(t, sent[0])
			require.Equal(t, x.lang, lang)
			require.Contains(t, subject, "archive")
			require.Contains(t, subject, x.due)
			require.Contains(t, unfolded(text), x.says)
			require.Contains(t, text, no)
			require.Contains(t, text, "Folder 7, please.")
			require.NotContains(t, subject+text, "{")
			link, err := w.q.TaskLink(ctx, no, 0)
			require.NoError(t, err)
			v, err := w.q.TaskByToken(ctx, tokenOf(link))
			require.NoError(t, err)
			require.Equal(t, x.page, v.Language)
			w.later(8 * 24 * time.Hour)
			for _, m := range w.taskMails() {
				lang, _, _ := w.read(t, m)
				require.Equal(t, x.lang, lang, "reminders as well")
			}
		})
	}
}

func TestConnectorsLanguage(t *testing.T) {
	w := newWorld(t)
	w.q.o.Connections = []Connection{{Verbs: []fulfil.Verb{fulfil.Export}, Connector: fulfil.Task{Who: "ventas"}, Owner: address.MustParse("ventas@shop.example.org"), Language: "es"}}
	no := w.open(classifier.Access)
	w.waive(no)
	_, err := w.q.Fulfil(ctx, no, Order{Verb: fulfil.Export, Actor: eve})
	require.NoError(t, err)
	w.drain()
	sent := w.taskMails()
	require.Len(t, sent, 1)
	lang, subject, _ := w.read(t, sent[0])
	require.Equal(t, "es", lang)
	require.Equal(t, "Tarea para ventas hasta el 01/12/2026", subject)
}

func TestUnknownStaffLanguage(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	w.waive(no)
	_, err := w.q.AskColleague(ctx, no, Ask{Who: "archive", Mail: address.MustParse("archive@shop.example.org"), Actor: eve, Language: "tlh"})
	require.ErrorIs(t, err, ErrOrder)
	require.ErrorContains(t, err, "bg, cs, da")
	o := w.q.o
	o.Handling = map[string]Handling{"shop": {StaffLanguage: "tlh"}}
	require.ErrorContains(t, w.q.Reload(ctx, o), `"tlh"`)
}

// Every notice and every reason has its sentence in every language, and the
// mail has no hole.
func TestNoticesInEveryLanguage(t *testing.T) {
	w := newWorld(t)
	c := w.q.controller("shop")
	for _, words := range w.q.staff.All() {
		for _, kind := range noticeKinds {
			for _, reason := range append([]string{"", "crm"}, noticeReasons...) {
				text, first := w.q.noticeMail(words, Notice{Kind: kind, Case: "PC-7K3Q-X9MD", Due: w.clock.Now(), Owner: "eve", Deputy: "bob", Reason: reason}, c)
				require.NotContains(t, text+first, "{", "%s %s", words.Tag(), kind)
				require.NotEmpty(t, first, "%s %s", words.Tag(), kind)
				require.True(t, strings.HasPrefix(unfolded(text), first), "%s %s", words.Tag(), kind)
				if reason != "" && reason != "crm" {
					require.NotContains(t, text, reason, "%s: it is said in words", words.Tag())
				}
			}
		}
	}
}

// What is passed on is introduced in the language of who gets it; what the
// person wrote stays as it is.
func TestPassedOnInTheirLanguage(t *testing.T) {
	w := newWorld(t)
	w.q.o.Processors = map[string]Processor{"shop": {To: "privacy@customer.example.net"}}
	w.q.o.Handling = map[string]Handling{"shop": {StaffLanguage: "it", Support: "support@shop.example.org"}}
	no := w.open(classifier.Access)
	d, err := w.q.ForwardDraft(ctx, no, eve)
	require.NoError(t, err)
	require.Equal(t, "it", d.Language)
	require.Equal(t, "Richiesta di un interessato, caso "+no, d.Subject)
	text := unfolded(d.Text)
	require.Contains(t, text, "Il 24/11/2026 abbiamo ricevuto una richiesta che La riguarda")
	require.Contains(t, text, "Si chiede: accesso.")
	require.Contains(t, text, "Da: alice@example.com")
	require.Contains(t, text, "My secret words")

	w = newWorld(t)
	w.q.o.Handling = map[string]Handling{"shop": {Support: "support@shop.example.org"}}
	no = w.open()
	_, err = w.q.HandOver(ctx, no, eve, "an order")
	require.NoError(t, err)
	w.later(time.Minute)
	lang, subject, body := w.read(t, w.sent["case:"+no+":out:0"])
	require.Equal(t, "de", lang)
	require.Equal(t, "Für den Support, Fall "+no, subject)
	require.Contains(t, body, "My secret words")
}

func TestSaidReasonsHaveTheirPhrase(t *testing.T) {
	w := newWorld(t)
	for _, reason := range SaidReasons() {
		for _, lang := range w.q.texts().Languages() {
			phrase, err := w.q.texts().Phrase(lang, "reason_"+reasonPhrases[reason], nil)
			require.NoError(t, err, "%s in %s", reason, lang)
			require.NotEmpty(t, phrase)
		}
	}
	no := w.open(classifier.Objection)
	l, err := w.q.Preview(ctx, no, Draft{Step: reply.Denied, Effect: ActDeny, Reason: "compelling-grounds", Language: "fr", Actor: eve})
	require.NoError(t, err)
	text := unfolded(l.Text)
	require.Contains(t, text, "nos motifs légitimes et impérieux prévalent sur vos intérêts, droits et libertés.")
	require.Contains(t, text, "réclamation auprès de l'autorité de contrôle (the data protection authority)", "Art. 12(4)")
	l, err = w.q.Preview(ctx, no, Draft{Step: reply.Denied, Effect: ActDeny, Reason: "compelling-grounds", Actor: eve, Values: reply.Values{"reason": "of our own words"}})
	require.NoError(t, err)
	require.Contains(t, unfolded(l.Text), "of our own words")
	require.NotContains(t, l.Text, "override")
}
