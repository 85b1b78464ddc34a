package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/queue/fulfil"
	"postern/queue/vault"
)

// Ticks of a file in a package: each is looked through for what concerns
// others (GDPR Art. 15(4)) before the package leaves.
const (
	TickKeep    = "keep"    // goes to the person as it is
	TickExclude = "exclude" // does not go, with a reason
	TickRedact  = "redact"  // a replaced file goes instead
)

// Package is the copy of a person's data on its way to them (GDPR Art. 15(3),
// 20): files to be looked through and the checklist of Art. 15(1).
type Package struct {
	Built      time.Time     `json:"built"`
	By         string        `json:"by"`
	Language   string        `json:"language"`
	Files      []PackageFile `json:"files"`
	Checklist  []CheckItem   `json:"checklist"`
	Released   time.Time     `json:"released,omitzero"`
	ReleasedBy string        `json:"released_by,omitempty"`
	Until      time.Time     `json:"until,omitzero"` // end of the link
	CodeWay    string        `json:"code_way,omitempty"`
	Archive    string        `json:"archive,omitempty"` // id in the vault
	Size       int           `json:"size,omitempty"`
	Tries      int           `json:"tries,omitempty"` // wrong codes
	Fetched    []time.Time   `json:"fetched,omitempty"`
	Gone       bool          `json:"gone,omitempty"`   // deleted at its end
	Code       string        `json:"code,omitempty"`   // keyed hash
	Letter     string        `json:"letter,omitempty"` // index of the letter that brings the link
}

// PackageFile is one file of a package.
type PackageFile struct {
	ID      string    `json:"id"`
	System  string    `json:"system"`
	Name    string    `json:"name"`
	Type    string    `json:"type"`
	Size    int       `json:"size"`
	SHA256  string    `json:"sha256"`
	Tick    string    `json:"tick,omitempty"` // "" not looked through yet
	TickBy  string    `json:"tick_by,omitempty"`
	TickAt  time.Time `json:"tick_at,omitzero"`
	Note    string    `json:"note,omitempty"`
	Instead string    `json:"instead,omitempty"` // id of the redacted file
}

// CheckItem is one point of Art. 15(1) and (2) with its answer.
type CheckItem struct {
	Key  string `json:"key"` // see CheckKeys
	Text string `json:"text"`
	By   string `json:"by,omitempty"` // who changed it; "": from the configuration
}

// CheckKeys are the points of the checklist in the order of GDPR Art. 15(1), (2).
var CheckKeys = []string{"purposes", "categories", "recipients", "storage", "rights", "complaint", "source", "automated", "transfers"}

// BuildPackage collects what the systems gave in an access or portability case
// and prefills the checklist. It may be repeated until the package is
// released: what was ticked and has not changed stays ticked. Errors wrap
// ErrOrder where identity is open, a system has not answered or one failed.
func (q *Queue) BuildPackage(ctx context.Context, number, actor string) (Package, error) {
	no := FindCaseNo(number)
	c, f, key, err := q.load(ctx, no)
	if err != nil {
		return Package{}, err
	}
	tasks, err := q.exported(c, f, key)
	if err != nil {
		return Package{}, fmt.Errorf("package of case %s: %w", no, err)
	}
	old, err := packageOf(key, f, no)
	if err != nil {
		return Package{}, err
	}
	p := Package{Built: q.o.Now(), By: actor, Language: q.texts().Pick(c.Language, q.controller(c.Controller).Language), Checklist: old.Checklist}
	if len(p.Checklist) == 0 {
		if p.Checklist, err = q.checklist(c, p.Language); err != nil {
			return Package{}, err
		}
	}
	var fresh []TaskFile
	for _, t := range tasks {
		if t.File != "" || f["taskdata:"+fmt.Sprint(t.Index)] != "" {
			data, err := q.TaskData(ctx, no, t.Index)
			if err != nil {
				return Package{}, err
			}
			id, err := q.files.Put(key, no, data)
			if err != nil {
				return Package{}, errors.Join(err, q.dropFiles("", fresh))
			}
			fresh = append(fresh, TaskFile{ID: id})
			p.Files = append(p.Files, describe(id, t.System, cleanName(t.System)+".json", "application/json", data))
		}
		for _, tf := range t.Files {
			data, err := q.files.Get(key, no, tf.ID)
			if err != nil {
				return Package{}, errors.Join(err, q.dropFiles("", fresh))
			}
			p.Files = append(p.Files, describe(tf.ID, t.System, tf.Name, tf.Type, data))
		}
	}
	for i := range p.Files {
		p.Files[i].inherit(old.Files)
	}
	err = q.putPackage(ctx, no, func(c *Case, ch *changing, now *Package) error {
		if !now.Released.IsZero() && !now.Gone {
			return fmt.Errorf("package of case %s is released: %w", no, ErrOrder)
		}
		for _, t := range fresh {
			ch.keep(t.ID)
		}
		*now = p
		ch.events = append(ch.events, Event{Actor: actor, Action: ActPackage, Reason: "built", Data: map[string]string{"files": fmt.Sprint(len(p.Files))}})
		return nil
	})
	if err != nil {
		return Package{}, errors.Join(err, q.dropFiles("", fresh))
	}
	return p, nil
}

