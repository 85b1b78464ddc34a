package consent

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
	"postern/gateway/stream"
)

// WriteJSON writes a profile as indented JSON: the person's own copy (GDPR
// Art. 15, ST-10). It holds no address; who asks for it knows whose it is.
func (p Profile) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(p); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return nil
}

// exportColumns are the own import format, so that an export reads back, and
// what is known beyond it. Where Redis does not know an address its keyed
// hashes stand in its place.
var exportColumns = []string{
	"address", "subject", "form", "action", "time", "purpose", "basis", "method", "wording", "wording_version", "source", "language",
	"jurisdiction", "policy_url", "conditions", "expires", "ip", "reason", "scope", "stream", "case", "actor", "ended", "ended_by", "id", "keys",
}

// ExportOptions choose what an export holds.
type ExportOptions struct {
	Controller string
	// Address, if set, is the one person exported. Only then can rows hold an
	// address in clear.
	Address address.Address
	// Only is "" for everything, "suppressions" for those alone.
	Only string
}

// Export writes consents and suppressions as CSV, a line per event, in the
// format that Import reads back, and tells how many lines there are beside the
// header. Lines come in no order. Errors wrap ErrStoreUnavailable or
// ErrDamaged, or are the writer's.
func (r *Registry) Export(ctx context.Context, o ExportOptions, w io.Writer) (int, error) {
	out := csv.NewWriter(w)
	if err := out.Write(exportColumns); err != nil {
		return 0, fmt.Errorf("write export: %w", err)
	}
	x := exporter{r: r, out: out, o: o, terms: map[termsHash]Terms{}, keys: strings.Join(r.ring.Fingerprints(), " ")}
	if err := r.exported(ctx, o, x.page); err != nil {
		return x.lines, fmt.Errorf("export consents: %w", err)
	}
	out.Flush()
	return x.lines, out.Error()
}

// exported walks what an export holds, in pages.
func (r *Registry) exported(ctx context.Context, o ExportOptions, page func(context.Context, []address.SubjectID) error) error {
	bound := func(ids []address.SubjectID) error {
		return within(ctx, r.opts.WriteTimeout, func(ctx context.Context) error { return page(ctx, ids) })
	}
	if o.Address.IsZero() {
		return r.eachSubject(ctx, bound)
	}
	var ids []address.SubjectID
	for _, x := range r.ring.Identities(o.Controller, o.Address) {
		ids = append(ids, x.ID)
	}
	return bound(ids)
}

// ExportProfiles writes what is held as JSON lines, one profile a line; as
// with linked set JSON-LD documents of ISO/IEC TS 27560 shape, one a line. It
// tells how many there are. Errors are those of Export.
func (r *Registry) ExportProfiles(ctx context.Context, o ExportOptions, c stream.Controller, linked bool, w io.Writer) (n int, err error) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	err = r.exported(ctx, o, func(ctx context.Context, ids []address.SubjectID) error {
		groups := [][]address.SubjectID{ids}
		if o.Address.IsZero() {
			groups = groups[:0]
			for _, id := range ids {
				groups = append(groups, []address.SubjectID{id})
			}
		}
		for _, group := range groups {
			p, err := r.profile(ctx, o.Controller, group)
			if errors.Is(err, ErrNotFound) || err == nil && len(p.Consents)+len(p.Suppressions) == 0 {
				continue // of another controller, or nothing is held
			}
			if err != nil {
				return err
			}
			var doc any = struct {
				Subject string `json:"subject"`
				Profile
			}{group[0].String(), p}
			if linked {
				doc = p.linked(c)
			}
			if err := enc.Encode(doc); err != nil {
				return fmt.Errorf("write export: %w", err)
			}
			n++
		}
		return nil
	})
	if err != nil {
		return n, fmt.Errorf("export profiles: %w", err)
	}
	return n, nil
}

