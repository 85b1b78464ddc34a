package reply

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

//go:embed text/*.toml
var embedded embed.FS

// Step names one text of the catalogue.
type Step string

const (
	Receipt    Step = "receipt"    // your message arrived (look.md row 5)
	Stopped    Step = "stopped"    // advertising stopped (row 7)
	Identity   Step = "identity"   // is it you? (row 6)
	Unproven   Step = "unproven"   // identity was not shown in time
	Extension  Step = "extension"  // the period is extended (row 8)
	Ready      Step = "ready"      // the copy can be fetched (row 9)
	Erased     Step = "erased"     // what was deleted, what is kept (row 10)
	Rectified  Step = "rectified"  // what was corrected
	Restricted Step = "restricted" // data is stored only (GDPR Art. 18)
	Upheld     Step = "upheld"     // processing objected to has ended (Art. 21(1))
	Lifting    Step = "lifting"    // from when restricted data is used again (Art. 18(3))
	Nothing    Step = "nothing"    // no data is held
	Denied     Step = "denied"     // refused, with remedies (Art. 12(4))
	Forwarded  Step = "forwarded"  // handed to who is responsible
	Clarify    Step = "clarify"    // a question that leaves the clock (recital 63)
	Status     Step = "status"     // a link to the page that shows how far it is
)

// Steps lists all of them.
func Steps() []Step {
	return []Step{Receipt, Stopped, Identity, Unproven, Extension, Ready, Erased, Rectified, Restricted, Upheld, Lifting, Nothing, Denied, Forwarded, Clarify, Status}
}

// Values fill the placeholders of a text, by name without braces.
type Values map[string]string

// language is one file of the catalogue.
type language struct {
	Name    string            `toml:"name"`    // in itself, as "Deutsch"
	Date    string            `toml:"date"`    // "{d}. {month} {y}"
	DateAt  string            `toml:"date_at"` // date and time: "{date}, {time}"
	Months  []string          `toml:"months"`  // as they stand in a date
	Subject map[string]string `toml:"subject"` // by step
	Text    map[string]string `toml:"text"`    // by step
	Phrase  map[string]string `toml:"phrase"`  // short pieces, by name
	Rights  map[string]string `toml:"rights"`  // label → the right in words
}

// Catalogue holds the texts of all languages. It is immutable but for what
// Override brings.
type Catalogue struct {
	langs map[string]*language
	over  func(lang string, s Step) (subject, text string, ok bool)
}

// Override lets f replace single texts, as operators edit them; an empty
// subject keeps the catalogue's. It is called once, before the first use.
func (c *Catalogue) Override(f func(lang string, s Step) (subject, text string, ok bool)) { c.over = f }

// Source gives subject and text of a step as they stand in the catalogue, with
// their placeholders; false where the language lacks it.
func (c *Catalogue) Source(lang string, s Step) (subject, text string, ok bool) {
	l := c.langs[lang]
	if l == nil {
		return "", "", false
	}
	if subject = l.Subject[string(s)]; subject == "" {
		subject = l.Subject["request"]
	}
	text, ok = l.Text[string(s)]
	return subject, strings.TrimSpace(text), ok
}

// ErrPlaceholders says that an edited text does not use the placeholders of the
// one it replaces: what is missing may be what the law wants said.
var ErrPlaceholders = errors.New("the placeholders are not those of the built-in text")