// exported are the tasks that gave data; all have to be done, and the proof of
// who asks has to cover still each address whose data they gave.
func (q *Queue) exported(c *Case, f map[string]string, key *vault.Key) ([]Task, error) {
	if q.files == nil {
		return nil, fmt.Errorf("%w: there is no vault folder", ErrOrder)
	}
	if !slices.Contains(c.Flags, FlagIdentified) {
		return nil, fmt.Errorf("%w: identity is neither shown nor waived", ErrOrder)
	}
	all, err := tasksOf(f)
	if err != nil {
		return nil, err
	}
	var out []Task
	for _, t := range all {
		switch {
		case t.Verb != fulfil.Export || t.DryRun:
		case !t.Done():
			return nil, fmt.Errorf("%w: %s has not answered yet", ErrOrder, t.System)
		case t.Status == fulfil.Failed:
			return nil, fmt.Errorf("%w: %s failed: ask it again, or enter its result by hand", ErrOrder, t.System)
		default:
			o, err := openOrder(key, f, c.Number, t.Index)
			if err != nil {
				return nil, err
			}
			if !q.covers(c, parsedOrZero(o.Address)) {
				return nil, fmt.Errorf("%w: %s gave data of an address whose owner was not shown to ask", ErrOrder, t.System)
			}
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no system was asked for the data", ErrOrder)
	}
	return out, nil
}

func describe(id, system, name, kind string, data []byte) PackageFile {
	sum := sha256.Sum256(data)
	if kind == "" {
		kind = "application/octet-stream"
	}
	return PackageFile{ID: id, System: system, Name: name, Type: kind, Size: len(data), SHA256: hex.EncodeToString(sum[:])}
}

// inherit keeps the tick of the same file in an earlier build.
func (f *PackageFile) inherit(old []PackageFile) {
	for _, o := range old {
		if o.System == f.System && o.Name == f.Name && o.SHA256 == f.SHA256 {
			f.Tick, f.TickBy, f.TickAt, f.Note, f.Instead = o.Tick, o.TickBy, o.TickAt, o.Note, o.Instead
			return
		}
	}
}

// checklist prefills the points of Art. 15(1) and (2) from the configuration
// and, for the person's rights, from the catalogue.
func (q *Queue) checklist(c *Case, lang string) ([]CheckItem, error) {
	facts := q.facts(c.Controller, lang)
	rights, err := q.texts().Phrase(lang, "your_rights", nil)
	if err != nil {
		return nil, err
	}
	complaint, err := q.texts().Phrase(lang, "may_complain", map[string]string{"authority": q.controller(c.Controller).Authority})
	if err != nil {
		complaint = ""
	}
	text := map[string]string{"purposes": facts.Purposes, "categories": facts.Categories, "recipients": facts.Recipients, "storage": facts.Storage,
		"rights": rights, "complaint": complaint, "source": facts.Source, "automated": facts.Automated, "transfers": facts.Transfers}
	out := make([]CheckItem, len(CheckKeys))
	for i, k := range CheckKeys {
		out[i] = CheckItem{Key: k, Text: text[k]}
	}
	return out, nil
}

// facts in the language wanted, else in the controller's, else the first.
func (q *Queue) facts(controller, lang string) Facts {
	list := q.rules().Handling[controller].Facts
	for _, want := range []string{lang, q.controller(controller).Language} {
		for _, f := range list {
			if strings.EqualFold(f.Language, want) {
				return f
			}
		}
	}
	if len(list) > 0 {
		return list[0]
	}
	return Facts{}
}

func packageOf(key *vault.Key, f map[string]string, no string) (Package, error) {
	var p Package
	if f["package"] == "" {
		return p, nil
	}
	raw, err := key.Open(f["package"], "package:"+no)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("decode package of case %s: %w", no, err)
	}
	return p, nil
}

