package feature

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// foldTop is the first rune that is folded by rule instead of by table.
const foldTop = 0x2000

// Folder maps runes to their lower-case form without diacritics, so that
// "löschen", "LÖSCHEN" and "loschen" are one word. The zero value is unusable.
type Folder struct {
	table [foldTop][]byte // nil entries: the rune is dropped
}

// letters that do not decompose, or whose base letter is not what people type.
var foldSpecial = map[rune]string{
	'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'đ': "d", 'ð': "d", 'ł': "l", 'þ': "th",
	'ħ': "h", 'ŧ': "t", 'ı': "i", 'ŋ': "n", 'ς': "σ", 'ё': "е", 'й': "й", 'ї': "ї",
	'أ': "ا", 'إ': "ا", 'آ': "ا", 'ى': "ي", 'ة': "ه", 'ک': "ك", 'ی': "ي", 'ـ': "",
	'ə': "e", 'ƒ': "f",
}

// NewFolder builds the tables.
func NewFolder() *Folder {
	f := &Folder{}
	for r := rune(0); r < foldTop; r++ {
		f.table[r] = foldRune(r)
	}
	return f
}

func foldRune(r rune) []byte {
	low := unicode.ToLower(r)
	if s, ok := foldSpecial[low]; ok {
		return []byte(s)
	}
	if r == 0xAD || (r >= 0x300 && r <= 0x36F) || (r >= 0x591 && r <= 0x5C7) || (r >= 0x64B && r <= 0x65F) {
		return nil
	}
	if low < 0x530 || (low >= 0x1E00 && low < foldTop) {
		var out []byte
		for _, d := range norm.NFD.String(string(low)) {
			if !unicode.Is(unicode.Mn, d) {
				out = utf8.AppendRune(out, d)
			}
		}
		return out
	}
	return utf8.AppendRune(nil, low)
}

// append adds the folded form of r to dst.
func (f *Folder) append(dst []byte, r rune) []byte {
	if r < foldTop {
		return append(dst, f.table[r]...)
	}
	switch {
	case r == '’' || r == '‘' || r == 'ʼ':
		return append(dst, '\'')
	case r >= 0x200B && r <= 0x200F, r == 0xFEFF, r == utf8.RuneError:
		return dst
	case r >= 0xFF01 && r <= 0xFF5E: // full-width forms of ASCII
		return append(dst, f.table[r-0xFEE0]...)
	}
	return utf8.AppendRune(dst, r)
}

// Fold returns the folded form of s; for lexicons, not for the hot path.
func (f *Folder) Fold(s string) string {
	var out []byte
	for _, r := range s {
		out = f.append(out, r)
	}
	return string(out)
}
