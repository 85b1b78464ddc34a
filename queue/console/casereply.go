package console

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/classifier"
	"postern/queue"
	"postern/queue/fulfil"
	"postern/queue/reply"
)

// replyText is a text of the catalogue that an operator may send by hand, with
// the values it needs from them and what its leaving does.
type replyText struct {
	step   reply.Step
	fields []string // names of values; their labels are reply.field_NAME
	effect queue.Action
	labels []classifier.Label // offered first where one of these is asked
}

// replyTexts are those on offer, in their order. Extension, denial and the
// challenge have forms of their own.
var replyTexts = []replyText{
	{reply.Nothing, nil, queue.ActAnswer, []classifier.Label{classifier.Access, classifier.Portability}},
	{reply.Erased, []string{"systems", "kept"}, queue.ActAnswer, []classifier.Label{classifier.Erasure}},
	{reply.Rectified, []string{"systems"}, queue.ActAnswer, []classifier.Label{classifier.Rectification}},
	{reply.Restricted, []string{"systems"}, queue.ActAnswer, []classifier.Label{classifier.Restriction}},
	{reply.Upheld, []string{"processing"}, queue.ActAnswer, nil},
	{reply.Clarify, []string{"question"}, queue.ActSent, nil},
	{reply.Unproven, nil, queue.ActDeny, nil},
}

func replyTextOf(name string) (replyText, bool) {
	for _, t := range replyTexts {
		if string(t.step) == name {
			return t, true
		}
	}
	return replyText{}, false
}

// replyForm is what was typed into the reply.
type replyForm struct {
	Text    string // step, "free", or "" as proposed
	Subject string
	Body    string
	Answers bool // a free text answers the case
	Values  map[string]string
	Preview *letterPreview
	Typed   bool
}

// letterPreview shows a letter as it would leave, beside the operator's
// language where the words are the catalogue's.
type letterPreview struct {
	Letter queue.Letter
	Name   string // of the letter's language
	Own    *queue.Letter
	OwnIn  string
}

// replyView is the editor.
type replyView struct {
	Form   replyForm
	Texts  []choice
	Fields []replyField
	To     string
	From   string
	Step   replyText
	Free   bool
	Open   bool
}

type replyField struct{ Name, Value string }

// letterView is a letter of the case.
type letterView struct {
	queue.Letter
	No    string
	State string
	Tone  string
	Held  bool // it can be taken back
	Plain string
}

var letterTone = map[string]string{"waiting": "warn", "trying": "warn", "sent": "ok", "failed": "danger", "unsure": "danger"}

func (v *visit) letterView(i int, l queue.Letter, state string, loc *time.Location) letterView {
	held := state == "waiting" && l.At.After(v.now())
	l.At = l.At.In(loc)
	return letterView{l, strconv.Itoa(i), state, letterTone[state], held, l.To.Plain()}
}

func (v *visit) replyView(cv *caseView, typed replyForm) (replyView, error) {
	out := replyView{Form: typed, To: cv.From}
	if k, ok := v.c.d.Streams().Controller(cv.Case.Controller); ok {
		out.From = k.Name + " <" + k.Contact + ">"
	}
	if out.Form.Text == "" {
		out.Form.Text = v.r.URL.Query().Get("text")
	}
	if _, ok := replyTextOf(out.Form.Text); !ok && out.Form.Text != "free" {
		out.Form.Text = "free"
		for _, t := range replyTexts {
			if slices.ContainsFunc(t.labels, func(l classifier.Label) bool { return slices.Contains(cv.Case.Labels, l) }) && v.suits(cv, t) {
				out.Form.Text = string(t.step)
			}
		}
	}
	for _, t := range replyTexts {
		out.Texts = append(out.Texts, choice{string(t.step), v.say("reply.text_" + string(t.step)), out.Form.Text == string(t.step)})
	}
	out.Texts = append(out.Texts, choice{"free", v.say("reply.text_free"), out.Form.Text == "free"})
	var ok bool
	if out.Step, ok = replyTextOf(out.Form.Text); !ok {
		out.Free = true
		if !typed.Typed {
			out.Form.Answers = true
		}
		return out, nil
	}
	for _, name := range out.Step.fields {
		value := out.Form.Values[name]
		if !typed.Typed {
			value = prefilled(cv.Tasks, name)
		}
		out.Fields = append(out.Fields, replyField{name, value})
	}
	return out, nil
}

// suits tells whether what a text says has happened: "erased" only after
// systems erased.
func (v *visit) suits(cv *caseView, t replyText) bool {
	switch t.step {
	case reply.Erased:
		return slices.ContainsFunc(cv.Tasks, func(t taskView) bool { return t.Verb == fulfil.Erase && !t.DryRun && t.Done() })
	case reply.Nothing:
		return slices.ContainsFunc(cv.Tasks, func(t taskView) bool { return t.Status == fulfil.NotFound })
	}
	return true
}

