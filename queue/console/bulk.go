package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"postern/classifier"
	"postern/queue"
	"postern/queue/reply"
)

// heap is one act on every marked case.
type heap struct {
	act  string
	done string // word of the catalogue's done table
	asks bool   // a page of its own says what it does before it is done
	// against says what stands against the act in one case, a word of
	// bulk.why; "" where nothing does.
	against func(k *queue.Case) (string, error)
	do      func(no string) error
}

// refused is a case that stays as it was, with the reason in words.
type refused struct{ Number, Path, Right, Why string }

// bulk does one act on every marked case. What can't be undone or leaves the
// house is shown first: how many, and which stay and why. Those that can't are
// named with their reason; the others are done.
func (c *Console) bulk(v *visit) error {
	numbers := v.r.PostForm["case"]
	if len(numbers) == 0 || len(numbers) > casesMost {
		return errForm
	}
	s, _, err := c.index.Snapshot(v.ctx())
	if err != nil {
		return err
	}
	for _, no := range numbers {
		if k := s.Case(no); k == nil || !v.visible(k) {
			return errNotFound // nothing is done where one is none of the visitor's
		}
	}
	h, err := v.heap(s, numbers)
	if err != nil {
		return err
	}
	var able []row
	var stay []refused
	for _, no := range numbers {
		k := s.Case(no)
		why, err := h.against(k)
		if err != nil {
			return err
		}
		if why != "" {
			stay = append(stay, v.refused(k, why))
			continue
		}
		able = append(able, row{Number: no, Path: casePath(no), Right: v.rights(k.Labels, 2), Owner: k.Owner})
	}
	if h.asks && v.field("confirm") == "" {
		return v.page("bulk", "bulk."+h.act, map[string]any{"Act": h.act, "Able": able, "Stay": stay, "Reason": v.field("reason")})
	}
	done := 0
	for _, r := range able {
		if err := h.do(r.Number); err != nil {
			stay = append(stay, v.refused(s.Case(r.Number), whyNot(h.act, err)))
			continue
		}
		done++
	}
	if len(stay) > 0 {
		v.status = http.StatusConflict
		return v.page("bulkfailed", "cases.bulk_failed", map[string]any{"Stay": stay, "Done": done})
	}
	return v.redirect("/cases", h.done)
}

func (v *visit) refused(k *queue.Case, why string) refused {
	return refused{k.Number, casePath(k.Number), v.rights(k.Labels, 2), v.say("bulk.why_" + why)}
}

// whyNot names what stood against an act when it was tried.
func whyNot(act string, err error) string {
	switch {
	case errors.Is(err, queue.ErrDraft):
		return "address"
	case errors.Is(err, queue.ErrMove) && act == "merge":
		return "merge"
	case errors.Is(err, queue.ErrOrder) && act == "close":
		return "breach"
	case errors.Is(err, queue.ErrMove), errors.Is(err, queue.ErrOrder):
		return "moved"
	}
	return "fault"
}

