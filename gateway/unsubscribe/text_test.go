package unsubscribe

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"postern/gateway/webpage"
)

// official are the 24 languages of the Union (Reg. 1/58).
var official = strings.Fields("bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv")

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// Every language has every text, with the placeholders of the English one,
// and of those texts that end a promise no placeholder is left over.
func TestCataloguesAreWhole(t *testing.T) {
	cs, err := webpage.LoadTexts(textFiles, "text/*.toml")
	require.NoError(t, err)
	var tags []string
	for _, c := range cs.All() {
		tags = append(tags, c.Tag())
	}
	require.Equal(t, official, tags)
	english := cs.Find("en")
	for _, c := range cs.All() {
		require.Len(t, c.Keys(), len(english.Keys()), c.Tag())
		for key, want := range english.Keys() {
			text, ok := c.Keys()[key]
			require.True(t, ok, "%s: %s is missing", c.Tag(), key)
			require.Equal(t, strings.TrimSpace(text), text, "%s: %s", c.Tag(), key)
			require.NotContains(t, text, "!", "%s: %s", c.Tag(), key)
			require.NotContains(t, text, "  ", "%s: %s", c.Tag(), key)
			require.NotContains(t, text, "@", "%s: %s", c.Tag(), key)
			got, wanted := placeholder.FindAllString(text, -1), placeholder.FindAllString(want, -1)
			for _, p := range wanted {
				require.Contains(t, got, p, "%s: %s", c.Tag(), key)
			}
			for _, p := range got {
				known := slices.Contains(wanted, p) || (key == "unsubscribe_lead" && p == "{list}")
				require.True(t, known, "%s: %s: %s is not filled", c.Tag(), key, p)
			}
			if key != "date_layout" && key != "quoted" {
				require.True(t, c == english || text != want || key == "language", "%s: %s is English", c.Tag(), key)
			}
		}
		at := time.Date(2027, 3, 14, 0, 0, 0, 0, time.UTC).Format(c.Keys()["date_layout"])
		for _, part := range []string{"2027", "3", "14"} {
			require.Contains(t, at, part, c.Tag())
		}
	}
}

// Each language is in its script: Greek, Cyrillic or Latin.
func TestCatalogueScripts(t *testing.T) {
	cs, err := webpage.LoadTexts(textFiles, "text/*.toml")
	require.NoError(t, err)
	for _, c := range cs.All() {
		script := unicode.Latin
		switch c.Tag() {
		case "el":
			script = unicode.Greek
		case "bg":
			script = unicode.Cyrillic
		}
		for key, text := range c.Keys() {
			if key == "date_layout" || key == "quoted" || key == "address" {
				continue
			}
			own, other := 0, 0
			for _, r := range strings.ReplaceAll(placeholder.ReplaceAllString(text, ""), "e-mail", "") {
				if unicode.Is(script, r) {
					own++
				} else if unicode.IsLetter(r) {
					other++
				}
			}
			require.Positive(t, own, "%s: %s", c.Tag(), key)
			require.Zero(t, other, "%s: %s: %s", c.Tag(), key, text)
		}
	}
}

// Finnish speaks to persons in the polite plural, as the letters and the pages of
// cases do; a button is what the person says.
func TestFinnishIsPolite(t *testing.T) {
	cs, err := webpage.LoadTexts(textFiles, "text/*.toml")
	require.NoError(t, err)
	familiar := regexp.MustCompile(`(?i)(^|[^\pL])(sinä|sinu\pL*|et|olet|voit|haluat|saat|hyväksyit|avaa|avaat|katso|kirjoita|älä|osoitteesi|valintasi|pyyntösi)([^\pL]|$)`)
	for key, text := range cs.Find("fi").Keys() {
		require.NotRegexp(t, familiar, text, key)
	}
}
