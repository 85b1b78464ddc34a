package main

import (
	"time"
)

// CasesConfig says how requests are handled.
type CasesConfig struct {
	ServiceStream string   `toml:"service_stream"` // stream of acknowledgements and answers; default: the controller's first service stream
	Acknowledge   *bool    `toml:"acknowledge"`    // send receipts; default true
	Workers       int      `toml:"workers"`        // default 2
	Texts         string   `toml:"texts"`          // folder of files that override reply texts
	SendHold      Duration `toml:"send_hold"`      // a letter may be taken back this long; default 30s
	ProofWithin   Duration `toml:"proof_within"`   // for the person to confirm; default 30d
	AutoRefuse    bool     `toml:"auto_refuse"`    // refuse by rule who did not confirm in time; default: an operator decides
	DownloadFor   Duration `toml:"download_for"`   // how long a package may be fetched; default 14d
	TaskDue       Duration `toml:"task_due"`       // for a colleague to answer; default 7d
	StatusFor     Duration `toml:"status_for"`     // how long a link to the page of a case works; default 7d
	LiftNotice    Duration `toml:"lift_notice"`    // before its end a person is told that a restriction ends, whole days; default 7d
	KeepCases     Duration `toml:"keep_cases"`     // after a case ended; default 1098d (ST-1)
	KeepFiles     Duration `toml:"keep_files"`     // files of an ended case; default 90d (ST-1)
	KeepAside     Duration `toml:"keep_aside"`     // mail that became no case; default 90d
	FloodCount    int      `toml:"flood_count"`    // opt-outs of one source within flood_window that ring the alarm; default 50
	FloodWindow   Duration `toml:"flood_window"`   // default 1h
}

// HandlingConfig is how the requests of one controller are handled; it stands
// in the controller's table.
type HandlingConfig struct {
	Regime           string            `toml:"regime"`            // law of the seat: GDPR, UK, CH, CCPA, LGPD; default by country
	PauseOnIdentity  bool              `toml:"pause_on_identity"` // the clock stands still while proof is awaited (DSR-6)
	TargetDays       int               `toml:"target_days"`       // internal target in working days; default 5
	FourEyes         []string          `toml:"four_eyes"`         // acts that need a second operator: "erase", "deny"
	Policy           map[string]string `toml:"policy"`            // label → off, propose, automatic (design D13)
	ProcessorContact string            `toml:"processor_contact"` // set: the gateway runs for this company, requests are passed on (DSR-11)
	OnObjection      string            `toml:"on_objection"`      // as processor: act (default) or forward
	BreachWithin     Duration          `toml:"breach_within"`     // as processor: until that company is told of a breach (Art. 33(2)); default 24 h
	SupportContact   string            `toml:"support_contact"`   // where mail goes that is no request
	StaffLanguage    string            `toml:"staff_language"`    // of mails to operators and colleagues; default language
	DPATemplate      string            `toml:"dpa_template"`      // text file of the processing agreement
	DPAVersion       string            `toml:"dpa_version"`       // its date, as 2026-11-01
	Facts            []FactsConfig     `toml:"facts"`             // what Art. 15(1) asks to be told, by language
	Notices          []NoticeConfig    `toml:"notice"`            // the processing notice, by language and version
}

// FactsConfig prefills the checklist of an access request (GDPR Art. 15(1), (2)).
type FactsConfig struct {
	Language   string `toml:"language"`
	Purposes   string `toml:"purposes"`
	Categories string `toml:"categories"`
	Recipients string `toml:"recipients"`
	Storage    string `toml:"storage"`
	Source     string `toml:"source"`
	Automated  string `toml:"automated"` // decisions without a person, profiling (Art. 22)
	Transfers  string `toml:"transfers"` // third countries and safeguards (Art. 46)
}

// NoticeConfig is one version of the processing notice in one language.
type NoticeConfig struct {
	Language     string `toml:"language"`
	Version      string `toml:"version"` // a date, as 2026-11-01: the newest that has come is in force
	Data         string `toml:"data"`
	ThirdParties string `toml:"third_parties"`
	Retention    string `toml:"retention"`
	Place        string `toml:"place"` // and transfers
	Security     string `toml:"security"`
	Changes      string `toml:"changes"`
}

