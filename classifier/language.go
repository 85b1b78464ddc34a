package classifier

import (
	"math"
	"slices"
	"unicode"

	"postern/classifier/feature"
)

// Und is the tag of a text whose language can't be told.
const Und = "und"

// langText is how much of a text the language is read from, in letters.
const langText = 500

// LanguageFeatures appends the hashes of the words and three-letter runs of
// text, with their accents: what tells Czech from Slovak.
func LanguageFeatures(dst []uint32, text string) []uint32 {
	const offset, prime = 2166136261, 16777619
	word, letters := uint32(offset), 0
	a, b := rune(' '), rune(' ')
	emit := func(c rune) {
		dst = append(dst, ((uint32(a)*31+uint32(b))*31+uint32(c)+7)*2654435769)
		a, b = b, c
	}
	for _, r := range text {
		if letters >= langText {
			break
		}
		if !unicode.IsLetter(r) && !unicode.IsMark(r) {
			if b != ' ' {
				emit(' ')
				dst = append(dst, word*2654435769)
				word = offset
			}
			continue
		}
		letters++
		r = unicode.ToLower(r)
		word = (word ^ uint32(r)) * prime
		emit(r)
	}
	if b != ' ' {
		emit(' ')
		dst = append(dst, word*2654435769)
	}
	return dst
}

// Language tells the language of a text as a BCP 47 tag and how sure it is,
// 0 to 1; "und" if the text says too little.
func (c *Classifier) Language(text string) (lang string, sure float64) {
	g := c.language(text)
	return g.tag, g.sure
}

// guess is what is known of a mail's language.
type guess struct {
	tag   string
	sure  float64
	langs feature.Langs // whose words are looked for
}

// families are languages so near that a short text may be taken for another of
// them, and whose words mean the same: each is read with the lexicons of all.
var families = [][]string{
	{"bg", "mk"}, {"ru", "uk"}, {"bs", "hr", "sr"}, {"cs", "sk"}, {"da", "no"}, {"id", "ms"}, {"af", "nl"}, {"de", "lb"},
}

// LangsOf returns the languages whose words are looked for in a text of
// language tag.
func LangsOf(x *feature.Extractor, tag string) feature.Langs {
	set := x.LangsOf(tag)
	for _, f := range families {
		if slices.Contains(f, tag) {
			for _, t := range f {
				set |= x.LangsOf(t)
			}
		}
	}
	return set
}

// alsoRead is the least probability at which a language's lexicon is used beside
// that of the likeliest.
const alsoRead = 0.05

// guess reads the language off the text, or off the header's hint where the
// text leaves it open.
func (c *Classifier) guess(in Input) guess {
	g := c.language(in.Text + "\n" + in.Subject)
	if in.Hint != "" && g.sure < 0.5 {
		g.tag = baseTag(in.Hint)
		g.langs |= LangsOf(c.extract, g.tag)
	}
	return g
}

func (c *Classifier) language(text string) guess {
	hashes := LanguageFeatures(make([]uint32, 0, 2*langText), text)
	n := len(c.model.Languages)
	if len(hashes) < 4 || n == 0 {
		return guess{Und, 0, feature.AllLangs}
	}
	var acc [maxLangs]int32
	for _, h := range hashes {
		at := int(h>>(32-LangBits)) * n
		for k, w := range c.model.LangWeight[at : at+n] {
			acc[k] += int32(int8(w))
		}
	}
	norm := float64(c.model.LangScale) * float64(Norm(len(hashes)))
	best, sum := 0, 0.0
	var p [maxLangs]float64
	for k := range n {
		if acc[k] > acc[best] {
			best = k
		}
	}
	for k := range n {
		p[k] = math.Exp(norm * float64(acc[k]-acc[best]))
		sum += p[k]
	}
	g := guess{tag: c.model.Languages[best], sure: 1 / sum, langs: c.langs[best]}
	for k := range n {
		if p[k]/sum >= alsoRead {
			g.langs |= c.langs[k]
		}
	}
	if g.sure < 0.3 {
		g.tag, g.langs = Und, feature.AllLangs
	}
	return g
}
