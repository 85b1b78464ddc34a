package reply

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"postern/queue/fulfil"
)

// acronyms are Latin in every script.
var acronyms = strings.NewReplacer("e-mail", "", "ZIP", "")

// Every language has every text, tells the same, and is in its own script and
// tone.
func TestStaffTextsAreWhole(t *testing.T) {
	cs, err := StaffTexts()
	require.NoError(t, err)
	c := catalogue(t)
	require.Equal(t, c.Languages(), cs.Tags(), "the official languages of the EU")
	en := cs.Find("en").Keys()
	for _, w := range cs.All() {
		t.Run(w.Tag(), func(t *testing.T) {
			keys, want := w.Keys(), tone[w.Tag()]
			require.Len(t, keys, len(en))
			seen := map[string]string{}
			for key, text := range keys {
				require.NotEmpty(t, en[key], key)
				if slices.Contains([]string{"language", "languages", "privacy", "quoted", "date_layout", "optional"}, key) {
					continue // of every page
				}
				require.NotEmpty(t, text, key)
				require.Equal(t, placeholders(en[key]), placeholders(text), key)
				require.Equal(t, strings.TrimSpace(text), text, key)
				for _, bad := range []string{"!", "  ", "@", "--", "'"} {
					if w.Tag() != "en" {
						require.NotContains(t, text, bad, key)
					}
				}
				for _, familiar := range want.familiar {
					require.NotContains(t, words(text), familiar, "%s: %s", key, text)
				}
				for _, r := range acronyms.Replace(placeholder.ReplaceAllString(text, "")) {
					require.True(t, !unicode.IsLetter(r) || unicode.Is(want.script, r), "%s: %q is not of the language's script: %s", key, r, text)
				}
				if strings.HasPrefix(key, "notice_") || strings.HasPrefix(key, "why_") || strings.HasPrefix(key, "do_") || strings.HasPrefix(key, "result_") {
					require.Empty(t, seen[text], "%s says what %s does", key, seen[text])
					seen[text] = key
				}
				require.True(t, w.Tag() == "en" || text != en[key] || strings.HasPrefix(text, "{") || len([]rune(text)) < 9, "%s is English", key)
			}
		})
	}
}

// Sentences end as such, reasons and names don't; what a subject is made of is
// short.
func TestStaffTextsFitTheirPlaces(t *testing.T) {
	cs, err := StaffTexts()
	require.NoError(t, err)
	for _, w := range cs.All() {
		for key, text := range w.Keys() {
			ends := strings.HasSuffix(text, ".") || strings.HasSuffix(text, "?") || strings.HasSuffix(text, "}") || strings.HasSuffix(text, ":")
			first, _, _ := strings.Cut(text, ". ")
			switch {
			case strings.HasPrefix(key, "notice_"):
				require.True(t, ends, "%s %s: %s", w.Tag(), key, text)
				require.LessOrEqual(t, len([]rune(first)), 110, "%s %s: it begins the subject", w.Tag(), key)
			case strings.HasPrefix(key, "do_"), strings.HasSuffix(key, "_lead"), strings.HasPrefix(key, "mail_") && key != "mail_subject":
				require.True(t, ends, "%s %s: %s", w.Tag(), key, text)
			case strings.HasPrefix(key, "why_"), strings.HasPrefix(key, "result_"), strings.HasSuffix(key, "_subject"):
				require.False(t, strings.HasSuffix(text, "."), "%s %s: %s", w.Tag(), key, text)
			}
		}
	}
	en := cs.Find("en").Keys()
	for _, v := range fulfil.Verbs() {
		require.NotEmpty(t, en[TaskKey(v)], v)
	}
}
