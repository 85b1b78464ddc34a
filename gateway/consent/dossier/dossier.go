// Package dossier writes what is known of one person as a page that can be
// printed, sent to the person (GDPR Art. 15) or shown to an authority: each
// consent with its evidence, when it was asked for and in which words, which
// mail went out and when it was confirmed, and what stops mail. The sender
// bears the burden of proof (GDPR Art. 7(1)).
package dossier

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/gateway/consent"
	"postern/gateway/stream"
	"postern/gateway/webpage"
)

//go:embed page.html page.css text/*.toml
var files embed.FS

// Mail is what the ledger proves of a confirmation mail.
type Mail struct {
	ID        string    // its Message-ID
	Accepted  time.Time // spooled here
	Delivered time.Time // taken by the next mail server; zero where that is not known
}

// Facts are what the page tells.
type Facts struct {
	Profile    consent.Profile
	Controller stream.Controller
	Streams    []stream.Stream // to name lists and purposes
	Address    string          // as it was asked about; it stands on the page
	Language   string          // BCP 47; English where there is no text
	Made       time.Time
	Mails      map[string]Mail // the mail that asked to confirm a sign-up, by the sign-up's id
}

// Writer makes pages.
type Writer struct {
	texts  *webpage.Texts
	layout *template.Template
	sheet  template.CSS
}

// New reads the embedded texts.
func New() (*Writer, error) {
	texts, err := webpage.LoadTexts(files, "text/*.toml")
	if err != nil {
		return nil, fmt.Errorf("evidence page: %w", err)
	}
	sheet, err := files.ReadFile("page.css")
	if err != nil {
		return nil, fmt.Errorf("evidence page: %w", err)
	}
	layout, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, fmt.Errorf("evidence page: %w", err)
	}
	return &Writer{texts: texts, layout: layout, sheet: template.CSS(sheet)}, nil
}

// Languages are the tags there are texts for.
func (w *Writer) Languages() []string { return w.texts.Tags() }

// view is the page as the layout takes it.
type view struct {
	Lang, Title, Made   string
	Sheet               template.CSS
	Sender, Lead        string
	Head                []fact
	Consents            []section
	Suppressions        []section
	ConsentsOf, StopsOf string
	NoConsents, NoStops string
	Foot                string
}

type fact struct{ Name, Value string }

type section struct {
	Heading string
	State   string
	Facts   []fact
	Steps   []step
}

// step is one event with its evidence.
type step struct {
	Time, What string
	Facts      []fact
	Quote      string
	QuoteOf    string
}

// Write writes the page.
func (w *Writer) Write(out io.Writer, f Facts) error {
	words := w.texts.Find(f.Language)
	if words == nil {
		words = w.texts.Find("en")
	}
	p := &printer{Facts: f, words: words, zone: time.UTC}
	if z, err := time.LoadLocation(f.Controller.TimeZone); err == nil {
		p.zone = z
	}
	v := view{
		Lang: words.Tag(), Title: p.say("title", "controller", f.Controller.Name), Made: p.moment(f.Made), Sheet: w.sheet,
		Sender:     sender(f.Controller),
		Lead:       p.say("lead", "controller", f.Controller.Name),
		Head:       []fact{{p.say("address"), f.Address}, {p.say("made"), p.moment(f.Made)}},
		ConsentsOf: p.say("consents"), StopsOf: p.say("stops"), NoConsents: p.say("no_consents"), NoStops: p.say("no_stops"), Foot: p.say("foot"),
	}
	if len(f.Profile.Subjects) > 0 {
		v.Head = append(v.Head, fact{p.say("pseudonym"), f.Profile.Subjects[0].String()})
	}
	for _, c := range f.Profile.Consents {
		v.Consents = append(v.Consents, p.consent(c))
	}
	for _, s := range f.Profile.Suppressions {
		v.Suppressions = append(v.Suppressions, p.suppression(s))
	}
	if err := w.layout.Execute(out, v); err != nil {
		return fmt.Errorf("write evidence page: %w", err)
	}
	return nil
}

// printer puts facts into words.
type printer struct {
	Facts
	words *webpage.Words
	zone  *time.Location
}

func (p *printer) say(key string, pairs ...string) string { return p.words.Say(key, pairs...) }

