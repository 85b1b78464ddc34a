package feature

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits that keep hostile input cheap: more text than this says nothing new.
const (
	maxText   = 32 << 10 // bytes of text read
	maxUnits  = 400      // sentences read
	maxTokens = 160      // words of one sentence
	headWords = 14       // words of a list's heading put before each of its items
)

// Token is one folded word, number or ideograph.
type Token struct {
	Word   string // folded
	Number bool
	Ideo   bool // one character of a script without spaces
}

// Unit is one sentence, heading or list item: what the model looks at.
type Unit struct {
	Tokens   []Token
	Subject  bool
	Question bool
	Item     bool
	Text     string // as written, for reasons
}

// Segmenter cuts a mail into units.
type Segmenter struct{ fold *Folder }

// NewSegmenter returns one that folds with f.
func NewSegmenter(f *Folder) *Segmenter { return &Segmenter{fold: f} }

// Units cuts subject and text. Quoted lines are left out, wrapped lines are
// joined, and the items of a list are read together with the list's heading:
// "You have the right to:" and "I want you to:" make the same item differ.
func (s *Segmenter) Units(subject, text string) []Unit {
	var out []Unit
	if subject = strings.TrimSpace(subject); subject != "" {
		u := s.unit(Clip(subject, 400))
		u.Subject = true
		out = append(out, u)
	}
	var head []Token
	for _, p := range paragraphs(Clip(text, maxText)) {
		if p.text == "" {
			if !p.soft {
				head = nil
			}
			continue
		}
		for _, part := range sentences(p.text) {
			if len(out) >= maxUnits {
				return out
			}
			u := s.unit(part)
			if !u.says() {
				continue
			}
			u.Item = p.item
			if p.item && head != nil {
				u.Tokens = append(append(make([]Token, 0, len(head)+len(u.Tokens)), head...), u.Tokens...)
			}
			out = append(out, u)
			if !p.item {
				head = nil
				if strings.HasSuffix(strings.TrimRight(part, " *_"), ":") || strings.HasSuffix(part, "：") {
					head = u.Tokens[max(0, len(u.Tokens)-headWords):]
				}
			}
		}
	}
	return out
}

// says tells whether a unit holds more than initials and numbers.
func (u *Unit) says() bool {
	for i := range u.Tokens {
		if t := &u.Tokens[i]; t.Ideo || !t.Number && len(t.Word) > 1 {
			return true
		}
	}
	return false
}

// QuotedLines returns what a text quotes with ">", without the marks.
func QuotedLines(text string) string {
	if !strings.Contains(text, ">") {
		return ""
	}
	var b strings.Builder
	for line := range strings.Lines(Clip(text, maxText)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, ">") {
			b.WriteString(strings.TrimLeft(line, "> "))
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// Clip cuts s to at most n bytes, between runes.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

type paragraph struct {
	text string
	item bool
	soft bool // an empty line between a heading and its list
}

// paragraphs joins lines that a mail program wrapped, and drops quoted lines
// together with the line that announces them.
func paragraphs(text string) []paragraph {
	var out []paragraph
	wrapped := false // the line before may go on
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ">"):
			if n := len(out); n > 0 && strings.HasSuffix(out[n-1].text, ":") {
				out = out[:n-1]
			}
			wrapped = false
		case line == "":
			soft := len(out) > 0 && (strings.HasSuffix(out[len(out)-1].text, ":") || out[len(out)-1].item)
			out = append(out, paragraph{soft: soft})
			wrapped = false
		default:
			body, item := listItem(line)
			if n := len(out); wrapped && !item && n > 0 {
				out[n-1].text += " " + line
			} else {
				out = append(out, paragraph{text: body, item: item})
			}
			wrapped = goesOn(line)
		}
	}
	return out
}

// goesOn tells whether a line looks cut by wrapping rather than ended.
func goesOn(line string) bool {
	last, _ := utf8.DecodeLastRuneInString(line)
	if strings.ContainsRune(".!?:;。！？।؟", last) {
		return false
	}
	return last == ',' || utf8.RuneCountInString(line) >= 50
}

// listItem strips a bullet or number from the front of a line.
func listItem(line string) (string, bool) {
	r, n := utf8.DecodeRuneInString(line)
	rest := line[n:]
	switch {
	case strings.ContainsRune("-*•·–—▪◦+", r) && strings.HasPrefix(rest, " "):
		return strings.TrimSpace(rest), true
	case r == '(' || unicode.IsDigit(r) || (unicode.IsLetter(r) && len(rest) > 1 && (rest[0] == ')' || (rest[0] == '.' && rest[1] == ' ' && r < 0x80))):
		i := 0
		for i < len(rest) && i < 4 && (rest[i] >= '0' && rest[i] <= '9' || rest[i] >= 'a' && rest[i] <= 'z') {
			i++
		}
		if i < len(rest) && (rest[i] == '.' || rest[i] == ')') && i+1 < len(rest) && rest[i+1] == ' ' {
			return strings.TrimSpace(rest[i+1:]), true
		}
	}
	return line, false
}

// short words before a full stop that do not end a sentence.
var abbreviations = map[string]bool{
	"art": true, "artt": true, "arts": true, "abs": true, "nr": true, "no": true, "cl": true, "st": true, "par": true,
	"sec": true, "lit": true, "vgl": true, "bzw": true, "ca": true, "dr": true, "mr": true, "mrs": true, "ms": true,
	"inc": true, "ltd": true, "odst": true, "ods": true, "ust": true, "pkt": true, "pt": true, "str": true, "чл": true,
	"ал": true, "ст": true, "αρ": true, "παρ": true, "tel": true, "stk": true, "jf": true, "evt": true, "ggf": true, "usw": true,
	"etc": true, "resp": true, "inkl": true, "incl": true, "z": true, "b": true, "d": true, "h": true, "u": true, "a": true, "e": true, "g": true, "i": true,
}

