package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/gateway/keys"
	"postern/gateway/ledger"
	"postern/gateway/spool"
	"postern/queue"
	"postern/queue/clock"
	"postern/queue/fulfil"
)

// openCases opens the queue as the configuration has it.
func (n *node) openCases(context.Context) error {
	if err := n.openHooks(); err != nil {
		return err
	}
	o, err := n.queueOptions(n.cfg)
	if err != nil {
		return err
	}
	vault := n.keys.Of(keys.Vault)
	o.VaultKey, o.Keyring, o.VaultDir = vault[0].Bytes(), n.ring, filepath.Join(n.cfg.Data, "vault")
	for _, k := range vault[1:] {
		o.OldVaultKeys = append(o.OldVaultKeys, k.Bytes())
	}
	o.Volatile, o.Metrics, o.Log = n.cfg.Redis.AllowVolatile, n.metrics, n.log.With("room", "queue")
	o.TextOverride = n.edited
	o.Subscribed = n.hooks.Hooks
	n.queue, err = queue.New(n.rdb, queue.Deps{
		Optout:  n.consent,
		Sender:  n.engine,
		Trail:   n.trail,
		Streams: n.engine.Streams,
		Tokens: func(text string) (address.SubjectID, uint16, error) {
			t, err := n.codec.Open(text)
			return t.Subject, t.Stream, err
		},
		Mailed:   n.mailed,
		Person:   n.personBehind,
		UndoLink: n.undoLink,
		Remove:   n.removeFile,
	}, o)
	return err
}

// queueOptions cuts out of a configuration what may change about cases while
// the server runs.
func (n *node) queueOptions(cfg *Config) (queue.Options, error) {
	c := cfg.Cases
	o := queue.Options{
		AckStream: cfg.ackStreams(),
		Operators: cfg.perController(func(c ControllerConfig) []string { return c.Operators }),
		Holidays:  cfg.perController(func(c ControllerConfig) []string { return c.Holidays }),
		ReplyPath: cfg.replyPaths(),

		Workers: c.Workers, TextDir: c.Texts, AutoRefuse: c.AutoRefuse, FloodCount: c.FloodCount,
		SendHold: time.Duration(c.SendHold), ProofWithin: time.Duration(c.ProofWithin), DownloadFor: time.Duration(c.DownloadFor),
		TaskDue: time.Duration(c.TaskDue), StatusFor: time.Duration(c.StatusFor), LiftNotice: time.Duration(c.LiftNotice), FloodWindow: time.Duration(c.FloodWindow),
		KeepCases: time.Duration(c.KeepCases), KeepFiles: time.Duration(c.KeepFiles), KeepAside: time.Duration(c.KeepAside),
	}
	if err := cfg.handling(&o); err != nil {
		return o, err
	}
	var err error
	o.Connections, err = n.connections(cfg)
	return o, err
}

// reloadCases takes what may change about cases from a fresh configuration.
func (n *node) reloadCases(ctx context.Context, cfg *Config) error {
	o, err := n.queueOptions(cfg)
	if err != nil {
		return err
	}
	return n.queue.Reload(ctx, o)
}

// handling cuts what each controller says about requests out of the
// configuration.
func (c *Config) handling(o *queue.Options) error {
	o.Handling, o.Processors = map[string]queue.Handling{}, map[string]queue.Processor{}
	o.PauseIdentity, o.LinkBase, o.Roles = map[string]bool{}, map[string]string{}, map[string]string{}
	for _, k := range c.Controllers {
		h, err := k.handling()
		if err != nil {
			return err
		}
		o.Handling[k.ID], o.PauseIdentity[k.ID], o.LinkBase[k.ID] = h, k.PauseOnIdentity, c.publicURL(k.ID)+"/case/"
		if k.ProcessorContact != "" {
			o.Processors[k.ID] = queue.Processor{To: k.ProcessorContact, OnObjection: k.OnObjection, BreachWithin: time.Duration(k.BreachWithin)}
		}
	}
	for _, m := range c.Mailboxes {
		if m.Role != "" {
			o.Roles[m.Name] = m.Role
		}
	}
	for _, k := range c.Customers {
		o.Customers = append(o.Customers, queue.Customer{Name: k.Name, Controller: k.Controller, Domains: k.Domains, Contact: k.Contact,
			Signed: k.DPASigned, AssistWithin: time.Duration(k.AssistWithin)})
	}
	for _, h := range c.LegalHolds {
		hold := queue.LegalHold{Controller: h.Controller, Reason: h.Reason}
		if day, err := time.Parse(time.DateOnly, h.Until); err == nil {
			hold.Until = day.AddDate(0, 0, 1)
		}
		o.LegalHolds = append(o.LegalHolds, hold)
	}
	for _, h := range c.Hooks {
		w, err := webhook(h.Name, h.URL, 0, h.Secret, h.OldSecret)
		if err != nil {
			return err
		}
		hook := queue.Hook{Name: h.Name, Webhook: w, Events: h.Events, Controllers: h.Controllers}
		o.Hooks = append(o.Hooks, hook)
	}
	return nil
}

