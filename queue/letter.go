package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"postern/gateway"
	"postern/gateway/address"
	"postern/gateway/stream"
	"postern/queue/fulfil"
	"postern/queue/reply"
	"postern/queue/vault"
)

// Draft is what an operator wants to send: a text of the catalogue with its
// values, or free text, with what its leaving does to the case.
type Draft struct {
	Step     reply.Step   // text of the catalogue; "" where Text is given
	Values   reply.Values // for placeholders the case can't fill: "reason", "systems", ...
	Subject  string       // with Text
	Text     string       // free text, sent as written under the controller's foot
	Language string       // BCP 47; default the person's
	To       address.Address
	Effect   Action // ActAnswer, ActDeny, ActExtend, ActAsk, ActLift, or ActSent for none
	Reason   string // from a closed set; needed for deny and extend
	Actor    string // "operator:<name>" or "rule"
	Note     string
	Ending   Ending    // for ActDeny: what becomes of the stop that a request for erasure placed
	Seen     int       // mails of the case that were seen when it was written; 0: all there are
	From     time.Time // for ActLift: when the restriction ends; default Queue.LiftFrom
}

// reasonPhrases are the reasons of an extension or refusal that the catalogue
// says in the person's language, and its phrase for each.
var reasonPhrases = map[string]string{
	"complexity": "complexity", "complex": "complexity", // Art. 12(3)
	"number": "number", "many-requests": "number",
	"unfounded": "unfounded", "manifestly-unfounded": "unfounded", // Art. 12(5)
	"excessive":      "excessive",
	"not-identified": "unidentified",                   // Art. 11(2), 12(2)
	"law":            "law", "legal-obligation": "law", // Art. 17(3)(b)
	"claims": "claims", "legal-claims": "claims", // Art. 17(3)(e), 21(1)
	"others": "others", "rights-of-others": "others", // Art. 15(4)
	"freedom-of-expression": "expression", // Art. 17(3)(a)
	"public-interest":       "interest",   // Art. 17(3)(c), (d)
	"no-ground":             "ground",     // Art. 17(1), 18(1), 20(1)
	"compelling-grounds":    "compelling", // Art. 21(1)
	"accurate":              "accurate",   // Art. 16
}

// SaysReason tells whether a reason of an extension or refusal is said in the
// person's language by itself; another one needs its own words in
// Values["reason"].
func SaysReason(reason string) bool { return reasonPhrases[reason] != "" }

// SaidReasons lists the words SaysReason knows, sorted.
func SaidReasons() []string { return slices.Sorted(maps.Keys(reasonPhrases)) }

// Letter is a mail of a case to the person, as it will leave.
type Letter struct {
	To       address.Address
	Subject  string
	Text     string
	Language string
	Effect   Action
	Reason   string
	Actor    string
	Note     string
	Step     reply.Step
	At       time.Time // not before
	Due      time.Time // new due date of an extension
	From     time.Time // when a restriction ends
	Ending   Ending    // what becomes of the stop that a request for erasure placed
	Mails    int       // of the case that it answers: what came since is not answered by it
}

type storedLetter struct {
	Letter
	To string
}

func (l Letter) seal(k *vault.Key, no string) (string, error) {
	s := storedLetter{Letter: l, To: l.To.Plain()}
	s.Letter.To = address.Address{}
	raw, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode letter of case %s: %w", no, err)
	}
	return k.Seal(raw, "letter:"+no), nil
}

func openLetter(k *vault.Key, no, sealed string) (Letter, error) {
	raw, err := k.Open(sealed, "letter:"+no)
	if err != nil {
		return Letter{}, err
	}
	var s storedLetter
	if err := json.Unmarshal(raw, &s); err != nil {
		return Letter{}, fmt.Errorf("decode letter of case %s: %w", no, err)
	}
	l := s.Letter
	l.To = parsedOrZero(s.To)
	return l, nil
}

// ErrDraft says that a letter can't be written as asked.
var ErrDraft = errors.New("letter can't be written")

// Preview gives the letter a draft would become, without sending it.
func (q *Queue) Preview(ctx context.Context, number string, d Draft) (Letter, error) {
	c, _, err := q.Show(ctx, number)
	if err != nil {
		return Letter{}, err
	}
	if err := q.outcomes(ctx, &c, &d); err != nil {
		return Letter{}, err
	}
	if d.Effect == ActLift {
		if err := q.mayLift(ctx, &c, &d); err != nil {
			return Letter{}, err
		}
	}
	return q.write(&c, d)
}

