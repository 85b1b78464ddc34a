package consent

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// ImportOptions say whose list is read and what is known of it as a whole.
type ImportOptions struct {
	Controller   string
	Purpose      string // for rows that name none
	Format       Format // "" finds it by the header line
	Name         string // of the file: it becomes the source where a row has none of its own
	Basis        Basis  // for rows that name none; "" is express
	Source       string // where consent was asked, for rows that do not say
	Wording      string // the full text shown, for rows that do not say
	WordingVer   string
	Language     string
	Jurisdiction string
	Actor        string // as in ledger.Record; "" is "import"
	Subscribed   bool   // the operator's word that rows of whom the export does not tell are subscribed
	DryRun       bool   // judge every row, store nothing
	// Progress, if set, is called about every thousand rows and at the end.
	Progress func(Report) `json:"-"`
	// OnRefused, if set, is called for every row that is not taken, so that
	// the report need not hold them all.
	OnRefused func(Refusal) `json:"-"`
}

// Refusal is one row that was not taken. It never holds the address.
type Refusal struct {
	Line   int    `json:"line"`   // row of the file, the header is 1
	Reason string `json:"reason"` // what to mend
}

// Report is what an import did, or in a dry run would do.
type Report struct {
	Format      Format    `json:"format"`
	DryRun      bool      `json:"dry_run"`
	Rows        int       `json:"rows"`         // data rows read
	Active      int       `json:"active"`       // consents with full evidence
	Unproven    int       `json:"unproven"`     // without time, source or wording: stored, never mailed (CON-17)
	Pending     int       `json:"pending"`      // sign-ups without confirmation: left out
	Suppressed  int       `json:"suppressed"`   // opt-outs, complaints and bounces taken over
	Kept        int       `json:"kept"`         // rows of persons who said no: stored as history, without effect
	Repeated    int       `json:"repeated"`     // already known from an earlier import
	RefusedRows int       `json:"refused_rows"` // not taken
	Refused     []Refusal `json:"refused"`      // the first 1,000 of them
}

// Summary tells the report in one line.
func (r Report) Summary() string {
	did := "imported"
	if r.DryRun {
		did = "would be imported"
	}
	return fmt.Sprintf("%d rows of format %s %s: %d active, %d unproven (not mailed until proven), %d opt-outs taken over, "+
		"%d kept without effect because the person said no, %d already known, %d unconfirmed sign-ups left out, %d refused",
		r.Rows, r.Format, did, r.Active, r.Unproven, r.Suppressed, r.Kept, r.Repeated, r.Pending, r.RefusedRows)
}

const (
	maxRefusals  = 1000
	maxImportRow = 64 << 10
	progressStep = 1000
)

// Import reads a CSV export of another tool or the own format (documented at
// FormatPostern). It never revives an opt-out; rows without time, source or
// wording become unproven. Every row that is not taken is reported. Repeating
// an import changes nothing. Errors: an unreadable header, options that lack
// the controller, the reader's, and such that wrap ErrStoreUnavailable; what
// was stored before one of them stays.
func (r *Registry) Import(ctx context.Context, in io.Reader, o ImportOptions) (Report, error) {
	if !plainName(o.Controller) {
		return Report{}, fmt.Errorf("%w: import without a controller", ErrRefused)
	}
	if o.Actor == "" {
		o.Actor = "import"
	}
	rows := csv.NewReader(skipBOM(in))
	rows.FieldsPerRecord, rows.ReuseRecord, rows.LazyQuotes = -1, true, true
	header, err := rows.Read()
	if err != nil {
		return Report{}, fmt.Errorf("read header line: %w", err)
	}
	if len(header) == 1 {
		if sep := separatorOf(header[0]); sep != 0 {
			rows.Comma = sep
			if header, err = splitHeader(header[0], sep); err != nil {
				return Report{}, fmt.Errorf("read header line: %w", err)
			}
		}
	}
	m, err := mapHeader(header, o.Format, o.Name)
	if err != nil {
		return Report{}, err
	}
	im := importer{r: r, o: o, m: m, rep: Report{Format: m.format, DryRun: o.DryRun}, terms: map[Terms]storedTerms{}, now: r.opts.Now()}
	err = im.all(ctx, rows)
	if o.Progress != nil {
		o.Progress(im.rep)
	}
	return im.rep, err
}

// importer is one import on its way.
type importer struct {
	r     *Registry
	o     ImportOptions
	m     mapping
	rep   Report
	terms map[Terms]storedTerms
	now   time.Time

	consents []consentRow
	opts     []suppRow
}

type storedTerms struct {
	hash termsHash
	full string
}

type consentRow struct {
	row   int
	event Event
	full  bool // evidence is complete
}

type suppRow struct {
	row int
	s   Suppression
}