// putPackage changes a case's package in one step with the case.
func (q *Queue) putPackage(ctx context.Context, no string, fn func(*Case, *changing, *Package) error) error {
	_, _, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
		key, err := q.vault.Unwrap(no, ch.before["key"])
		if err != nil {
			return err
		}
		p, err := packageOf(key, ch.before, no)
		if err != nil {
			return err
		}
		if err := fn(c, ch, &p); err != nil {
			return err
		}
		raw, err := json.Marshal(p)
		if err != nil {
			return fmt.Errorf("encode package of case %s: %w", no, err)
		}
		ch.extra["package"] = key.Seal(raw, "package:"+no)
		return nil
	})
	return err
}

// Package gives the package of a case. Errors wrap ErrUnknown where none was
// built.
func (q *Queue) Package(ctx context.Context, number string) (Package, error) {
	no := FindCaseNo(number)
	_, f, key, err := q.load(ctx, no)
	if err != nil {
		return Package{}, err
	}
	p, err := packageOf(key, f, no)
	if err == nil && p.Built.IsZero() {
		err = fmt.Errorf("package of case %s: %w", no, ErrUnknown)
	}
	return p, err
}

// PackageFiles lists the files of a case's package with their ticks.
func (q *Queue) PackageFiles(ctx context.Context, number string) ([]PackageFile, error) {
	p, err := q.Package(ctx, number)
	return p.Files, err
}

// PackageFile opens one file of the package; redacted gives the file that goes
// instead of it.
func (q *Queue) PackageFile(ctx context.Context, number, id string, redacted bool) (PackageFile, []byte, error) {
	no := FindCaseNo(number)
	_, f, key, err := q.load(ctx, no)
	if err != nil {
		return PackageFile{}, nil, err
	}
	p, err := packageOf(key, f, no)
	if err != nil {
		return PackageFile{}, nil, err
	}
	i := slices.IndexFunc(p.Files, func(f PackageFile) bool { return f.ID == id })
	if i < 0 || redacted && p.Files[i].Instead == "" || q.files == nil {
		return PackageFile{}, nil, fmt.Errorf("file of the package of case %s: %w", no, ErrUnknown)
	}
	if redacted {
		id = p.Files[i].Instead
	}
	data, err := q.files.Get(key, no, id)
	return p.Files[i], data, err
}

