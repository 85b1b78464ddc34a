package mime

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/encoding/charmap"
)

// Decode undoes the transfer encoding, as far as it can be undone; an unknown
// encoding is taken as none.
func (p *Part) Decode() []byte {
	switch p.Encoding {
	case "base64", "base-64":
		return decodeBase64(p.Body)
	case "quoted-printable", "quotedprintable":
		return decodeQP(p.Body)
	case "x-uuencode", "uuencode", "x-uue", "uue":
		return decodeUU(p.Body)
	}
	return p.Body
}

// decodeBase64 skips whatever is no base64, takes missing padding, and goes on
// after padding, where two encodings were glued together.
func decodeBase64(b []byte) []byte {
	out := make([]byte, 0, len(b)*3/4)
	clean := make([]byte, 0, len(b))
	flush := func() {
		if len(clean)%4 == 1 {
			clean = clean[:len(clean)-1]
		}
		n := base64.RawStdEncoding.DecodedLen(len(clean))
		out = append(out, make([]byte, n)...)
		got, _ := base64.RawStdEncoding.Decode(out[len(out)-n:], clean)
		out = out[:len(out)-n+got]
		clean = clean[:0]
	}
	for _, c := range b {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '/':
			clean = append(clean, c)
		case c == '-': // the URL alphabet, seen from some programs
			clean = append(clean, '+')
		case c == '_':
			clean = append(clean, '/')
		case c == '=' && len(clean) > 0:
			flush()
		}
	}
	flush()
	return out
}

// decodeQP follows RFC 2045 section 6.7 and leaves faulty escapes as they are.
func decodeQP(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for rest := b; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		line, end := rest, []byte(nil)
		if i >= 0 {
			line, end, rest = rest[:i], []byte("\n"), rest[i+1:]
		} else {
			rest = nil
		}
		if bytes.HasSuffix(line, []byte("\r")) {
			line = line[:len(line)-1]
			if end != nil {
				end = []byte("\r\n")
			}
		}
		line = bytes.TrimRight(line, " \t") // added on the way, by the RFC
		if bytes.HasSuffix(line, []byte("=")) {
			line, end = line[:len(line)-1], nil
		}
		for j := 0; j < len(line); j++ {
			if line[j] == '=' && j+2 < len(line) {
				hi, lo := unhex(line[j+1]), unhex(line[j+2])
				if hi >= 0 && lo >= 0 {
					out = append(out, byte(hi<<4|lo))
					j += 2
					continue
				}
			}
			out = append(out, line[j])
		}
		out = append(out, end...)
	}
	return out
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// decodeUU reads the lines between begin and end.
func decodeUU(b []byte) []byte {
	var out []byte
	open := false
	for rest := b; len(rest) > 0; {
		var line []byte
		line, rest = cutLine(rest)
		switch {
		case !open:
			open = bytes.HasPrefix(line, []byte("begin "))
		case bytes.Equal(line, []byte("end")):
			return out
		case len(line) > 0:
			out = append(out, uuLine(line)...)
		}
	}
	if !open {
		return b
	}
	return out
}

func uuLine(line []byte) []byte {
	n := int(line[0]-' ') & 63
	var out []byte
	for i := 1; i < len(line) && len(out) < n; i += 4 {
		var q [4]byte
		for j := range q {
			if i+j < len(line) {
				q[j] = (line[i+j] - ' ') & 63
			}
		}
		out = append(out, q[0]<<2|q[1]>>4, q[1]<<4|q[2]>>2, q[2]<<6|q[3])
	}
	if len(out) > n {
		out = out[:n]
	}
	return out
}

// toUTF8 turns decoded text into UTF-8 by the charset named, or by guess where
// none is named or the name lies.
func toUTF8(b []byte, name string) string {
	name = strings.ToLower(strings.Trim(strings.TrimSpace(name), `"'`))
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "8bit", "default", "unknown":
		return guessText(b)
	case "utf-7", "unicode-1-1-utf-7":
		return decodeUTF7(b)
	case "iso-8859-1", "latin1", "iso8859-1": // as every reader does
		name = "windows-1252"
	case "gb2312", "gbk", "cp936":
		name = "gb18030"
	case "ks_c_5601-1987", "cp949", "x-windows-949":
		name = "euc-kr"
	case "iso-8859-8-i", "iso-8859-8-e":
		name = "iso-8859-8"
	}
	if strings.HasPrefix(name, "cp125") {
		name = "windows-" + name[2:]
	}
	if !strings.HasPrefix(name, "utf-16") && !strings.HasPrefix(name, "iso-2022") && utf8.Valid(b) && hasHigh(b) && name != "gb18030" {
		return string(b) // labelled otherwise, yet well-formed UTF-8: chance does not make that
	}
	r, err := charset.Reader(name, bytes.NewReader(b))
	if err != nil {
		return guessText(b)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return guessText(b)
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

func hasHigh(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// guessText reads UTF-8 if it is that, UTF-16 by its mark, ISO-2022-JP by its
// escapes, else Windows-1252.
func guessText(b []byte) string {
	if len(b) >= 2 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff) {
		if r, err := charset.Reader("utf-16", bytes.NewReader(b)); err == nil {
			if out, err := io.ReadAll(r); err == nil {
				return strings.ToValidUTF8(string(out), "\uFFFD")
			}
		}
	}
	if bytes.Contains(b, []byte("\x1b$B")) || bytes.Contains(b, []byte("\x1b$@")) {
		if r, err := charset.Reader("iso-2022-jp", bytes.NewReader(b)); err == nil {
			if out, err := io.ReadAll(r); err == nil {
				return strings.ToValidUTF8(string(out), "\uFFFD")
			}
		}
	}
	if utf8.Valid(b) {
		return string(b)
	}
	if s := mostlyUTF8(b); s != "" {
		return s
	}
	out, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(out)
}

// mostlyUTF8 keeps a text that is UTF-8 but for a few bytes, as a cut one is.
func mostlyUTF8(b []byte) string {
	good, bad := 0, 0
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			bad++
		case n > 1:
			good++
		}
		i += n
	}
	if good > 4*bad {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return ""
}

// decodeUTF7 reads RFC 2152.
func decodeUTF7(b []byte) string {
	var out strings.Builder
	for i := 0; i < len(b); i++ {
		if b[i] != '+' {
			out.WriteByte(b[i])
			continue
		}
		j := i + 1
		for j < len(b) && (b[j] == '+' || b[j] == '/' || b[j] >= '0' && b[j] <= '9' || b[j] >= 'A' && b[j] <= 'Z' || b[j] >= 'a' && b[j] <= 'z') {
			j++
		}
		if j == i+1 {
			if j < len(b) && b[j] == '-' {
				out.WriteByte('+')
				i = j
				continue
			}
			out.WriteByte('+')
			continue
		}
		units := make([]byte, base64.RawStdEncoding.DecodedLen(j-i-1))
		n, _ := base64.RawStdEncoding.Decode(units, b[i+1:j])
		r, err := charset.Reader("utf-16be", bytes.NewReader(units[:n-n%2]))
		if err == nil {
			text, _ := io.ReadAll(r)
			out.Write(text)
		}
		if j < len(b) && b[j] == '-' {
			j++
		}
		i = j - 1
	}
	return strings.ToValidUTF8(out.String(), "\uFFFD")
}