func (im *importer) all(ctx context.Context, rows *csv.Reader) error {
	for row := 2; ; row++ {
		fields, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return im.flush(ctx)
		}
		im.rep.Rows++
		var bad *csv.ParseError
		switch {
		case errors.As(err, &bad):
			im.refuse(row, "not readable as CSV: "+bad.Err.Error())
			continue
		case err != nil:
			return fmt.Errorf("read row %d: %w", row, err)
		}
		im.take(row, fields)
		if len(im.consents)+len(im.opts) >= applyBatch {
			if err := im.flush(ctx); err != nil {
				return err
			}
		}
		if im.o.Progress != nil && im.rep.Rows%progressStep == 0 {
			im.o.Progress(im.rep)
		}
	}
}

func (im *importer) refuse(row int, reason string) {
	im.rep.RefusedRows++
	x := Refusal{row, strings.ReplaceAll(reason, "\n", "; ")}
	if len(im.rep.Refused) < maxRefusals {
		im.rep.Refused = append(im.rep.Refused, x)
	}
	if im.o.OnRefused != nil {
		im.o.OnRefused(x)
	}
}

// take judges one row.
func (im *importer) take(row int, fields []string) {
	size := 0
	for _, f := range fields {
		size += len(f)
	}
	if size > maxImportRow {
		im.refuse(row, "the row is over 64 KiB")
		return
	}
	x, err := im.m.read(fields)
	if err != nil {
		im.refuse(row, err.Error())
		return
	}
	a, err := address.Parse(x.address)
	if err != nil {
		im.refuse(row, "address: "+err.Error())
		return
	}
	switch x.state {
	case rowUnconfirmed:
		im.rep.Pending++
		return
	case rowConsent:
		im.takeConsent(row, x, a)
	default:
		im.takeOptOut(row, x, a)
	}
}

func (im *importer) takeConsent(row int, x importRow, a address.Address) {
	o := im.o
	e := Event{
		Time: x.time, Action: Given, Controller: o.Controller, Purpose: or(x.purpose, o.Purpose), Address: a,
		Basis: Basis(or(x.basis, string(o.Basis), string(Express))), Method: "import", Source: or(x.source, o.Source),
		Wording: or(x.wording, o.Wording), WordingVer: or(x.wordingVer, o.WordingVer), Language: or(x.language, o.Language),
		Jurisdiction: or(x.jurisdiction, o.Jurisdiction), Expires: x.expires, IP: x.ip, Actor: o.Actor,
	}
	if x.confirmed {
		e.Action = Confirmed
	}
	if e.Basis == SoftOpt {
		e.Conditions = x.conditions
	}
	full := !e.Time.IsZero() && e.Source != "" && (e.Wording != "" && e.WordingVer != "" || e.Basis == SoftOpt)
	full = full && (!x.unclear || o.Subscribed)
	if e.Source == "" {
		e.Source = o.Name
	}
	probe := e
	if !full { // judge the rest as if it were there
		probe.Source, probe.Wording, probe.WordingVer = or(e.Source, "?"), or(e.Wording, "?"), or(e.WordingVer, "?")
	}
	if err := checkEvent(probe, im.now); err != nil {
		im.refuse(row, err.Error())
		return
	}
	if probe.Time.IsZero() {
		probe.Time = im.now
	}
	rule := ruleFor(im.r.opts.Rules, e.Jurisdiction, probe.Time)
	full = full && (!rule.DoubleOptIn || x.confirmed || e.Basis != Express)
	judged, err := rule.judge(probe)
	if err != nil {
		im.refuse(row, err.Error())
		return
	}
	e.Expires = judged.Expires
	im.consents = append(im.consents, consentRow{row, e, full})
}

func (im *importer) takeOptOut(row int, x importRow, a address.Address) {
	s := Suppression{
		Time: x.time, Controller: im.o.Controller, Address: a, Scope: ScopeController, Reason: x.reason,
		Source: "import:" + im.o.Name, Actor: im.o.Actor,
	}
	if p := or(x.purpose, im.o.Purpose); p != "" && x.reason == Unsubscribed && !x.everything {
		s.Scope, s.Purpose = ScopePurpose, p
	}
	if err := checkSuppression(s); err != nil {
		im.refuse(row, err.Error())
		return
	}
	im.opts = append(im.opts, suppRow{row, s})
}

