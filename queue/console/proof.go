package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/queue"
	"postern/queue/console/auth"
)

// Log is this node's ledger; *ledger.Ledger is one.
type Log interface {
	queue.Prover
	Checkpoint() ledger.Checkpoint
	PublicKey() string
	AnchoredAt() (time.Time, error)
	Unanchored() ([]string, error)
}

// proofTabs are the pages of Proof.
var proofTabs = []struct{ Name, Path string }{
	{"ledger", "/proof"}, {"automatic", "/proof/automatic"}, {"reports", "/proof/reports"}, {"processing", "/proof/processing"},
}

func (v *visit) tabs() []choice {
	var out []choice
	for _, t := range proofTabs {
		out = append(out, choice{t.Path, v.say("proof.tab_" + t.Name), v.r.URL.Path == t.Path})
	}
	return out
}

// month is the span a visitor asks for, this one where they ask for none.
type month struct {
	From, To     time.Time
	Before, Next string // as in ?month=
}

func (v *visit) month() (month, error) {
	loc, now := v.zone(""), v.now()
	at := time.Date(now.In(loc).Year(), now.In(loc).Month(), 1, 0, 0, 0, 0, loc)
	if text := v.r.URL.Query().Get("month"); text != "" {
		t, err := time.ParseInLocation("2006-01", text, loc)
		if err != nil || t.Year() < 2000 || t.After(now) {
			return month{}, errNotFound
		}
		at = t
	}
	m := month{From: at, To: at.AddDate(0, 1, 0), Before: at.AddDate(0, -1, 0).Format("2006-01")}
	if !m.To.After(now) {
		m.Next = m.To.Format("2006-01")
	}
	return m, nil
}

// MonthName is "November 2026" for headings.
func (v *visit) monthName(m month) string {
	return v.say("proof.month", "month", v.words.months[m.From.Month()-1], "year", strconv.Itoa(m.From.Year()))
}

// deletion is one run of a deletion job.
type deletion struct {
	At     time.Time
	Class  string
	Before time.Time
	Count  int64
	Oldest time.Time
	Actor  string
	Held   string
}

// proof shows the state of the ledger, who looked, and what was deleted.
func (c *Console) proof(v *visit) error { return v.showProof(map[string]any{}) }

func (v *visit) showProof(data map[string]any) error {
	c := v.c
	if c.d.Log == nil {
		return errNotFound
	}
	m, err := v.month()
	if err != nil {
		return err
	}
	anchored, err := c.d.Log.AnchoredAt()
	if err != nil {
		return err
	}
	waiting, err := c.d.Log.Unanchored()
	if err != nil {
		return err
	}
	runs, err := v.deletions(m)
	if err != nil {
		return err
	}
	views, err := v.views(m)
	if err != nil {
		return err
	}
	loc := v.zone("")
	head := c.d.Log.Checkpoint()
	data["Origin"], data["Size"], data["Root"], data["Key"] = head.Origin, head.Size, head.Root.String(), c.d.Log.PublicKey()
	data["Anchored"], data["Unanchored"], data["Month"], data["MonthName"] = inZone(anchored, loc), waiting, m, v.monthName(m)
	data["Runs"], data["Views"], data["Tabs"], data["Controllers"] = runs, views, v.tabs(), c.d.Streams().Controllers()
	if c.d.Verify != nil {
		s := c.verify.look()
		s.Begun, s.Ended = inZone(s.Begun, loc), inZone(s.Ended, loc)
		data["Verify"] = s
	}
	return v.page("proof", "proof.title", data)
}

