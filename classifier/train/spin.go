package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// phrase is one line of a language file: a grammar of sentences that mean the
// same. It is the unit that is held out: no phrase is in both halves.
type phrase struct {
	lang   string
	labels []string // outputs that are true of it
	ok     []string // outputs that may be said of it; training ignores them
	text   string   // with {a|b} alternatives, macros already put in
	fold   int      // 0..folds-1
	hard   bool     // of a file of cases often mistaken
}

// language is one file of the data folder.
type language struct {
	tag      string
	sections map[string][]*phrase // by section name, such as "access" or "greet"
	order    []string
}

// whole tells whether the language has phrases enough to write letters with.
func (l *language) whole() bool { return len(l.order) >= 10 }

const folds = 5

// neutral sections hold no request.
var neutralSections = map[string]bool{
	"other": true, "keep": true, "recital": true, "context": true, "threat": true, "greet": true, "close": true,
	"id": true, "subject": true, "join": true, "nosubject": true,
}

// loadLanguages reads the *.txt files of dir in order of their names.
func loadLanguages(dir string) ([]*language, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var out []*language
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		tag, _, _ := strings.Cut(filepath.Base(name), ".") // "de.txt", "de.more.txt"
		if n := len(out); n == 0 || out[n-1].tag != tag {
			out = append(out, &language{tag: tag, sections: map[string][]*phrase{}})
		}
		hard := strings.Count(filepath.Base(name), ".") > 1
		if err := out[len(out)-1].parse(string(raw), hard); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no language files in %s", dir)
	}
	return out, nil
}

// parse reads sections "[label+label ~ok]", macros "$name = a|b" and
// phrases, one a line. Lines that start with # are comments.
func (l *language) parse(raw string, hard bool) error {
	macros := map[string]string{}
	section, ok := "", []string(nil)
	for n, line := range strings.Split(raw, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '$' && strings.Contains(line, " = "):
			name, value, _ := strings.Cut(line, " = ")
			macros[name] = "{" + expandMacros(value, macros) + "}"
		case line[0] == '[':
			head := strings.Trim(line, "[]")
			section, ok = head, nil
			if a, b, found := strings.Cut(head, "~"); found {
				section, ok = strings.TrimSpace(a), strings.Fields(strings.ReplaceAll(b, "+", " "))
			}
			if err := checkSection(section, ok); err != nil {
				return fmt.Errorf("line %d: %w", n+1, err)
			}
		default:
			text := expandMacros(line, macros)
			if strings.Count(text, "{") != strings.Count(text, "}") {
				return fmt.Errorf("line %d: braces do not match", n+1)
			}
			p := &phrase{lang: l.tag, ok: ok, text: text, hard: hard}
			if !neutralSections[section] {
				p.labels = strings.Split(strings.TrimSuffix(section, ".s"), "+")
			}
			p.fold = (len(l.sections[section])*2 + len(section)) % folds
			if len(l.sections[section]) == 0 {
				l.order = append(l.order, section)
			}
			l.sections[section] = append(l.sections[section], p)
		}
	}
	return nil
}

func checkSection(section string, ok []string) error {
	if neutralSections[section] {
		return nil
	}
	for _, s := range append(strings.Split(strings.TrimSuffix(section, ".s"), "+"), ok...) {
		if _, known := outputIndex[s]; !known {
			return fmt.Errorf("unknown label %q", s)
		}
	}
	return nil
}

func expandMacros(s string, macros map[string]string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	names := make([]string, 0, len(macros))
	for n := range macros {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool {
		return len(names[i]) > len(names[j]) || len(names[i]) == len(names[j]) && names[i] < names[j]
	})
	for _, n := range names {
		s = strings.ReplaceAll(s, n, macros[n])
	}
	return s
}

// spin picks one sentence of the grammar.
func spin(s string, r *rand.Rand) string {
	var b strings.Builder
	spinInto(&b, s, r)
	return strings.Join(strings.Fields(fill(b.String(), r)), " ")
}

func spinInto(b *strings.Builder, s string, r *rand.Rand) {
	for {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			b.WriteString(s)
			return
		}
		b.WriteString(s[:open])
		depth, start := 0, open+1
		var parts []string
		i := open
	scan:
		for ; i < len(s); i++ {
			switch s[i] {
			case '{':
				depth++
			case '}':
				if depth--; depth == 0 {
					break scan
				}
			case '|':
				if depth == 1 {
					parts = append(parts, s[start:i])
					start = i + 1
				}
			}
		}
		if i >= len(s) {
			b.WriteString(s[open:])
			return
		}
		parts = append(parts, s[start:i])
		spinInto(b, parts[r.IntN(len(parts))], r)
		s = s[i+1:]
	}
}

// ways counts the sentences of a grammar, up to a limit.
func ways(s string, limit int) int {
	n := 1
	for _, group := range strings.Split(s, "{")[1:] {
		n *= 1 + strings.Count(group, "|")
		if n >= limit {
			return limit
		}
	}
	return n
}

var companies = []string{"Zeilpost", "Tiendalia", "Lumen & Fern", "Nordlicht GmbH", "Papavero", "Kvist AB", "Example Ltd", "Mirabel SA", "Orbiton", "Bluefin Travel", "Acme", "Velora", "Hestia Bank"}
var places = []string{"Example Street 12, 1010 Exampletown", "12 Sample Road", "Musterweg 4", "Rue Exemple 8", "0171 5550123", "user.name@example.org", "client@example.com"}

// fill replaces the words that stand for names, dates and numbers.
func fill(s string, r *rand.Rand) string {
	for strings.Contains(s, "DATE") {
		s = strings.Replace(s, "DATE", date(r), 1)
	}
	for strings.Contains(s, "NUM") {
		s = strings.Replace(s, "NUM", fmt.Sprint(1000+r.IntN(900000)), 1)
	}
	for strings.Contains(s, "COMPANY") {
		s = strings.Replace(s, "COMPANY", companies[r.IntN(len(companies))], 1)
	}
	for strings.Contains(s, "PLACE") {
		s = strings.Replace(s, "PLACE", places[r.IntN(len(places))], 1)
	}
	return s
}

func date(r *rand.Rand) string {
	d, m, y := 1+r.IntN(28), 1+r.IntN(12), 2019+r.IntN(8)
	switch r.IntN(4) {
	case 0:
		return fmt.Sprintf("%02d.%02d.%d", d, m, y)
	case 1:
		return fmt.Sprintf("%d/%d/%d", d, m, y)
	case 2:
		return fmt.Sprintf("%d-%02d-%02d", y, m, d)
	}
	return fmt.Sprintf("%d. %d.", d, m)
}
