// Command train makes the classifier's model from the letters' grammars in
// classifier/data, or (with -eval) measures it on phrases it was not shown.
//
//	go run ./classifier/train                  write classifier/model.bin
//	go run ./classifier/train -eval            held-out phrases
//	go run ./classifier/train -eval -extra DIR also DIR/letters.jsonl, by the embedded model
//
// It is deterministic: the same data give the same bytes.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"postern/classifier"
)

type settings struct {
	data, out, extra string
	eval             bool
	only             string
	examples         int
	letters          int
}

func main() {
	s := settings{}
	flag.StringVar(&s.data, "data", "classifier/data", "folder of the languages' grammars")
	flag.StringVar(&s.out, "out", "classifier/model.bin", "model file to write")
	flag.BoolVar(&s.eval, "eval", false, "measure instead of writing a model")
	flag.StringVar(&s.extra, "extra", "", "folder with a letters.jsonl to measure the embedded model on")
	flag.StringVar(&s.only, "only", "", "with -eval: 'extra' skips the held-out phrases")
	flag.IntVar(&s.examples, "examples", 10, "faults to print")
	flag.IntVar(&s.letters, "letters", 300, "held-out letters a language and fold")
	flag.Parse()
	if err := run(s, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(s settings, w io.Writer) error {
	langs, err := loadLanguages(s.data)
	if err != nil {
		return err
	}
	if s.eval {
		return evaluate(s, langs, w)
	}
	js, err := crossFit(langs, []int{0, 2}, s.letters)
	if err != nil {
		return err
	}
	all := func(*phrase) bool { return true }
	m, n, err := fitSentences(langs, all, 1)
	if err != nil {
		return err
	}
	trainLanguages(m, langs, all)
	fitStack(m, js)
	fitThresholds(m, js)
	raw := m.Encode()
	if err := os.WriteFile(s.out, raw, 0o644); err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	fmt.Fprintf(w, "%s: %d bytes from %d sentences of %d languages\n", s.out, len(raw), n, len(langs))
	return nil
}

// fitSentences trains the first stage on the phrases allowed.
func fitSentences(langs []*language, use func(*phrase) bool, seed uint64) (*classifier.Model, int, error) {
	mk, err := newMaker(seed)
	if err != nil {
		return nil, 0, err
	}
	samples := mk.samples(langs, use)
	return train(samples, seed), len(samples), nil
}

// unseenWeight is what a letter of unseen phrases counts for beside one of known
// phrases: held-out phrases often hold words the language has nowhere else, and
// a second stage that trusts such weak evidence sees requests everywhere.
const unseenWeight = 0.3

// crossFit trains without a fold and gathers evidence on letters of that fold,
// so that the second stage learns from phrases the first has not seen.
func crossFit(langs []*language, held []int, perLanguage int) ([]judged, error) {
	var js []judged
	for _, f := range held {
		m, _, err := fitSentences(langs, func(p *phrase) bool { return p.fold != f }, uint64(f+10))
		if err != nil {
			return nil, err
		}
		c, err := classifier.NewWith(m)
		if err != nil {
			return nil, err
		}
		unseen := judge(c, compose(langs, f, perLanguage))
		for i := range unseen {
			unseen[i].weight = unseenWeight
		}
		js = append(js, unseen...)
		js = append(js, judge(c, composeKnown(langs, f, perLanguage))...)
	}
	return js, nil
}

// compose writes letters from the phrases of one fold only.
func compose(langs []*language, fold, n int) []letter {
	return composeOf(langs, n, uint64(fold)+99, func(p *phrase) bool { return p.fold == fold })
}

// composeKnown writes letters from phrases the first stage has seen: real mail
// lies between the known and the wholly new.
func composeKnown(langs []*language, fold, n int) []letter {
	return composeOf(langs, n, uint64(fold)+199, func(p *phrase) bool { return p.fold != fold })
}

func composeOf(langs []*language, n int, seed uint64, use func(*phrase) bool) []letter {
	r := rand.New(rand.NewPCG(seed, 4))
	var out []letter
	for _, l := range langs {
		w := &writer{lang: l, use: use, r: r}
		for range n {
			out = append(out, w.compose())
		}
	}
	return out
}

// evaluate measures on fold 0 a model that saw neither its phrases in the
// first stage nor its letters in the second.
func evaluate(s settings, langs []*language, w io.Writer) error {
	if s.only != "extra" {
		const held = 0
		use := func(p *phrase) bool { return p.fold != held }
		js, err := crossFit(langs, []int{2}, s.letters)
		if err != nil {
			return err
		}
		m, _, err := fitSentences(langs, use, 1)
		if err != nil {
			return err
		}
		trainLanguages(m, langs, use)
		fitStack(m, js)
		fitThresholds(m, js)
		c, err := classifier.NewWith(m)
		if err != nil {
			return err
		}
		rep := newReport()
		for _, l := range compose(langs, held, s.letters) {
			rep.add(c, l)
		}
		rep.print(w, "held-out phrases", s.examples)
	}
	if s.extra == "" {
		return nil
	}
	c, err := classifier.New()
	if err != nil {
		return err
	}
	letters, err := readExtra(s.extra)
	if err != nil {
		return err
	}
	rep := newReport()
	for _, l := range letters {
		rep.add(c, l)
	}
	rep.print(w, s.extra+" by the embedded model", s.examples)
	return nil
}