// deletions are the runs of a month, newest first; a run that took several
// records is one line.
func (v *visit) deletions(m month) ([]deletion, error) {
	var out []deletion
	place := map[string]int{}
	loc := v.zone("")
	err := v.records(ledger.Filter{Kind: ledger.KindRetention, Since: m.From, Until: m.To}, func(e ledger.Entry) error {
		if e.Erased || e.Pruned {
			return nil
		}
		d := deletion{At: e.Time.In(loc), Class: cmp.Or(e.Data["class"], e.Reason), Actor: v.actor(e.Actor), Held: e.Data["held"]}
		if t, err := time.Parse(time.RFC3339, e.Data["before"]); err == nil {
			d.Before = t.In(loc)
		}
		if t, err := time.Parse(time.RFC3339, e.Data["oldest"]); err == nil {
			d.Oldest = t.In(loc)
		}
		for _, name := range []string{"count", "cases", "deleted", "logs"} {
			if n, err := strconv.ParseInt(e.Data[name], 10, 64); err == nil {
				d.Count = n
				break
			}
		}
		key := d.Class + "|" + e.Data["before"] + "|" + e.Time.Format("2006-01-02")
		if i, ok := place[key]; ok && e.Data["ranges"] != "" {
			out[i].Count += d.Count
			return nil
		}
		place[key] = len(out)
		out = append(out, d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read deletion runs: %w", err)
	}
	slices.SortStableFunc(out, func(a, b deletion) int { return b.At.Compare(a.At) })
	return out, nil
}

// verifyNow begins a check of the whole ledger.
func (c *Console) verifyNow(v *visit) error {
	if c.d.Verify == nil {
		return errNotFound
	}
	if err := c.record(v.ctx(), v.user.Actor(), "ledger-verify", "", nil); err != nil {
		return err
	}
	c.verify.begin()
	return v.redirect("/proof", "verify-begun")
}

// provenRecord is one record with its place.
type provenRecord struct {
	Index        int64
	At           time.Time
	Kind, What   string
	Reason       string
	Stream       string
	Actor        string
	Ref, Subject string
}

// prove finds what the ledger knows of a Message-ID or an address, with what
// it takes to check that elsewhere.
func (c *Console) prove(v *visit) error {
	if c.d.Log == nil {
		return errNotFound
	}
	asked := v.field("q")
	filters, err := v.proofFilters(asked)
	if err != nil {
		v.status = http.StatusBadRequest
		return v.showProof(map[string]any{"ProveFault": "proof.ask_bad", "Q": asked})
	}
	proofs := []ledger.Proof{}
	for _, f := range filters {
		p, err := c.d.Log.Prove(v.ctx(), f)
		if errors.Is(err, ledger.ErrNoRecord) {
			continue
		}
		if err != nil {
			return err
		}
		proofs = append(proofs, p)
	}
	for _, f := range filters {
		rec := ledger.Record{Time: v.now(), Kind: ledger.KindView, Controller: f.Controller, Subject: f.Subject, Message: f.Message, Actor: v.user.Actor(), Action: "proof"}
		if err := c.d.Trail.Append(v.ctx(), rec); err != nil {
			return fmt.Errorf("prove the look at a proof: %w", err)
		}
	}
	if v.field("form") == "json" {
		body, err := json.MarshalIndent(proofs, "", "  ")
		if err != nil {
			return fmt.Errorf("write proof: %w", err)
		}
		v.attachment("proof.json", "application/json", append(body, '\n'))
		return nil
	}
	var rows []provenRecord
	loc := v.zone("")
	for _, p := range proofs {
		for _, it := range p.Records {
			rows = append(rows, v.provenRecord(it, loc))
		}
	}
	slices.SortStableFunc(rows, func(a, b provenRecord) int { return b.At.Compare(a.At) })
	total := len(rows)
	data := map[string]any{"Q": asked, "Rows": rows[:min(total, 500)], "Total": total, "Key": c.d.Log.PublicKey()}
	if len(proofs) > 0 {
		data["Checkpoint"] = proofs[0].Checkpoint
	}
	return v.page("proven", "proof.proven", data)
}

func (v *visit) provenRecord(it ledger.ProvenItem, loc *time.Location) provenRecord {
	r := it.Record
	out := provenRecord{Index: it.Index, At: r.Time.In(loc), Kind: string(r.Kind), What: r.Action, Actor: v.actor(r.Actor), Ref: r.Ref, Reason: r.Reason}
	if st, ok := v.c.d.Streams().ByNumber(r.Stream); ok {
		out.Stream = cmp.Or(st.Title, st.Name)
	}
	return out
}

// proofFilters reads what is asked: a Message-ID in brackets or of a shape no
// address has, else an address, which has an id under each controller.
func (v *visit) proofFilters(asked string) ([]ledger.Filter, error) {
	if strings.HasPrefix(asked, "<") || v.field("as") == "message" {
		if len(asked) < 3 || len(asked) > 998 {
			return nil, errForm
		}
		return []ledger.Filter{{Message: gateway.MessageIDHash(asked)}}, nil
	}
	a, err := address.Parse(asked)
	if err != nil || v.c.d.Persons == nil {
		return nil, errForm
	}
	var out []ledger.Filter
	for _, k := range v.c.d.Streams().Controllers() {
		p, err := v.c.d.Persons.Profile(v.ctx(), k.ID, a)
		if err != nil {
			return nil, err
		}
		for _, id := range p.Subjects {
			out = append(out, ledger.Filter{Subject: id, Controller: k.ID})
		}
	}
	return out, nil
}

// exportCases hands out cases with their proofs as one archive. It is written
// to a file first: what fails on the way is a page, not half an archive.
func (c *Console) exportCases(v *visit) error {
	o := queue.ExportOptions{Filter: queue.Filter{Controller: v.field("controller"), Roles: []string{}}, Texts: v.field("texts") != "", Actor: v.user.Actor()}
	if c.d.Prover != nil {
		o.Prover = c.d.Prover
	}
	if _, ok := c.d.Streams().Controller(o.Filter.Controller); !ok {
		return errForm
	}
	for _, r := range v.user.Roles {
		o.Filter.Roles = append(o.Filter.Roles, string(r))
	}
	if o.Texts && !v.user.Is(auth.Auditor) && !v.user.Is(auth.Approver) {
		return errForbid
	}
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(10 * time.Minute))
	f, err := os.CreateTemp("", "postern-export-*.zip")
	if err != nil {
		return fmt.Errorf("export cases: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := c.d.Cases.Export(v.ctx(), f, o); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("export cases: %w", err)
	}
	h := v.w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", `attachment; filename="cases-`+o.Filter.Controller+`.zip"`)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	_, _ = io.Copy(v.w, f) // the client is gone: nobody to tell
	return nil
}
