// Command train makes the classifier's model from the letters' grammars in
// classifier/data, or (with -eval) measures it on phrases it was not shown.
//
//	go run ./classifier/train                  write classifier/model.bin
//	go run ./classifier/train -eval            held-out phrases, and by the embedded model held-out letters
//	go run ./classifier/train -eval -extra DIR also the letters of DIR/*.jsonl
//
// It is deterministic: the same data give the same bytes.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"postern/classifier"
	"postern/classifier/feature"
)

type settings struct {
	data, out, extra string
	eval             bool
	only             string
	examples         int
	letters          int
	langs, model     string
	corpus, half     string
}

func main() {
	s := settings{}
	flag.StringVar(&s.data, "data", "classifier/data", "folder of the languages' grammars")
	flag.StringVar(&s.out, "out", "classifier/model.bin", "model file to write")
	flag.BoolVar(&s.eval, "eval", false, "measure instead of writing a model")
	flag.StringVar(&s.extra, "extra", "", "folder of *.jsonl letters to measure too")
	flag.StringVar(&s.only, "only", "", "with -eval: 'phrases' or 'letters', else both")
	flag.IntVar(&s.examples, "examples", 10, "faults to print, those that cost most first")
	flag.IntVar(&s.letters, "letters", 300, "held-out letters a language and fold")
	flag.StringVar(&s.langs, "langs", "", "comma-separated languages to read alone, for trials")
	flag.StringVar(&s.corpus, "corpus", "testmail/corpus/letters", "folder of letters that share nothing with the grammars")
	flag.StringVar(&s.half, "half", "", "with -eval: 'dev' or 'test' half of the corpus alone")
	flag.StringVar(&s.model, "model", "", "with -eval: model file to measure instead of the embedded one")
	flag.IntVar(&budget, "budget", budget, "sentences made of single phrases")
	flag.IntVar(&epochs, "epochs", epochs, "passes over the sentences")
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
	if s.langs != "" {
		langs = slices.DeleteFunc(langs, func(l *language) bool { return !slices.Contains(strings.Split(s.langs, ","), l.tag) })
	}
	bare, err := bareLanguages(langs)
	if err != nil {
		return err
	}
	if s.eval {
		return evaluate(s, langs, bare, w)
	}
	all := func(*phrase) bool { return true }
	tongues := trainLanguages(langs, bare, all)
	js, err := crossFit(langs, tongues, []int{0, 2}, s.letters)
	if err != nil {
		return err
	}
	m, n, err := fitSentences(langs, all, 1)
	if err != nil {
		return err
	}
	tongues.into(m)
	fitStack(m, js)
	fitThresholds(m, js)
	raw := m.Encode()
	if err := os.WriteFile(s.out, raw, 0o644); err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	fmt.Fprintf(w, "%s: %d bytes from %d sentences of %d languages\n", s.out, len(raw), n, len(langs))
	return nil
}

// bareLanguages lists those that have a lexicon but are not among langs.
func bareLanguages(langs []*language) ([]string, error) {
	x, err := feature.NewExtractor(feature.NewFolder())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(x.Tags()), func(tag string) bool {
		return slices.ContainsFunc(langs, func(l *language) bool { return l.tag == tag })
	}), nil
}

// fitSentences trains the first stage on the phrases allowed.
func fitSentences(langs []*language, use func(*phrase) bool, seed uint64) (*classifier.Model, int, error) {
	mk, err := newMaker(seed)
	if err != nil {
		return nil, 0, err
	}
	samples := mk.samples(langs, use)
	set, _ := mk.known.bits()
	mk.known = nil
	m := train(samples, seed)
	m.Known = set
	return m, len(samples), nil
}

// knownWeight is what a letter of known phrases counts for beside one of
// phrases the first stage has not seen: real mail is nearer to the latter.
const knownWeight = 0.3

// crossFit trains without a fold and gathers evidence on letters of that fold,
// so that the second stage learns from phrases the first has not seen.
func crossFit(langs []*language, tongues *tongues, held []int, perLanguage int) ([]judged, error) {
	var js []judged
	for _, f := range held {
		m, _, err := fitSentences(langs, func(p *phrase) bool { return p.fold != f }, uint64(f+10))
		if err != nil {
			return nil, err
		}
		tongues.into(m)
		c, err := classifier.NewWith(m)
		if err != nil {
			return nil, err
		}
		unseen := judge(c, compose(langs, f, perLanguage))
		seen := judge(c, composeKnown(langs, f, perLanguage))
		for i := range seen {
			seen[i].weight = knownWeight
		}
		js = append(append(js, unseen...), seen...)
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
		if !l.whole() {
			continue
		}
		w := &writer{lang: l, use: use, r: r}
		for range n {
			out = append(out, w.compose())
		}
	}
	return out
}

// evaluate measures on fold 0 a model that saw neither its phrases in the
// first stage nor its letters in the second.
func evaluate(s settings, langs []*language, bare []string, w io.Writer) error {
	if s.only == "" || s.only == "phrases" {
		const held = 0
		use := func(p *phrase) bool { return p.fold != held }
		tongues := trainLanguages(langs, bare, use)
		js, err := crossFit(langs, tongues, []int{2}, s.letters)
		if err != nil {
			return err
		}
		m, _, err := fitSentences(langs, use, 1)
		if err != nil {
			return err
		}
		tongues.into(m)
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
	if s.only == "phrases" {
		return nil
	}
	c, err := s.classifier()
	if err != nil {
		return err
	}
	for _, half := range []string{"dev", "test"} {
		if s.half != "" && s.half != half {
			continue
		}
		examples := s.examples
		if half == "test" {
			examples = 0 // its faults are not looked at
		}
		if err := measure(c, s.corpus, half, w, examples); err != nil {
			return err
		}
	}
	if s.extra == "" {
		return nil
	}
	return measure(c, s.extra, "", w, s.examples)
}

// classifier returns the one to measure letters with.
func (s settings) classifier() (*classifier.Classifier, error) {
	if s.model == "" {
		return classifier.New()
	}
	raw, err := os.ReadFile(s.model)
	if err != nil {
		return nil, err
	}
	m, err := classifier.DecodeModel(raw)
	if err != nil {
		return nil, err
	}
	return classifier.NewWith(m)
}

// measure prints the figures of the letters of a folder.
func measure(c *classifier.Classifier, dir, half string, w io.Writer, examples int) error {
	letters, err := readLetters(dir, half)
	if err != nil {
		return err
	}
	rep := newReport()
	for _, l := range letters {
		rep.add(c, l)
	}
	rep.print(w, strings.TrimSpace(dir+" "+half), examples)
	return nil
}
