package main

import "strings"

// latinOf tells how people write a script on a keyboard without it.
var latinOf = map[string]*strings.Replacer{
	"el": strings.NewReplacer("ου", "ou", "αυ", "av", "ευ", "ev", "μπ", "b", "ά", "a", "έ", "e", "ή", "i", "ί", "i", "ό", "o", "ύ", "i", "ώ", "o",
		"α", "a", "β", "v", "γ", "g", "δ", "d", "ε", "e", "ζ", "z", "η", "i", "θ", "th", "ι", "i", "κ", "k", "λ", "l", "μ", "m", "ν", "n", "ξ", "x",
		"ο", "o", "π", "p", "ρ", "r", "σ", "s", "ς", "s", "τ", "t", "υ", "i", "φ", "f", "χ", "x", "ψ", "ps", "ω", "o"),
	"bg": cyrillic("х", "h", "ц", "ts", "щ", "sht", "ъ", "a", "и", "i", "й", "y", "г", "g"),
	"mk": cyrillic("х", "h", "ц", "c", "и", "i", "г", "g", "ќ", "kj", "ѓ", "gj", "ј", "j", "љ", "lj", "њ", "nj", "џ", "dz", "ѕ", "z"),
	"sr": cyrillic("х", "h", "ц", "c", "и", "i", "г", "g", "ј", "j", "љ", "lj", "њ", "nj", "џ", "dz", "ђ", "dj", "ћ", "c", "ч", "c", "ш", "s", "ж", "z"),
	"ru": cyrillic("х", "h", "ц", "c", "щ", "shch", "ъ", "", "и", "i", "й", "y", "г", "g", "ы", "y", "э", "e", "ё", "e"),
	"uk": cyrillic("х", "kh", "ц", "ts", "щ", "shch", "и", "y", "й", "i", "г", "h", "ґ", "g", "і", "i", "ї", "i", "є", "ie"),
}

func cyrillic(own ...string) *strings.Replacer {
	return strings.NewReplacer(append(own, "а", "a", "б", "b", "в", "v", "д", "d", "е", "e", "ж", "zh", "з", "z", "к", "k", "л", "l", "м", "m",
		"н", "n", "о", "o", "п", "p", "р", "r", "с", "s", "т", "t", "у", "u", "ф", "f", "ч", "ch", "ш", "sh", "ь", "", "ю", "yu", "я", "ya")...)
}

// latin writes a text in Latin letters, if its language has other ones.
func latin(tag, s string) string {
	if r := latinOf[tag]; r != nil {
		return r.Replace(strings.ToLower(s))
	}
	return s
}

// latinOften tells how often letters of a language come in Latin script: one in so many.
func latinOften(tag string) int {
	if tag == "sr" {
		return 2 // both scripts are official
	}
	return 12
}