// Reply takes a letter up for sending. It leaves after Options.SendHold and
// until then can be taken back; its effect on the case happens when it left,
// so that a case is never answered by a mail that did not go. The returned
// index names it for TakeBack.
func (q *Queue) Reply(ctx context.Context, number string, d Draft) (int, Letter, error) {
	l, err := q.Preview(ctx, number, d)
	if err != nil {
		return 0, Letter{}, err
	}
	if !strings.HasPrefix(d.Actor, "operator:") && d.Actor != "rule" {
		return 0, Letter{}, fmt.Errorf("%w: an actor is needed", ErrDraft)
	}
	if d.Effect == ActDeny && d.Actor != "rule" {
		c, _, _, err := q.load(ctx, FindCaseNo(number))
		if err == nil {
			err = q.secondEyes(ctx, c, EyesDeny, d.Actor)
		}
		if err != nil {
			return 0, Letter{}, err
		}
	}
	l.At = q.o.Now().Add(q.rules().SendHold)
	n, err := q.enqueue(ctx, FindCaseNo(number), l, func(c *Case, ch *changing) error {
		if d.Effect == ActDeny {
			if d.Actor != "rule" { // another may have used the proposal meanwhile
				if err := q.bothEyes(ctx, c, EyesDeny, ch.before, d.Actor); err != nil {
					return err
				}
			}
			ch.extra["proposed:"+EyesDeny] = ""
		}
		return nil
	})
	return n, l, err
}

// LetterDate writes a day as a letter in that language does, with its year.
func (q *Queue) LetterDate(lang string, t time.Time) string { return q.texts().Date(lang, t) }

