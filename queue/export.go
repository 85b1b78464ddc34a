package queue

import (
	"archive/zip"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// Prover shows records of the ledger with their inclusion proofs;
// *ledger.Ledger is one.
type Prover interface {
	Prove(ctx context.Context, f ledger.Filter) (ledger.Proof, error)
}

// ExportOptions of an archive for an audit.
type ExportOptions struct {
	Filter Filter
	Prover Prover // nil: no proofs
	Texts  bool   // with what people wrote and were answered; else ids, dates and acts alone
	Actor  string // who asked for it, "operator:<name>"
}

// exportedCase is case.json of an archive.
type exportedCase struct {
	Number     string    `json:"number"`
	Controller string    `json:"controller"`
	State      State     `json:"state"`
	Labels     []string  `json:"labels"`
	Language   string    `json:"language"`
	Regime     string    `json:"regime"`
	Rule       string    `json:"rule"`
	Received   time.Time `json:"received"`
	Due        time.Time `json:"due"`
	Ended      time.Time `json:"ended,omitzero"`
	Extended   bool      `json:"extended"`
	Subject    string    `json:"subject,omitempty"`
	Grade      Grade     `json:"grade"`
	Flags      []string  `json:"flags,omitempty"`
	Linked     []string  `json:"linked,omitempty"`
	Tasks      []Task    `json:"tasks,omitempty"`
}

type exportedEvent struct {
	Seq    int               `json:"seq"`
	Time   time.Time         `json:"time"`
	Actor  string            `json:"actor"`
	Action Action            `json:"action"`
	Reason string            `json:"reason,omitempty"`
	From   State             `json:"from,omitempty"`
	To     State             `json:"to,omitempty"`
	Data   map[string]string `json:"data,omitempty"`
	Note   string            `json:"note,omitempty"`
}

// Export writes the picked cases as one zip archive: for each case.json,
// events.json and proof.json (which CheckProof of the ledger reads), with
// texts also mails.json and letters.json, and SHA256SUMS over all. Each case
// looked into is a ledger record. It returns how many cases it wrote.
//
// A case is written as it is read, so that only the directory of the archive
// grows in memory. A Limit of 0 takes all.
func (q *Queue) Export(ctx context.Context, w io.Writer, o ExportOptions) (n int, err error) {
	if !strings.HasPrefix(o.Actor, "operator:") {
		return 0, errors.New("export cases: an operator has to ask for it")
	}
	numbers, err := q.candidates(ctx, o.Filter)
	if err != nil {
		return 0, fmt.Errorf("export cases: %w", err)
	}
	z, err := newArchive(w, q.o.Now())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, z.drop()) }()
	skip := o.Filter.Offset
	for chunk := range slices.Chunk(numbers, exportChunk) {
		list, err := q.readMany(ctx, chunk)
		if err != nil {
			return n, err
		}
		list = slices.DeleteFunc(list, func(c *Case) bool { return !o.Filter.picks(c) })
		over := min(skip, len(list))
		list, skip = list[over:], skip-over
		if o.Filter.Limit > 0 {
			list = list[:min(len(list), o.Filter.Limit-n)]
		}
		if err := q.recordExport(ctx, list, o); err != nil {
			return n, err
		}
		for _, c := range list {
			err := q.exportCase(ctx, z, c.Number, o)
			if errors.Is(err, ErrUnknown) { // deleted at the end of its time meanwhile
				continue
			}
			if err != nil {
				return n, err
			}
			n++
		}
		if o.Filter.Limit > 0 && n >= o.Filter.Limit {
			break
		}
	}
	return n, z.close()
}

// exportChunk is how many cases are read, and their export recorded, at once.
const exportChunk = 64

// recordExport puts on record who took cases out, before they are handed out.
func (q *Queue) recordExport(ctx context.Context, list []*Case, o ExportOptions) error {
	views := make([]ledger.Record, len(list))
	for i, c := range list {
		views[i] = ledger.Record{ID: "view:" + ulid.Make().String(), Time: q.o.Now(), Kind: ledger.KindView, Controller: c.Controller,
			Subject: c.Subject, Actor: o.Actor, Action: "export", Reason: "audit", Ref: c.Number, Data: map[string]string{"texts": strconv.FormatBool(o.Texts)}}
	}
	if len(views) == 0 {
		return nil
	}
	return wrapf(q.d.Trail.Append(ctx, views...), "record the export of %d cases", len(views))
}

