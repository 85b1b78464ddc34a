package feature

import (
	"bufio"
	_ "embed"
	"fmt"
	"strings"
)

//go:embed scope.txt
var scopeFile string

// NewExtractor reads the embedded list of words with a scope.
func NewExtractor(f *Folder) (*Extractor, error) {
	x := &Extractor{scopes: map[string]Scope{}}
	lines := bufio.NewScanner(strings.NewReader(scopeFile))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		kind, words, _ := strings.Cut(line, ":")
		scope, ok := map[string]Scope{"neg": Negates, "wait": Delays}[kind]
		if !ok {
			return nil, fmt.Errorf("scope.txt line %d: unknown kind %q", n, kind)
		}
		for _, w := range strings.Fields(words) {
			x.scopes[f.Fold(w)] |= scope
		}
	}
	return x, nil
}