// enqueue stores a letter in the case's list; more may change the case along.
func (q *Queue) enqueue(ctx context.Context, no string, l Letter, more func(*Case, *changing) error) (int, error) {
	_, index, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
		if _, err := next(c.State, l.Effect); err != nil {
			return err
		}
		ch.letter = &l
		if l.Step != reply.Receipt { // it may leave to a heap of cases that nobody read
			c.acted(l.Actor)
		}
		if more != nil {
			return more(c, ch)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(index)
}

// write turns a draft into a letter.
func (q *Queue) write(c *Case, d Draft) (Letter, error) {
	controller := q.controller(c.Controller)
	if d.Effect == "" {
		d.Effect = ActSent
	}
	if err := d.Ending.check(d.Actor); err != nil {
		return Letter{}, err
	}
	d.Reason, d.Note = closeReason(d.Reason, d.Note)
	l := Letter{Ending: d.Ending, To: d.To, Effect: d.Effect, Reason: d.Reason, Actor: d.Actor, Note: d.Note, Step: d.Step, Mails: len(c.Mails)}
	if d.Seen > 0 && d.Seen < len(c.Mails) && endsCase(d.Effect) {
		return l, fmt.Errorf("%w: the person wrote again in case %s: read that first", ErrMove, c.Number)
	}
	if l.To.IsZero() && len(c.Mails) > 0 {
		l.To = q.person(c.Mails[0])
	}
	if l.To.IsZero() {
		return l, fmt.Errorf("%w: case %s has no address to write to", ErrDraft, c.Number)
	}
	l.Language = q.texts().Pick(d.Language, c.Language, controller.Language)
	if (d.Effect == ActDeny || d.Effect == ActExtend || d.Effect == ActLift) && d.Reason == "" {
		return l, fmt.Errorf("%w: %s needs a reason", ErrDraft, d.Effect)
	}
	values, err := q.letterValues(c, controller, &l, d)
	if err != nil {
		return l, err
	}
	if d.Text != "" {
		if strings.ContainsFunc(d.Subject, unicode.IsControl) {
			return l, fmt.Errorf("%w: a subject is one line", ErrDraft)
		}
		l.Subject = d.Subject
		if FindCaseNo(l.Subject) == "" {
			l.Subject = strings.TrimSpace(l.Subject + " [" + c.Number + "]")
		}
		l.Text = reply.Wrap(strings.TrimSpace(d.Text)+"\n\n-- \n"+values["foot"], 71)
		return l, nil
	}
	if d.Step == "" {
		return l, fmt.Errorf("%w: neither a step nor a text is given", ErrDraft)
	}
	if l.Subject, l.Text, err = q.texts().Render(l.Language, values, d.Step); err != nil {
		return l, errors.Join(ErrDraft, err)
	}
	return l, nil
}

func (q *Queue) letterValues(c *Case, controller stream.Controller, l *Letter, d Draft) (reply.Values, error) {
	var first Incoming
	if len(c.Mails) > 0 {
		first = c.Mails[0]
	}
	first.Received = c.Received
	values, err := q.values(l.Language, controller, c, first)
	if err != nil {
		return nil, err
	}
	if d.Effect == ActExtend {
		end, err := q.extendedEnd(c)
		if err != nil {
			return nil, err
		}
		_, loc := q.seat(controller)
		l.Due = end
		values["new"] = q.texts().Date(l.Language, end.In(loc))
	}
	if d.Effect == ActLift {
		_, loc := q.seat(controller)
		l.From = d.From
		values["from"] = q.texts().Date(l.Language, d.From.In(loc))
	}
	if phrase := reasonPhrases[d.Reason]; phrase != "" {
		if values["reason"], err = q.texts().Phrase(l.Language, "reason_"+phrase, nil); err != nil {
			return nil, err
		}
	}
	maps.Copy(values, d.Values)
	return values, nil
}

// byVerb are the letters that tell what systems did, by the verb of it.
var byVerb = map[reply.Step]fulfil.Verb{reply.Erased: fulfil.Erase, reply.Rectified: fulfil.Rectify, reply.Restricted: fulfil.Restrict}

// outcomes fills in what the systems said they did: which acted, and what is
// kept for which law until when.
func (q *Queue) outcomes(ctx context.Context, c *Case, d *Draft) error {
	verb, ok := byVerb[d.Step]
	if !ok {
		return nil
	}
	tasks, err := q.Tasks(ctx, c.Number)
	if err != nil {
		return err
	}
	var did, kept []string
	for _, t := range tasks {
		switch {
		case t.Verb != verb || t.DryRun:
		case t.Status == fulfil.Kept:
			why := t.Law
			if t.Until != "" {
				why += ", " + t.Until
			}
			kept = append(kept, t.System+" ("+why+")")
		case t.Status == fulfil.Erased || t.Status == fulfil.Done || t.Status == fulfil.Restricted:
			did = append(did, t.System)
		}
	}
	nothing, err := q.texts().Phrase(q.texts().Pick(d.Language, c.Language, q.controller(c.Controller).Language), "nothing", nil)
	if err != nil {
		return err
	}
	values := reply.Values{"systems": nothing, "kept": nothing}
	if len(did) > 0 {
		values["systems"] = strings.Join(did, ", ")
	}
	if len(kept) > 0 {
		values["kept"] = strings.Join(kept, "; ")
	}
	maps.Copy(values, d.Values) // an operator's own words come first
	d.Values = values
	return nil
}

// extendedEnd is the last second after an extension, where the law has one and
// it may still be used.
func (q *Queue) extendedEnd(c *Case) (time.Time, error) {
	p := q.periodByRule(c)
	end, ok := p.rule.ExtendedEnd(c.Received, p.calendar, p.loc)
	switch {
	case !ok:
		return end, fmt.Errorf("%w: rule %s knows no extension", ErrMove, c.Rule)
	case c.Extended:
		return end, fmt.Errorf("%w: case %s is extended already", ErrMove, c.Number)
	case q.o.Now().After(c.Due):
		return end, fmt.Errorf("%w: the first period of case %s is over, an extension had to be told within it", ErrMove, c.Number)
	}
	return end, nil
}

// TakeBack stops a letter that has not left yet. Errors wrap ErrMove if it has.
func (q *Queue) TakeBack(ctx context.Context, number string, index int, actor string) error {
	field := "out:" + strconv.Itoa(index)
	_, _, err := q.change(ctx, FindCaseNo(number), "", func(_ *Case, ch *changing) error {
		if ch.before[field] != "waiting" {
			return fmt.Errorf("take back letter %d: it is %q: %w", index, ch.before[field], ErrMove)
		}
		ch.extra[field] = "taken"
		ch.events = append(ch.events, Event{Actor: actor, Action: ActTaken, Data: map[string]string{"letter": strconv.Itoa(index)}})
		return nil
	})
	return err
}

// send hands one letter to the spool and then lets its effect happen. Between
// the two marks a dying process leaves it unsure whether the letter left: then
// it is not sent again but shown to a person, and the clock runs on.
func (q *Queue) send(ctx context.Context, no, n string) error {
	field := "out:" + n
	l, status, err := q.takeUp(ctx, no, n)
	if err != nil || status != "waiting" {
		return err
	}
	c, _, err := q.Show(ctx, no)
	if err != nil {
		return err
	}
	var answers Incoming
	if len(c.Mails) > 0 {
		answers = c.Mails[len(c.Mails)-1]
	}
	spool, err := q.submit(ctx, q.controller(c.Controller), outgoing{
		ref: outRef(no, n), to: l.To, subject: l.Subject, text: l.Text, lang: l.Language, answers: answers, number: no, path: true})
	var denial *gateway.Denial
	switch {
	case errors.As(err, &denial) && !denial.Temporary():
		_, _, err := q.change(ctx, no, "", func(c *Case, ch *changing) error {
			ch.extra[field] = "failed"
			c.addFlag(FlagUndeliverable)
			ch.events = append(ch.events, Event{Actor: "rule", Action: ActUnsent, Reason: string(denial.Reason), Data: map[string]string{"letter": n}})
			return nil
		})
		q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: c.Controller, Reason: "letter-refused"})
		return err
	case err != nil:
		_, _, backErr := q.change(ctx, no, "", func(_ *Case, ch *changing) error { ch.extra[field] = "waiting"; return nil })
		return errors.Join(err, backErr)
	}
	_, _, err = q.change(ctx, no, "", func(c *Case, ch *changing) error {
		mails, err := q.rdb.LLen(ctx, keyMails(no)).Result()
		if err != nil {
			return fmt.Errorf("count mails of case %s: %w", no, err)
		}
		ch.extra[field] = "sent"
		data := map[string]string{"letter": n, "spool": spool, "step": string(l.Step)}
		if l.Mails > 0 && int(mails) > l.Mails && endsCase(l.Effect) {
			// A case that ended now would hide a mail that nobody has read.
			data["meant"] = string(l.Effect)
			c.addFlag(FlagNews)
			ch.events = append(ch.events, Event{Actor: l.Actor, Action: ActSent, Reason: l.Reason, Data: data, Note: l.Note})
			return nil
		}
		return q.effect(c, ch, l, data)
	})
	return err
}

