package main

import (
	"fmt"
	"maps"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue"
	"postern/queue/clock"
	"postern/queue/fulfil"
	replytext "postern/queue/reply"
)

func (k *checker) day(key, value string) {
	if value == "" {
		return
	}
	if _, err := time.Parse(time.DateOnly, value); err != nil {
		k.add(key, "%q is not a day: write it as 2026-12-24", value)
	}
}

// handling checks what [cases] and each controller say about requests.
func (k *checker) handling() {
	if k.c.Cases.Texts != "" {
		if _, err := replytext.Load(k.c.Cases.Texts); err != nil {
			k.add("cases.texts", "%v", err)
		}
	}
	c := k.c.Cases
	if c.DownloadFor > c.KeepFiles {
		k.add("cases.download_for", "%s is longer than keep_files (%s): the copy would be deleted while its link works", days(c.DownloadFor), days(c.KeepFiles))
	}
	if n := time.Duration(c.LiftNotice); n < 24*time.Hour || n%(24*time.Hour) != 0 {
		k.add("cases.lift_notice", "is not one or more whole days: a person is told before the restriction ends (GDPR Art. 18(3))")
	}
	if n := time.Duration(c.StatusFor); n < time.Hour || n > 31*24*time.Hour {
		k.add("cases.status_for", "is not between 1h and 31d: a link that shows a case is no key for ever")
	}
	if c.KeepFiles > c.KeepCases {
		k.add("cases.keep_files", "%s is longer than keep_cases (%s): files never outlive their case", days(c.KeepFiles), days(c.KeepCases))
	}
	if s := k.c.Cases.ServiceStream; s != "" && !slices.ContainsFunc(k.c.Streams, func(x StreamConfig) bool { return x.Name == s }) {
		k.add("cases.service_stream", "no [[stream]] has the name %q", s)
	}
	for i, c := range k.c.Controllers {
		at := fmt.Sprintf("controller[%d].", i)
		if c.Regime != "" {
			k.oneOf(at+"regime", c.Regime, string(clock.EU), string(clock.UK), string(clock.CH), string(clock.CA), string(clock.BR))
		}
		if c.TargetDays < 1 || c.TargetDays > 60 {
			k.add(at+"target_days", "%d is not between 1 and 60 working days", c.TargetDays)
		}
		for _, act := range c.FourEyes {
			k.oneOf(at+"four_eyes", act, queue.EyesErase, queue.EyesDeny)
		}
		for _, label := range slices.Sorted(maps.Keys(c.Policy)) {
			key, p := at+"policy", c.Policy[label]
			if !slices.Contains(classifier.Labels(), classifier.Label(label)) {
				k.add(key, "%q is no label: write one of %s", label, joined(classifier.Labels()))
				continue
			}
			if err := queue.CheckPolicy(map[classifier.Label]queue.Policy{classifier.Label(label): queue.Policy(p)}); err != nil {
				k.add(key, "%v", err)
			}
		}
		if c.ProcessorContact != "" {
			k.addresses(at+"processor_contact", []string{c.ProcessorContact})
		}
		k.oneOf(at+"on_objection", c.OnObjection, "act", "forward")
		if c.BreachWithin < Duration(time.Hour) || c.BreachWithin > Duration(72*time.Hour) {
			k.add(at+"breach_within", "%s is not between 1h and 72h", time.Duration(c.BreachWithin))
		}
		if c.SupportContact != "" {
			k.addresses(at+"support_contact", []string{c.SupportContact})
		}
		k.staffLanguage(at+"staff_language", c.StaffLanguage)
		k.file(at+"dpa_template", c.DPATemplate)
		k.day(at+"dpa_version", c.DPAVersion)
		if c.DPATemplate != "" {
			k.need(at+"dpa_version", c.DPAVersion, "the date of the template, as 2026-11-01: a signed agreement names it")
		}
		k.documents(at, c.HandlingConfig)
	}
}

// documents checks the texts a controller gives by language.
func (k *checker) documents(at string, h HandlingConfig) {
	for i, f := range h.Facts {
		k.need(fmt.Sprintf("%sfacts[%d].language", at, i), f.Language, "the language these facts are written in, as en")
	}
	for i, n := range h.Notices {
		nat := fmt.Sprintf("%snotice[%d].", at, i)
		k.need(nat+"language", n.Language, "the language this notice is written in, as en")
		k.need(nat+"version", n.Version, "the day from which it is in force, as 2026-11-01")
		k.day(nat+"version", n.Version)
		for _, part := range [][2]string{{"data", n.Data}, {"third_parties", n.ThirdParties}, {"retention", n.Retention}, {"place", n.Place}, {"security", n.Security}, {"changes", n.Changes}} {
			k.need(nat+part[0], part[1], "a notice has six parts")
		}
	}
}

