package gateway

import (
	"context"
	"time"

	"postern/gateway/ledger"
)

// record is the proof of one verdict (design D15).
func (d *decision) record(i int, ref string, now time.Time) ledger.Record {
	v, a := d.verdicts[i], d.answers[i]
	rec := ledger.Record{Time: now, Kind: ledger.KindVerdict, Controller: d.st.Controller, Subject: a.Subject, Actor: "relay",
		Action: "allow", Stream: d.st.Number, Ref: ref, Message: d.msgHash, Data: map[string]string{"mode": string(d.mode)}}
	if a.Basis != "" {
		rec.Data["basis"] = string(a.Basis)
	}
	if a.Evidence != "" {
		rec.Data["evidence"] = a.Evidence
	}
	switch {
	case v.Deny != nil:
		rec.Action, rec.Reason = "deny", v.Deny.label()
		if v.Deny.Defer {
			rec.Action = "defer"
		}
	case v.Would != nil:
		rec.Data["would"] = v.Would.label()
	}
	return rec
}

// label is reason and detail in one word. The purpose of a consent is left
// out: the stream says it.
func (d *Denial) label() string {
	switch d.Reason {
	case NoConsent, Unconfirmed, UnprovenImport, ConsentExpired, ConsentWithdrawn:
		return string(d.Reason)
	}
	if d.Detail == "" {
		return string(d.Reason)
	}
	return string(d.Reason) + ":" + d.Detail
}

// appendDenials keeps the records of refusals. A refusal stands even where it
// can't be recorded: the log then says so.
func (e *Engine) appendDenials(ctx context.Context, d *decision, ref string, denied []int) {
	if e.deps.Trail == nil || len(denied) == 0 {
		return
	}
	now := e.opts.Now().UTC()
	recs := make([]ledger.Record, 0, len(denied))
	for _, i := range denied {
		recs = append(recs, d.record(i, ref, now))
	}
	if err := e.deps.Trail.Append(ctx, recs...); err != nil {
		e.opts.Log.Error("refusals not recorded", "stream", d.st.Name, "count", len(recs), "err", err)
	}
}