// heap reads which act is wanted.
func (v *visit) heap(s *queue.Snapshot, numbers []string) (heap, error) {
	h := heap{act: v.field("act"), against: func(*queue.Case) (string, error) { return "", nil }}
	m := queue.Move{Actor: v.user.Actor()}
	h.do = func(no string) error { return v.c.d.Cases.BulkMove(v.ctx(), []string{no}, m)[0].Err }
	switch h.act {
	case "assign":
		m.Action, m.Owner, h.done = queue.ActAssign, v.field("owner"), "bulk-assigned"
		return h, v.mayOwn(m.Owner)
	case "merge":
		m.Action, m.Reason, m.Into, h.done = queue.ActMerge, "duplicate", earliest(s, numbers), "bulk-merged"
		h.do = func(no string) error {
			if no == m.Into {
				return nil // it lives on
			}
			return v.c.d.Cases.BulkMove(v.ctx(), []string{no}, m)[0].Err
		}
	case "label":
		l := classifier.Label(v.field("label"))
		if !slices.Contains(labels, l) { // to say that nothing is asked, open the case
			return h, errForm
		}
		m.Action, m.Labels, h.done = queue.ActLabel, []classifier.Label{l}, "bulk-labelled"
		h.against = func(k *queue.Case) (string, error) {
			if !slices.Contains(needIdentity, l) && owesAnswer(k) {
				return "label", nil
			}
			return "", nil
		}
	case "close":
		m.Action, m.Reason, h.done, h.asks = queue.ActClose, v.field("reason"), "bulk-closed", true
		if !slices.Contains(closeReasons, m.Reason) {
			return h, errForm
		}
		h.against = v.againstClose
	case "acknowledge":
		h.done, h.asks, h.against = "bulk-acknowledged", true, v.againstReceipt
		h.do = func(no string) error { return v.c.d.Cases.BulkReply(v.ctx(), []string{no}, v.receipt())[0].Err }
	default:
		return h, errForm
	}
	return h, nil
}

// owesAnswer tells whether a case asks for something that only an answer of its
// own fulfils.
func owesAnswer(k *queue.Case) bool {
	return slices.ContainsFunc(k.Labels, func(l classifier.Label) bool { return slices.Contains(needIdentity, l) })
}

// againstClose keeps a request that needs an answer of its own from being closed
// in a heap before it has one: whoever wants that opens the case. The case is
// read anew, for the list may be a moment old.
func (v *visit) againstClose(k *queue.Case) (string, error) {
	now, _, err := v.c.d.Cases.Show(v.ctx(), k.Number)
	if err != nil {
		return "", err
	}
	b, _, err := v.c.d.Cases.BreachOf(v.ctx(), k.Number)
	switch {
	case err != nil:
		return "", err
	case !now.State.Live() && now.State != queue.Answered:
		return "ended", nil
	case now.State == queue.Identity || now.State == queue.Waiting:
		return "waits", nil
	case b.Open():
		return "breach", nil
	case slices.Contains(now.Flags, queue.FlagNews):
		return "news", nil
	case now.State != queue.Answered && owesAnswer(&now):
		return "answer", nil
	}
	return "", nil
}

// receipt is what is sent to acknowledge: the words a mail is answered with by
// itself, each in the person's language.
func (v *visit) receipt() queue.Draft {
	return queue.Draft{Step: reply.Receipt, Effect: queue.ActSent, Actor: v.user.Actor()}
}

// againstReceipt keeps anybody from getting a second one.
func (v *visit) againstReceipt(k *queue.Case) (string, error) {
	now, events, err := v.c.d.Cases.Show(v.ctx(), k.Number)
	if err != nil {
		return "", err
	}
	if !now.State.Live() {
		return "ended", nil
	}
	if slices.ContainsFunc(events, func(e queue.Event) bool {
		return e.Action == queue.ActReceipt && strings.Contains(e.Reason, string(reply.Receipt))
	}) {
		return "acknowledged", nil
	}
	letters, states, err := v.c.d.Cases.Letters(v.ctx(), k.Number)
	if err != nil {
		return "", err
	}
	for i, l := range letters {
		if l.Step == reply.Receipt && !slices.Contains([]string{"taken", "failed"}, states[i]) {
			return "acknowledged", nil
		}
	}
	if _, err := v.c.d.Cases.Preview(v.ctx(), k.Number, v.receipt()); err != nil {
		if !errors.Is(err, queue.ErrDraft) {
			return "", err
		}
		return "address", nil
	}
	return "", nil
}

// earliest is the case that lives on when some are merged: the one received
// first (DSR-2).
func earliest(s *queue.Snapshot, numbers []string) string {
	best := ""
	for _, no := range numbers {
		if k := s.Case(no); k != nil && (best == "" || k.Received.Before(s.Case(best).Received)) {
			best = no
		}
	}
	return best
}
