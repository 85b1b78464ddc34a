package api

import (
	"bytes"
	"errors"
	"time"

	"postern/gateway/address"
	"postern/gateway/consent"
	"postern/gateway/stream"
	"postern/gateway/throttle"
	"postern/gateway/unsubscribe"
	"postern/queue"
)

// signUpRequest begins a double opt-in.
type signUpRequest struct {
	Stream         string `json:"stream"`
	Address        string `json:"address"`
	Wording        string `json:"wording"`
	WordingVersion string `json:"wording_version"`
	Source         string `json:"source"`
	Language       string `json:"language"`
	Jurisdiction   string `json:"jurisdiction"`
}

// signUpsPerMinute bounds how many sign-ups one token may bring, so that a
// leaked one can't be used to bomb mailboxes.
const signUpsPerMinute = 120

// signUp answers the same for every address: nothing tells who is known.
func signUp(c *call) (answer, error) {
	var r signUpRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	to, err := person("address", r.Address)
	if err != nil {
		return answer{}, err
	}
	within, err := c.a.d.Limits.Take(c.ctx(), throttle.Limit{Name: "api-sign-up", Most: signUpsPerMinute, Window: time.Minute}, c.token.ID)
	if err != nil {
		return answer{}, err
	}
	if !within {
		return answer{}, tooMany()
	}
	st, known := c.a.d.Streams().ByName(r.Stream)
	who, configured := c.a.d.Streams().Controller(st.Controller)
	switch {
	case !known || !configured:
		return answer{}, bad("stream", "is not configured")
	case r.Wording == "" || r.Source == "":
		return answer{}, bad("wording", "and source are needed")
	}
	if r.WordingVersion == "" {
		r.WordingVersion = wordingVersion(r.Wording)
	}
	_, err = c.a.d.SignUps.Invite(c.ctx(), unsubscribe.Invitation{
		Controller: who, Stream: st, To: to, Language: r.Language, Method: "api", Source: r.Source, Wording: r.Wording,
		WordingVer: r.WordingVersion, Jurisdiction: r.Jurisdiction, Actor: c.actor(),
	})
	if err != nil && !errors.Is(err, unsubscribe.ErrEnough) {
		return answer{}, err
	}
	return answer{status: 202, body: map[string]string{"status": "pending"}}, nil
}

// wordingVersion names a wording by its content, where the client does not.
func wordingVersion(wording string) string { return "api-" + hashOf(wording)[:12] }

// grantRequest is a consent given elsewhere, with its evidence (CON-4).
type grantRequest struct {
	Controller     string    `json:"controller"`
	Purpose        string    `json:"purpose"`
	Address        string    `json:"address"`
	Time           time.Time `json:"time"`
	Basis          string    `json:"basis"`
	Wording        string    `json:"wording"`
	WordingVersion string    `json:"wording_version"`
	Source         string    `json:"source"`
	Language       string    `json:"language"`
	Jurisdiction   string    `json:"jurisdiction"`
	PolicyURL      string    `json:"policy_url"`
	Expires        time.Time `json:"expires"`
	Conditions     *[4]bool  `json:"conditions"`
	Confirmed      bool      `json:"confirmed"`
}

type idAnswer struct {
	ID string `json:"id"`
}

// grant stores a consent. confirmed says that the person confirmed it by a mail
// elsewhere (double opt-in).
func grant(c *call) (answer, error) {
	var r grantRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	e := consent.Event{
		ID: c.event(), Time: r.Time, Action: consent.Given, Purpose: r.Purpose, Basis: consent.Basis(r.Basis), Method: "api", Source: r.Source,
		Wording: r.Wording, WordingVer: r.WordingVersion, Language: r.Language, Jurisdiction: r.Jurisdiction, PolicyURL: r.PolicyURL,
		Expires: r.Expires, Actor: c.actor(),
	}
	if e.Basis == "" {
		e.Basis = consent.Express
	}
	if e.WordingVer == "" && e.Wording != "" {
		e.WordingVer = wordingVersion(e.Wording)
	}
	if r.Confirmed {
		e.Action = consent.Confirmed
	}
	if r.Conditions != nil {
		e.Conditions = *r.Conditions
	}
	return c.record(e, r.Controller, r.Address)
}

// withdrawalRequest is a no: it binds at once, also what is spooled.
type withdrawalRequest struct {
	Controller string    `json:"controller"`
	Purpose    string    `json:"purpose"`
	Address    string    `json:"address"`
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	Source     string    `json:"source"`
}

func withdraw(c *call) (answer, error) {
	var r withdrawalRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	e := consent.Event{ID: c.event(), Time: r.Time, Purpose: r.Purpose, Method: "api", Source: r.Source, Actor: c.actor()}
	switch r.Kind {
	case "", "withdrawn":
		e.Action = consent.Withdrawn
	case "objected":
		e.Action = consent.Objected
	default:
		return answer{}, bad("kind", "is neither withdrawn nor objected")
	}
	return c.record(e, r.Controller, r.Address)
}

