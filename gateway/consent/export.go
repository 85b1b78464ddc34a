package consent

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"postern/gateway/address"
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

// exportColumns are the own format with the subject in place of the address,
// which Redis does not know.
var exportColumns = []string{
	"subject", "form", "action", "time", "purpose", "basis", "method", "wording", "wording_version", "source", "language",
	"jurisdiction", "expires", "reason", "scope", "stream", "case", "actor", "ended", "ended_by", "id",
}

// Export writes everything of one controller as CSV, a line per consent event
// and suppression, with subject ids in place of addresses. Lines come in no
// order. Errors wrap ErrStoreUnavailable or ErrDamaged, or are the writer's.
func (r *Registry) Export(ctx context.Context, controller string, w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(exportColumns); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	x := exporter{r: r, out: out, terms: map[termsHash]Terms{}}
	err := r.eachSubject(ctx, func(ids []address.SubjectID) error {
		return within(ctx, r.opts.WriteTimeout, func(ctx context.Context) error { return x.page(ctx, controller, ids) })
	})
	if err != nil {
		return fmt.Errorf("export consents: %w", err)
	}
	out.Flush()
	return out.Error()
}

// exporter is one export on its way.
type exporter struct {
	r     *Registry
	out   *csv.Writer
	terms map[termsHash]Terms
}

func (x *exporter) page(ctx context.Context, controller string, ids []address.SubjectID) error {
	pipe := x.r.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.HGetAll(ctx, subjectKey(id))
	}
	_, _ = pipe.Exec(ctx) // each command keeps its own error
	for i, id := range ids {
		fields, err := cmds[i].Result()
		if err != nil {
			return err
		}
		if fields[fieldController] != controller {
			continue
		}
		if err := x.subject(ctx, controller, id, fields); err != nil {
			return fmt.Errorf("subject %s: %w", id, err)
		}
	}
	return nil
}

func (x *exporter) subject(ctx context.Context, controller string, id address.SubjectID, fields map[string]string) error {
	logs, supp, err := decodeSubject(fields, nil)
	if err != nil {
		return err
	}
	for key, events := range logs {
		for _, e := range events {
			t, err := x.termsOf(ctx, e.terms)
			if err != nil {
				return err
			}
			err = x.out.Write([]string{
				id.String(), key.exact.String(), actionOf(e), stamp(e.time()), key.purpose, string(e.basis), t.Method, t.Wording,
				t.WordingVer, t.Source, t.Language, t.Jurisdiction, stamp(e.expiry()), "", "", "", "", t.Actor, "", "", e.id.of(id),
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
		s := suppressionRecord(controller, id, supp, e)
		err := x.out.Write([]string{
			id.String(), "", "suppressed", stamp(s.Time), s.Purpose, "", "", "", "", s.Source, "", "", "", string(s.Reason),
			string(s.Scope), strconv.Itoa(int(s.Stream)), s.Case, s.Actor, stamp(s.Ended), s.EndedBy, s.ID,
		})
		if err != nil {
			return err
		}
	}
	return nil
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
