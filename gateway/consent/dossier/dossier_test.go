package dossier

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
	"postern/testmail/browser"
)

var at = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// person signed up and confirmed, was a customer before, and has stopped one
// list.
func person() Facts {
	id := address.SubjectID{7}.String()
	terms := consent.Terms{
		Purpose: "newsletter", Basis: consent.Express, Method: "form", Source: "https://mail.example.com/s/newsletter", Language: "en",
		Wording: "I want to get “Weekly letter” from Example Shop by e-mail.\nI can take this back at any time <with the link>.", WordingVer: "page-7c1f",
		PolicyURL: "https://www.example.com/privacy", Jurisdiction: "EU", Actor: "link",
	}
	clicked := terms
	clicked.Method = "link"
	soft := consent.Terms{Purpose: "offers", Basis: consent.SoftOpt, Method: "import", Source: "shop, order 17", Conditions: [4]bool{true, true, true, true}}
	return Facts{
		Profile: consent.Profile{
			Controller: "shop", Subjects: []address.SubjectID{{7}},
			Consents: []consent.Consent{
				{Purpose: "newsletter", Status: consent.StatusActive, Basis: consent.Express, Since: at.Add(time.Hour), Evidence: id + "-b", History: []consent.EventRecord{
					{ID: id + "-a", Time: at, Action: consent.Given, Pending: true, Terms: terms, IP: "192.0.2.7"},
					{ID: id + "-b", Time: at.Add(time.Hour), Action: consent.Confirmed, Terms: clicked, Ref: id + "-a"},
				}},
				{Purpose: "offers", Status: consent.StatusActive, Basis: consent.SoftOpt, Since: at.AddDate(-1, 0, 0), Evidence: id + "-c", History: []consent.EventRecord{
					{ID: id + "-c", Time: at.AddDate(-1, 0, 0), Action: consent.Given, Terms: soft},
				}},
			},
			Suppressions: []consent.SuppressionRecord{
				{ID: id + "-d", Time: at.Add(48 * time.Hour), Controller: "shop", Scope: consent.ScopeStream, Stream: 2, Reason: consent.Unsubscribed, Source: "one-click", Actor: "link"},
				{ID: id + "-e", Time: at.AddDate(-2, 0, 0), Controller: "shop", Scope: consent.ScopeController, Reason: consent.Bounced, Ended: at.AddDate(-1, 0, 0), EndedBy: "release", EndActor: "operator:desk", EndReason: "the mailbox was full, not gone"},
			},
		},
		Controller: stream.Controller{ID: "shop", Name: "Example Shop", Postal: "1 Example Street, 10000 Exampletown", Contact: "privacy@example.com", TimeZone: "Europe/Berlin"},
		Streams: []stream.Stream{
			{Number: 1, Controller: "shop", Purpose: "newsletter", Title: "Weekly letter"}, {Number: 2, Controller: "shop", Purpose: "offers", Title: "Offers"},
			{Number: 3, Controller: "other", Purpose: "newsletter", Title: "Not theirs"},
		},
		Address: "someone@example.org", Language: "en", Made: at.AddDate(0, 0, 5),
		Mails: map[string]Mail{id + "-a": {ID: "confirm.0123@mail.example.com", Accepted: at.Add(time.Second), Delivered: at.Add(3 * time.Second)}},
	}
}

// CON-12, CON-4: one page holds the sign-up, the words in full, the mail that
// was sent and the click, each with its time.
func TestCON12_EvidenceOnOnePage(t *testing.T) {
	w, err := New()
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, w.Write(&b, person()))
	text := b.String()
	at := 0
	for _, part := range []string{
		"someone@example.org", "Weekly letter (newsletter)", "In force since 2026-11-24 11:00:00 CET",
		"2026-11-24 10:00:00 CET", "Sign-up, confirmation asked for", "I can take this back at any time &lt;with the link&gt;.", "version page-7c1f",
		"Confirmation mail sent", "2026-11-24 10:00:01 CET", "Taken by the mail server", "2026-11-24 10:00:03 CET", "confirm.0123@mail.example.com", "192.0.2.7",
		"2026-11-24 11:00:00 CET", "Confirmed by the link in the mail",
		"Offers (offers)", "Own similar goods only", "Unsubscribed", "one-click", "the mailbox was full, not gone",
	} {
		i := strings.Index(text[at:], part)
		require.GreaterOrEqual(t, i, 0, part)
		at += i
	}
	require.NotContains(t, text, "Not theirs")
	require.NotRegexp(t, `\{[a-z_]+\}`, text)
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// alike are texts that other languages may have in common with English.
var alike = []string{"agent", "no", "case", "source", "mail"}

