package feature

import (
	"bufio"
	"embed"
	"fmt"
	"io/fs"
	"math/bits"
	"path"
	"strings"
	"unicode/utf8"
)

// Langs is a set of the languages that concepts are known in.
type Langs uint64

// AllLangs reads a text of unknown language by every lexicon.
const AllLangs = ^Langs(0)

// Concept is a meaning that words of many languages share, such as "delete" or
// "newsletter". Weights learnt on concepts in one language hold in all others.
type Concept uint8

//go:embed concepts/*.txt
var conceptFiles embed.FS

// conceptNames are the meanings a lexicon may list; order is part of the model.
var conceptNames = strings.Fields(`neg wait if after me you we want please
del forget close account data copy know access tell send receive
stop object withdraw consent unsub list mail advert call
correct wrong name restrict process keep port machine provider
sell share third auto profil decide human review
right policy dpo howlong purpose where complain violate authority investigate fine
contract processor client quest breach stranger
remind noanswer deadline request answer agent thanks
order login job holiday win pay product link law
asked still system all more photo sign site secure gave help user now interest moved first other firm look ago await`)

// ids that are tested for by name
var (
	conceptNeg  = conceptID("neg")
	conceptWait = conceptID("wait")
	conceptDel  = conceptID("del")
	conceptTime = conceptID("deadline")
	conceptAgo  = conceptID("ago")
)

// articleConcept is the first concept of the cited articles, above all names.
const articleConcept Concept = 128

func conceptID(name string) Concept {
	for i, n := range conceptNames {
		if n == name {
			return Concept(i + 1)
		}
	}
	return 0
}

// stem is one entry: the beginning of a word, or of two words near each other.
type stem struct {
	langs   Langs
	concept Concept
	exact   bool   // the whole word, not its beginning
	runes   uint8  // length
	inner   bool   // may stand inside a word: a compound, or after a Semitic prefix
	second  uint32 // hash of the second word, 0 for none
	exact2  bool
}

// lexicon finds stems by the hash of their letters.
type lexicon struct {
	tags  []string
	stems map[uint32][]stem
	seen  []uint64 // one bit per hash: most look-ups end here
}

const seenBits = 19

// LangsOf returns the set that holds only tag; empty if no lexicon knows it.
func (x *Extractor) LangsOf(tag string) Langs {
	for i, t := range x.lex.tags {
		if t == tag {
			return 1 << i
		}
	}
	return 0
}

// Words returns the stems of a language's lexicon as written, for telling
// languages apart where nothing else is known of one; nil for an unknown tag.
func Words(tag string) []string {
	raw, err := conceptFiles.ReadFile("concepts/" + tag + ".txt")
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(raw)) {
		_, words, _ := strings.Cut(line, ":")
		for _, w := range strings.Fields(words) {
			out = append(out, strings.Split(strings.Trim(w, "."), "_")...)
		}
	}
	return out
}

// Tags lists the languages that have a lexicon, in alphabetical order.
func (x *Extractor) Tags() []string { return x.lex.tags }

