package webpage

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// official are the 24 languages of the Union (Reg. 1/58).
var discard = slog.New(slog.DiscardHandler)

var official = strings.Fields("bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv")

// The token of a language list is found for regional tags and old browsers.
func TestLanguagesAreFound(t *testing.T) {
	cs, err := LoadTexts(baseFiles, "text/*.toml")
	require.NoError(t, err)
	for _, tag := range official {
		require.Equal(t, tag, cs.Find(tag).Tag())
		require.Equal(t, tag, cs.Find(strings.ToUpper(tag)).Tag())
		require.Equal(t, tag, cs.Accept(tag+";q=0.9").Tag(), tag)
	}
	require.Equal(t, "pt", cs.Accept("pt-BR").Tag())
	require.Nil(t, cs.Find("xx-nonsense-tag"))
	require.Nil(t, cs.Accept("zh"))
}

// What every page says is there in every language; a room's words that lack a
// key fall back to English.
func TestEveryLanguageHasTheCommonWords(t *testing.T) {
	cs, err := LoadTexts(baseFiles, "text/*.toml")
	require.NoError(t, err)
	require.Len(t, cs.All(), len(official))
	for _, c := range cs.All() {
		for _, key := range []string{"language", "languages", "privacy", "quoted", "date_layout", "optional"} {
			require.NotEmpty(t, c.Keys()[key], "%s: %s", c.Tag(), key)
		}
	}
	english := &Words{tag: "en", text: map[string]string{"greeting": "To {name}"}}
	other := &Words{tag: "mt", text: map[string]string{}, fallback: english}
	require.Equal(t, "To you", other.Say("greeting", "name", "you"))
}
