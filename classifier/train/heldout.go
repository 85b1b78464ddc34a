package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"postern/classifier"
)

// readLetters reads *.jsonl of a folder: one object a line with lang, labels, ok,
// subject and body. half picks every second file: "dev" those whose faults may be
// looked at, "test" the others, "" all.
func readLetters(dir, half string) ([]letter, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no letters in %s", dir)
	}
	sort.Strings(names)
	var out []letter
	for i, name := range names {
		if half == "dev" && i%2 == 1 || half == "test" && i%2 == 0 {
			continue
		}
		if out, err = readLetterFile(out, name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readLetterFile(out []letter, name string) ([]letter, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read letters: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<22)
	for n := 1; lines.Scan(); n++ {
		var v struct {
			ID, Source, Lang, Subject, Body string
			Labels, OK                      []string
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("%s line %d: %w", name, n, err)
		}
		if v.Source == "" {
			v.Source = v.ID
		}
		ok := append(v.OK, "agent", "spam", "reply")
		labels := v.Labels
		for _, kind := range []string{"other", "spam", "request"} {
			labels = slices.DeleteFunc(labels, func(s string) bool { return s == kind })
		}
		out = append(out, letter{lang: v.Lang, labels: labels, ok: ok, source: v.Source,
			in: classifier.Input{Subject: v.Subject, Text: strings.ReplaceAll(v.Body, "\r\n", "\n")}})
	}
	return out, lines.Err()
}