// sentences cuts at the end of sentences and at semicolons.
func sentences(p string) []string {
	var out []string
	start := 0
	for i, r := range p {
		end := i + utf8.RuneLen(r)
		switch r {
		case '。', '！', '？', '।', '؟', '；':
		case ')':
			if !enumerates(p[start:i]) {
				continue
			}
			if at := strings.LastIndexAny(p[start:i], " ("); at > 0 {
				if s := strings.TrimSpace(strings.TrimRight(p[start:start+at], " (")); s != "" {
					out = append(out, s)
				}
			}
			start = end
			continue
		case '.', '!', '?', ';':
			if end < len(p) && p[end] != ' ' {
				continue
			}
			if r == '.' && !endsSentence(p[start:i], strings.TrimLeft(p[end:], " ")) {
				continue
			}
		default:
			continue
		}
		if s := strings.TrimSpace(p[start:end]); s != "" {
			out = append(out, s)
		}
		start = end
	}
	if s := strings.TrimSpace(p[start:]); s != "" {
		out = append(out, s)
	}
	return out
}

// enumerates tells whether the text before a bracket ends in the number or
// letter of a list inside a sentence: "I ask you to 1) send ... 2) delete ...".
func enumerates(before string) bool {
	at := strings.LastIndexAny(before, " (")
	mark := before[at+1:]
	if len(mark) == 0 || len(mark) > 3 || at >= 0 && before[at] == '(' && at > 0 && before[at-1] != ' ' {
		return false
	}
	switch {
	case isNumber(mark):
		// "Article 6(1)" and "Article 12 (3)" are no lists
		return len(mark) < 3 && !(at >= 0 && before[at] == '(' && endsInNumber(before[:at]))
	case mark == "a" || mark == "b" || mark == "c" || mark == "d" || mark == "i" || mark == "ii" || mark == "iii" || mark == "iv":
		return !endsInNumber(strings.TrimRight(before[:max(at, 0)], " ("))
	}
	return false
}

func endsInNumber(s string) bool {
	s = strings.TrimRight(s, " ")
	return s != "" && (s[len(s)-1] >= '0' && s[len(s)-1] <= '9' || s[len(s)-1] == ')')
}

// endsSentence judges a full stop by the word before and the letter after it.
func endsSentence(before, after string) bool {
	next, _ := utf8.DecodeRuneInString(after)
	if after != "" && (unicode.IsDigit(next) || unicode.IsLower(next)) {
		// A lower-case start is a new sentence only after a real word.
		word := lastWord(before)
		return unicode.IsLower(next) && utf8.RuneCountInString(word) > 4 && !isNumber(word)
	}
	word := strings.ToLower(lastWord(before))
	return !abbreviations[word] && !(isNumber(word) && len(word) < 3)
}

func lastWord(s string) string {
	i := strings.LastIndexAny(s, " \t(/.")
	return s[i+1:]
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Tokens cuts one sentence into folded words.
func (s *Segmenter) Tokens(text string) []Token { return s.unit(text).Tokens }

// unit folds and tokenises one sentence.
func (s *Segmenter) unit(text string) Unit {
	u := Unit{Text: text}
	last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(text, " )\"'"))
	u.Question = last == '?' || last == '？' || last == '؟' || last == ';' && containsGreek(text)
	var word []byte
	number := false
	flush := func() {
		if len(word) > 0 {
			w := strings.Trim(string(word), "'-._@")
			if w != "" && !strings.ContainsAny(w, "@") {
				u.Tokens = append(u.Tokens, Token{Word: w, Number: number})
			}
		}
		word, number = word[:0], false
	}
	prev := rune(' ')
	for _, r := range text {
		if len(u.Tokens) >= maxTokens {
			break
		}
		switch {
		case ideographic(r):
			flush()
			u.Tokens = append(u.Tokens, Token{Word: string(r), Ideo: true})
		case unicode.IsDigit(r):
			if !number && len(word) > 0 && word[len(word)-1] != '@' {
				flush()
			}
			number = number || len(word) == 0
			word = s.fold.append(word, r)
		case unicode.IsLetter(r) || unicode.IsMark(r) || (r >= 0x200B && r <= 0x200F) || r == 0xAD:
			if number {
				flush()
			}
			word = s.fold.append(word, r)
		case r == '§':
			flush()
			u.Tokens = append(u.Tokens, Token{Word: "§"})
		case (r == '.' || r == '\'' || r == '’' || r == '@' || r == '_') && len(word) > 0 && prev != ' ':
			if r == '’' {
				r = '\''
			}
			if r == '\'' || (r == '.' && !number) {
				if r == '.' && !bytesHas(word, '@') {
					flush()
					break
				}
				if r == '\'' { // l'accès, don't: keep short heads apart, as two words
					flush()
					break
				}
			}
			word = append(word, byte(r))
		default:
			flush()
		}
		prev = r
	}
	flush()
	return u
}

func bytesHas(b []byte, c byte) bool {
	for _, x := range b {
		if x == c {
			return true
		}
	}
	return false
}

func containsGreek(s string) bool {
	for _, r := range s {
		if r >= 0x370 && r < 0x400 {
			return true
		}
	}
	return false
}

// ideographic tells scripts that put no spaces between words.
func ideographic(r rune) bool {
	return r >= 0x2E80 && r <= 0x9FFF && r != '。' && !(r >= 0x3000 && r <= 0x303F) ||
		r >= 0xF900 && r <= 0xFAFF ||
		r >= 0x0E00 && r <= 0x0EFF || r >= 0x1000 && r <= 0x109F || r >= 0x1780 && r <= 0x17FF
}