// moment writes a time to the second with its zone: it is evidence.
func (p *printer) moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.In(p.zone).Format(p.say("date_layout") + " 15:04:05 MST")
}

func (p *printer) listOf(purpose string) string {
	var names []string
	for _, s := range p.Streams {
		if s.Controller == p.Profile.Controller && s.Purpose == purpose && s.Title != "" && !slices.Contains(names, s.Title) {
			names = append(names, s.Title)
		}
	}
	if len(names) == 0 {
		return purpose
	}
	return strings.Join(names, ", ") + " (" + purpose + ")"
}

func (p *printer) consent(c consent.Consent) section {
	s := section{Heading: p.listOf(c.Purpose), State: p.say("status_" + string(orNone(string(c.Status))))}
	if !c.Since.IsZero() {
		s.State += " " + p.say("since", "date", p.moment(c.Since))
	}
	if !c.Expires.IsZero() {
		s.Facts = append(s.Facts, fact{p.say("expires"), p.moment(c.Expires)})
	}
	if c.Basis != "" {
		s.Facts = append(s.Facts, fact{p.say("basis"), p.say("basis_" + string(c.Basis))})
	}
	for _, e := range c.History {
		s.Steps = append(s.Steps, p.event(e))
	}
	return s
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (p *printer) event(e consent.EventRecord) step {
	what := "action_" + string(e.Action)
	switch {
	case e.Pending:
		what = "action_pending"
	case e.Unproven:
		what = "action_unproven"
	case e.Action == consent.Confirmed && e.Ref != "":
		what = "action_clicked"
	}
	s := step{Time: p.moment(e.Time), What: p.say(what)}
	add := func(key, value string) {
		if value != "" {
			s.Facts = append(s.Facts, fact{p.say(key), value})
		}
	}
	t := e.Terms
	add("source", t.Source)
	add("method", t.Method)
	if e.Ref == "" { // a click repeats the words of its sign-up
		s.Quote, s.QuoteOf = t.Wording, p.say("wording", "version", t.WordingVer, "language", t.Language)
	}
	add("policy", t.PolicyURL)
	add("jurisdiction", t.Jurisdiction)
	if t.Basis == consent.SoftOpt {
		for i, met := range t.Conditions {
			add("condition_"+strconv.Itoa(i+1), p.say(map[bool]string{true: "yes", false: "no"}[met]))
		}
	}
	if m, ok := p.Mails[e.ID]; ok {
		add("mail_sent", p.moment(m.Accepted))
		if !m.Delivered.IsZero() {
			add("mail_delivered", p.moment(m.Delivered))
		}
		add("mail", m.ID)
	}
	add("mail", e.Mail)
	add("ip", e.IP)
	add("agent", e.Agent)
	add("entered", t.Actor)
	add("ref", e.Ref)
	add("id", e.ID)
	return s
}

func (p *printer) suppression(r consent.SuppressionRecord) section {
	scope := p.say("scope_" + string(r.Scope))
	switch r.Scope {
	case consent.ScopePurpose:
		scope = p.listOf(r.Purpose)
	case consent.ScopeStream:
		for _, s := range p.Streams {
			if s.Number == r.Stream && s.Title != "" {
				scope = s.Title
			}
		}
	}
	s := section{Heading: p.say("reason_" + string(r.Reason)), State: p.say("stands", "date", p.moment(r.Time))}
	if !r.Stands() {
		s.State = p.say("ended", "from", p.moment(r.Time), "to", p.moment(r.Ended))
	}
	s.Facts = append(s.Facts, fact{p.say("reaches"), scope})
	for _, f := range []fact{
		{p.say("source"), r.Source}, {p.say("case"), r.Case}, {p.say("entered"), r.Actor}, {p.say("end_why"), r.EndReason}, {p.say("id"), r.ID},
	} {
		if f.Value != "" {
			s.Facts = append(s.Facts, f)
		}
	}
	for _, purpose := range r.SignedUp {
		s.Facts = append(s.Facts, fact{p.say("signed_up"), p.listOf(purpose)})
	}
	return s
}

// sender is the controller's letterhead: the postal identity often begins with
// the name.
func sender(c stream.Controller) string {
	var parts []string
	if !strings.HasPrefix(c.Postal, c.Name) {
		parts = append(parts, c.Name)
	}
	for _, v := range []string{c.Postal, c.Contact} {
		if v != "" {
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, " · ")
}