func or(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// flush stores what was taken: opt-outs first, so that nothing is mailable in
// between.
func (im *importer) flush(ctx context.Context) error {
	defer func() { im.consents, im.opts = im.consents[:0], im.opts[:0] }()
	if err := im.flushOptOuts(ctx); err != nil {
		return err
	}
	return im.flushConsents(ctx)
}

func (im *importer) flushOptOuts(ctx context.Context) error {
	if len(im.opts) == 0 {
		return nil
	}
	if im.o.DryRun {
		im.rep.Suppressed += len(im.opts)
		return nil
	}
	changes := make([]*change, len(im.opts))
	recs := make([]ledger.Record, len(im.opts))
	for i, x := range im.opts {
		subject := im.r.ring.Identify(x.s.Controller, x.s.Address).ID
		stamp := ""
		if !x.s.Time.IsZero() {
			stamp = x.s.Time.UTC().Format(time.RFC3339Nano)
		} else {
			x.s.Time = im.now
		}
		id := hashID("import", string(x.s.Reason), string(x.s.Scope), x.s.Purpose, stamp)
		e := suppEntry{
			id: id, op: opSet, at: x.s.Time.UnixMilli(), reason: x.s.Reason, scope: x.s.Scope,
			purpose: x.s.Purpose, source: x.s.Source, actor: x.s.Actor,
		}
		changes[i] = &change{subject: subject, controller: x.s.Controller, parts: []part{{fieldSuppression, string(e.encode())}}}
		recs[i] = x.s.record(subject, id)
	}
	if err := im.r.journal.write(changes, recs); err != nil {
		return err
	}
	added, err := bounded(ctx, im.r, im.r.opts.WriteTimeout, func(ctx context.Context) ([]int, error) {
		return im.r.applyJournalled(ctx, changes)
	})
	if err != nil {
		im.r.journal.setStuck(changes)
		return fmt.Errorf("import opt-outs: %w", err)
	}
	for _, n := range added {
		if n > 0 {
			im.rep.Suppressed++
		} else {
			im.rep.Repeated++
		}
	}
	return nil
}

func (im *importer) flushConsents(ctx context.Context) error {
	if len(im.consents) == 0 {
		return nil
	}
	_, err := bounded(ctx, im.r, im.r.opts.WriteTimeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, im.storeConsents(ctx)
	})
	if err != nil {
		return fmt.Errorf("import consents: %w", err)
	}
	return nil
}

func (im *importer) storeConsents(ctx context.Context) error {
	kept, err := im.optedOut(ctx)
	if err != nil {
		return err
	}
	changes := make([]*change, len(im.consents))
	recs := make([]ledger.Record, len(im.consents))
	for i, x := range im.consents {
		who := im.r.ring.Identify(x.event.Controller, x.event.Address)
		terms, err := im.termsFor(ctx, x.event)
		if err != nil {
			return err
		}
		e := x.event
		en := entry{action: e.Action, basis: e.Basis, at: e.Time.UnixMilli(), imported: true, unproven: !x.full, terms: terms.hash}
		stamp := "?"
		if e.Time.IsZero() {
			en.at, e.Time = im.now.UnixMilli(), im.now
		} else {
			stamp = e.Time.UTC().Format(time.RFC3339Nano)
		}
		if !e.Expires.IsZero() {
			en.expires = e.Expires.Unix()
		}
		en.extras = extras{IP: e.IP}.encode()
		en.id = hashID("import", e.Purpose, string(who.Exact[:]), string(e.Action), stamp, terms.hash.String())
		changes[i] = &change{subject: who.ID, controller: e.Controller, parts: []part{{consentField(who.Exact, e.Purpose), string(en.encode())}}}
		recs[i] = recordOf(e, who.ID, en.id, terms.full)
	}
	added := make([]int, len(changes))
	for i := range added {
		added[i] = 1
	}
	if !im.o.DryRun {
		if err := im.r.journal.record(recs); err != nil {
			return err
		}
		if added, err = im.r.apply(ctx, changes); err != nil {
			return err
		}
	}
	for i, x := range im.consents {
		switch {
		case added[i] == 0:
			im.rep.Repeated++
		case kept[i]:
			im.rep.Kept++
		case x.full:
			im.rep.Active++
		default:
			im.rep.Unproven++
		}
	}
	return nil
}

// optedOut tells for each consent row whether the person said no before.
func (im *importer) optedOut(ctx context.Context) ([]bool, error) {
	out := make([]bool, len(im.consents))
	var f folder
	for from := 0; from < len(im.consents); {
		// Rows of one purpose are asked together.
		to := from + 1
		for to < len(im.consents) && im.consents[to].event.Purpose == im.consents[from].event.Purpose {
			to++
		}
		var qs []question
		for _, x := range im.consents[from:to] {
			qs = append(qs, im.r.question(im.o.Controller, x.event.Purpose, 0, x.event.Address))
		}
		replies, err := im.r.read(ctx, im.consents[from].event.Purpose, qs)
		if err != nil {
			return nil, err
		}
		for i, q := range qs {
			a, err := f.answer(q, replies[:len(q.ids)], im.now)
			if err != nil {
				return nil, err
			}
			replies = replies[len(q.ids):]
			out[from+i] = a.Suppressed != "" || a.Status == StatusWithdrawn || a.Status == StatusObjected
		}
		from = to
	}
	return out, nil
}

func (im *importer) termsFor(ctx context.Context, e Event) (storedTerms, error) {
	t := termsOf(e)
	if had, ok := im.terms[t]; ok {
		return had, nil
	}
	text, hash, full, err := t.encode()
	if err == nil && !im.o.DryRun {
		err = im.r.storeTerms(ctx, text, hash)
	}
	if err != nil {
		return storedTerms{}, err
	}
	if len(im.terms) > 10_000 { // rows with a source each: do not hold them all
		clear(im.terms)
	}
	im.terms[t] = storedTerms{hash, full}
	return im.terms[t], nil
}
