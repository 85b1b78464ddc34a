package console

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
)

//go:embed text/*.toml
var textFiles embed.FS

// words is one language: dotted key to text with {placeholders}.
type words struct {
	tag      string // BCP 47, as in lang=
	lang     language.Tag
	text     map[string]string
	english  *words // for what is missing
	printer  *message.Printer
	weekdays []string // from Sunday
	months   []string
}

// texts are all languages there is a file for.
type texts struct {
	list    []*words // English first, then by tag
	byTag   map[string]*words
	matcher language.Matcher
}

func loadTexts(files fs.FS) (*texts, error) {
	names, err := fs.Glob(files, "text/*.toml")
	if err != nil {
		return nil, fmt.Errorf("list console texts: %w", err)
	}
	ts := &texts{byTag: map[string]*words{}}
	for _, name := range names {
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read console texts: %w", err)
		}
		w := &words{tag: strings.TrimSuffix(path.Base(name), ".toml"), text: map[string]string{}}
		var tree map[string]any
		if err := toml.Unmarshal(b, &tree); err != nil {
			return nil, fmt.Errorf("console texts %s: %w", name, err)
		}
		if err := flatten("", tree, w.text); err != nil {
			return nil, fmt.Errorf("console texts %s: %w", name, err)
		}
		if w.lang, err = language.Parse(w.tag); err != nil {
			return nil, fmt.Errorf("console texts %s: the name is no language", name)
		}
		w.printer = message.NewPrinter(w.lang)
		w.weekdays, w.months = strings.Fields(w.text["date.weekdays"]), strings.Fields(w.text["date.months"])
		if len(w.weekdays) != 7 || len(w.months) != 12 {
			return nil, fmt.Errorf("console texts %s: date.weekdays has 7 words and date.months 12", name)
		}
		ts.list, ts.byTag[w.tag] = append(ts.list, w), w
	}
	english := ts.byTag["en"]
	if english == nil {
		return nil, fmt.Errorf("console texts: no en.toml")
	}
	sort.Slice(ts.list, func(i, j int) bool {
		a, b := ts.list[i], ts.list[j]
		return a == english && b != english || b != english && a.tag < b.tag
	})
	tags := make([]language.Tag, len(ts.list))
	for i, w := range ts.list {
		w.english, tags[i] = english, w.lang
	}
	ts.matcher = language.NewMatcher(tags)
	return ts, nil
}

func flatten(at string, tree map[string]any, into map[string]string) error {
	for k, v := range tree {
		key := k
		if at != "" {
			key = at + "." + k
		}
		switch v := v.(type) {
		case string:
			into[key] = v
		case map[string]any:
			if err := flatten(key, v, into); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is no text", key)
		}
	}
	return nil
}

// of picks the language of a request: the user's wish, else Accept-Language.
func (ts *texts) of(wish string, r *http.Request) *words {
	if w := ts.byTag[wish]; w != nil {
		return w
	}
	header := r.Header.Get("Accept-Language")
	if len(header) > 512 {
		header = ""
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(tags) == 0 {
		return ts.list[0]
	}
	_, i, _ := ts.matcher.Match(tags...)
	return ts.list[i]
}

// has tells whether there is a text of this key.
func (w *words) has(key string) bool {
	_, ok := w.english.text[key]
	return ok
}

// say fills the text of a key. Pairs are placeholder, value. A missing text
// shows the English one, and an unknown key itself: a word from a closed set
// that has no translation yet is better than a hole.
func (w *words) say(key string, pairs ...string) string {
	text, ok := w.text[key]
	if !ok {
		if text, ok = w.english.text[key]; !ok {
			_, last, _ := cutLast(key)
			return strings.ReplaceAll(last, "_", " ")
		}
	}
	if len(pairs) < 2 {
		return text
	}
	filled := make([]string, len(pairs)&^1)
	for i := 0; i+1 < len(pairs); i += 2 {
		filled[i], filled[i+1] = "{"+pairs[i]+"}", pairs[i+1]
	}
	return strings.NewReplacer(filled...).Replace(text)
}

func cutLast(key string) (before, after string, found bool) {
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		return key[:i], key[i+1:], true
	}
	return "", key, false
}

// count says "2 days late": key.one, key.other and so on, as the language
// forms its plurals (CLDR), with {n}.
func (w *words) count(key string, n int, pairs ...string) string {
	form := [...]string{"other", "zero", "one", "two", "few", "many"}[plural.Cardinal.MatchPlural(w.lang, abs(n), 0, 0, 0, 0)]
	if _, ok := w.text[key+"."+form]; !ok {
		form = "other"
	}
	return w.say(key+"."+form, append([]string{"n", w.number(int64(n))}, pairs...)...)
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// number writes a count with the thousands of the language.
func (w *words) number(n int64) string { return w.printer.Sprint(number.Decimal(n)) }

// decimal writes a number with one place behind the sign of the language.
func (w *words) decimal(x float64) string {
	return w.printer.Sprint(number.Decimal(x, number.MinFractionDigits(1), number.MaxFractionDigits(1)))
}

// date is "Fri 27 Nov", with the year when it is not that of now.
func (w *words) date(t, now time.Time) string {
	if t.IsZero() {
		return "–"
	}
	form := "date.short"
	if t.Year() != now.In(t.Location()).Year() {
		form = "date.long"
	}
	return w.say(form, "weekday", w.weekdays[t.Weekday()], "day", strconv.Itoa(t.Day()), "month", w.months[t.Month()-1], "year", strconv.Itoa(t.Year()))
}

// clock is "14:05".
func (w *words) clock(t time.Time) string { return t.Format("15:04") }
