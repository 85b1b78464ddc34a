package console

import (
	"strings"
	"time"
)

// Processing is one entry of the record of processing activities (GDPR Art.
// 30(1)) that the gateway itself brings along: which activity, and what the
// configuration says about it. Its texts are art30.ACTIVITY_* of the catalogues.
type Processing struct {
	Controller string
	Activity   string   // "relay", "consent", "suppression", "requests" or "ledger"
	Hosts      []string // names of the next hops
	Systems    []string // names of the systems connected
	Sealed     bool     // the spool is encrypted
	// Expire is after which time undelivered mail is given up, Verdicts how long
	// decisions on transactional mail are kept, Cases and Aside the same for
	// ended cases and for mail that became none.
	Expire, Verdicts, Cases, Aside time.Duration
}

// ProcessingText is such an entry in words.
type ProcessingText struct {
	Controller string `json:"controller"`
	Activity   string `json:"activity"`
	Purpose    string `json:"purpose"`
	Basis      string `json:"legal_basis"`
	Persons    string `json:"persons"`
	Data       string `json:"data"`
	Recipients string `json:"recipients"`
	Transfers  string `json:"transfers"`
	Erasure    string `json:"erasure"`
	Security   string `json:"security"`
}

// Describe writes entries in English, as reports outside the console have them.
func Describe(list []Processing) ([]ProcessingText, error) {
	ts, err := loadTexts(textFiles)
	if err != nil {
		return nil, err
	}
	out := make([]ProcessingText, len(list))
	for i, p := range list {
		out[i] = p.in(ts.byTag["en"])
	}
	return out, nil
}

func (p Processing) in(w *words) ProcessingText {
	list := func(names []string) string {
		if len(names) == 0 {
			return w.say("art30.nobody")
		}
		return strings.Join(names, ", ")
	}
	spool := w.say("art30.spool_clear")
	if p.Sealed {
		spool = w.say("art30.spool_sealed")
	}
	say := func(what string) string {
		return w.say("art30."+p.Activity+"_"+what, "hosts", list(p.Hosts), "systems", list(p.Systems), "spool", spool,
			"expire", w.span(p.Expire), "verdicts", w.span(p.Verdicts), "cases", w.span(p.Cases), "aside", w.span(p.Aside))
	}
	return ProcessingText{
		Controller: p.Controller, Activity: say("name"), Purpose: say("purpose"), Basis: say("basis"), Persons: say("persons"), Data: say("data"),
		Recipients: say("recipients"), Erasure: say("erasure"), Transfers: w.say("art30.transfers_text"), Security: w.say("art30.security_text"),
	}
}

// span is a length of time in its largest whole unit.
func (w *words) span(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}} {
		if d >= u.of && d%u.of == 0 {
			return w.count("span."+u.name, int(d/u.of))
		}
	}
	return d.String()
}

// processing shows the entries for the record of processing activities.
func (c *Console) processing(v *visit) error {
	var list []ProcessingText
	if c.d.Processing != nil {
		for _, p := range c.d.Processing() {
			list = append(list, p.in(v.words))
		}
	}
	names := map[string]string{}
	for _, k := range c.d.Streams().Controllers() {
		names[k.ID] = k.Name
	}
	return v.page("processing", "proof.title", map[string]any{"Tabs": v.tabs(), "List": list, "Names": names})
}