func (q *Queue) exportCase(ctx context.Context, z *archive, no string, o ExportOptions) error {
	c, events, err := q.Show(ctx, no)
	if err != nil {
		return err
	}
	tasks, err := q.Tasks(ctx, no)
	if err != nil {
		return err
	}
	out := exportedCase{c.Number, c.Controller, c.State, splitWords(joinLabels(c.Labels)), c.Language, c.Regime, c.Rule, c.Received, c.Due, c.EndedAt,
		c.Extended, subjectText(c.Subject), c.Grade, c.Flags, c.Linked, tasks}
	list := make([]exportedEvent, len(events))
	for i, e := range events {
		list[i] = exportedEvent(e)
		if !o.Texts {
			list[i].Note = ""
		}
	}
	if err := errors.Join(z.json(no+"/case.json", out), z.json(no+"/events.json", list)); err != nil {
		return err
	}
	if o.Texts {
		if err := q.exportTexts(ctx, z, &c); err != nil {
			return err
		}
	}
	if o.Prover == nil {
		return nil
	}
	proof, err := o.Prover.Prove(ctx, ledger.Filter{Ref: no})
	if errors.Is(err, ledger.ErrNoRecord) { // another node keeps it
		return nil
	}
	if err != nil {
		return fmt.Errorf("prove case %s: %w", no, err)
	}
	return z.json(no+"/proof.json", proof)
}

func (q *Queue) exportTexts(ctx context.Context, z *archive, c *Case) error {
	mails := make([]storedMail, len(c.Mails))
	for i, in := range c.Mails {
		mails[i] = storedMail{Incoming: in, From: in.From.Plain(), Forwarded: in.Forwarded.Plain()}
		mails[i].Incoming.From, mails[i].Incoming.Forwarded = address.Address{}, address.Address{}
	}
	letters, status, err := q.Letters(ctx, c.Number)
	if err != nil {
		return err
	}
	type sent struct {
		storedLetter
		Status string
	}
	out := make([]sent, len(letters))
	for i, l := range letters {
		out[i] = sent{storedLetter{Letter: l, To: l.To.Plain()}, status[i]}
		out[i].Letter.To = address.Address{}
	}
	return errors.Join(z.json(c.Number+"/mails.json", mails), z.json(c.Number+"/letters.json", out))
}

// archive writes files and their sums.
type archive struct {
	zip  *zip.Writer
	now  time.Time
	sums *os.File // a line for each file written, until it is one itself
	line *bufio.Writer
}

func newArchive(w io.Writer, now time.Time) (*archive, error) {
	sums, err := os.CreateTemp("", "postern-sums-*")
	if err != nil {
		return nil, fmt.Errorf("export cases: %w", err)
	}
	return &archive{zip: zip.NewWriter(w), now: now, sums: sums, line: bufio.NewWriter(sums)}, nil
}

// drop ends what close did not.
func (a *archive) drop() error {
	return errors.Join(a.sums.Close(), os.Remove(a.sums.Name()))
}

// close adds the sums and ends the archive.
func (a *archive) close() error {
	f, err := a.create("SHA256SUMS")
	if err == nil {
		err = a.line.Flush()
	}
	if err == nil {
		_, err = a.sums.Seek(0, io.SeekStart)
	}
	if err == nil {
		_, err = io.Copy(f, a.sums)
	}
	if err == nil {
		err = a.zip.Close()
	}
	return wrapf(err, "export cases")
}

func (a *archive) json(name string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	return a.file(name, append(raw, '\n'))
}

func (a *archive) create(name string) (io.Writer, error) {
	return a.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: a.now})
}

func (a *archive) file(name string, data []byte) error {
	_, err := fmt.Fprintf(a.line, "%x  %s\n", sha256.Sum256(data), name)
	if err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	f, err := a.create(name)
	if err == nil {
		_, err = f.Write(data)
	}
	return wrapf(err, "export %s", name)
}