// CheckOverride refuses a text that leaves a placeholder of the built-in one
// out, or has one that nothing fills. Errors wrap ErrPlaceholders and name them.
func (c *Catalogue) CheckOverride(lang string, s Step, subject, text string) error {
	own, built, ok := c.Source(lang, s)
	if !ok {
		return fmt.Errorf("no text %q in language %q", s, lang)
	}
	want, got := placeholder.FindAllString(built, -1), placeholder.FindAllString(text, -1)
	var wrong []string
	for _, p := range want {
		if !slices.Contains(got, p) {
			wrong = append(wrong, p)
		}
	}
	want = append(want, placeholder.FindAllString(own, -1)...)
	for _, p := range append(got, placeholder.FindAllString(subject, -1)...) {
		if !slices.Contains(want, p) {
			wrong = append(wrong, p)
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("%w: %s", ErrPlaceholders, strings.Join(slices.Compact(wrong), ", "))
	}
	return nil
}

// Placeholders lists the names in braces of a text, once each.
func Placeholders(text string) []string {
	found := placeholder.FindAllString(text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

// placeholder is a name in braces.
var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

// Load reads the built-in texts; files of dir named like the built-in ones
// ("de.toml") replace single texts. An empty dir gives the built-in ones alone.
func Load(dir string) (*Catalogue, error) {
	c := &Catalogue{langs: map[string]*language{}}
	if err := c.read(embedded, "text"); err != nil {
		return nil, err
	}
	if dir == "" {
		return c, nil
	}
	if err := c.read(os.DirFS(dir), "."); err != nil {
		return nil, fmt.Errorf("reply texts of %s: %w", dir, err)
	}
	return c, nil
}

func (c *Catalogue) read(files fs.FS, dir string) error {
	names, err := fs.Glob(files, path.Join(dir, "*.toml"))
	if err != nil {
		return err
	}
	var faults []error
	for _, name := range names {
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		code := strings.TrimSuffix(path.Base(name), ".toml")
		l := c.langs[code]
		if l == nil {
			l = &language{}
			c.langs[code] = l
		}
		dec := toml.NewDecoder(strings.NewReader(string(raw))).DisallowUnknownFields()
		if err := dec.Decode(l); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", path.Base(name), err))
			continue
		}
		if len(l.Months) != 12 {
			faults = append(faults, fmt.Errorf("%s: 12 months are needed", path.Base(name)))
		}
	}
	return errors.Join(faults...)
}

// Languages lists the codes with texts, sorted.
func (c *Catalogue) Languages() []string {
	out := make([]string, 0, len(c.langs))
	for code := range c.langs {
		out = append(out, code)
	}
	sort.Strings(out)
	return out
}

// Pick gives the first of the wanted BCP 47 languages there are texts for;
// English if none.
func (c *Catalogue) Pick(wanted ...string) string {
	for _, w := range wanted {
		base, _, _ := strings.Cut(strings.ToLower(w), "-")
		if _, ok := c.langs[base]; ok {
			return base
		}
	}
	return "en"
}

// Render fills the texts of the steps, one paragraph group each, and gives
// the subject of the first. It is an error if a value is missing or a
// placeholder remains: a mail with a hole never leaves.
func (c *Catalogue) Render(lang string, v Values, steps ...Step) (subject, text string, err error) {
	l := c.langs[lang]
	if l == nil || len(steps) == 0 {
		return "", "", fmt.Errorf("no reply texts for language %q", lang)
	}
	var parts []string
	for i, s := range steps {
		title, body, ok := c.Source(lang, s)
		if !ok {
			return "", "", fmt.Errorf("no text %q in language %q", s, lang)
		}
		if c.over != nil {
			if t, b, ok := c.over(lang, s); ok {
				title, body = cmp.Or(t, title), b
			}
		}
		filled, err := fill(body, v)
		if err != nil {
			return "", "", fmt.Errorf("text %q in %q: %w", s, lang, err)
		}
		parts = append(parts, strings.TrimSpace(filled))
		if i == 0 {
			if subject, err = fill(title, v); err != nil || subject == "" {
				return "", "", fmt.Errorf("subject %q in %q: missing or with a hole", s, lang)
			}
		}
	}
	if foot := v["foot"]; foot != "" {
		parts = append(parts, "-- \n"+foot)
	}
	return subject, Wrap(strings.Join(parts, "\n\n"), 71), nil
}

// Phrase is a short piece of text by name, filled.
func (c *Catalogue) Phrase(lang, name string, v Values) (string, error) {
	l := c.langs[lang]
	if l == nil || l.Phrase[name] == "" {
		return "", fmt.Errorf("no phrase %q in language %q", name, lang)
	}
	return fill(l.Phrase[name], v)
}

// Right names a label in the language, or the label itself where unknown.
func (c *Catalogue) Right(lang, label string) string {
	if l := c.langs[lang]; l != nil && l.Rights[label] != "" {
		return l.Rights[label]
	}
	return label
}

// Date writes the day of t, in t's location, as the language does.
func (c *Catalogue) Date(lang string, t time.Time) string {
	l := c.langs[lang]
	if l == nil {
		return t.Format(time.DateOnly)
	}
	return strings.NewReplacer("{d}", strconv.Itoa(t.Day()), "{month}", l.Months[t.Month()-1],
		"{y}", strconv.Itoa(t.Year())).Replace(l.Date)
}

// DateTime writes day, time and zone of t.
func (c *Catalogue) DateTime(lang string, t time.Time) string {
	l := c.langs[lang]
	if l == nil {
		return t.Format(time.RFC3339)
	}
	return strings.NewReplacer("{date}", c.Date(lang, t), "{time}", t.Format("15:04 MST")).Replace(l.DateAt)
}

// fill replaces placeholders once: values are never searched for further ones.
func fill(text string, v Values) (string, error) {
	var missing []string
	out := placeholder.ReplaceAllStringFunc(text, func(p string) string {
		value, ok := v[p[1:len(p)-1]]
		if !ok || value == "" {
			missing = append(missing, p)
		}
		return value
	})
	if len(missing) > 0 {
		slices.Sort(missing)
		return "", fmt.Errorf("no value for %s", strings.Join(slices.Compact(missing), ", "))
	}
	return out, nil
}

// Wrap folds lines at spaces so that none is longer than width signs, where a
// single word allows it. Paragraphs and the signature mark stay.
func Wrap(text string, width int) string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if line == "-- " {
			out = append(out, line)
			continue
		}
		cur, n := "", 0
		for _, word := range strings.Fields(line) {
			l := len([]rune(word))
			if n > 0 && n+1+l > width {
				out = append(out, cur)
				cur, n = "", 0
			}
			if n > 0 {
				cur += " "
				n++
			}
			cur += word
			n += l
		}
		out = append(out, cur)
	}
	return strings.Join(out, "\n")
}
