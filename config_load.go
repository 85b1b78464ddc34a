package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Fault is one thing wrong with a configuration: where, what, and what to do.
type Fault struct {
	Line int    // 1-based; 0 where the file has no line for it
	Key  string // as in stream[0].mode
	Text string
}

// Faults is every fault of a configuration file, in the order of its lines.
type Faults struct {
	Path string
	List []Fault
}

// Error lists one fault a line as "file:line: key: text".
func (f *Faults) Error() string {
	var b strings.Builder
	for i, fault := range f.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.Path)
		if fault.Line > 0 {
			fmt.Fprintf(&b, ":%d", fault.Line)
		}
		if fault.Key != "" {
			fmt.Fprintf(&b, ": %s", fault.Key)
		}
		fmt.Fprintf(&b, ": %s", fault.Text)
	}
	return b.String()
}

// lineIndex maps a key's path, as in stream[0].mode, to its line. A table's
// own path maps to the line of its header.
type lineIndex map[string]int

// loadConfig reads, completes and checks a file. The error is a *Faults
// holding every fault found, or the reason why the file can't be read.
func loadConfig(path string, environ []string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w (`postern config example` prints one to start from)", err)
	}
	return parseConfig(path, raw, environ)
}

func parseConfig(path string, raw []byte, environ []string) (*Config, error) {
	faults := &Faults{Path: path}
	c := &Config{path: path}
	lines, line, err := indexLines(raw)
	if err != nil {
		faults.List = append(faults.List, Fault{Line: line, Text: "not TOML from here on: " + err.Error()})
		return nil, faults
	}
	c.lines = lines
	faults.List = append(faults.List, decode(raw, c, lines)...)
	faults.List = append(faults.List, applyEnv(c, environ)...)
	c.defaults()
	faults.List = append(faults.List, c.check(faults.keys())...)
	if len(faults.List) > 0 {
		sort.SliceStable(faults.List, func(i, j int) bool { return faults.List[i].Line < faults.List[j].Line })
		return nil, faults
	}
	return c, nil
}

// keys are those already found faulty, so that a check does not repeat them.
func (f *Faults) keys() map[string]bool {
	out := map[string]bool{}
	for _, fault := range f.List {
		out[fault.Key] = true
	}
	return out
}

// decode fills c and reports every unknown key and every value of a wrong
// type: the decoder stops at the first of the latter, so its lines are blanked
// and the rest is read again.
func decode(raw []byte, c *Config, lines lineIndex) (faults []Fault) {
	text := bytes.Clone(raw)
	for range len(lines) + 1 {
		*c = Config{path: c.path, lines: lines}
		err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(c)
		var unknown *toml.StrictMissingError
		var wrong *toml.DecodeError
		switch {
		case err == nil:
			return faults
		case errors.As(err, &unknown):
			for _, e := range unknown.Errors {
				line, _ := e.Position()
				key := strings.Join(e.Key(), ".")
				faults = append(faults, Fault{line, lines.nameAt(line, key), "unknown key" + suggestion(e.Key())})
			}
			return faults
		case errors.As(err, &wrong):
			line, _ := wrong.Position()
			faults = append(faults, Fault{line, lines.nameAt(line, ""), strings.TrimPrefix(wrong.Error(), "toml: ")})
			blankLine(text, line)
		default:
			return append(faults, Fault{Text: err.Error()})
		}
	}
	return faults
}

// blankLine overwrites a 1-based line with a comment of the same length.
func blankLine(text []byte, line int) {
	start := 0
	for n := 1; n < line; n++ {
		start += bytes.IndexByte(text[start:], '\n') + 1
	}
	for i := start; i < len(text) && text[i] != '\n'; i++ {
		text[i] = '#'
	}
}

// nameAt is the path of the key on a line, or fallback.
func (x lineIndex) nameAt(line int, fallback string) string {
	best := ""
	for path, l := range x {
		if l == line && len(path) > len(best) {
			best = path
		}
	}
	if best == "" {
		return fallback
	}
	return best
}

