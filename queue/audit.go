package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"postern/gateway/address"
	"postern/gateway/ledger"
)

// View is that somebody looked at personal data.
type View struct {
	Actor      string // "operator:<name>"
	Case       string // number, "" where it was none
	Controller string
	Address    address.Address // whose, where it was no case
	What       string          // closed word: "case", "mail", "package", "person", "download", ...
}

// RecordView writes down that somebody looked at personal data. What can't be
// recorded must not be shown.
func (q *Queue) RecordView(ctx context.Context, v View) error {
	if v.Actor == "" || v.What == "" {
		return errors.New("record view: actor and what was seen are needed")
	}
	r := ledger.Record{ID: "view:" + ulid.Make().String(), Time: q.o.Now(), Kind: ledger.KindView, Controller: v.Controller, Actor: v.Actor, Action: "view", Reason: v.What}
	if no := FindCaseNo(v.Case); no != "" {
		f, err := q.rdb.HMGet(ctx, keyCase(no), "controller", "subject").Result()
		if err != nil {
			return fmt.Errorf("record view of case %s: %w", no, err)
		}
		r.Ref, r.Controller = no, text(f[0])
		if id, err := address.ParseSubjectID(text(f[1])); err == nil {
			r.Subject = id
		}
	} else if !v.Address.IsZero() {
		r.Subject = q.o.Keyring.Identify(v.Controller, v.Address).ID
	}
	return wrapf(q.d.Trail.Append(ctx, r), "record view")
}

// Verdicts on a case of the monthly sample.
const (
	SampleRight = "sample-right"
	SampleWrong = "sample-wrong"
)

// Judge notes whether what rules did in a case of the sample was right: the
// numerator of the error rate.
func (q *Queue) Judge(ctx context.Context, number string, right bool, actor, note string) error {
	if !strings.HasPrefix(actor, "operator:") {
		return fmt.Errorf("judge case %s: %w: an operator has to", number, ErrMove)
	}
	reason := SampleWrong
	if right {
		reason = SampleRight
	}
	_, err := q.Move(ctx, number, Move{Action: ActNote, Actor: actor, Reason: reason, Note: note})
	return err
}

// Querier reads records of the ledger; *ledger.Ledger is one.
type Querier interface {
	Query(ctx context.Context, f ledger.Filter, yield func(ledger.Entry) error) error
}

// DeletionRun is one run of a deletion job.
type DeletionRun struct {
	Time   time.Time         `json:"time"`
	Actor  string            `json:"actor"`
	Action string            `json:"action"`
	Reason string            `json:"reason"`
	Data   map[string]string `json:"data,omitempty"`
}

// ViewCount is how often somebody looked at personal data of a kind.
type ViewCount struct {
	Actor  string `json:"actor"`
	Action string `json:"action"` // "view" or "export"
	What   string `json:"what"`
	Count  int    `json:"count"`
}

// Audit is what an audit asks about cases in a span of time.
type Audit struct {
	From      time.Time         `json:"from"`
	To        time.Time         `json:"to"`
	Deletions []DeletionRun     `json:"deletions"`
	Views     []ViewCount       `json:"views"`
	Automatic AutomaticReport   `json:"automatic"`
	Notices   []PublishedNotice `json:"notices"`
	DPAs      []DPA             `json:"agreements"`
	Held      []LegalHold       `json:"legal_holds"`
}

// Audit gathers it from the ledgers and the cases. size is how many
// cases the monthly sample holds.
func (q *Queue) Audit(ctx context.Context, records Querier, from, to time.Time, size int) (Audit, error) {
	a := Audit{From: from, To: to, Deletions: []DeletionRun{}, Views: []ViewCount{}, Held: q.rules().LegalHolds}
	err := records.Query(ctx, ledger.Filter{Kind: ledger.KindRetention, Since: from, Until: to}, func(e ledger.Entry) error {
		a.Deletions = append(a.Deletions, DeletionRun{e.Time, e.Actor, e.Action, e.Reason, e.Data})
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("audit: deletion runs: %w", err)
	}
	place := map[ViewCount]int{}
	err = records.Query(ctx, ledger.Filter{Kind: ledger.KindView, Since: from, Until: to}, func(e ledger.Entry) error {
		k := ViewCount{Actor: e.Actor, Action: e.Action, What: e.Reason}
		i, ok := place[k]
		if !ok {
			i = len(a.Views)
			place[k], a.Views = i, append(a.Views, k)
		}
		a.Views[i].Count++
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("audit: views: %w", err)
	}
	if a.Automatic, err = q.AutomaticActs(ctx, from, to, size); err != nil {
		return a, err
	}
	for _, c := range q.d.Streams().Controllers() {
		list, err := q.NoticeVersions(ctx, c.ID)
		if err != nil {
			return a, err
		}
		a.Notices = append(a.Notices, list...)
	}
	a.DPAs, err = q.DPAs(ctx)
	return a, err
}
