package console

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/classifier"
	"postern/queue"
)

// mailView is one mail of a case.
type mailView struct {
	Index     int
	When      time.Time
	From      string
	Name      string
	Subject   string
	Lang      string
	Text      []segment
	Sign      string // signature, folded
	Quoted    string // folded
	Files     []fileView
	Grade     queue.Grade
	Tone      string
	Why       string
	Reasons   []reasonView
	Original  bool // the bytes can be fetched
	ByHand    bool
	Manual    string
	Split     bool   // the mail is that of the case this one was split from
	Mailbox   string // and MessageID: where to find the mail by hand
	MessageID string
}

// segment is a run of a mail's text; Why names the right its words spoke for.
type segment struct{ Text, Why string }

// fileView is an attachment.
type fileView struct {
	Index int
	Name  string
	Type  string
	Size  int64
	Text  bool // its words can be read
	Image bool

	Destroyed time.Time
	Left      string // why the mailbox still has it, "" where it does not
}

// Gone tells that what it held was destroyed.
func (f fileView) Gone() bool { return !f.Destroyed.IsZero() }

// KB is the size in whole kilobytes, at least one.
func (f fileView) KB() int64 { return max(1, f.Size/1000) }

// reasonView is a line of the folded list of reasons.
type reasonView struct {
	Right string
	Words string
	For   bool
}

// gradeTone colours how sure the sender is.
var gradeTone = map[queue.Grade]string{queue.Proven: "ok", queue.Likely: "", queue.Unknown: "warn", queue.Contradicted: "danger"}

func (v *visit) mailView(k *queue.Case, index int, in queue.Incoming, loc *time.Location) mailView {
	text, sign := cutSignature(strings.TrimSpace(in.Text))
	m := mailView{
		Index: index, When: in.Received.In(loc), From: in.From.Plain(), Name: in.FromName, Subject: in.Subject, Lang: in.Result.Language,
		Sign: sign, Quoted: strings.TrimSpace(in.Quoted), Grade: in.Grade, Tone: gradeTone[in.Grade], Why: in.GradeWhy,
		ByHand: in.Mailbox == queue.ByHandMailbox, Manual: in.Manual, Split: in.Mailbox == queue.SplitMailbox, Mailbox: in.Mailbox, MessageID: in.MessageID,
	}
	if m.Lang == "und" {
		m.Lang = ""
	}
	m.Original = v.c.d.Original != nil && !m.ByHand && in.Mailbox != queue.SplitMailbox
	m.Text = v.highlight(text, in.Result, k.Labels)
	for i, a := range in.Attachments {
		m.Files = append(m.Files, fileView{Index: i, Name: a.Name, Type: a.Type, Size: a.Size, Text: strings.TrimSpace(a.Text) != "", Image: isPicture(a.Type), Destroyed: a.Destroyed, Left: a.Left})
	}
	for _, r := range in.Result.Reasons {
		m.Reasons = append(m.Reasons, reasonView{v.say("right." + string(r.Label)), r.Words, r.Weight > 0})
	}
	return m
}

// cutSignature parts what stands under the signature mark (RFC 3676 section
// 4.3).
func cutSignature(text string) (body, sign string) {
	for _, mark := range []string{"\n-- \n", "\n--\n"} {
		if i := strings.LastIndex(text, mark); i > 0 && len(text)-i < 2000 {
			return text[:i], strings.TrimSpace(text[i+len(mark):])
		}
	}
	return text, ""
}

// marksMost bounds the marks of a text: more of them say nothing.
const marksMost = 24

// span is a run of bytes to mark.
type span struct {
	from, to int
	why      string
}

// highlight marks the words that spoke for what was decided, in the sentence
// that the classifier read them in.
func (v *visit) highlight(text string, res classifier.Result, labels []classifier.Label) []segment {
	var spans []span
	for _, r := range res.Reasons {
		if r.Weight <= 0 || !slices.Contains(labels, r.Label) || r.Words == "" || len(spans) == marksMost {
			continue
		}
		from, to := 0, len(text)
		if sentence, ok := strings.CutPrefix(r.Rule, "sentence: "); ok {
			if a, z := findLoose(text, sentence); z > a {
				from, to = a, z
			}
		}
		if a, z := findWord(text[from:to], r.Words); z > a {
			spans = append(spans, span{from + a, from + z, v.say("right." + string(r.Label))})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var out []segment
	at := 0
	for _, s := range spans {
		if s.from < at {
			continue
		}
		if s.from > at {
			out = append(out, segment{Text: text[at:s.from]})
		}
		out = append(out, segment{text[s.from:s.to], s.why})
		at = s.to
	}
	if at < len(text) {
		out = append(out, segment{Text: text[at:]})
	}
	return out
}

// findLoose finds a run of words whatever space stands between them.
func findLoose(text, words string) (from, to int) {
	want := strings.Fields(words)
	if len(want) == 0 {
		return 0, 0
	}
	for start := 0; ; {
		i := strings.Index(text[start:], want[0])
		if i < 0 {
			return 0, 0
		}
		from, at := start+i, start+i+len(want[0])
		ok := true
		for _, w := range want[1:] {
			rest := strings.TrimLeftFunc(text[at:], unicode.IsSpace)
			if !strings.HasPrefix(rest, w) {
				ok = false
				break
			}
			at = len(text) - len(rest) + len(w)
		}
		if ok {
			return from, at
		}
		start = from + len(want[0])
	}
}

// findWord finds words as whole ones, whatever their case.
func findWord(text, words string) (from, to int) {
	lower := strings.ToLower(text)
	if len(lower) != len(text) { // a letter whose cases differ in length: positions would not fit
		lower = text
	}
	words = strings.ToLower(words)
	for start := 0; start <= len(lower); {
		i := strings.Index(lower[start:], words)
		if i < 0 {
			return 0, 0
		}
		from, to = start+i, start+i+len(words)
		before, _ := utf8.DecodeLastRuneInString(lower[:from])
		after, _ := utf8.DecodeRuneInString(lower[to:])
		if !wordRune(before) && !wordRune(after) {
			return from, to
		}
		start = to
	}
	return 0, 0
}

func wordRune(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
