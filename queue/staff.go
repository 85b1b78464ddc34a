package queue

import (
	"strings"
	"time"

	"postern/gateway/webpage"
)

// staffWords are the words for a colleague, an operator or a company of a
// controller: in their own language where it is configured, then that of the
// controller's staff, then the controller's.
func (q *Queue) staffWords(controller, own string) *webpage.Words {
	for _, tag := range []string{own, q.rules().Handling[controller].StaffLanguage, q.controller(controller).Language} {
		if w := q.staff.Find(tag); w != nil {
			return w
		}
	}
	return q.staff.Find("en")
}

// staffLine is one line of a mail: what it is, and its value.
func staffLine(w *webpage.Words, key, value string) string {
	return w.Say("line", "name", w.Say(key), "value", value)
}

// staffDay writes a day as the language does.
func staffDay(w *webpage.Words, t time.Time) string { return t.Format(w.Say("date_layout")) }

// staffMoment writes day, time and zone as the language does.
func staffMoment(w *webpage.Words, t time.Time) string {
	return t.Format(w.Say("date_layout") + " 15:04 MST")
}

// staffLetters writes the mails of a case as they are passed on to who answers
// them: sender, time, subject and text of each.
func staffLetters(w *webpage.Words, mails []Incoming, loc *time.Location) string {
	var b strings.Builder
	for _, in := range mails {
		b.WriteString("\n" + staffLine(w, "from", in.From.Plain()) + "\n" + staffLine(w, "received", staffMoment(w, in.Received.In(loc))) +
			"\n" + staffLine(w, "subject", in.Subject) + "\n\n" + in.Text + "\n")
	}
	return b.String()
}
