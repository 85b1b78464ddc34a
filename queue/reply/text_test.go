package reply

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

// tone is how a language speaks to a person: words its texts must use and
// words they must not, so that politeness has one direction.
var tone = map[string]struct {
	polite   []string // at least one is in every receipt
	familiar []string // never anywhere
	script   *unicode.RangeTable
}{
	"bg": {[]string{"Вашето", "Ви", "Вие"}, []string{"ти", "твоя", "твоето", "теб"}, unicode.Cyrillic},
	"cs": {[]string{"vaše", "vám", "odpovězte"}, []string{"tvoje", "tobě", "tvá", "tvůj"}, unicode.Latin},
	"da": {[]string{"din", "du"}, []string{"deres"}, unicode.Latin},
	"de": {[]string{"sie", "ihre"}, []string{"du", "dein", "deine", "dir", "dich", "euch", "eure"}, unicode.Latin},
	"el": {[]string{"σας"}, []string{"σου", "εσύ", "σε παρακαλώ"}, unicode.Greek},
	"en": {[]string{"you", "your"}, []string{"gonna", "hi", "hey"}, unicode.Latin},
	"es": {[]string{"su", "responda"}, []string{"tú", "tu", "tus", "ti", "responde"}, unicode.Latin},
	"et": {[]string{"teie", "vastake"}, []string{"sina", "sinu", "sulle"}, unicode.Latin},
	"fi": {[]string{"viestinne", "saatte"}, []string{"sinä", "sinun", "sinulle", "viestisi"}, unicode.Latin},
	"fr": {[]string{"votre", "vous"}, []string{"tu", "ton", "ta", "tes", "toi"}, unicode.Latin},
	"ga": {[]string{"tú", "do"}, nil, unicode.Latin},
	"hr": {[]string{"vaša", "odgovorite"}, []string{"tvoj", "tvoja", "tebi", "ti"}, unicode.Latin},
	"hu": {[]string{"ön"}, []string{"te", "neked", "téged", "tied"}, unicode.Latin},
	"it": {[]string{"suo", "risponda"}, []string{"tuo", "tua", "tuoi", "tu", "rispondi"}, unicode.Latin},
	"lt": {[]string{"jūsų", "gausite"}, []string{"tavo", "tau", "tu"}, unicode.Latin},
	"lv": {[]string{"jūsu", "saņemsiet"}, []string{"tavs", "tava", "tev"}, unicode.Latin},
	"mt": {[]string{"tiegħek"}, nil, unicode.Latin},
	"nl": {[]string{"uw", "u"}, []string{"jij", "je", "jouw", "jou"}, unicode.Latin},
	"pl": {[]string{"państwa", "państwo"}, []string{"ty", "twój", "twoja", "twoje", "tobie", "ciebie"}, unicode.Latin},
	"pt": {[]string{"sua", "receberá"}, []string{"tu", "teu", "tua", "teus"}, unicode.Latin},
	"ro": {[]string{"dumneavoastră"}, []string{"tu", "tău", "ta", "ție", "tale"}, unicode.Latin},
	"sk": {[]string{"vaša", "odpovedzte"}, []string{"tvoja", "tvoj", "tebe", "ty"}, unicode.Latin},
	"sl": {[]string{"vaše", "odgovorite"}, []string{"tvoje", "tvoj", "tebi", "ti"}, unicode.Latin},
	"sv": {[]string{"du", "ditt"}, []string{"ni", "er"}, unicode.Latin},
}

// sample fills every placeholder the texts use.
var sample = Values{
	"no": "PC-7K3Q-X9MD", "date": "DATE", "due": "DUE", "controller": "Example Shop", "time": "TIME", "other_channels": "OTHER", "undo": "UNDO",
	"right": "RIGHT", "n": "14", "link": "https://mail.example.org/case/abcdefghij", "authority": "AUTHORITY", "new": "NEW", "reason": "REASON",
	"until": "UNTIL", "code_way": "WAY", "today": "TODAY", "systems": "SYSTEMS", "kept": "KEPT", "receiver": "RECEIVER", "question": "QUESTION", "processing": "PROCESSING", "from": "FROM",
	"foot": "Example Shop\nMarktplatz 1",
}

