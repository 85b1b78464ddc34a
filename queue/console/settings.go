package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/gateway/ledger"
	"postern/gateway/wording"
	"postern/queue/reply"
)

// SettingGroup are rules in force that stand in the configuration file.
type SettingGroup struct {
	Name string // names the text settings.group_NAME
	Of   string // what they belong to, as a controller's name; "" where to all
	Rows []Setting
}

// Setting is one of them. It is shown with its key and changed in the file.
type Setting struct {
	Key   string // as in the file, "controller.target_days"
	Value string
	Trust bool          // Value is a key of the catalogues, not a text
	Span  time.Duration // in place of Value, where it is a length of time
	Years int           // in place of Value, where it is ends of years
}

// Mailbox is one that is read.
type Mailbox struct {
	Name, Controller, Address string
	Read                      time.Time // last time to its end; zero: never since the start
	Failing                   bool
	Standby                   bool // another node reads it
}

// System is one of the company's own that requests are carried out by.
type System struct {
	Name, Kind  string // Kind: "webhook", "command", "task", "own", "hook"
	Verbs       []string
	Controllers []string
	Testable    bool
}

// Rules is what Settings shows and tests.
type Rules interface {
	Settings(ctx context.Context) []SettingGroup
	Mailboxes(ctx context.Context) []Mailbox
	Systems(ctx context.Context) []System
	// TestSystem asks a system for an address that nobody has; an error is what
	// is wrong with it, in words for an operator.
	TestSystem(ctx context.Context, name string) error
}

// Texts keeps edited texts; *wording.Store is one.
type Texts interface {
	Versions(ctx context.Context, name string) ([]wording.Version, error)
	All(ctx context.Context) (map[string][]wording.Version, error)
	Propose(ctx context.Context, name, subject, text, actor string, second bool) (wording.Version, error)
	Decide(ctx context.Context, name string, n int, approve bool, actor string) error
	Reset(ctx context.Context, name, actor string) error
}

var settingTabs = []struct{ Name, Path string }{
	{"rules", "/settings"}, {"systems", "/settings/systems"}, {"texts", "/settings/texts"}, {"wordings", "/settings/wordings"},
}

func (v *visit) settingTabs() []choice {
	var out []choice
	for _, t := range settingTabs {
		out = append(out, choice{t.Path, v.say("settings.tab_" + t.Name), v.section2() == t.Path})
	}
	return out
}

// section2 is the tab that is open.
func (v *visit) section2() string {
	best := "/settings"
	for _, t := range settingTabs {
		if strings.HasPrefix(v.r.URL.Path, t.Path) && len(t.Path) > len(best) {
			best = t.Path
		}
	}
	return best
}

// settings shows the rules in force.
func (c *Console) settings(v *visit) error {
	if c.d.Rules == nil {
		return errNotFound
	}
	boxes := c.d.Rules.Mailboxes(v.ctx())
	for i := range boxes {
		boxes[i].Read = inZone(boxes[i].Read, c.d.Cases.NewPacer().Zone(boxes[i].Controller))
	}
	return v.page("settings", "settings.title", map[string]any{"Tabs": v.settingTabs(), "Groups": c.d.Rules.Settings(v.ctx()), "Mailboxes": boxes})
}

// tested is how the last test of a system went.
type tested struct {
	At time.Time
	OK bool
	By string
}

// systems lists connectors and hooks with how their last test went.
func (c *Console) systems(v *visit) error { return v.showSystems(map[string]any{}) }

