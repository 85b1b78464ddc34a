package unsubscribe

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"
)

// official are the 24 languages of the Union (Reg. 1/58).
var official = strings.Fields("bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv")

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// Every language has every text, with the placeholders of the English one,
// and of those texts that end a promise no placeholder is left over.
func TestCataloguesAreWhole(t *testing.T) {
	cs, err := loadCatalogues(textFiles)
	require.NoError(t, err)
	var tags []string
	for _, c := range cs.list {
		tags = append(tags, c.tag)
	}
	require.Equal(t, official, tags)
	english := cs.byTag["en"]
	for _, c := range cs.list {
		require.Len(t, c.text, len(english.text), c.tag)
		for key, want := range english.text {
			text, ok := c.text[key]
			require.True(t, ok, "%s: %s is missing", c.tag, key)
			require.Equal(t, strings.TrimSpace(text), text, "%s: %s", c.tag, key)
			require.NotContains(t, text, "!", "%s: %s", c.tag, key)
			require.NotContains(t, text, "  ", "%s: %s", c.tag, key)
			require.NotContains(t, text, "@", "%s: %s", c.tag, key)
			got, wanted := placeholder.FindAllString(text, -1), placeholder.FindAllString(want, -1)
			for _, p := range wanted {
				require.Contains(t, got, p, "%s: %s", c.tag, key)
			}
			for _, p := range got {
				known := slices.Contains(wanted, p) || (key == "unsubscribe_lead" && p == "{list}")
				require.True(t, known, "%s: %s: %s is not filled", c.tag, key, p)
			}
			if key != "date_layout" && key != "quoted" {
				require.True(t, c == english || text != want || key == "language", "%s: %s is English", c.tag, key)
			}
		}
		at := time.Date(2027, 3, 14, 0, 0, 0, 0, time.UTC).Format(c.text["date_layout"])
		for _, part := range []string{"2027", "3", "14"} {
			require.Contains(t, at, part, c.tag)
		}
	}
}

// Each language is in its script: Greek, Cyrillic or Latin.
func TestCatalogueScripts(t *testing.T) {
	cs, err := loadCatalogues(textFiles)
	require.NoError(t, err)
	for _, c := range cs.list {
		script := unicode.Latin
		switch c.tag {
		case "el":
			script = unicode.Greek
		case "bg":
			script = unicode.Cyrillic
		}
		for key, text := range c.text {
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
			require.Positive(t, own, "%s: %s", c.tag, key)
			require.Zero(t, other, "%s: %s: %s", c.tag, key, text)
		}
	}
}

// The token of a language list is found for regional tags and old browsers.
func TestLanguagesAreFound(t *testing.T) {
	cs, err := loadCatalogues(textFiles)
	require.NoError(t, err)
	for _, tag := range official {
		require.Equal(t, tag, cs.find(tag).tag)
		require.Equal(t, tag, cs.find(strings.ToUpper(tag)).tag)
		require.Equal(t, tag, cs.accept(tag+";q=0.9").tag, tag)
	}
	require.Equal(t, "pt", cs.accept("pt-BR").tag)
	require.Nil(t, cs.find("xx-nonsense-tag"))
	require.Nil(t, cs.accept("zh"))
}