// indexLines finds the line of every table header and key, or that of the
// first thing that is not TOML.
func indexLines(raw []byte) (lineIndex, int, error) {
	x := lineIndex{}
	counts := map[string]int{}
	var p unstable.Parser
	p.Reset(raw)
	prefix := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			prefix = tablePath(e, counts)
			x[prefix] = keyLine(&p, e)
		case unstable.KeyValue:
			x[join(prefix, keyParts(e))] = keyLine(&p, e)
		}
	}
	err := p.Error()
	var fault *unstable.ParserError
	if errors.As(err, &fault) && len(fault.Highlight) > 0 {
		return nil, p.Shape(p.Range(fault.Highlight)).Start.Line, err
	}
	return x, 0, err
}

// tablePath gives the header's path with indexes of the arrays it stands in.
func tablePath(e *unstable.Node, counts map[string]int) string {
	parts := keyParts(e)
	path := ""
	for i, part := range parts {
		path = join(path, []string{part})
		last := i == len(parts)-1
		if last && e.Kind == unstable.ArrayTable {
			counts[path]++
		}
		if n := counts[path]; n > 0 {
			path += "[" + strconv.Itoa(n-1) + "]"
		}
	}
	return path
}

func keyParts(e *unstable.Node) (parts []string) {
	for it := e.Key(); it.Next(); {
		parts = append(parts, string(it.Node().Data))
	}
	return parts
}

func keyLine(p *unstable.Parser, e *unstable.Node) int {
	it := e.Key()
	it.Next()
	return p.Shape(it.Node().Raw).Start.Line
}

func join(prefix string, parts []string) string {
	if prefix != "" {
		parts = append([]string{prefix}, parts...)
	}
	return strings.Join(parts, ".")
}

// suggestion names the known key that is nearest to an unknown one.
func suggestion(key []string) string {
	names := knownKeys(reflect.TypeFor[Config](), key[:len(key)-1])
	if len(names) == 0 {
		return ": remove it"
	}
	word := key[len(key)-1]
	best, distance := "", 1+len(word)/2
	for _, name := range names {
		if d := editDistance(word, name); d < distance {
			best, distance = name, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return ": remove it; known here are " + strings.Join(names, ", ")
}

// knownKeys lists the keys of the table at path below a config struct.
func knownKeys(t reflect.Type, path []string) (names []string) {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("toml")
		switch {
		case f.Anonymous:
			names = append(names, knownKeys(f.Type, path)...)
		case tag == "":
		case len(path) == 0:
			names = append(names, tag)
		case tag == path[0]:
			return knownKeys(f.Type, path[1:])
		}
	}
	return names
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// envPrefix begins every environment variable that overrides the file.
const envPrefix = "POSTERN_"

// applyEnv overrides single values: POSTERN_HOSTNAME, POSTERN_REDIS_URL and so
// on. An unknown variable of that prefix is a fault, like an unknown key.
func applyEnv(c *Config, environ []string) (faults []Fault) {
	known := map[string]reflect.Value{}
	root := reflect.ValueOf(c).Elem()
	for i := range root.NumField() {
		tag := strings.ToUpper(root.Type().Field(i).Tag.Get("toml"))
		switch f := root.Field(i); {
		case tag == "":
		case f.Kind() == reflect.Struct:
			for j := range f.NumField() {
				known[tag+"_"+strings.ToUpper(f.Type().Field(j).Tag.Get("toml"))] = f.Field(j)
			}
		case f.Kind() != reflect.Slice:
			known[tag] = f
		}
	}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || name == envPrefix+"CONFIG" {
			continue
		}
		f, ok := known[strings.TrimPrefix(name, envPrefix)]
		if !ok {
			faults = append(faults, Fault{Key: name, Text: "unknown environment variable: unset it, or name a key of a single table as POSTERN_SECTION_KEY"})
			continue
		}
		if err := setText(f, value); err != nil {
			faults = append(faults, Fault{Key: name, Text: err.Error()})
		}
	}
	return faults
}

// setText sets a scalar config field from text.
func setText(f reflect.Value, value string) error {
	if u, ok := f.Addr().Interface().(interface{ UnmarshalText([]byte) error }); ok {
		return u.UnmarshalText([]byte(value))
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(value)
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("write true or false")
		}
		f.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("write a whole number")
		}
		f.SetInt(n)
	case reflect.Pointer:
		p := reflect.New(f.Type().Elem())
		if err := setText(p.Elem(), value); err != nil {
			return err
		}
		f.Set(p)
	default:
		return fmt.Errorf("can't be set from the environment")
	}
	return nil
}
