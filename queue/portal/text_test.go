package portal

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/gateway/webpage"
	"postern/queue/reply"
)

// official are the 24 languages of the Union (Reg. 1/58).
var official = strings.Fields("bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv")

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// alike are texts that other languages may have in common with English.
var alike = []string{"get_code", "form_text"}

// Every language has every text, with the placeholders of the English one, in
// its own script.
func TestCataloguesAreWhole(t *testing.T) {
	cs, err := webpage.LoadTexts(textFiles, "text/*.toml")
	require.NoError(t, err)
	var tags []string
	english := cs.Find("en").Keys()
	for _, c := range cs.All() {
		tags = append(tags, c.Tag())
		require.Len(t, c.Keys(), len(english), c.Tag())
		for key, want := range english {
			text, ok := c.Keys()[key]
			require.True(t, ok, "%s: %s is missing", c.Tag(), key)
			require.Equal(t, strings.TrimSpace(text), text, "%s: %s", c.Tag(), key)
			for _, bad := range []string{"!", "  ", "@", "--"} {
				require.NotContains(t, text, bad, "%s: %s", c.Tag(), key)
			}
			if key == "date_layout" || key == "quoted" || key == "language" || key == "languages" {
				continue
			}
			got, wanted := placeholder.FindAllString(text, -1), placeholder.FindAllString(want, -1)
			slices.Sort(got)
			slices.Sort(wanted)
			require.Equal(t, wanted, got, "%s: %s", c.Tag(), key)
			require.True(t, c.Tag() == "en" || text != want || slices.Contains(alike, key), "%s: %s is English", c.Tag(), key)
			inScript(t, c.Tag(), key, text)
		}
	}
	require.Equal(t, official, tags)
}

func inScript(t *testing.T, tag, key, text string) {
	script := unicode.Latin
	switch tag {
	case "el":
		script = unicode.Greek
	case "bg":
		script = unicode.Cyrillic
	}
	for _, r := range strings.ReplaceAll(placeholder.ReplaceAllString(text, ""), "e-mail", "") {
		require.True(t, !unicode.IsLetter(r) || unicode.Is(script, r), "%s: %s: %s", tag, key, text)
	}
}

// Whatever may be asked has a name, and each heading of an act ends as a
// sentence does while names don't.
func TestTextsFitTheirPlaces(t *testing.T) {
	cs, err := webpage.LoadTexts(textFiles, "text/*.toml")
	require.NoError(t, err)
	for _, l := range choices {
		require.NotEmpty(t, cs.Find("en").Keys()["ask_"+string(l)], l)
	}
	require.NotEmpty(t, cs.Find("en").Keys()["ask_"+string(classifier.OptOutSale)])
	for _, c := range cs.All() {
		for key, text := range c.Keys() {
			end := strings.HasSuffix(text, ".") || strings.HasSuffix(text, "?") || strings.HasSuffix(text, ";")
			switch {
			case strings.HasSuffix(key, "_lead") && key != "get_wrong_lead":
				require.True(t, end, "%s: %s: %s", c.Tag(), key, text)
			case strings.HasPrefix(key, "ask_"), strings.HasPrefix(key, "who_"), strings.HasPrefix(key, "step_"), strings.HasSuffix(key, "_button"):
				require.False(t, end, "%s: %s: %s", c.Tag(), key, text)
			}
		}
	}
}

// Whatever a colleague may answer has a name.
func TestTaskTexts(t *testing.T) {
	cs, err := reply.StaffTexts()
	require.NoError(t, err)
	en := cs.Find("en").Keys()
	for verb, list := range results {
		if verb != "" {
			require.NotEmpty(t, en[reply.TaskKey(verb)], verb)
		}
		for _, r := range list {
			require.NotEmpty(t, en["result_"+r], r)
		}
	}
}
