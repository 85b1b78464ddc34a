package classifier

import (
	"math"
	"unicode"
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
	hashes := LanguageFeatures(make([]uint32, 0, 2*langText), text)
	n := len(c.model.Languages)
	if len(hashes) < 4 || n == 0 {
		return Und, 0
	}
	var acc [maxLangs]int32
	for _, h := range hashes {
		at := int(h>>(32-LangBits)) * n
		for k, w := range c.model.LangWeight[at : at+n] {
			acc[k] += int32(w)
		}
	}
	norm := float64(c.model.LangScale) * float64(Norm(len(hashes)))
	best, sum := 0, 0.0
	for k := range n {
		if acc[k] > acc[best] {
			best = k
		}
	}
	for k := range n {
		sum += math.Exp(norm * float64(acc[k]-acc[best]))
	}
	if sure = 1 / sum; sure < 0.3 {
		return Und, sure
	}
	return c.model.Languages[best], sure
}
