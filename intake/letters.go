package intake

import (
	"strings"

	"postern/classifier"
	"postern/intake/attach"
	"postern/intake/mime"
	"postern/intake/report"
	"postern/queue"
)

// maxRead is of how many attachments the text is read.
const maxRead = 4

// attachments lists what came with a mail, with the words of those that may
// be a letter. Of machine mail nothing is read.
func attachments(m *mime.Message, rep report.Report) []queue.Attachment {
	var out []queue.Attachment
	read := 0
	for _, f := range m.Files() {
		a := queue.Attachment{Name: clip(f.Name, 255), Type: clip(f.Type, 100), Size: f.Size}
		if !rep.Kind.Machine() && read < maxRead && f.Part.Inner == nil {
			text, ok := attach.Text(f.Part)
			if ok {
				read++
			}
			a.Text = text
		}
		out = append(out, a)
	}
	return out
}

// classify reads what the person asks: first in the letter itself; where that
// asks nothing, in it and the attached letters together, for people write
// "see attached". Attached words alone never outweigh what the letter says.
func classify(in *queue.Incoming, rep report.Report, hint string, cls Classifier) {
	input := classifier.Input{Subject: plainSubject(in.Subject), Text: in.Text, Quoted: in.Quoted, Hint: hint}
	in.Result = cls.Classify(input)
	if asks(in.Result) || rep.Kind.Machine() {
		return
	}
	var texts []string
	for _, a := range in.Attachments {
		if a.Text != "" {
			texts = append(texts, a.Text)
		}
	}
	if len(texts) == 0 {
		return
	}
	input.Text = strings.TrimSpace(in.Text + "\n\n" + strings.Join(texts, "\n\n"))
	if with := cls.Classify(input); asks(with) || in.Text == "" {
		with.Abstain = with.Abstain || len(strings.Fields(in.Text)) > 60 // a long letter that asks nothing: a person looks
		in.Result = with
	}
}
