package console

import (
	"strconv"
	"time"

	"postern/queue"
)

const asideMost = 50

// asideRow is one mail that became no case.
type asideRow struct {
	ID      string
	When    time.Time
	Why     string
	From    string
	Subject string
	Text    string
	Secret  bool // of a confidential mailbox, and the visitor may not read it
}

// asideDay is one day with whether it was looked through.
type asideDay struct {
	Day  time.Time
	Rows []asideRow
}

// asidePage lists mails put away by rule, newest first, so that a person
// catches what was put away wrongly (DSR-1).
func (c *Console) asidePage(v *visit) error {
	page, _ := strconv.Atoi(v.r.URL.Query().Get("page"))
	page = max(1, page)
	list, err := c.d.Cases.Asides(v.ctx(), asideMost+1, (page-1)*asideMost)
	if err != nil {
		return err
	}
	until, by, err := c.d.Cases.LookedThrough(v.ctx())
	if err != nil {
		return err
	}
	data := map[string]any{"Until": until, "By": by, "Page": page}
	if len(list) > asideMost {
		list, data["After"] = list[:asideMost], "/aside?page="+strconv.Itoa(page+1)
	}
	if page > 1 {
		data["Before"] = "/aside?page=" + strconv.Itoa(page-1)
	}
	if len(list) > 0 {
		if err := v.saw("aside", nil, map[string]string{"mails": strconv.Itoa(len(list))}); err != nil {
			return err
		}
		data["Newest"] = strconv.FormatInt(list[0].Received.UnixMilli(), 10)
		data["Fresh"] = page == 1 && list[0].Received.After(until)
	}
	p := c.d.Cases.NewPacer()
	var days []asideDay
	for _, a := range list {
		when := a.Received.In(p.Zone(a.Controller))
		day := time.Date(when.Year(), when.Month(), when.Day(), 0, 0, 0, 0, when.Location())
		if len(days) == 0 || days[len(days)-1].Day.Format(time.DateOnly) != day.Format(time.DateOnly) {
			days = append(days, asideDay{Day: day})
		}
		r := asideRow{ID: a.ID, When: when, Why: a.Why, From: a.Mail.From.Plain(), Subject: a.Mail.Subject, Text: shorten(a.Mail.Text, 600)}
		if a.Mail.Confidential && !v.visible(&queue.Case{Flags: []string{queue.FlagConfidential}}) {
			r.Secret, r.From, r.Subject, r.Text = true, "", "", ""
		}
		d := &days[len(days)-1]
		d.Rows = append(d.Rows, r)
	}
	data["Days"] = days
	return v.page("aside", "aside.title", data)
}

// promote makes a case of a mail with its true receipt date.
func (c *Console) promote(v *visit) error {
	ref, err := c.d.Cases.Promote(v.ctx(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return v.redirect(casePath(ref.Number), "promoted")
}

// lookThrough marks that everything up to a mail was looked at.
func (c *Console) lookThrough(v *visit) error {
	n, err := strconv.ParseInt(v.field("until"), 10, 64)
	if err != nil || n <= 0 || time.UnixMilli(n).After(v.now()) {
		return errForm
	}
	if err := c.d.Cases.LookThrough(v.ctx(), time.UnixMilli(n).UTC(), v.user.Actor()); err != nil {
		return err
	}
	return v.redirect("/aside", "looked-through")
}

func (c *Console) waitingAside(v *visit, _ *queue.Snapshot) (int, error) {
	n, err := c.d.Cases.NotLookedThrough(v.ctx())
	return int(n), err
}
