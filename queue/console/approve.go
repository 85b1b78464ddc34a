package console

import (
	"errors"
	"net/http"

	"postern/queue"
	"postern/queue/console/auth"
	"postern/queue/fulfil"
)

// erasePage shows what an erasure would do, system by system, before anybody
// approves it. It is a page of its own: what it does can't be undone.
func (c *Console) erasePage(v *visit) error { return v.erasure(map[string]any{}) }

func (v *visit) erasure(data map[string]any) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	if err := v.saw("erasure", &k, nil); err != nil {
		return err
	}
	q := v.c.d.Cases
	tasks, err := q.Tasks(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	loc := q.NewPacer().Zone(k.Controller)
	dry := map[string]taskView{}
	var order []string
	for _, t := range tasks { // the newest dry run of each system
		if t.Verb != fulfil.Erase || !t.DryRun {
			continue
		}
		if _, known := dry[t.System]; !known {
			order = append(order, t.System)
		}
		dry[t.System] = v.taskView(t, loc)
	}
	var rows []taskView
	for _, s := range order {
		rows = append(rows, dry[s])
	}
	a, asked, err := q.ApprovalOf(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	four := q.FourEyes(k.Controller, queue.EyesErase)
	mine := asked && a.By == v.user.Actor()
	data["Number"], data["Case"], data["Systems"], data["Rows"] = k.Number, &k, q.Systems(&k, fulfil.Erase), rows
	data["Person"], data["Company"] = q.Person(&k).Plain(), v.c.controllerName(k.Controller)
	data["Identified"] = has(k.Flags, queue.FlagIdentified)
	data["Held"] = has(k.Flags, queue.FlagLegalHold)
	data["Live"] = k.State.Live()
	data["Asked"], data["AskedBy"], data["AskedNote"] = asked && a.What == queue.EyesErase, v.actor(a.By), a.Note
	ready := k.State.Live() && has(k.Flags, queue.FlagIdentified) && !has(k.Flags, queue.FlagLegalHold) && len(q.Systems(&k, fulfil.Erase)) > 0
	data["MayApprove"] = v.user.Is(auth.Approver) && (!four || asked && !mine) && ready
	data["MayAsk"] = auth.Work().Allows(v.user.Roles) && !asked && ready
	data["Four"] = four
	return v.page("erase", "erase.title", data)
}

func has(list []string, word string) bool {
	for _, w := range list {
		if w == word {
			return true
		}
	}
	return false
}

// eraseDry asks the systems what they would delete.
func (c *Console) eraseDry(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	if _, err := c.d.Cases.Fulfil(v.ctx(), k.Number, queue.Order{Verb: fulfil.Erase, DryRun: true, Actor: v.user.Actor()}); err != nil {
		return v.eraseFault(err, "erase.no_dry")
	}
	return v.redirect(casePath(k.Number)+"/erase", "dry-asked")
}

func (v *visit) eraseFault(err error, fault string) error {
	if !errors.Is(err, queue.ErrOrder) && !errors.Is(err, queue.ErrMove) {
		return err
	}
	v.status = http.StatusConflict
	return v.erasure(map[string]any{"Fault": fault})
}

// eraseAsk asks an approver.
func (c *Console) eraseAsk(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	return v.propose(k.Number, queue.EyesErase, nil, v.field("note"))
}

// eraseApprove gives the order, for whoever types the number of this case.
func (c *Console) eraseApprove(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	if queue.FindCaseNo(v.field("typed")) != k.Number {
		v.status = http.StatusBadRequest
		return v.erasure(map[string]any{"Fault": "erase.typed_wrong", "Typed": v.field("typed")})
	}
	if _, err := c.d.Cases.Fulfil(v.ctx(), k.Number, queue.Order{Verb: fulfil.Erase, Actor: v.user.Actor(), Approve: v.field("typed")}); err != nil {
		return v.eraseFault(err, "erase.refused")
	}
	return v.given(k.Number, "erasing")
}

// given takes the wish off a case after what was wanted is done.
func (v *visit) given(no, done string) error {
	err := v.c.d.Cases.EndApproval(v.ctx(), no, v.user.Actor(), "approval-given", "")
	if err != nil && !errors.Is(err, queue.ErrMove) { // nobody had asked: an approver may act alone
		return err
	}
	return v.redirect(casePath(no), done)
}

// denialPage shows the refusal that waits for an approver.
func (c *Console) denialPage(v *visit) error { return v.denial(map[string]any{}) }

func (v *visit) denial(data map[string]any) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	a, ok, err := v.c.d.Cases.ApprovalOf(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	if !ok || a.What != queue.EyesDeny || a.Draft == nil {
		return errNotFound
	}
	if err := v.saw("case", &k, nil); err != nil {
		return err
	}
	shown := *a.Draft
	shown.Seen = 0 // a mail that came since stops the sending, not the look at the letter
	l, err := v.c.d.Cases.Preview(v.ctx(), k.Number, shown)
	if err != nil {
		return err
	}
	data["Number"], data["Letter"], data["To"] = k.Number, l, l.To.Plain()
	data["Who"], data["Note"], data["Reason"], data["Name"] = v.actor(a.By), a.Note, v.say("reason."+a.Draft.Reason), v.languageName(l.Language)
	data["MayApprove"] = a.By != v.user.Actor() || !v.c.d.Cases.FourEyes(k.Controller, queue.EyesDeny)
	if own := shown; l.Language != v.words.tag {
		own.Language = v.words.tag
		if letter, err := v.c.d.Cases.Preview(v.ctx(), k.Number, own); err == nil {
			data["Own"], data["OwnIn"] = letter, v.languageName(letter.Language)
		}
	}
	return v.page("denial", "denial.title", data)
}

// denialApprove sends it.
func (c *Console) denialApprove(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	a, ok, err := c.d.Cases.ApprovalOf(v.ctx(), k.Number)
	if err != nil {
		return err
	}
	if !ok || a.What != queue.EyesDeny || a.Draft == nil {
		return errNotFound
	}
	d := *a.Draft
	d.Actor = v.user.Actor()
	if _, _, err := c.d.Cases.Reply(v.ctx(), k.Number, d); err != nil {
		if errors.Is(err, queue.ErrOrder) || errors.Is(err, queue.ErrMove) {
			v.status = http.StatusConflict
			return v.denial(map[string]any{"Fault": "denial.refused"})
		}
		return err
	}
	return v.given(k.Number, "held")
}