// latin are names that every script writes in Latin letters.
var latin = strings.NewReplacer("Message-ID", "", "CASL", "", "IP", "", "e-mail", "")

func inScript(t *testing.T, tag, key, text string) {
	t.Helper()
	script := map[string]*unicode.RangeTable{"el": unicode.Greek, "bg": unicode.Cyrillic}[tag]
	if script == nil {
		script = unicode.Latin
	}
	for _, r := range latin.Replace(placeholder.ReplaceAllString(text, "")) {
		require.True(t, !unicode.IsLetter(r) || unicode.Is(script, r), "%s: %s: %s", tag, key, text)
	}
}

// Every word that a page may need is there in every language.
func TestTextsAreWhole(t *testing.T) {
	w, err := New()
	require.NoError(t, err)
	english := w.texts.Find("en").Keys()
	require.Equal(t, strings.Fields("bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv"), w.Languages(), "the official languages of the Union (Reg. 1/58)")
	for _, words := range w.texts.All() {
		require.Len(t, words.Keys(), len(english), words.Tag())
		for key, text := range words.Keys() {
			require.ElementsMatch(t, placeholder.FindAllString(english[key], -1), placeholder.FindAllString(text, -1), "%s: %s", words.Tag(), key)
			if key != "date_layout" && key != "quoted" && key != "language" && key != "languages" {
				inScript(t, words.Tag(), key, text)
				require.True(t, words.Tag() == "en" || text != english[key] || slices.Contains(alike, key), "%s: %s is English", words.Tag(), key)
			}
		}
	}
	for _, key := range []string{"none", "pending", "active", "withdrawn", "expired", "unproven", "objected"} {
		require.Contains(t, english, "status_"+key)
	}
	for _, a := range []consent.Action{consent.Given, consent.Confirmed, consent.Refreshed, consent.Withdrawn, consent.Expired, consent.Objected} {
		require.Contains(t, english, "action_"+string(a))
	}
	for _, r := range []consent.Reason{consent.Unsubscribed, consent.Complained, consent.Bounced, consent.ErasurePending, consent.Erased, consent.ObjectedTo, consent.WithdrawnBy, consent.Manual, consent.Held} {
		require.Contains(t, english, "reason_"+string(r))
	}
}

// Of a person nobody knows the page says so, in English where there is no text.
func TestNothingHeld(t *testing.T) {
	w, err := New()
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, w.Write(&b, Facts{Controller: stream.Controller{Name: "Example Shop"}, Address: "x@example.org", Language: "xx", Made: at}))
	require.Contains(t, b.String(), `<html lang="en">`)
	require.Contains(t, b.String(), "No consent is recorded.")
	require.Contains(t, b.String(), "Nothing is recorded that stops mail.")
}

// axe-core finds nothing; the pictures go where POSTERN_SCREENSHOTS says.
func TestPageInBrowser(t *testing.T) {
	into := os.Getenv("POSTERN_SCREENSHOTS")
	if into == "" {
		into = t.TempDir()
	}
	w, err := New()
	require.NoError(t, err)
	srv := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		f := person()
		f.Language = strings.Trim(r.URL.Path, "/")
		out.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = w.Write(out, f)
	}))
	t.Cleanup(srv.Close)
	chromium := browser.Start(t)
	for _, tag := range []string{"en", "de", "el", "bg", "fi"} { // long words, other scripts
		p := chromium.Page(browser.View{NoScript: true})
		p.Open(srv.URL + "/" + tag)
		p.Accessible()
		for width, name := range map[int64]string{390: "390", 1440: "1440"} {
			p.Show(browser.View{Width: width, Height: 900, NoScript: true})
			p.Picture(filepath.Join(into, "public", "evidence-"+tag+"-"+name+"-light.png"))
		}
	}
}
