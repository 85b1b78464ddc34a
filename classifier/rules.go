package classifier

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed rules/*.txt
var ruleFiles embed.FS

// followUp is a mark beside the labels: the mail goes on with an earlier one.
const followUp Label = "follow_up"

// rule fires for a sentence that holds at least one word of every group.
type rule struct {
	label  Label
	groups []map[string]bool
	text   string
}

// ruleBook finds rules by the words of their first group.
type ruleBook struct{ byWord map[string][]*rule }

// loadRules reads the embedded files. A line is "label: words + words": one
// word of each group must stand in the sentence; a first line group without a
// plus means all of its words when they make a fixed phrase of three or less.
func loadRules() (*ruleBook, error) {
	book := &ruleBook{byWord: map[string][]*rule{}}
	files, err := ruleFiles.ReadDir("rules")
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	for _, f := range files {
		raw, err := ruleFiles.ReadFile("rules/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		for n, line := range strings.Split(string(raw), "\n") {
			if strings.TrimSpace(line) == "" {
				continue
			}
			label, rest, ok := strings.Cut(line, ":")
			if !ok {
				return nil, fmt.Errorf("rules/%s line %d: no label", f.Name(), n+1)
			}
			book.add(Label(label), strings.TrimSpace(rest))
		}
	}
	return book, nil
}

func (b *ruleBook) add(label Label, text string) {
	r := &rule{label: label, text: text}
	groups := strings.Split(text, " + ")
	if len(groups) == 1 && len(strings.Fields(text)) <= 3 && len(strings.Fields(text)) > 1 && label != Unsubscribe && label != Portability && label != followUp && label != BreachReport && label != DPARequest {
		groups = strings.Fields(text)
	}
	for _, g := range groups {
		set := map[string]bool{}
		for _, w := range strings.Fields(g) {
			set[w] = true
		}
		r.groups = append(r.groups, set)
	}
	for w := range r.groups[0] {
		b.byWord[w] = append(b.byWord[w], r)
	}
}

var (
	negations = wordSet("not don't dont no never without nicht kein keine keinen ohne t")
	delays    = wordSet("before until unless bevor ehe solange")
	statutory = wordSet("recht berechtigt verpflichtet right rights entitled obliged")
)

func wordSet(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// match returns the rules that fire in u, at most one of a label.
func (b *ruleBook) match(u unit) map[Label]string {
	var out map[Label]string
	for i, t := range u.tokens {
		for _, r := range b.byWord[t.word] {
			if out[r.label] != "" || !r.holds(u) || negated(u, i, r.label) {
				continue
			}
			if out == nil {
				out = map[Label]string{}
			}
			out[r.label] = r.text
		}
	}
	return out
}

func (r *rule) holds(u unit) bool {
	for _, g := range r.groups {
		found := false
		for _, t := range u.tokens {
			if g[t.word] {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// negated tells whether the word at i is refused, put off or only recited.
func negated(u unit, i int, l Label) bool {
	if l != Erasure && l != Access && l != Rectification && l != Portability {
		return false
	}
	for j := max(0, i-4); j < i; j++ {
		if negations[u.tokens[j].word] || delays[u.tokens[j].word] {
			return true
		}
	}
	return i+1 < len(u.tokens) && negations[u.tokens[i+1].word]
}