func (c *call) record(e consent.Event, controller, plain string) (answer, error) {
	var err error
	if e.Controller, err = c.controller(controller); err != nil {
		return answer{}, err
	}
	if e.Address, err = person("address", plain); err != nil {
		return answer{}, err
	}
	if e.Time.After(c.now().Add(time.Minute)) {
		return answer{}, bad("time", "is in the future")
	}
	id, err := c.a.d.Consent.Record(c.ctx(), e)
	if err != nil {
		return answer{}, err
	}
	return created(idAnswer{id})
}

// checkRequest asks whether mail of a stream may go to people.
type checkRequest struct {
	Stream    string   `json:"stream"`
	Addresses []string `json:"addresses"`
}

// checked is the answer for one address, in the order asked. It does not repeat
// the address.
type checked struct {
	Allowed    bool   `json:"allowed"`
	Subject    string `json:"subject"` // as events name the person
	Status     string `json:"status"`  // of the consent, "none" where nothing is known
	Basis      string `json:"basis,omitempty"`
	Suppressed string `json:"suppressed,omitempty"`
	Scope      string `json:"scope,omitempty"`
	Evidence   string `json:"evidence,omitempty"`
}

const mostChecked = 1000

// check asks the store as the relay does. The relay asks again when the mail
// comes: an answer here is a forecast.
func check(c *call) (answer, error) {
	var r checkRequest
	if err := c.read(&r); err != nil {
		return answer{}, err
	}
	st, known := c.a.d.Streams().ByName(r.Stream)
	switch {
	case !known:
		return answer{}, bad("stream", "is not configured")
	case len(r.Addresses) == 0 || len(r.Addresses) > mostChecked:
		return answer{}, bad("addresses", "are not 1 to %d", mostChecked)
	}
	list := make([]address.Address, len(r.Addresses))
	for i, plain := range r.Addresses {
		var err error
		if list[i], err = person("addresses", plain); err != nil {
			return answer{}, bad("addresses", "number %d is no mail address", i)
		}
	}
	purpose := ""
	if st.Kind == stream.Marketing {
		purpose = st.Purpose
	}
	found, err := c.a.d.Consent.Lookup(c.ctx(), st.Controller, purpose, st.Number, list)
	if err != nil {
		return answer{}, err
	}
	out := make([]checked, len(found))
	for i, f := range found {
		out[i] = judged(st, f)
		if f.Subject.IsZero() {
			f.Subject = c.a.d.Keyring.Identify(st.Controller, list[i]).ID
		}
		out[i].Subject = f.Subject.String()
	}
	return ok(map[string]any{"results": out})
}

// judged says what the relay in enforce mode would: service mail passes
// (CON-18), other mail is stopped by what reaches it, marketing needs an active
// consent too (design D3).
func judged(st stream.Stream, f consent.Answer) checked {
	k := checked{Status: string(f.Status), Basis: string(f.Basis), Suppressed: string(f.Suppressed), Scope: string(f.Scope), Evidence: f.Evidence}
	if k.Status == "" {
		k.Status = "none"
	}
	reached := f.Suppressed != "" && (st.Kind == stream.Marketing || f.Scope == consent.ScopeAll || f.Scope == consent.ScopeStream)
	switch st.Kind {
	case stream.Service:
		k.Allowed = true
	case stream.Marketing:
		k.Allowed = !reached && f.Status == consent.StatusActive
	default:
		k.Allowed = !reached
	}
	return k
}

type personRequest struct {
	Controller string `json:"controller"`
	Address    string `json:"address"`
}

// about reads whom a request is about and records the look.
func (c *call) about(what string) (string, address.Address, error) {
	var r personRequest
	if err := c.read(&r); err != nil {
		return "", address.Address{}, err
	}
	id, err := c.controller(r.Controller)
	if err != nil {
		return "", address.Address{}, err
	}
	who, err := person("address", r.Address)
	if err != nil {
		return "", who, err
	}
	return id, who, c.a.d.Cases.RecordView(c.ctx(), queue.View{Actor: c.actor(), Controller: id, Address: who, What: what})
}

// history gives all that is known of a person towards a controller.
func history(c *call) (answer, error) {
	controller, who, err := c.about("consents")
	if err != nil {
		return answer{}, err
	}
	p, err := c.a.d.Consent.Profile(c.ctx(), controller, who)
	if err != nil {
		return answer{}, err
	}
	if p.Consents == nil {
		p.Consents = []consent.Consent{}
	}
	if p.Suppressions == nil {
		p.Suppressions = []consent.SuppressionRecord{}
	}
	return ok(p)
}

// records gives a person's consent records as JSON-LD (ISO/IEC TS 27560).
func records(c *call) (answer, error) {
	controller, who, err := c.about("export")
	if err != nil {
		return answer{}, err
	}
	p, err := c.a.d.Consent.Profile(c.ctx(), controller, who)
	if err != nil {
		return answer{}, err
	}
	k, known := c.a.d.Streams().Controller(controller)
	if !known {
		return answer{}, errors.New("controller vanished from the configuration")
	}
	var b bytes.Buffer
	if err := p.WriteRecords(&b, k); err != nil {
		return answer{}, err
	}
	return answer{status: 200, raw: b.Bytes(), media: "application/ld+json"}, nil
}
