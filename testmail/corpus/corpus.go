// Package corpus holds letters written for the tests and the demo; readme.md
// says what each is there for.
package corpus

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"sort"
	"strings"
)

//go:embed *.eml *.want.json
var files embed.FS

// Want is what a letter has to be read as.
type Want struct {
	Language string   `json:"language"`
	Kind     string   `json:"kind"`
	Labels   []string `json:"labels"` // must be found
	OK       []string `json:"ok"`     // may be found; anything else is a false label
}

// Letter is one mail with what it has to be read as.
type Letter struct {
	Name string // file name without .eml
	Raw  []byte
	Want Want
}

// Letters gives all letters by name.
func Letters() ([]Letter, error) {
	names, err := fs.Glob(files, "*.eml")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	out := make([]Letter, 0, len(names))
	for _, name := range names {
		l := Letter{Name: strings.TrimSuffix(name, ".eml")}
		if l.Raw, err = files.ReadFile(name); err != nil {
			return nil, err
		}
		want, err := files.ReadFile(l.Name + ".want.json")
		if err != nil {
			return nil, fmt.Errorf("letter %s: %w", l.Name, err)
		}
		if err := json.Unmarshal(want, &l.Want); err != nil {
			return nil, fmt.Errorf("letter %s: %w", l.Name, err)
		}
		out = append(out, l)
	}
	return out, nil
}
