package consent

import (
	"context"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"postern/gateway/address"
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
	// Suppress makes the import one of suppressions alone, with this reason for
	// rows that name none; a row that says consent is refused, and a file
	// without header is a list of addresses. SuppressScope is how far they
	// reach where a row does not say: purpose, controller (default) or all.
	Suppress      Reason
	SuppressScope Scope
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
	if o.Suppress != "" && len(header) == 1 {
		if _, err := address.Parse(strings.TrimSpace(header[0])); err == nil { // a bare list
			im := newImporter(r, o, mapping{format: FormatPostern, column: map[string]int{"address": 0}, row: readPostern})
			im.rep.Rows++
			im.take(1, header)
			return im.run(ctx, rows, 2)
		}
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
	return newImporter(r, o, m).run(ctx, rows, 2)
}

func newImporter(r *Registry, o ImportOptions, m mapping) *importer {
	return &importer{r: r, o: o, m: m, rep: Report{Format: m.format, DryRun: o.DryRun}, terms: map[Terms]storedTerms{}, now: r.opts.Now()}
}

func (im *importer) run(ctx context.Context, rows *csv.Reader, first int) (Report, error) {
	err := im.all(ctx, rows, first)
	if im.o.Progress != nil {
		im.o.Progress(im.rep)
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
	who   address.Identity
	full  bool // evidence is complete
}

type suppRow struct {
	row int
	s   Suppression
}

// personOf finds whom a row is about: by the address, or by the keyed hashes
// that an export has in its place.
func (im *importer) personOf(x importRow) (a address.Address, who address.Identity, err error) {
	if x.address == "" && x.subject != "" {
		if !im.knows(x.keys) {
			return a, who, errors.New("subject: made with a key that is not known here, so it would bind nobody: admit that key, or import addresses")
		}
		if who.ID, err = address.ParseSubjectID(x.subject); err != nil {
			return a, who, fmt.Errorf("subject: %w", err)
		}
		if b, err := hex.DecodeString(x.form); err != nil || len(b) != len(who.Exact) && x.form != "" {
			return a, who, errors.New("form: not the hash of an address")
		} else {
			copy(who.Exact[:], b)
		}
		return a, who, nil
	}
	if a, err = address.Parse(x.address); err != nil {
		return a, who, fmt.Errorf("address: %w", err)
	}
	return a, im.r.ring.Identify(im.o.Controller, a), nil
}

// knows tells whether every key that hashes of a row may have been made with is
// live here: under any other nobody would ever be found.
func (im *importer) knows(keys string) bool {
	own := im.r.ring.Fingerprints()
	list := strings.Fields(keys)
	for _, k := range list {
		if !slices.Contains(own, k) {
			return false
		}
	}
	return len(list) > 0
}

func (im *importer) all(ctx context.Context, rows *csv.Reader, first int) error {
	for row := first; ; row++ {
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
	a, who, err := im.personOf(x)
	if err != nil {
		im.refuse(row, err.Error())
		return
	}
	if im.o.Suppress != "" && x.state != rowOptOut {
		if x.confirmed || x.state == rowUnconfirmed || x.unproven {
			im.refuse(row, "action: the row is no opt-out; consents are read by another import")
			return
		}
		x.optOut(im.o.Suppress)
		if x.scope == "" {
			x.scope = Scope(or(string(im.o.SuppressScope), string(ScopeController)))
		}
	}
	switch x.state {
	case rowUnconfirmed:
		im.rep.Pending++
		return
	case rowConsent:
		im.takeConsent(row, x, a, who)
	default:
		im.takeOptOut(row, x, who)
	}
}

func (im *importer) takeConsent(row int, x importRow, a address.Address, who address.Identity) {
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
	full = full && (!x.unclear || o.Subscribed) && !x.unproven
	if e.Source == "" {
		e.Source = o.Name
	}
	probe := e
	if !full { // judge the rest as if it were there
		probe.Source, probe.Wording, probe.WordingVer = or(e.Source, "?"), or(e.Wording, "?"), or(e.WordingVer, "?")
	}
	if err := refusal(checkFields(probe, im.now)); err != nil {
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
	im.consents = append(im.consents, consentRow{row, e, who, full})
}

func (im *importer) takeOptOut(row int, x importRow, who address.Identity) {
	s := Suppression{
		Time: x.time, Controller: im.o.Controller, Subject: who.ID, Scope: ScopeController, Reason: x.reason,
		Source: "import:" + im.o.Name, Actor: im.o.Actor,
	}
	if p := or(x.purpose, im.o.Purpose); p != "" && x.reason == Unsubscribed && !x.everything {
		s.Scope, s.Purpose = ScopePurpose, p
	}
	switch x.scope { // said by the row, it counts
	case ScopeAll, ScopeController:
		s.Scope, s.Purpose = x.scope, ""
	case ScopeStream:
		s.Scope, s.Stream, s.Purpose = ScopeStream, x.stream, ""
	case ScopePurpose:
		s.Scope, s.Purpose = ScopePurpose, or(x.purpose, im.o.Purpose)
	case "":
	default:
		im.refuse(row, "scope: none of purpose, controller, stream, all")
		return
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