func (k ControllerConfig) handling() (queue.Handling, error) {
	h := queue.Handling{Regime: clock.Regime(k.Regime), Target: k.TargetDays, FourEyes: k.FourEyes, Support: k.SupportContact, StaffLanguage: k.StaffLanguage, Policy: map[classifier.Label]queue.Policy{}}
	for label, p := range k.Policy {
		h.Policy[classifier.Label(label)] = queue.Policy(p)
	}
	for _, f := range k.Facts {
		h.Facts = append(h.Facts, queue.Facts(f))
	}
	for _, n := range k.Notices {
		h.Notices = append(h.Notices, queue.ProcessingNotice(n))
	}
	if k.DPATemplate != "" {
		text, err := os.ReadFile(k.DPATemplate)
		if err != nil {
			return h, fmt.Errorf("template of controller %q: %w", k.ID, err)
		}
		h.DPA = queue.Template{Text: string(text), Version: k.DPAVersion}
	}
	return h, nil
}

// webhook makes a signed webhook; timeout 0 takes the default.
func webhook(name, url string, timeout time.Duration, secrets ...Secret) (*fulfil.Webhook, error) {
	o := fulfil.WebhookOptions{Name: name, URL: url, Timeout: timeout}
	for _, s := range secrets {
		text, err := s.Read()
		if err != nil {
			return nil, err
		}
		if text != "" {
			o.Secrets = append(o.Secrets, text)
		}
	}
	return fulfil.NewWebhook(o)
}

// connections are Postern's own data and then the company's systems.
func (n *node) connections(cfg *Config) ([]queue.Connection, error) {
	out := []queue.Connection{{Verbs: ownVerbs, Connector: ownData{n}}}
	for _, c := range cfg.Connectors {
		base := queue.Connection{Due: time.Duration(c.Due), Language: c.Language}
		for _, v := range c.Verbs {
			base.Verbs = append(base.Verbs, fulfil.Verb(v))
		}
		for _, l := range c.Labels {
			base.Labels = append(base.Labels, classifier.Label(l))
		}
		var err error
		switch c.Type {
		case "webhook":
			base.Connector, err = webhook(c.Name, c.URL, time.Duration(c.Timeout), c.Secret, c.OldSecret)
		case "command":
			base.Connector, err = fulfil.NewCommand(c.Name, c.Command, time.Duration(c.Timeout))
		default:
			base.Connector = fulfil.Task{Who: c.Name}
			base.Owner, err = address.Parse(c.Owner)
		}
		if err != nil {
			return nil, fmt.Errorf("connector %q: %w", c.Name, err)
		}
		if len(c.Controllers) == 0 {
			out = append(out, base)
		}
		for _, id := range c.Controllers {
			one := base
			one.Controller = id
			out = append(out, one)
		}
	}
	return out, nil
}

// mailed tells whether the person was ever mailed for the controller by any
// node, as the ledgers know.
func (n *node) mailed(ctx context.Context, controller string, subject address.SubjectID) (bool, error) {
	found := false
	err := n.books.Query(ctx, ledger.Filter{Kind: ledger.KindDelivery, Controller: controller, Subject: subject}, func(e ledger.Entry) error {
		if found = e.Action == string(spool.Delivered); found {
			return ledger.ErrStop // what is known here needs no other node
		}
		return nil
	})
	return found, err
}
