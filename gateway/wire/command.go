package wire

import (
	"errors"
	"strings"
)

// ErrArgument is returned for a command argument that breaks the grammar.
var ErrArgument = errors.New("malformed argument")

// Param is one ESMTP parameter (RFC 5321 section 4.1.2); Key is upper case.
type Param struct{ Key, Value string }

// Split parts a command line into its verb, in upper case, and its argument.
func Split(line []byte) (verb, arg string) {
	s := strings.TrimRight(string(line), " \t")
	verb, arg, _ = strings.Cut(s, " ")
	return strings.ToUpper(verb), strings.TrimLeft(arg, " ")
}

// Path reads "FROM:<path> params" or "TO:<path> params" with the given
// keyword. The path comes without brackets and source route (RFC 5321
// appendix C), "" for <>. Parameters given twice are an error.
func Path(arg, keyword string) (path string, params []Param, err error) {
	n := len(keyword)
	if len(arg) < n+1 || !strings.EqualFold(arg[:n], keyword) || arg[n] != ':' {
		return "", nil, ErrArgument
	}
	rest := strings.TrimLeft(arg[n+1:], " ")
	end := pathEnd(rest)
	if end < 0 {
		return "", nil, ErrArgument
	}
	path, rest = rest[1:end], rest[end+1:]
	if strings.HasPrefix(path, "@") {
		_, after, ok := strings.Cut(path, ":")
		if !ok {
			return "", nil, ErrArgument
		}
		path = after
	}
	params, err = parseParams(rest)
	return path, params, err
}

// pathEnd finds the ">" that closes s, which starts with "<", outside quotes.
func pathEnd(s string) int {
	if s == "" || s[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

func parseParams(s string) ([]Param, error) {
	if s == "" {
		return nil, nil
	}
	if s[0] != ' ' {
		return nil, ErrArgument
	}
	var out []Param
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		var word string
		word, s, _ = strings.Cut(s, " ")
		key, value, hasValue := strings.Cut(word, "=")
		key = strings.ToUpper(key)
		if !keyword(key) || (hasValue && (value == "" || strings.Contains(value, "="))) {
			return nil, ErrArgument
		}
		for _, p := range out {
			if p.Key == key {
				return nil, ErrArgument
			}
		}
		out = append(out, Param{key, value})
	}
	return out, nil
}

// keyword tests for an esmtp-keyword: letters, digits and inner hyphens.
func keyword(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' && i > 0) {
			return false
		}
	}
	return s != ""
}

// Printable tells whether s is free of control signs; UTF-8 may pass.
func Printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// ASCII tells whether s has no octet over 0x7f.
func ASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
