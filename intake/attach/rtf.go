package attach

import (
	"strconv"
	"strings"

	"golang.org/x/text/encoding/charmap"
)

// rtfText strips the control words of RTF 1.9 and keeps what is read.
func rtfText(b []byte) string {
	r := &rtfReader{src: b, cp: charmap.Windows1252, skipUnicode: 1}
	r.run()
	return r.out.String()
}

type rtfReader struct {
	src         []byte
	out         strings.Builder
	cp          *charmap.Charmap
	depth       int
	hidden      int // depth at which a destination without text began; 0: none
	skipUnicode int // replacement signs after \u
	skip        int
}

var rtfPages = map[int]*charmap.Charmap{1250: charmap.Windows1250, 1251: charmap.Windows1251, 1252: charmap.Windows1252, 1253: charmap.Windows1253, 1254: charmap.Windows1254, 1255: charmap.Windows1255, 1256: charmap.Windows1256, 1257: charmap.Windows1257}

func (r *rtfReader) run() {
	for i := 0; i < len(r.src) && r.out.Len() < maxText; {
		switch c := r.src[i]; c {
		case '{':
			r.depth++
			i++
		case '}':
			if r.depth == r.hidden {
				r.hidden = 0
			}
			r.depth--
			i++
		case '\\':
			i = r.control(i + 1)
		case '\r', '\n':
			i++
		default:
			r.put(rune(c), true)
			i++
		}
	}
}

func (r *rtfReader) put(c rune, replaceable bool) {
	if replaceable && r.skip > 0 {
		r.skip--
		return
	}
	if r.hidden == 0 {
		r.out.WriteRune(c)
	}
}

// control reads what follows a backslash and gives the position after it.
func (r *rtfReader) control(i int) int {
	if i >= len(r.src) {
		return i
	}
	switch c := r.src[i]; {
	case c == '\'' && i+2 < len(r.src):
		if n, err := strconv.ParseUint(string(r.src[i+1:i+3]), 16, 8); err == nil {
			r.put(r.cp.DecodeByte(byte(n)), true)
		}
		return i + 3
	case c == '*':
		if r.hidden == 0 {
			r.hidden = r.depth
		}
		return i + 1
	case c < 'a' || c > 'z':
		if c == '~' {
			r.put(' ', false)
		} else if c == '\\' || c == '{' || c == '}' {
			r.put(rune(c), true)
		}
		return i + 1
	}
	start := i
	for i < len(r.src) && r.src[i] >= 'a' && r.src[i] <= 'z' {
		i++
	}
	word := string(r.src[start:i])
	start = i
	for i < len(r.src) && i-start < 11 && (r.src[i] == '-' && i == start || r.src[i] >= '0' && r.src[i] <= '9') {
		i++
	}
	n, _ := strconv.Atoi(string(r.src[start:i]))
	if i < len(r.src) && r.src[i] == ' ' {
		i++
	}
	r.word(word, n)
	return i
}

func (r *rtfReader) word(word string, n int) {
	switch word {
	case "par", "line", "row", "sect", "page":
		r.put('\n', false)
	case "tab", "cell":
		r.put(' ', false)
	case "u":
		if n < 0 {
			n += 65536
		}
		r.put(rune(n), false)
		r.skip = r.skipUnicode
	case "uc":
		r.skipUnicode = max(0, min(n, 8))
	case "ansicpg":
		if cp := rtfPages[n]; cp != nil {
			r.cp = cp
		}
	case "fonttbl", "colortbl", "stylesheet", "info", "pict", "header", "footer", "object", "themedata", "htmltag":
		if r.hidden == 0 {
			r.hidden = r.depth
		}
	}
}
