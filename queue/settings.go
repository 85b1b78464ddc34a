package queue

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/classifier"
	"postern/gateway/address"
	"postern/queue/clock"
	"postern/queue/fulfil"
)

// Handling is how the requests of one controller are handled. The zero value
// works.
type Handling struct {
	Regime   clock.Regime                // law of the seat; "" by the controller's country
	Target   int                         // internal target in working days; default 5
	FourEyes []string                    // acts that need a second operator: EyesErase, EyesDeny
	Policy   map[classifier.Label]Policy // beats Options.Policy
	Support  string                      // mail address of support, for what is no request
	// StaffLanguage is that of mails to operators and colleagues (BCP 47); ""
	// takes the controller's.
	StaffLanguage string
	Facts         []Facts            // by language
	Notices       []ProcessingNotice // by language and version
	DPA           Template
}

// Acts that may need a second operator (Handling.FourEyes).
const (
	EyesErase = "erase"
	EyesDeny  = "deny"
)

// Facts prefill the checklist of an access request (GDPR Art. 15(1), (2)) in
// one language.
type Facts struct {
	Language   string
	Purposes   string
	Categories string
	Recipients string
	Storage    string
	Source     string
	Automated  string
	Transfers  string
}

// Template is the processing agreement offered to customers.
type Template struct {
	Text    string
	Version string // its date
}

// Customer is a company whose processor the controller is (GDPR Art. 28).
type Customer struct {
	Name         string
	Controller   string
	Domains      []string
	Contact      string
	Signed       string        // date of the agreement, "": none
	AssistWithin time.Duration // agreed time to help; default 5 days
}

// LegalHold forbids deletion in all cases of a controller.
type LegalHold struct {
	Controller string
	Reason     string
	Until      time.Time // zero: open
}

// Hook is a receiver of case events and notices: a signed message each, tried
// again until it is taken.
type Hook struct {
	Name        string
	Webhook     *fulfil.Webhook
	Events      []string // patterns CheckEvent takes; none: all
	Controllers []string // none: all
}

// consentWords are the events of consent and suppression that Publish takes.
var consentWords = map[string][]string{
	"consent":     {"given", "confirmed", "refreshed", "withdrawn", "expired", "objected"},
	"suppression": {"suppress", "release", "undo"},
}

// CheckEvent tells whether a pattern can match an event a hook is told of:
// "case.<action>", "notice.<kind>", "consent.<action>", "suppression.<action>",
// and "*" alone or as a last word.
func CheckEvent(pattern string) error {
	family, word, ok := strings.Cut(pattern, ".")
	switch {
	case pattern == "*" || ok && word == "*" && (family == "case" || family == "notice" || consentWords[family] != nil):
		return nil
	case ok && slices.Contains(consentWords[family], word):
		return nil
	case ok && family == "case" && slices.Contains(allActions, Action(word)):
		return nil
	case ok && family == "notice" && slices.Contains(noticeKinds, word):
		return nil
	}
	return fmt.Errorf("%q is no event: write case.ACTION, notice.KIND, consent.ACTION or suppression.ACTION, as in case.answer, notice.overdue, or case.*", pattern)
}

// takes tells whether a hook wants an event of a controller.
func (h Hook) takes(event, controller string) bool {
	if len(h.Controllers) > 0 && !slices.Contains(h.Controllers, controller) {
		return false
	}
	if len(h.Events) == 0 {
		return true
	}
	family, _, _ := strings.Cut(event, ".")
	return slices.ContainsFunc(h.Events, func(p string) bool { return p == "*" || p == event || p == family+".*" })
}

// target is the controller's own aim in working days.
func (q *Queue) target(controller string) int {
	if n := q.rules().Handling[controller].Target; n > 0 {
		return n
	}
	return 5
}

// fourEyes tells whether an act needs a second operator.
func (q *Queue) fourEyes(controller, act string) bool {
	return slices.Contains(q.rules().Handling[controller].FourEyes, act)
}

// heldByLaw gives the configured legal hold on a controller's cases, if any.
func (q *Queue) heldByLaw(controller string) (LegalHold, bool) {
	for _, h := range q.rules().LegalHolds {
		if h.Controller == controller && (h.Until.IsZero() || q.o.Now().Before(h.Until)) {
			return h, true
		}
	}
	return LegalHold{}, false
}

// customer finds the customer whose mail domain an address has.
func (q *Queue) customer(controller string, a address.Address) (Customer, bool) {
	for _, c := range q.rules().Customers {
		if c.Controller == controller && slices.ContainsFunc(c.Domains, func(d string) bool { return strings.EqualFold(d, a.Domain()) }) {
			return c, true
		}
	}
	return Customer{}, false
}

func (q *Queue) checkHandling(o *Options) error {
	for id, h := range o.Handling {
		if err := CheckPolicy(h.Policy); err != nil {
			return fmt.Errorf("controller %q: %w", id, err)
		}
		if h.StaffLanguage != "" && q.staff.Find(h.StaffLanguage) == nil {
			return fmt.Errorf("controller %q: no texts in staff language %q", id, h.StaffLanguage)
		}
		for _, act := range h.FourEyes {
			if act != EyesErase && act != EyesDeny {
				return fmt.Errorf("controller %q: four eyes on %q are not known", id, act)
			}
		}
		for _, n := range h.Notices {
			if _, err := time.Parse(time.DateOnly, n.Version); err != nil {
				return fmt.Errorf("controller %q: the version of a notice is a date: %w", id, err)
			}
		}
	}
	for _, h := range o.Hooks {
		if h.Webhook == nil || h.Name == "" {
			return fmt.Errorf("hook %q: a name and a webhook are needed", h.Name)
		}
		for _, e := range h.Events {
			if err := CheckEvent(e); err != nil {
				return fmt.Errorf("hook %q: %w", h.Name, err)
			}
		}
	}
	return nil
}
