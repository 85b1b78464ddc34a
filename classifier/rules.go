package classifier

import (
	_ "embed"
	"fmt"
	"strings"

	"postern/classifier/feature"
)

//go:embed rules/regime.txt
var regimeRules string

//go:embed rules/asker.txt
var askerRules string

// rule is a sequence of words that says something wherever it stands in a sentence.
type rule struct {
	section string
	words   []ruleWord
}

// ruleWord is a folded word, or its beginning.
type ruleWord struct {
	word   string
	prefix bool
	gap    bool // up to maxGap words may stand before it
}

// maxGap is how many words ".." passes over.
const maxGap = 3

// rules finds sequences of words. They are indexed by the beginning of their first word.
type rules map[uint32][]rule

// readRules reads lines of words under "[section]" heads. Lines that begin with
// "#" are comments.
func readRules(seg *feature.Segmenter, name, raw string) (rules, error) {
	out := rules{}
	section := ""
	n := 0
	for line := range strings.Lines(raw) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			words := ruleWords(seg, line)
			if section == "" || len(words) == 0 {
				return nil, fmt.Errorf("%s line %d: %q is no rule", name, n, line)
			}
			if words[0].prefix && len(words[0].word) < keyLen {
				return nil, fmt.Errorf("%s line %d: the beginning %q is too short for the first word", name, n, words[0].word)
			}
			key := ruleKey(words[0].word)
			out[key] = append(out[key], rule{section, words})
		}
	}
	return out, nil
}

func ruleWords(seg *feature.Segmenter, line string) (out []ruleWord) {
	gap := false
	for field := range strings.FieldsSeq(line) {
		if field == ".." {
			gap = true
			continue
		}
		bare, prefix := strings.CutSuffix(field, "*")
		tokens := seg.Tokens(bare)
		for i, t := range tokens {
			out = append(out, ruleWord{t.Word, prefix && i == len(tokens)-1, gap})
			gap = false
		}
	}
	return out
}

// keyLen is how many octets of a first word rules are indexed by.
const keyLen = 3

func ruleKey(word string) (key uint32) {
	for i := range min(keyLen, len(word)) {
		key |= uint32(word[i]) << (8 * i)
	}
	return key
}

// find calls found for the longest rule at each place of a sentence, and goes on
// behind it.
func (r rules) find(ts []feature.Token, found func(section string)) {
	for i := 0; i < len(ts); {
		best, end := "", i+1
		for _, one := range r[ruleKey(ts[i].Word)] {
			if e := one.match(ts, i); e > 0 && (best == "" || e > end) {
				best, end = one.section, e
			}
		}
		if best != "" {
			found(best)
		}
		i = end
	}
}

// match returns the place behind the rule's words if they begin at i, else 0.
func (r *rule) match(ts []feature.Token, i int) int {
	for n, w := range r.words {
		last := i
		if w.gap && n > 0 {
			last += maxGap
		}
		for ; i <= last; i++ {
			if i >= len(ts) {
				return 0
			}
			if ts[i].Word == w.word || w.prefix && strings.HasPrefix(ts[i].Word, w.word) {
				break
			}
		}
		if i > last {
			return 0
		}
		i++
	}
	return i
}