// staffLanguage checks that mails to colleagues can be in a language.
func (k *checker) staffLanguage(key, tag string) {
	if tag == "" {
		return
	}
	if texts, err := replytext.StaffTexts(); err != nil {
		k.add(key, "%v", err)
	} else if texts.Find(tag) == nil {
		k.add(key, "there are no texts in %q: write one of %s", tag, joined(texts.Tags()))
	}
}

func joined[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(quoteAll(words), ", ")
}

func (k *checker) someControllers(key string, ids []string) {
	for _, id := range ids {
		k.controller(key, id)
	}
}

// hook checks address and secrets of what is told by webhook.
func (k *checker) hook(at, address string, secret, old Secret) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "::1" || strings.HasPrefix(u.Hostname(), "127."))) {
		k.add(at+"url", "is neither https nor http on this machine: what it carries names persons")
		return
	}
	if secret == "" {
		k.add(at+"secret", "is missing: make one with `openssl rand -base64 32`, put whsec_ before it, and name its file")
		return
	}
	k.secret(at+"secret", secret)
	k.secret(at+"old_secret", old)
	if _, err := webhook("", address, 0, secret, old); err != nil && !k.known[at+"secret"] && !k.known[at+"old_secret"] {
		k.add(at+"secret", "is not whsec_ and base64 of 24 to 64 octets (Standard Webhooks)")
	}
}

func (k *checker) connectors() {
	names := map[string]bool{}
	for i, c := range k.c.Connectors {
		at := fmt.Sprintf("connector[%d].", i)
		k.need(at+"name", c.Name, "cases and the record call the system by it")
		if names[c.Name] {
			k.add(at+"name", "%q is given twice", c.Name)
		}
		names[c.Name] = true
		k.oneOf(at+"type", c.Type, "webhook", "command", "task")
		k.someControllers(at+"controllers", c.Controllers)
		if len(c.Verbs) == 0 {
			k.add(at+"verbs", "is missing: say what the system can do, of %s", joined(fulfil.Verbs()))
		}
		for _, v := range c.Verbs {
			if !slices.Contains(fulfil.Verbs(), fulfil.Verb(v)) {
				k.add(at+"verbs", "%q is not known: write some of %s", v, joined(fulfil.Verbs()))
			}
		}
		for _, l := range c.Labels {
			if !slices.Contains(classifier.Labels(), classifier.Label(l)) {
				k.add(at+"labels", "%q is no label: write some of %s", l, joined(classifier.Labels()))
			}
		}
		if t := time.Duration(c.Timeout); t > 40*time.Second {
			k.add(at+"timeout", "%s is too long: one try ends after 40s, a system that needs longer answers 202 and tells its result later", t)
		}
		if c.Owner != "" {
			k.addresses(at+"owner", []string{c.Owner})
		}
		k.staffLanguage(at+"language", c.Language)
		switch c.Type {
		case "webhook":
			k.hook(at, c.URL, c.Secret, c.OldSecret)
		case "command":
			if len(c.Command) == 0 {
				k.add(at+"command", "is missing: write the program and its arguments as a list")
			} else if _, err := exec.LookPath(c.Command[0]); err != nil {
				k.add(at+"command", "%q can't be run: %v", c.Command[0], err)
			}
		case "task":
			k.need(at+"owner", c.Owner, "the colleague's mail address: the link to the task goes there")
		}
	}
}

func (k *checker) customers() {
	for i, c := range k.c.Customers {
		at := fmt.Sprintf("customer[%d].", i)
		k.need(at+"name", c.Name, "the register calls the customer by it")
		k.controller(at+"controller", c.Controller)
		k.domains(at+"domains", c.Domains)
		if len(c.Domains) == 0 {
			k.add(at+"domains", "is missing: by its mail domains a customer's request is known")
		}
		if _, err := address.Parse(c.Contact); err != nil {
			k.add(at+"contact", "is not a mail address")
		}
		k.day(at+"dpa_signed", c.DPASigned)
	}
}

func (k *checker) hooks() {
	names := map[string]bool{}
	for i, h := range k.c.Hooks {
		at := fmt.Sprintf("hook[%d].", i)
		k.need(at+"name", h.Name, "logs call the receiver by it")
		if names[h.Name] || strings.ContainsAny(h.Name, " |") {
			k.add(at+"name", "%q is given twice or holds a space or bar", h.Name)
		}
		names[h.Name] = true
		k.hook(at, h.URL, h.Secret, h.OldSecret)
		k.someControllers(at+"controllers", h.Controllers)
		for _, e := range h.Events {
			if err := queue.CheckEvent(e); err != nil {
				k.add(at+"events", "%v", err)
			}
		}
	}
}

func (k *checker) legalHolds() {
	for i, h := range k.c.LegalHolds {
		at := fmt.Sprintf("legal_hold[%d].", i)
		k.controller(at+"controller", h.Controller)
		k.need(at+"reason", h.Reason, "why nothing may be deleted")
		k.day(at+"until", h.Until)
	}
}
