package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"postern/gateway/address"
	"postern/queue"
)

// askForm is what was typed to ask a colleague.
type askForm struct {
	Who    string // role or system
	Mail   string
	Words  string
	Due    string // a date; "" takes the configured time
	Letter bool   // show them what the person wrote
}

// Most that is taken of a question.
const (
	whoMost      = 100
	questionMost = 4000
)

// askColleague gives a question about a case to somebody without an account:
// they get a link by mail. What can't be used is shown again as it was typed.
func (c *Console) askColleague(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	f := askForm{Who: oneLine(v.field("who")), Mail: v.field("mail"), Words: strings.TrimSpace(v.field("words")), Due: v.field("due"), Letter: v.field("letter") != ""}
	again := func(fault string) error {
		v.status = http.StatusBadRequest
		return v.showCase(map[string]any{"Fault": fault, "Ask": f}, replyForm{})
	}
	to, err := address.Parse(f.Mail)
	switch {
	case err != nil:
		return again("colleague.bad_mail")
	case f.Who == "" || f.Words == "" || len(f.Who) > whoMost || len(f.Words) > questionMost:
		return again("colleague.bad_words")
	}
	ask := queue.Ask{Who: f.Who, Mail: to, Words: f.Words, Actor: v.user.Actor(), Letter: f.Letter}
	if f.Due != "" {
		// The day counts whole: the question is due with its last second.
		day, err := time.ParseInLocation(time.DateOnly, f.Due, v.c.d.Cases.NewPacer().Zone(k.Controller))
		ask.Due = day.AddDate(0, 0, 1).Add(-time.Second).Sub(v.now())
		if err != nil || ask.Due <= 0 {
			return again("colleague.bad_due")
		}
	}
	if _, err := c.d.Cases.AskColleague(v.ctx(), k.Number, ask); err != nil {
		if errors.Is(err, queue.ErrMove) || errors.Is(err, queue.ErrOrder) {
			v.status = http.StatusConflict
			return v.showCase(map[string]any{"Fault": "colleague.refused", "Ask": f}, replyForm{})
		}
		return err
	}
	return v.redirect(casePath(k.Number), "colleague-asked")
}

// taskLink shows the link of a colleague's question once more, for one whom the
// mail did not reach. Whoever holds it can answer: showing it is recorded.
func (c *Console) taskLink(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	index, err := strconv.Atoi(v.r.PathValue("n"))
	if err != nil {
		return errNotFound
	}
	link, err := c.d.Cases.TaskLink(v.ctx(), k.Number, index)
	if err != nil {
		return v.told(err, "colleague.refused", replyForm{})
	}
	if err := v.saw("task-link", &k, map[string]string{"task": strconv.Itoa(index)}); err != nil {
		return err
	}
	return v.showCase(map[string]any{"Link": link, "LinkOf": index}, replyForm{})
}
