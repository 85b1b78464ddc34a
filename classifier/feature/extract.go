package feature

import (
	"strings"
	"unicode/utf8"
)

// Feature is one hashed property of a sentence and the word that gave it.
type Feature struct {
	Hash    uint32
	At      uint16 // index of the token
	Concept bool   // speaks of concepts, which all languages share
}

// Scope is what a word does to the words around it.
type Scope uint8

// The scopes of the concepts "neg" and "wait".
const (
	Negates Scope = 1 << iota // "not", "never", "without"
	Delays                    // "before", "until"
	Denies                    // a negation behind: "delete I do not want"
)

// Extractor computes features. It is safe for concurrent use.
type Extractor struct{ lex *lexicon }

// NewExtractor reads the embedded lexicon of concepts.
func NewExtractor(f *Folder) (*Extractor, error) {
	lex, err := loadLexicon(f)
	if err != nil {
		return nil, err
	}
	return &Extractor{lex}, nil
}

// Kinds keep the hashes of different sorts of features apart.
const (
	kindWord uint32 = iota + 1
	kindPrefix4
	kindPrefix6
	kindPair
	kindSkip
	kindSkip2
	kindInner
	kindNegated
	kindDelayed
	kindArticle
	kindQuestion
	kindTriple
	kindShort
)

// prefixes of a token, hashed once.
type hashed struct{ word, p4, p5, p6 uint32 }

// Append adds the features of u to dst, those of concepts last. langs are the
// languages it may be written in; buf is scratch space kept by the caller
// between calls.
func (x *Extractor) Append(dst []Feature, u *Unit, langs Langs, buf *Buffer) []Feature {
	hs := buf.hashes[:0]
	for i := range u.Tokens {
		hs = append(hs, hashToken(&u.Tokens[i]))
	}
	buf.hashes = hs
	for i := range u.Tokens {
		t, h, at := &u.Tokens[i], hs[i], uint16(i)
		dst = append(dst, Feature{Hash: mix(h.word, kindWord), At: at})
		if i+1 < len(hs) {
			dst = append(dst, Feature{Hash: mix(h.p5*31+hs[i+1].p5, kindPair), At: at})
		}
		if i+2 < len(hs) {
			dst = append(dst, Feature{Hash: mix(h.p5*31+hs[i+2].p5, kindSkip), At: at})
			if t.Ideo {
				dst = append(dst, Feature{Hash: mix((h.word*31+hs[i+1].word)*31+hs[i+2].word, kindTriple), At: at})
			}
		}
		if i+3 < len(hs) && !t.Ideo {
			dst = append(dst, Feature{Hash: mix(h.p5*31+hs[i+3].p5, kindSkip2), At: at})
		}
		if t.Number {
			if a := articleAt(u.Tokens, i); a != "" {
				dst = append(dst, Feature{Hash: mix(h.word, kindArticle), At: at})
			}
			continue
		}
		if !t.Ideo {
			dst = appendInner(dst, t.Word, h, at)
		}
	}
	buf.marks = x.lex.marks(buf.marks[:0], u.Tokens, langs)
	for _, m := range buf.marks {
		switch m.concept {
		case conceptNeg:
			dst = appendScope(dst, hs, int(m.at), Negates)
		case conceptWait:
			dst = appendScope(dst, hs, int(m.at), Delays)
		}
	}
	if u.Question {
		for i := range min(3, len(hs)) {
			dst = append(dst, Feature{Hash: mix(hs[i].p5, kindQuestion), At: uint16(i)})
		}
	}
	if n := len(hs); n > 0 && n <= 3 {
		for i := range hs {
			dst = append(dst, Feature{Hash: mix(hs[i].p6, kindShort), At: uint16(i)})
		}
	}
	return appendConcepts(dst, buf.marks, u)
}

// Buffer is scratch space of Append.
type Buffer struct {
	hashes []hashed
	marks  []mark
}

// Forbids tells whether the sentence last read speaks of deleting only under a
// "not" or "before".
func (b *Buffer) Forbids() bool {
	found := false
	for _, m := range b.marks {
		if m.concept == conceptDel {
			if m.scope == 0 {
				return false
			}
			found = true
		}
	}
	return found
}

// Personal tells whether the sentence last read speaks of a person, an account or
// data: "to delete all keys of a bucket" does not.
func (b *Buffer) Personal() bool {
	for _, m := range b.marks {
		if personal[m.concept] {
			return true
		}
	}
	return false
}

// personal are the concepts of what is somebody's own.
var personal = func() (set [256]bool) {
	for _, name := range strings.Fields("me forget account data name mail photo job close list law right consent user") {
		set[conceptID(name)] = true
	}
	set[articleConcept+17] = true
	return set
}()

// appendInner adds beginnings and inner parts, which carry meaning across
// inflection, compounding and typing errors.
func appendInner(dst []Feature, w string, h hashed, at uint16) []Feature {
	if h.p4 != 0 {
		dst = append(dst, Feature{Hash: mix(h.p4, kindPrefix4), At: at})
	}
	if h.p6 != 0 {
		dst = append(dst, Feature{Hash: mix(h.p6, kindPrefix6), At: at})
	}
	if len(w) < 7 {
		return dst
	}
	// windows of five characters, not at the beginning
	var starts [64]int
	n := 0
	for i := range w {
		if n == len(starts) {
			break
		}
		starts[n] = i
		n++
	}
	for i := 1; i+5 <= n; i++ {
		end := len(w)
		if i+5 < n {
			end = starts[i+5]
		}
		dst = append(dst, Feature{Hash: mix(hashString(w[starts[i]:end]), kindInner), At: at})
	}
	return dst
}

// appendScope marks the words around a negation or a "before".
func appendScope(dst []Feature, hs []hashed, i int, s Scope) []Feature {
	if s&Negates != 0 {
		for j := max(0, i-3); j < min(len(hs), i+6); j++ {
			if j != i {
				dst = append(dst, Feature{Hash: mix(hs[j].p5, kindNegated), At: uint16(j)})
			}
		}
	}
	if s&Delays != 0 {
		for j := max(0, i-4); j < min(len(hs), i+9); j++ {
			if j != i {
				dst = append(dst, Feature{Hash: mix(hs[j].p5, kindDelayed), At: uint16(j)})
			}
		}
	}
	return dst
}

func hashToken(t *Token) hashed {
	if t.Number {
		h := uint32(0x9e3779b9)
		if rightsArticles[t.Word] {
			return hashed{word: hashString(t.Word), p5: h}
		}
		return hashed{word: h, p5: h}
	}
	h := hashed{}
	n, sum := 0, uint32(2166136261)
	for i := 0; i < len(t.Word); {
		_, size := utf8.DecodeRuneInString(t.Word[i:])
		for range size {
			sum = (sum ^ uint32(t.Word[i])) * 16777619
			i++
		}
		n++
		switch n {
		case 4:
			h.p4 = sum
		case 5:
			h.p5 = sum
		case 6:
			h.p6 = sum
		}
	}
	h.word = sum
	if n < 5 {
		h.p5 = sum
	}
	if n <= 4 {
		h.p4 = 0
	}
	if n <= 6 {
		h.p6 = 0
	}
	return h
}

func hashString(s string) uint32 {
	sum := uint32(2166136261)
	for i := range len(s) {
		sum = (sum ^ uint32(s[i])) * 16777619
	}
	return sum
}

func mix(h, kind uint32) uint32 {
	h ^= kind * 0x9e3779b1
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}