// ConnectorConfig is one of the company's own systems, or a colleague.
type ConnectorConfig struct {
	Name        string   `toml:"name"`
	Type        string   `toml:"type"`        // webhook, command, task
	Controllers []string `toml:"controllers"` // none: all
	Verbs       []string `toml:"verbs"`       // lookup, export, erase, verify, rectify, restrict, lift-restriction, marketing.stopped, inform-recipients
	Labels      []string `toml:"labels"`      // only in cases that ask for one of these; none: all
	URL         string   `toml:"url"`         // of a webhook: https, or http on loopback
	Secret      Secret   `toml:"secret"`      // whsec_ and base64 of 24 to 64 octets
	OldSecret   Secret   `toml:"old_secret"`  // signs beside it while it is changed
	Command     []string `toml:"command"`     // program and arguments; no shell
	Owner       string   `toml:"owner"`       // mail address: gets the link of a task, and word of a failure
	Timeout     Duration `toml:"timeout"`     // of one try; default 20s, at most 40s
	Due         Duration `toml:"due"`         // for a task; default cases.task_due
	Language    string   `toml:"language"`    // what the owner of a task reads; default the controller's staff_language
}

// CustomerConfig is a company whose processor we are (GDPR Art. 28).
type CustomerConfig struct {
	Name         string   `toml:"name"`
	Controller   string   `toml:"controller"`    // of ours that has the contract
	Domains      []string `toml:"domains"`       // their mail domains: requests from there are theirs
	Contact      string   `toml:"contact"`       // their privacy contact
	DPASigned    string   `toml:"dpa_signed"`    // date of the agreement, "": none yet
	AssistWithin Duration `toml:"assist_within"` // agreed time to help with a request; default 5d
}

// HookConfig is a receiver of case events and reminders.
type HookConfig struct {
	Name        string   `toml:"name"`
	URL         string   `toml:"url"`
	Secret      Secret   `toml:"secret"`
	OldSecret   Secret   `toml:"old_secret"`
	Events      []string `toml:"events"`      // as "case.*", "case.answer", "reminder.overdue"; none: all
	Controllers []string `toml:"controllers"` // none: all
}

// LegalHoldConfig forbids deletion in all cases of a controller.
type LegalHoldConfig struct {
	Controller string `toml:"controller"`
	Reason     string `toml:"reason"`
	Until      string `toml:"until"` // last day, as 2027-12-31; "": open
}

// casesDefaults fills what the file left out about cases.
func (c *Config) casesDefaults() {
	day := 24 * time.Hour
	set(&c.Cases.Workers, 2)
	set(&c.Cases.SendHold, Duration(30*time.Second))
	set(&c.Cases.ProofWithin, Duration(30*day))
	set(&c.Cases.DownloadFor, Duration(14*day))
	set(&c.Cases.TaskDue, Duration(7*day))
	set(&c.Cases.StatusFor, Duration(7*day))
	set(&c.Cases.LiftNotice, Duration(7*day))
	set(&c.Cases.KeepCases, Duration(1098*day))
	set(&c.Cases.KeepFiles, Duration(90*day))
	set(&c.Cases.KeepAside, Duration(90*day))
	set(&c.Cases.FloodCount, 50)
	set(&c.Cases.FloodWindow, Duration(time.Hour))
	for i := range c.Controllers {
		set(&c.Controllers[i].TargetDays, 5)
		set(&c.Controllers[i].OnObjection, "act")
		set(&c.Controllers[i].BreachWithin, Duration(24*time.Hour))
	}
	for i := range c.Connectors {
		set(&c.Connectors[i].Timeout, Duration(20*time.Second))
		set(&c.Connectors[i].Due, c.Cases.TaskDue)
	}
	for i := range c.Customers {
		set(&c.Customers[i].AssistWithin, Duration(5*day))
	}
	for i := range c.Mailboxes {
		if c.Mailboxes[i].Confidential {
			set(&c.Mailboxes[i].Role, "confidential")
		}
	}
}