// loadLexicon reads concepts/*.txt: lines "concept: stem stem ...". A stem of
// up to three letters, or one that ends with a full stop, is a whole word; "a_b"
// is a word a with b among the next four words. The file all.txt speaks for every language.
func loadLexicon(f *Folder) (*lexicon, error) {
	x := &lexicon{stems: map[uint32][]stem{}, seen: make([]uint64, 1<<seenBits/64)}
	names, err := fs.Glob(conceptFiles, "concepts/*.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		raw, err := conceptFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		langs := AllLangs
		if tag := strings.TrimSuffix(path.Base(name), ".txt"); tag != "all" {
			if len(x.tags) == 64 {
				return nil, fmt.Errorf("%s: more than 64 languages", name)
			}
			langs = 1 << len(x.tags)
			x.tags = append(x.tags, tag)
		}
		if err := x.read(f, name, string(raw), langs); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// compounding languages write two words as one; prefixing ones write "the" and
// "to" before a word without a space.
var (
	compounding = map[string]bool{"de": true, "nl": true, "sv": true, "da": true, "no": true, "fi": true, "et": true, "hu": true, "is": true, "lb": true, "af": true}
	prefixing   = map[string]bool{"ar": true, "he": true, "fa": true}
)

func (x *lexicon) read(f *Folder, name, raw string, langs Langs) error {
	tag := strings.TrimSuffix(path.Base(name), ".txt")
	lines := bufio.NewScanner(strings.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		head, words, _ := strings.Cut(line, ":")
		c := conceptID(head)
		if c == 0 {
			return fmt.Errorf("%s line %d: unknown concept %q", name, n, head)
		}
		for _, w := range strings.Fields(words) {
			first, second, _ := strings.Cut(f.Fold(w), "_")
			s := stem{langs: langs, concept: c}
			first, s.exact, s.runes = stemOf(first)
			s.inner = compounding[tag] && s.runes >= 5 && !s.exact || prefixing[tag] && s.runes >= 3
			if second != "" {
				second, s.exact2, _ = stemOf(second)
				s.second = hashString(second)
			}
			h := hashString(first)
			x.stems[h] = append(x.stems[h], s)
			x.seen[h>>(32-seenBits)/64] |= 1 << (h >> (32 - seenBits) % 64)
		}
	}
	return lines.Err()
}

func stemOf(w string) (text string, exact bool, runes uint8) {
	text = strings.TrimSuffix(w, ".")
	n := utf8.RuneCountInString(text)
	first, _ := utf8.DecodeRuneInString(text)
	return text, text != w || n <= 3 && !ideographic(first), uint8(min(n, 255))
}

// mark is a concept met in a sentence.
type mark struct {
	concept Concept
	at      uint16
	scope   Scope
}

// maxMarks bounds the work on one sentence.
const maxMarks = 56

// marks lists the concepts of a sentence in order.
func (x *lexicon) marks(dst []mark, ts []Token, langs Langs) []mark {
	for i := 0; i < len(ts) && len(dst) < maxMarks; i++ {
		t := &ts[i]
		switch {
		case t.Number:
			if a := articleAt(ts, i); a != "" {
				dst = append(dst, mark{concept: articleConcept + articleIndex(a), at: uint16(i)})
			}
		case t.Ideo:
			if n := x.ideographs(&dst, ts, i, langs); n > 1 {
				i += n - 1
			}
		default:
			dst = x.word(dst, ts, i, langs)
		}
	}
	for i := range dst { // "before two months" is not "before you delete"
		if dst[i].concept == conceptWait && i+1 < len(dst) && dst[i+1].concept == conceptTime && dst[i+1].at-dst[i].at <= 3 {
			dst[i].concept = conceptAgo
		}
	}
	return dst
}

// word finds the longest stem a word begins with, then those inside a compound.
func (x *lexicon) word(dst []mark, ts []Token, i int, langs Langs) []mark {
	w := ts[i].Word
	first := len(dst)
	for start := 0; start < len(w); {
		h, best, bestAt := uint32(2166136261), []stem(nil), 0
		for j := start; j < len(w); {
			_, size := utf8.DecodeRuneInString(w[j:])
			for range size {
				h = (h ^ uint32(w[j])) * 16777619
				j++
			}
			if x.seen[h>>(32-seenBits)/64]&(1<<(h>>(32-seenBits)%64)) == 0 {
				continue
			}
			for _, s := range x.stems[h] {
				if s.langs&langs != 0 && (!s.exact || j == len(w)) && (start == 0 || s.inner) &&
					(s.second == 0 || near(ts, i, s)) {
					best, bestAt = x.stems[h], j
					break
				}
			}
		}
		if best == nil {
			if _, size := utf8.DecodeRuneInString(w[start:]); start == 0 {
				// what stands inside begins after two letters at least
				_, next := utf8.DecodeRuneInString(w[size:])
				if w[0] >= 0xD6 { // Hebrew and Arabic put one letter before
					next = 0
				}
				start = size + next
			} else {
				start += size
			}
			continue
		}
		for _, s := range best {
			if s.langs&langs != 0 && (!s.exact || bestAt == len(w)) && (s.second == 0 || near(ts, i, s)) && !has(dst[first:], s.concept) {
				dst = append(dst, mark{concept: s.concept, at: uint16(i)})
			}
		}
		start = bestAt
	}
	return dst
}

func has(ms []mark, c Concept) bool {
	for _, m := range ms {
		if m.concept == c {
			return true
		}
	}
	return false
}

// near tells whether the second word of s follows within four words.
func near(ts []Token, i int, s stem) bool {
	for j := i + 1; j < min(len(ts), i+5); j++ {
		if s.exact2 {
			if hashString(ts[j].Word) == s.second {
				return true
			}
			continue
		}
		h := uint32(2166136261)
		for k := range len(ts[j].Word) {
			if h = (h ^ uint32(ts[j].Word[k])) * 16777619; h == s.second {
				return true
			}
		}
	}
	return false
}

// ideographs finds the longest stem that begins at character i and returns its
// length in characters.
func (x *lexicon) ideographs(dst *[]mark, ts []Token, i int, langs Langs) int {
	h, best, n := uint32(2166136261), []stem(nil), 0
	for j := i; j < min(len(ts), i+12) && ts[j].Ideo; j++ {
		for k := range len(ts[j].Word) {
			h = (h ^ uint32(ts[j].Word[k])) * 16777619
		}
		if x.seen[h>>(32-seenBits)/64]&(1<<(h>>(32-seenBits)%64)) == 0 {
			continue
		}
		for _, s := range x.stems[h] {
			if s.langs&langs != 0 {
				best, n = x.stems[h], j-i+1
				break
			}
		}
	}
	for _, s := range best {
		if s.langs&langs != 0 {
			*dst = append(*dst, mark{concept: s.concept, at: uint16(i)})
		}
	}
	return n
}

// Kinds of concept features, apart from those of words.
const (
	kindConcept uint32 = iota + 100
	kindConceptScope
	kindConceptPair
	kindConceptNear
	kindConceptTriple
	kindConceptAsked
	kindConceptShort
	kindConceptAll
)

// appendConcepts adds what the concepts of a sentence say alone and together.
func appendConcepts(dst []Feature, ms []mark, u *Unit) []Feature {
	add := func(h, kind uint32, at uint16) { dst = append(dst, Feature{Hash: mix(h, kind), At: at, Concept: true}) }
	scopeMarks(ms)
	var set [4]uint64
	var distinct []mark
	var room [maxMarks]mark
	distinct = room[:0]
	for i, m := range ms {
		c := uint32(m.concept)
		if set[c/64]&(1<<(c%64)) == 0 {
			set[c/64] |= 1 << (c % 64)
			distinct = append(distinct, m)
			add(c, kindConcept, m.at)
			if u.Question {
				add(c, kindConceptAsked, m.at)
			}
			if len(u.Tokens) <= 5 {
				add(c, kindConceptShort, m.at)
			}
		}
		if m.scope != 0 {
			add(c*8+uint32(m.scope), kindConceptScope, m.at)
		}
		for j := i + 1; j < min(len(ms), i+4); j++ {
			if ms[j].at-m.at <= 7 {
				d := ms[j]
				add((c*256+uint32(d.concept))*8+uint32(m.scope|d.scope), kindConceptNear, m.at)
			}
		}
		if i+2 < len(ms) {
			add((c*256+uint32(ms[i+1].concept))*256+uint32(ms[i+2].concept), kindConceptTriple, m.at)
		}
	}
	n := min(len(distinct), 14)
	for i := range n {
		for j := i + 1; j < n; j++ {
			a, b := uint32(distinct[i].concept), uint32(distinct[j].concept)
			add(min(a, b)*256+max(a, b), kindConceptPair, distinct[j].at)
		}
	}
	if total := bits.OnesCount64(set[0]) + bits.OnesCount64(set[1]) + bits.OnesCount64(set[2]) + bits.OnesCount64(set[3]); total > 0 && total <= 5 {
		h := uint32(2166136261)
		for _, s := range set {
			for b := range 4 {
				h = (h ^ uint32(s>>(16*b))&0xffff) * 16777619
			}
		}
		add(h, kindConceptAll, distinct[0].at)
	}
	return dst
}

// scopeMarks notes which concepts a negation or a "before" speaks of.
func scopeMarks(ms []mark) {
	for i := range ms {
		var s Scope
		switch ms[i].concept {
		case conceptNeg:
			s = Negates
		case conceptWait:
			s = Delays
		default:
			continue
		}
		for j := range ms {
			switch d := int(ms[j].at) - int(ms[i].at); {
			case j == i || d < -7 || d > 7:
			case d > 0 || s == Delays && d >= -3:
				ms[j].scope |= s
			case d <= 0 && s == Negates:
				ms[j].scope |= Denies
			}
		}
	}
}