// prefilled takes what systems answered into a letter's values.
func prefilled(tasks []taskView, name string) string {
	var systems, kept []string
	for _, t := range tasks {
		if t.DryRun || t.Verb != fulfil.Erase && t.Verb != fulfil.Rectify && t.Verb != fulfil.Restrict {
			continue
		}
		switch t.Status {
		case fulfil.Erased, fulfil.Done, fulfil.Restricted:
			systems = append(systems, t.System)
		case fulfil.Kept:
			kept = append(kept, strings.TrimSpace(t.System+" ("+t.Law+", "+t.Until+")"))
		}
	}
	switch name {
	case "systems":
		return strings.Join(systems, ", ")
	case "kept":
		return strings.Join(kept, "; ")
	}
	return ""
}

// readReply takes the posted form.
func (v *visit) readReply() replyForm {
	f := replyForm{Text: v.field("text"), Subject: v.field("subject"), Body: strings.ReplaceAll(v.r.PostFormValue("body"), "\r\n", "\n"), Answers: v.field("effect") == "answer", Values: map[string]string{}, Typed: true}
	if t, ok := replyTextOf(f.Text); ok {
		for _, name := range t.fields {
			f.Values[name] = v.field("v_" + name)
		}
	}
	return f
}

// draft makes the queue's draft of a form.
func (v *visit) draft(f replyForm) queue.Draft {
	d := queue.Draft{Actor: v.user.Actor(), Effect: queue.ActSent, Seen: v.seen()}
	t, ok := replyTextOf(f.Text)
	if !ok {
		d.Subject, d.Text = oneLine(f.Subject), f.Body
		if f.Answers {
			d.Effect = queue.ActAnswer
		}
		return d
	}
	d.Step, d.Effect, d.Values = t.step, t.effect, reply.Values{}
	if d.Effect == queue.ActDeny {
		d.Reason = "not-identified"
	}
	for name, value := range f.Values {
		d.Values[name] = oneLine(value)
	}
	if d.Values["kept"] == "" && slices.Contains(t.fields, "kept") {
		d.Values["kept"] = v.say("reply.kept_nothing")
	}
	return d
}

// oneLine keeps a value on its line: a subject with a line end would be a
// header of its own.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// reply previews a letter or takes it up for sending.
func (c *Console) reply(v *visit) error {
	f := v.readReply()
	if f.Text == "free" && strings.TrimSpace(f.Body) == "" {
		v.status = 400
		return v.showCase(map[string]any{"Fault": "reply.empty"}, f)
	}
	for _, value := range f.Values {
		if strings.TrimSpace(value) == "" && f.Text != string(reply.Erased) {
			v.status = 400
			return v.showCase(map[string]any{"Fault": "reply.value_missing"}, f)
		}
	}
	k, _, err := v.load()
	if err != nil {
		return err
	}
	d := v.draft(f)
	if v.field("act") != "send" {
		return v.preview(&k, f, d)
	}
	if d.Effect == queue.ActDeny && c.d.Cases.FourEyes(k.Controller, queue.EyesDeny) {
		return v.propose(k.Number, queue.EyesDeny, &d, "")
	}
	if _, _, err := c.d.Cases.Reply(v.ctx(), k.Number, d); err != nil {
		return v.told(err, "reply.refused", f)
	}
	return v.redirect(casePath(k.Number), "held")
}

// preview shows the letter in the person's language and, where the words are
// the catalogue's, in the operator's.
func (v *visit) preview(k *queue.Case, f replyForm, d queue.Draft) error {
	l, err := v.c.d.Cases.Preview(v.ctx(), k.Number, d)
	if err != nil {
		return v.told(err, "reply.refused", f)
	}
	f.Preview = &letterPreview{Letter: l, Name: v.languageName(l.Language)}
	if d.Step != "" && l.Language != v.words.tag {
		d.Language = v.words.tag
		own, err := v.c.d.Cases.Preview(v.ctx(), k.Number, d)
		if err != nil {
			return v.told(err, "reply.refused", f)
		}
		f.Preview.Own, f.Preview.OwnIn = &own, v.languageName(own.Language)
	}
	return v.showCase(map[string]any{}, f)
}

// takeBack stops a letter that has not left.
func (c *Console) takeBack(v *visit) error {
	k, _, err := v.load()
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(v.r.PathValue("n"))
	if err != nil {
		return errNotFound
	}
	if err := c.d.Cases.TakeBack(v.ctx(), k.Number, n, v.user.Actor()); err != nil {
		return v.told(err, "case.left_already", replyForm{})
	}
	return v.redirect(casePath(k.Number), "taken-back")
}