// exporter is one export on its way.
type exporter struct {
	r     *Registry
	out   *csv.Writer
	o     ExportOptions
	lines int
	terms map[termsHash]Terms
	keys  string // fingerprints of the keys that subjects and forms are made with
}

func (x *exporter) page(ctx context.Context, ids []address.SubjectID) error {
	pipe := x.r.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(ids))
	waiting := make([][]*change, len(ids))
	for i, id := range ids {
		waiting[i] = x.r.journal.waitingFor(id)
		cmds[i] = pipe.HGetAll(ctx, subjectKey(id))
	}
	_, _ = pipe.Exec(ctx) // each command keeps its own error
	for i, id := range ids {
		fields, err := cmds[i].Result()
		if err != nil {
			return err
		}
		of := fields[fieldController]
		for _, c := range waiting[i] {
			of = c.controller
		}
		if of != x.o.Controller {
			continue
		}
		if err := x.subject(ctx, id, fields, waiting[i]); err != nil {
			return fmt.Errorf("subject %s: %w", id, err)
		}
	}
	return nil
}

// plain is the address of a form where it is the one asked about: an opt-out
// of every form, or that exact form.
func (x *exporter) plain(id address.SubjectID, form address.ExactHash) string {
	if x.o.Address.IsZero() {
		return ""
	}
	for _, who := range x.r.ring.Identities(x.o.Controller, x.o.Address) {
		if who.ID == id && (form == anyForm || form == who.Exact) {
			return x.o.Address.Plain()
		}
	}
	return ""
}

func (x *exporter) subject(ctx context.Context, id address.SubjectID, fields map[string]string, waiting []*change) error {
	logs, supp, err := decodeSubject(fields, waiting)
	if err != nil {
		return err
	}
	for key, events := range logs {
		for _, e := range events {
			if x.o.Only != "" {
				continue
			}
			t, err := x.termsOf(ctx, e.terms)
			if err != nil {
				return err
			}
			own, err := decodeExtras(e.extras)
			if err != nil {
				return err
			}
			x.lines++
			err = x.out.Write([]string{
				x.plain(id, key.exact), id.String(), key.exact.String(), actionOf(e), stamp(e.time()), key.purpose, string(e.basis), t.Method, t.Wording,
				t.WordingVer, t.Source, t.Language, t.Jurisdiction, t.PolicyURL, conditions(t, e), stamp(e.expiry()), own.IP,
				"", "", "", "", t.Actor, "", "", e.id.of(id), x.keys,
			})
			if err != nil {
				return err
			}
		}
	}
	for _, e := range supp {
		if e.op != opSet {
			continue
		}
		s := suppressionRecord(x.o.Controller, id, supp, e)
		x.lines++
		err := x.out.Write([]string{
			x.plain(id, anyForm), id.String(), "", "suppressed", stamp(s.Time), s.Purpose, "", "", "", "", s.Source, "", "", "", "", "", "",
			string(s.Reason), string(s.Scope), strconv.Itoa(int(s.Stream)), s.Case, s.Actor, stamp(s.Ended), s.EndedBy, s.ID, x.keys,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// conditions are the four facts of a soft opt-in as yes and no.
func conditions(t Terms, e entry) string {
	if e.basis != SoftOpt {
		return ""
	}
	out := []byte("nnnn")
	for i, yes := range t.Conditions {
		if yes {
			out[i] = 'y'
		}
	}
	return string(out)
}

// actionOf is the word of the own format for an event.
func actionOf(e entry) string {
	switch {
	case e.pending:
		return "unconfirmed"
	case e.unproven:
		return "unproven"
	}
	return string(e.action)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (x *exporter) termsOf(ctx context.Context, h termsHash) (Terms, error) {
	if t, ok := x.terms[h]; ok {
		return t, nil
	}
	t, err := x.r.loadTerms(ctx, h)
	if err != nil {
		return t, err
	}
	if len(x.terms) > 10_000 {
		clear(x.terms)
	}
	x.terms[h] = t
	return t, nil
}