// TickFile notes what becomes of a file: TickKeep, TickExclude with a note, or
// TickRedact once ReplaceFile gave the redacted one; "" takes a tick back.
func (q *Queue) TickFile(ctx context.Context, number, id, tick, actor, note string) error {
	return q.onFile(ctx, number, id, actor, func(_ *changing, f *PackageFile) (string, error) {
		switch {
		case !slices.Contains([]string{"", TickKeep, TickExclude, TickRedact}, tick):
			return "", fmt.Errorf("%w: a file is ticked %s, %s or %s", ErrOrder, TickKeep, TickExclude, TickRedact)
		case tick == TickExclude && note == "":
			return "", fmt.Errorf("%w: say why the file is left out (Art. 15(4))", ErrOrder)
		case tick == TickRedact && f.Instead == "":
			return "", fmt.Errorf("%w: give the redacted file first", ErrOrder)
		}
		f.Tick, f.Note = tick, note
		return "ticked", nil
	})
}

// ReplaceFile gives the redacted form of a file and ticks it TickRedact.
func (q *Queue) ReplaceFile(ctx context.Context, number, id string, data []byte, actor, note string) error {
	no := FindCaseNo(number)
	_, _, key, err := q.load(ctx, no)
	if err != nil {
		return err
	}
	if q.files == nil || len(data) == 0 {
		return fmt.Errorf("%w: the redacted file is empty, or there is no vault folder", ErrOrder)
	}
	instead, err := q.files.Put(key, no, data)
	if err != nil {
		return err
	}
	err = q.onFile(ctx, no, id, actor, func(ch *changing, f *PackageFile) (string, error) {
		ch.keep(instead)
		f.Tick, f.Note, f.Instead = TickRedact, note, instead
		return "redacted", nil
	})
	if err != nil {
		err = errors.Join(err, q.dropFiles(instead, nil))
	}
	return err
}

func (q *Queue) onFile(ctx context.Context, number, id, actor string, fn func(*changing, *PackageFile) (string, error)) error {
	no := FindCaseNo(number)
	if !strings.HasPrefix(actor, "operator:") {
		return fmt.Errorf("case %s: %w: an operator has to", no, ErrOrder)
	}
	return q.putPackage(ctx, no, func(_ *Case, ch *changing, p *Package) error {
		i := slices.IndexFunc(p.Files, func(f PackageFile) bool { return f.ID == id })
		switch {
		case i < 0:
			return fmt.Errorf("file of the package of case %s: %w", no, ErrUnknown)
		case !p.Released.IsZero():
			return fmt.Errorf("package of case %s is released: %w", no, ErrOrder)
		}
		f := &p.Files[i]
		what, err := fn(ch, f)
		if err != nil {
			return err
		}
		f.TickBy, f.TickAt = actor, q.o.Now()
		ch.events = append(ch.events, Event{Actor: actor, Action: ActPackage, Reason: what, Note: f.Note, Data: map[string]string{"system": f.System, "sha256": f.SHA256, "tick": f.Tick}})
		return nil
	})
}

// cameBack tells whether the letter with the link of a released package did not
// reach the person, so that it may be released anew.
func (p Package) cameBack(c *Case, f map[string]string) bool {
	switch f["out:"+p.Letter] {
	case "taken", "failed", "unsure":
		return true
	case "sent":
		return c.State.Live() && slices.Contains(c.Flags, FlagUndeliverable)
	}
	return false
}

// SetChecklist changes answers of the checklist, by key.
func (q *Queue) SetChecklist(ctx context.Context, number string, answers map[string]string, actor string) error {
	no := FindCaseNo(number)
	return q.putPackage(ctx, no, func(_ *Case, ch *changing, p *Package) error {
		if p.Built.IsZero() || !p.Released.IsZero() {
			return fmt.Errorf("package of case %s is not built, or released: %w", no, ErrOrder)
		}
		for k, text := range answers {
			i := slices.IndexFunc(p.Checklist, func(c CheckItem) bool { return c.Key == k })
			if i < 0 {
				return fmt.Errorf("%w: %q is no point of the checklist", ErrOrder, k)
			}
			p.Checklist[i].Text, p.Checklist[i].By = strings.TrimSpace(text), actor
		}
		ch.events = append(ch.events, Event{Actor: actor, Action: ActPackage, Reason: "checklist"})
		return nil
	})
}
