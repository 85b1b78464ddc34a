package console

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"postern/gateway/consent"
	"postern/queue"
)

// stopView is the stop to advertising that a request for erasure placed.
type stopView struct {
	State     queue.StopState
	Since     time.Time // zero where it came with a merged case
	By        string    // who decided, "" where nobody did
	When      time.Time
	Why       string
	MayKeep   bool
	MayLift   bool
	Asks      bool // erasure is asked for still: that forbids to lift it
	WhyTyped  string
	Happening bool // a worker is at it
}

// stopOf reads the stop of a case; nil where it placed none.
func (v *visit) stopOf(k *queue.Case, events []queue.Event, loc *time.Location) (*stopView, error) {
	state, fixed, err := v.c.d.Cases.StopOf(v.ctx(), k.Number)
	if err != nil || state == queue.StopNone {
		return nil, err
	}
	out := &stopView{State: state, MayLift: fixed == nil && state != queue.StopLifting, Happening: state == queue.StopLifting}
	out.MayKeep = state == queue.StopPlaced && k.State != queue.Merged
	out.Asks = state == queue.StopPlaced && fixed != nil && k.State.Live()
	for _, e := range events {
		switch {
		case e.Action == queue.ActSuppress && e.Reason == string(consent.ErasurePending) && out.Since.IsZero():
			out.Since = e.Time.In(loc)
		case e.Action == queue.ActNote && slices.Contains(stopNotes, e.Reason):
			out.By, out.When, out.Why = v.actor(e.Actor), e.Time.In(loc), e.Note
		}
	}
	return out, nil
}

// stopNotes are the reasons of events that decide on a stop.
var stopNotes = []string{"marketing-" + string(queue.StopKeep), "marketing-" + string(queue.StopLift)}

// marketingPage says what the stop is and what lifting it does, before anybody
// decides. It is a page of its own: mail that leaves afterwards can't be taken
// back.
func (c *Console) marketingPage(v *visit) error { return v.marketing("") }

func (v *visit) marketing(fault string) error {
	k, events, err := v.load()
	if err != nil {
		return err
	}
	stop, err := v.stopOf(&k, events, v.c.d.Cases.NewPacer().Zone(k.Controller))
	if err != nil {
		return err
	}
	if stop == nil {
		return errNotFound
	}
	if err := v.saw("case", &k, nil); err != nil {
		return err
	}
	stop.WhyTyped = v.field("why")
	return v.page("marketing", "stop.title", map[string]any{"Number": k.Number, "S": stop, "Company": v.c.controllerName(k.Controller), "Fault": fault})
}

// decideStop keeps or lifts it. What is refused shows the page again with what
// was typed.
func (c *Console) decideStop(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	e := queue.Ending{Stop: queue.Stop(v.field("stop")), Why: v.field("why")}
	if e.Stop != queue.StopKeep && e.Stop != queue.StopLift {
		return errForm
	}
	if e.Stop == queue.StopLift && strings.TrimSpace(e.Why) == "" {
		v.status = http.StatusBadRequest
		return v.marketing("stop.why_missing")
	}
	err = c.d.Cases.DecideStop(v.ctx(), k.Number, e, v.user.Actor())
	if errors.Is(err, queue.ErrMove) {
		v.status = http.StatusConflict
		return v.marketing("stop.refused")
	}
	if err != nil {
		return err
	}
	return v.redirect(casePath(k.Number), "stop-"+string(e.Stop))
}