func catalogue(t *testing.T) *Catalogue {
	t.Helper()
	c, err := Load("")
	require.NoError(t, err)
	return c
}

func placeholders(s string) []string {
	out := placeholder.FindAllString(s, -1)
	slices.Sort(out)
	return slices.Compact(out)
}

func TestAllLanguages(t *testing.T) {
	c := catalogue(t)
	require.Len(t, c.Languages(), 24, "the official languages of the EU")
	en := c.langs["en"]
	for _, code := range c.Languages() {
		t.Run(code, func(t *testing.T) {
			l := c.langs[code]
			require.NotEmpty(t, l.Name)
			require.Len(t, l.Text, len(Steps()))
			for _, s := range Steps() {
				require.Equal(t, placeholders(en.Text[string(s)]), placeholders(l.Text[string(s)]), "%s tells the same", s)
				subject, text, err := c.Render(code, sample, s)
				require.NoError(t, err)
				require.Contains(t, subject, sample["no"], "the case number is in the subject")
				require.NotContains(t, subject+text, "{")
				require.NotContains(t, text, "!")
				require.LessOrEqual(t, len([]rune(subject)), 60)
				for _, line := range strings.Split(text, "\n") {
					require.LessOrEqual(t, len([]rune(line)), 72)
				}
			}
			for name := range en.Phrase {
				require.Equal(t, placeholders(en.Phrase[name]), placeholders(l.Phrase[name]), name)
				require.NotEmpty(t, l.Phrase[name])
			}
			for label := range en.Rights {
				require.NotEmpty(t, l.Rights[label], label)
			}
		})
	}
}

func TestTone(t *testing.T) {
	c := catalogue(t)
	for _, code := range c.Languages() {
		t.Run(code, func(t *testing.T) {
			l, want := c.langs[code], tone[code]
			require.NotNil(t, want.script)
			receipt := words(l.Text["receipt"])
			require.True(t, slices.ContainsFunc(want.polite, func(w string) bool { return slices.Contains(receipt, strings.ToLower(w)) }), "none of %v", want.polite)
			all := map[string]string{}
			maps.Copy(all, l.Text)
			for name, phrase := range l.Phrase {
				require.NotContains(t, all, "phrase "+name)
				all["phrase "+name] = phrase
			}
			for s, text := range all {
				for _, w := range want.familiar {
					require.NotContains(t, words(text), w, s)
				}
				for _, r := range placeholder.ReplaceAllString(text, "") {
					if unicode.IsLetter(r) && !unicode.Is(want.script, r) && !(r < 0x80) {
						t.Fatalf("%s: %q is not of the language's script", s, r)
					}
				}
			}
			if want.script != unicode.Latin {
				require.Regexp(t, regexp.MustCompile(`^[^a-zA-Z]*$`), strings.ReplaceAll(placeholder.ReplaceAllString(l.Text["receipt"], ""), "e-mail", ""))
			}
		})
	}
}

