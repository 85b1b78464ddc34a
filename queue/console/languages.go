package console

import (
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// languageName names a language in the visitor's own, as in "Greek"; an
// unknown one by a word for that.
func (v *visit) languageName(tag string) string { return v.words.languageName(tag) }

func (w *words) languageName(tag string) string {
	t, err := language.Parse(tag)
	if err != nil || tag == "" || tag == "und" || tag == "-" {
		return w.say("case.language_unknown")
	}
	name := display.Languages(w.lang).Name(t)
	if name == "" {
		return tag
	}
	return name
}
