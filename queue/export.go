package queue

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
func (q *Queue) Export(ctx context.Context, w io.Writer, o ExportOptions) (int, error) {
	if !strings.HasPrefix(o.Actor, "operator:") {
		return 0, errors.New("export cases: an operator has to ask for it")
	}
	cases, err := q.List(ctx, o.Filter)
	if err != nil {
		return 0, err
	}
	z := &archive{zip: zip.NewWriter(w), now: q.o.Now()}
	for _, c := range cases {
		if err := q.exportCase(ctx, z, c.Number, o); err != nil {
			return 0, err
		}
	}
	if err := z.file("SHA256SUMS", []byte(strings.Join(z.sums, ""))); err != nil {
		return 0, err
	}
	if err := z.zip.Close(); err != nil {
		return 0, fmt.Errorf("export cases: %w", err)
	}
	return len(cases), nil
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
	view := ledger.Record{ID: "view:" + ulid.Make().String(), Time: q.o.Now(), Kind: ledger.KindView, Controller: c.Controller,
		Subject: c.Subject, Actor: o.Actor, Action: "export", Reason: "audit", Ref: no, Data: map[string]string{"texts": strconv.FormatBool(o.Texts)}}
	if err := q.d.Trail.Append(ctx, view); err != nil {
		return fmt.Errorf("record the export of case %s: %w", no, err)
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

// archive writes files and remembers their sums.
type archive struct {
	zip  *zip.Writer
	now  time.Time
	sums []string
}

func (a *archive) json(name string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	return a.file(name, append(raw, '\n'))
}

func (a *archive) file(name string, data []byte) error {
	sum := sha256.Sum256(data)
	a.sums = append(a.sums, hex.EncodeToString(sum[:])+"  "+name+"\n")
	f, err := a.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: a.now})
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	return nil
}