// endsCase tells whether an action ends a case.
func endsCase(a Action) bool {
	to, err := next(Opened, a)
	return err == nil && !to.Live()
}

// outRef is the stable id of a letter as a mail.
func outRef(no, n string) string { return "case:" + no + ":out:" + n }

// takeUp marks a letter as being sent; status is what it was.
func (q *Queue) takeUp(ctx context.Context, no, n string) (l Letter, status string, err error) {
	field := "out:" + n
	index, err := strconv.Atoi(n)
	if err != nil {
		return l, "", errors.Join(errPermanent, err)
	}
	c, _, key, err := q.load(ctx, no)
	if err != nil {
		return l, "", err
	}
	sealed, err := q.rdb.LIndex(ctx, keyOut(no), int64(index)).Result()
	if err != nil {
		return l, "", fmt.Errorf("read letter %s of case %s: %w", n, no, err)
	}
	if l, err = openLetter(key, no, sealed); err != nil {
		return l, "", err
	}
	_, _, err = q.change(ctx, no, "", func(c *Case, ch *changing) error {
		switch status = ch.before[field]; status {
		case "waiting":
			if l.Step == reply.Unproven && slices.Contains(c.Flags, FlagIdentified) { // they confirmed while it waited
				status, ch.extra[field] = "taken", "taken"
				ch.events = append(ch.events, Event{Actor: "rule", Action: ActTaken, Data: map[string]string{"letter": n}})
				return nil
			}
			ch.extra[field] = "trying"
		case "trying":
			ch.extra[field] = "unsure"
			ch.events = append(ch.events, Event{Actor: "rule", Action: ActUnsure, Reason: "process-died", Data: map[string]string{"letter": n}})
		}
		return nil
	})
	if err == nil && status == "trying" {
		q.tell(ctx, Notice{Kind: "alert", Case: no, Controller: c.Controller, Reason: "letter-unsure"})
	}
	return l, status, err
}

// effect is what a letter that left does to its case.
func (q *Queue) effect(c *Case, ch *changing, l Letter, data map[string]string) error {
	e := Event{Actor: l.Actor, Action: l.Effect, Reason: l.Reason, Data: data, Note: l.Note}
	to, err := next(c.State, l.Effect)
	if err != nil { // the case moved on meanwhile: the letter is only recorded
		e.Action, e.Data["meant"] = ActSent, string(l.Effect)
		ch.events = append(ch.events, e)
		return nil
	}
	c.State = to
	if l.Effect == ActExtend {
		c.Extended, c.Due = true, l.Due
		p := q.periodByRule(c)
		p.due = l.Due
		ch.due, ch.unremind = millis(l.Due), clockReminders(c.Number)
		ch.remind = remindMembers(c.Number, p.reminders(q.o.Now()), q.o.Now())
		e.Data["due"] = millis(l.Due)
	}
	if l.Effect == ActLift {
		announceLift(c, ch, l, e.Data)
	}
	ch.events = append(ch.events, e)
	q.endStop(c, ch, l.Actor, l.Ending)
	return nil
}

// Letters gives the letters of a case with how far each is: "waiting",
// "trying", "sent", "taken", "failed" or "unsure".
func (q *Queue) Letters(ctx context.Context, number string) ([]Letter, []string, error) {
	no := FindCaseNo(number)
	_, f, key, err := q.load(ctx, no)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := q.rdb.LRange(ctx, keyOut(no), 0, -1).Result()
	if err != nil {
		return nil, nil, fmt.Errorf("read letters of case %s: %w", no, err)
	}
	var out []Letter
	var status []string
	for i, s := range sealed {
		l, err := openLetter(key, no, s)
		if err != nil {
			return nil, nil, err
		}
		out, status = append(out, l), append(status, f["out:"+strconv.Itoa(i)])
	}
	return out, status, nil
}