func (v *visit) showSystems(data map[string]any) error {
	if v.c.d.Rules == nil {
		return errNotFound
	}
	last := map[string]tested{}
	if v.c.d.Records != nil {
		err := v.records(ledger.Filter{Kind: ledger.KindConfig, Since: v.now().AddDate(-1, 0, 0)}, func(e ledger.Entry) error {
			if e.Action == "system-test" {
				last[e.Data["system"]] = tested{e.Time.In(v.zone("")), e.Reason == "ok", v.actor(e.Actor)}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read tests of systems: %w", err)
		}
	}
	data["Tabs"], data["Systems"], data["Tests"] = v.settingTabs(), v.c.d.Rules.Systems(v.ctx()), last
	return v.page("systems", "settings.title", data)
}

// testSystem asks a system now. What it answered is recorded in one word.
func (c *Console) testSystem(v *visit) error {
	if c.d.Rules == nil {
		return errNotFound
	}
	name := v.r.PathValue("name")
	if !slices.ContainsFunc(c.d.Rules.Systems(v.ctx()), func(s System) bool { return s.Name == name && s.Testable }) {
		return errNotFound
	}
	ctx, cancel := context.WithTimeout(v.ctx(), 20*time.Second)
	defer cancel()
	fault := c.d.Rules.TestSystem(ctx, name)
	result := "ok"
	if fault != nil {
		result = "failed"
		c.o.Log.Warn("test of a system failed", "system", name, "err", fault)
	}
	rec := ledger.Record{Time: v.now(), Kind: ledger.KindConfig, Actor: v.user.Actor(), Action: "system-test", Reason: result, Data: map[string]string{"system": name}}
	if err := c.d.Trail.Append(v.ctx(), rec); err != nil {
		return fmt.Errorf("record test of %s: %w", name, err)
	}
	if fault != nil {
		v.status = http.StatusBadGateway
		return v.showSystems(map[string]any{"Failed": name, "Why": fault.Error()})
	}
	return v.redirect("/settings/systems", "system-ok")
}

// textRow is one text of the list.
type textRow struct {
	Name, Path string // Name is the step or stream in words
	State      wording.State
	Version    int
	Waiting    bool
}

// replyTexts lists the texts of replies in one language.
func (c *Console) replyTexts(v *visit) error {
	if c.d.Texts == nil {
		return errNotFound
	}
	lang := v.textLanguage()
	all, err := c.d.Texts.All(v.ctx())
	if err != nil {
		return err
	}
	var rows []textRow
	for _, s := range reply.Steps() {
		rows = append(rows, textRowOf(v.say("text."+string(s)), "/settings/texts/"+lang+"/"+string(s), all["reply/"+lang+"/"+string(s)]))
	}
	return v.page("texts", "settings.title", map[string]any{"Tabs": v.settingTabs(), "Rows": rows, "Langs": v.replyLanguages(lang), "Path": "/settings/texts", "Lead": "settings.texts_lead"})
}

func (v *visit) textLanguage() string {
	lang := v.r.URL.Query().Get("lang")
	if !slices.Contains(v.c.d.Cases.ReplyLanguages(), lang) {
		lang = v.words.tag
	}
	return lang
}

func textRowOf(name, path string, versions []wording.Version) textRow {
	r := textRow{Name: name, Path: path}
	for _, x := range versions {
		switch x.State {
		case wording.Active:
			r.State, r.Version = x.State, x.N
		case wording.Proposed:
			r.Waiting = true
		}
	}
	return r
}

// edited is a text on its page.
type edited struct {
	Name     string // in the store
	Path     string
	Title    string
	Lang     string
	Subject  string // in force
	Text     string
	Subjects bool // it has a subject line
	Built    wording.Version
	Holds    []string // placeholders it has to have
	Check    func(subject, text string) error
}

// replyText finds the text of the path.
func (v *visit) replyText() (edited, error) {
	lang, step := v.r.PathValue("lang"), reply.Step(v.r.PathValue("step"))
	subject, text, ok := v.c.d.Cases.ReplyTexts().Source(lang, step)
	if v.c.d.Texts == nil || !ok || !slices.Contains(reply.Steps(), step) {
		return edited{}, errNotFound
	}
	return edited{Name: "reply/" + lang + "/" + string(step), Path: "/settings/texts/" + lang + "/" + string(step), Title: v.say("text." + string(step)), Lang: lang,
		Subject: subject, Text: text, Subjects: true, Built: wording.Version{Subject: subject, Text: text}, Holds: reply.Placeholders(text),
		Check: func(s, t string) error { return v.c.d.Cases.ReplyTexts().CheckOverride(lang, step, s, t) }}, nil
}

// wordings lists what sign-ups say, by stream, in one language.
func (c *Console) wordings(v *visit) error {
	if c.d.Texts == nil || len(c.d.SignUps) == 0 {
		return errNotFound
	}
	lang := v.textLanguage()
	all, err := c.d.Texts.All(v.ctx())
	if err != nil {
		return err
	}
	var rows []textRow
	for _, st := range c.d.Streams().Streams() {
		if st.Purpose != "" && !st.Retired {
			rows = append(rows, textRowOf(st.Title, "/settings/wordings/"+lang+"/"+st.Name, all["signup/"+st.Name+"/"+lang]))
		}
	}
	return v.page("texts", "settings.title", map[string]any{"Tabs": v.settingTabs(), "Rows": rows, "Langs": v.replyLanguages(lang), "Path": "/settings/wordings", "Lead": "settings.wordings_lead"})
}

func (v *visit) signUpText() (edited, error) {
	lang := v.r.PathValue("lang")
	st, ok := v.c.d.Streams().ByName(v.r.PathValue("stream"))
	built, known := v.c.d.SignUps[lang]
	if v.c.d.Texts == nil || !ok || !known || st.Purpose == "" {
		return edited{}, errNotFound
	}
	return edited{Name: "signup/" + st.Name + "/" + lang, Path: "/settings/wordings/" + lang + "/" + st.Name, Title: st.Title, Lang: lang, Text: built,
		Built: wording.Version{Text: built}, Holds: reply.Placeholders(built), Check: func(_, t string) error {
			for _, p := range reply.Placeholders(t) {
				if p != "{list}" && p != "{controller}" {
					return fmt.Errorf("%w: %s", reply.ErrPlaceholders, p)
				}
			}
			if !strings.Contains(t, "{controller}") { // who it is given to has to be said (GDPR Art. 4(11), 7)
				return fmt.Errorf("%w: {controller}", reply.ErrPlaceholders)
			}
			return nil
		}}, nil
}

func (c *Console) replyTextPage(v *visit) error { return v.textPage(v.replyText, map[string]any{}) }
func (c *Console) signUpPage(v *visit) error    { return v.textPage(v.signUpText, map[string]any{}) }
func (c *Console) editReplyText(v *visit) error { return v.editText(v.replyText) }
func (c *Console) editSignUp(v *visit) error    { return v.editText(v.signUpText) }

// textPage shows a text with its versions, its preview and the field to edit
// it.
func (v *visit) textPage(find func() (edited, error), data map[string]any) error {
	e, err := find()
	if err != nil {
		return err
	}
	versions, err := v.c.d.Texts.Versions(v.ctx(), e.Name)
	if err != nil {
		return err
	}
	loc := v.zone("")
	inForce := false
	for i := range versions {
		versions[i].At, versions[i].When = versions[i].At.In(loc), inZone(versions[i].When, loc)
		if versions[i].State == wording.Active {
			inForce = true
			e.Text = versions[i].Text
			if versions[i].Subject != "" {
				e.Subject = versions[i].Subject
			}
		}
	}
	slices.Reverse(versions)
	subject, text := e.Subject, e.Text
	if s, ok := data["Typed"].(wording.Version); ok {
		subject, text = s.Subject, s.Text
	}
	data["T"], data["Versions"], data["Own"], data["Second"], data["Tabs"] = e, versions, inForce, v.c.d.Cases.TwoForTexts(), v.settingTabs()
	data["EditSubject"], data["EditText"] = subject, text
	data["ShowSubject"], data["ShowText"] = v.sample(e.Lang, subject), reply.Wrap(v.sample(e.Lang, text), 71)
	return v.page("text", e.Title, data)
}

// sample fills placeholders with what a reader can tell from a text.
func (v *visit) sample(lang, text string) string {
	texts, day := v.c.d.Cases.ReplyTexts(), v.now()
	known := map[string]string{"{no}": "C-2026-0017", "{link}": "https://mail.example.org/case/…", "{list}": "News"}
	if all := v.c.d.Streams().Controllers(); len(all) > 0 {
		k := all[len(all)-1]
		known["{controller}"], known["{authority}"], day = k.Name, k.Authority, day.In(v.c.d.Cases.NewPacer().Zone(k.ID))
	}
	for i, name := range []string{"{date}", "{today}", "{until}", "{due}", "{new}"} {
		known[name] = texts.Date(lang, day.AddDate(0, 0, 7*i))
	}
	known["{time}"] = texts.DateTime(lang, day)
	for _, p := range reply.Placeholders(text) {
		value := known[p]
		if value == "" {
			value = "[" + strings.Trim(p, "{}") + "]"
		}
		text = strings.ReplaceAll(text, p, value)
	}
	return text
}

// editText previews, keeps, approves, refuses or resets a text.
func (v *visit) editText(find func() (edited, error)) error {
	e, err := find()
	if err != nil {
		return err
	}
	n := 0
	_, _ = fmt.Sscan(v.field("n"), &n) // 0 is no version
	typed := wording.Version{Subject: v.field("subject"), Text: strings.ReplaceAll(v.field("text"), "\r\n", "\n")}
	again := func(fault string, err error) error {
		v.status = http.StatusBadRequest
		data := map[string]any{"Fault": fault, "Typed": typed}
		if errors.Is(err, reply.ErrPlaceholders) {
			_, names, _ := strings.Cut(err.Error(), ": ")
			data["Names"] = names
		}
		return v.textPage(find, data)
	}
	done := "text-kept"
	switch v.field("act") {
	case "preview":
		return v.textPage(find, map[string]any{"Typed": typed})
	case "keep":
		if err := e.Check(typed.Subject, typed.Text); err != nil {
			return again("settings.placeholders", err)
		}
		if typed.Subject == e.Built.Subject {
			typed.Subject = ""
		}
		second := v.c.d.Cases.TwoForTexts()
		if second {
			done = "text-proposed"
		}
		_, err = v.c.d.Texts.Propose(v.ctx(), e.Name, typed.Subject, typed.Text, v.user.Actor(), second)
	case "approve", "refuse":
		done = "text-" + v.field("act")
		err = v.c.d.Texts.Decide(v.ctx(), e.Name, n, v.field("act") == "approve", v.user.Actor())
	case "reset":
		done = "text-reset"
		err = v.c.d.Texts.Reset(v.ctx(), e.Name, v.user.Actor())
	default:
		return errForm
	}
	switch {
	case errors.Is(err, wording.ErrSame):
		return again("settings.same", err)
	case errors.Is(err, wording.ErrBusy), errors.Is(err, wording.ErrUnknown):
		return again("settings.busy", err)
	case errors.Is(err, wording.ErrLength):
		return again("settings.length", err)
	case err != nil:
		return err
	}
	return v.redirect(e.Path, done)
}