// words are the lower-case words of a text.
func words(s string) []string {
	return strings.FieldsFunc(strings.ToLower(placeholder.ReplaceAllString(s, " ")), func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' })
}

// TestReasonsAreSaidInEveryLanguage: an operator picks a word, the person reads
// their language.
func TestReasonsAreSaidInEveryLanguage(t *testing.T) {
	c := catalogue(t)
	for _, code := range c.Languages() {
		seen := map[string]bool{}
		for _, reason := range []string{"complexity", "number", "unfounded", "excessive", "law", "claims", "others", "unidentified", "expression", "interest", "ground", "compelling", "accurate"} {
			phrase, err := c.Phrase(code, "reason_"+reason, nil)
			require.NoError(t, err)
			require.False(t, seen[phrase], "%s: each is said by itself", code)
			seen[phrase] = true
			v := maps.Clone(sample)
			v["reason"] = phrase
			for _, step := range []Step{Extension, Denied, Lifting} {
				_, text, err := c.Render(code, v, step)
				require.NoError(t, err)
				require.Contains(t, strings.Join(strings.Fields(text), " "), phrase)
			}
		}
		for _, way := range []string{"post", "phone", "person"} {
			phrase, err := c.Phrase(code, "code_"+way, nil)
			require.NoError(t, err)
			require.False(t, seen[phrase])
			seen[phrase] = true
		}
	}
}

// TestPlainWords keeps sentences short: a person reads this on a phone.
func TestPlainWords(t *testing.T) {
	c := catalogue(t)
	end := regexp.MustCompile(`[.?;:!·]\s|\n\n`)
	for _, code := range c.Languages() {
		for step, text := range c.langs[code].Text {
			for _, sentence := range end.Split(text+" ", -1) {
				require.LessOrEqual(t, len(strings.Fields(sentence)), 32, "%s %s: %q", code, step, sentence)
			}
		}
	}
}

func TestEveryLabelHasAName(t *testing.T) {
	c := catalogue(t)
	for _, l := range []classifier.Label{classifier.Access, classifier.Rectification, classifier.Erasure, classifier.Restriction, classifier.Portability,
		classifier.Objection, classifier.WithdrawConsent, classifier.AutomatedDecision, classifier.OptOutSale, classifier.Information, classifier.Complaint, classifier.Unsubscribe} {
		require.NotEmpty(t, c.langs["en"].Rights[string(l)], l)
	}
	require.Equal(t, "Löschung", c.Right("de", "erasure"))
	require.Equal(t, "unheard-of", c.Right("de", "unheard-of"))
}

func TestDates(t *testing.T) {
	c := catalogue(t)
	at := time.Date(2026, 12, 24, 15, 4, 0, 0, time.UTC)
	for code, want := range map[string]string{"en": "24 December 2026", "de": "24. Dezember 2026", "lt": "2026 m. gruodžio 24 d.", "hu": "2026. december 24.", "el": "24 Δεκεμβρίου 2026", "xx": "2026-12-24"} {
		require.Equal(t, want, c.Date(code, at), code)
	}
	require.Equal(t, "24. Dezember 2026, 15:04 UTC", c.DateTime("de", at))
	require.Equal(t, "de", c.Pick("und", "", "de-AT"))
	require.Equal(t, "en", c.Pick("tlh"))
}

func TestHoleNeverLeaves(t *testing.T) {
	c := catalogue(t)
	_, _, err := c.Render("en", Values{"no": "PC-7K3Q-X9MD", "date": "D"}, Receipt)
	require.ErrorContains(t, err, "{due}")
	_, _, err = c.Render("xx", sample, Receipt)
	require.Error(t, err)
	_, _, err = c.Render("en", sample, Step("unheard-of"))
	require.Error(t, err)
	_, text, err := c.Render("en", Values{"no": "PC-7K3Q-X9MD", "date": "{due}", "due": "X"}, Receipt)
	require.NoError(t, err)
	require.Contains(t, text, "{due}", "values are not searched for placeholders")
}

func TestOverride(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "de.toml"), []byte("[text]\nreceipt = \"Danke, {no}.\"\n"), 0o600))
	c, err := Load(dir)
	require.NoError(t, err)
	_, text, err := c.Render("de", sample, Receipt)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(text, "Danke, PC-7K3Q-X9MD."))
	_, text, err = c.Render("de", sample, Denied)
	require.NoError(t, err)
	require.Contains(t, text, "vor Gericht", "what is not overridden stays")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "de.toml"), []byte("[texts]\nreceipt = \"x\"\n"), 0o600))
	_, err = Load(dir)
	require.ErrorContains(t, err, "de.toml", "an unknown key is told")
}

func TestWrap(t *testing.T) {
	require.Equal(t, "aaa bbb\nccc", Wrap("aaa bbb ccc", 7))
	require.Equal(t, "averyveryverylongword", Wrap("averyveryverylongword", 7))
	require.Equal(t, "a\n\nb\n-- \nfoot", Wrap("a\n\nb\n-- \nfoot", 7))
}
