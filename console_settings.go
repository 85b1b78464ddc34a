package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/classifier"
	"postern/intake"
	"postern/queue"
	"postern/queue/console"
	"postern/queue/fulfil"
)

// consoleRules shows the configuration in the console's Settings.
type consoleRules struct {
	n      *node
	poller *intake.Poller
}

var _ console.Rules = consoleRules{}

// Settings are the rules of the file, with their keys; secrets are left out.
func (r consoleRules) Settings(context.Context) (out []console.SettingGroup) {
	cfg := r.n.config()
	row := func(key, value string) console.Setting { return console.Setting{Key: key, Value: value} }
	span := func(key string, d Duration) console.Setting { return console.Setting{Key: key, Span: time.Duration(d)} }
	years := func(key string, n int) console.Setting { return console.Setting{Key: key, Years: n} }
	for _, k := range cfg.Controllers {
		out = append(out, console.SettingGroup{Name: "controller", Of: k.Name, Rows: []console.Setting{
			row("controller.id", k.ID), row("controller.postal", k.Postal), row("controller.contact", k.Contact), row("controller.privacy_url", k.PrivacyURL), row("controller.public_url", cfg.publicURL(k.ID)),
			row("controller.authority", k.Authority), row("controller.country", k.Country), row("controller.time_zone", k.TimeZone),
			row("controller.regime", k.Regime), row("controller.target_days", numberOrNone(k.TargetDays)), row("controller.four_eyes", strings.Join(k.FourEyes, ", ")),
		}})
		rules := console.SettingGroup{Name: "policy", Of: k.Name}
		for _, l := range []classifier.Label{classifier.Objection, classifier.WithdrawConsent, classifier.Unsubscribe, classifier.OptOutSale, classifier.Erasure} {
			rules.Rows = append(rules.Rows, console.Setting{Key: "controller.policy." + string(l), Value: "policy." + string(r.n.queue.PolicyOf(k.ID, l)), Trust: true})
		}
		out = append(out, rules)
	}
	return append(out,
		console.SettingGroup{Name: "retention", Rows: []console.Setting{
			span("cases.keep_cases", cfg.Cases.KeepCases), span("cases.keep_files", cfg.Cases.KeepFiles), span("cases.keep_aside", cfg.Cases.KeepAside),
			span("ledger.keep_verdicts", r.n.cfg.Ledger.KeepVerdicts), years("ledger.keep_marketing", r.n.cfg.Ledger.KeepMarketing),
			years("ledger.keep_persons", r.n.cfg.Ledger.KeepPersons),
			span("delivery.expire", cfg.Delivery.Expire), row("legal_hold", legalHolds(cfg)),
		}},
		console.SettingGroup{Name: "sending", Rows: smarthostRows(cfg)},
		console.SettingGroup{Name: "console", Rows: []console.Setting{
			row("operator.listen", r.n.cfg.Operator.Listen), row("operator.url", r.n.cfg.Operator.URL),
			span("operator.session_idle", r.n.cfg.Operator.SessionIdle), span("operator.session_max", r.n.cfg.Operator.SessionMax),
		}})
}

func numberOrNone(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func legalHolds(cfg *Config) string {
	var out []string
	for _, h := range cfg.LegalHolds {
		text := h.Controller + ": " + h.Reason
		if h.Until != "" {
			text += " (" + h.Until + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func smarthostRows(cfg *Config) (out []console.Setting) {
	for _, s := range cfg.Smarthosts {
		out = append(out, console.Setting{Key: "smarthost", Value: fmt.Sprintf("%s, %s, tls %s, priority %d", s.Name, s.Address, s.TLS, s.Priority)})
	}
	return out
}

// Mailboxes are those that are polled, with when they were last read.
func (r consoleRules) Mailboxes(context.Context) (out []console.Mailbox) {
	health := map[string]intake.MailboxHealth{}
	if r.poller != nil {
		for _, h := range r.poller.Health() {
			health[h.Mailbox] = h
		}
	}
	for _, m := range r.n.mailboxes() {
		h := health[m.Name]
		out = append(out, console.Mailbox{Name: m.Name, Controller: m.Controller, Address: m.Address, Read: h.LastSuccess, Failing: h.Failing != "", Standby: h.Standby})
	}
	return out
}

// Systems are the connectors and hooks.
func (r consoleRules) Systems(context.Context) (out []console.System) {
	own := console.System{Name: ownData{}.Name(), Kind: "own", Testable: true}
	for _, v := range ownVerbs {
		own.Verbs = append(own.Verbs, string(v))
	}
	out = append(out, own)
	for _, c := range r.n.config().Connectors {
		s := console.System{Name: c.Name, Kind: c.Type, Verbs: c.Verbs, Controllers: c.Controllers}
		s.Testable = c.Type != "task" && (slices.Contains(c.Verbs, string(fulfil.Lookup)) || slices.Contains(c.Verbs, string(fulfil.Export)))
		out = append(out, s)
	}
	for _, h := range r.n.config().Hooks {
		out = append(out, console.System{Name: h.Name, Kind: "hook", Verbs: h.Events, Controllers: h.Controllers, Testable: true})
	}
	return out
}

// testAddress is nobody's: the domain can't exist (RFC 2606 section 2).
const testAddress = "postern-test@postern.invalid"

// TestSystem asks a connector whether it knows an address that nobody has, and
// tells a hook an event that says nothing: nothing they do with that can harm
// anybody.
func (r consoleRules) TestSystem(ctx context.Context, name string) error {
	connections, err := r.n.connections(r.n.config())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(connections, func(c queue.Connection) bool { return c.Connector.Name() == name })
	if i < 0 {
		return r.n.queue.TestHook(ctx, name, "rule")
	}
	c := connections[i]
	verb := fulfil.Lookup
	if !slices.Contains(c.Verbs, verb) {
		verb = fulfil.Export
	}
	controller := c.Controller
	if controller == "" && len(r.n.config().Controllers) > 0 {
		controller = r.n.config().Controllers[0].ID
	}
	out, err := c.Connector.Do(ctx, fulfil.Request{Key: "test:" + ulid.Make().String(), Verb: verb, Case: "test", Controller: controller,
		Address: testAddress, Due: time.Now().Add(time.Hour), DryRun: true})
	if err != nil {
		return err
	}
	return out.Check()
}

// edited gives the text of a reply as operators edited it.
func (n *node) edited(language, step string) (subject, text string, ok bool) {
	v, ok := n.edits.Current("reply/" + language + "/" + step)
	return v.Subject, v.Text, ok
}

// signUpWording gives what a sign-up says as operators edited it.
func (n *node) signUpWording(stream, language string) string {
	v, _ := n.edits.Current("signup/" + stream + "/" + language)
	return v.Text
}
