package main

import (
	"fmt"
	"io"
	"slices"
	"sort"

	"postern/classifier"
)

// tally counts right and wrong.
type tally struct{ hit, miss, wrong, letters, abstained int }

func (t tally) precision() float64 { return ratio(t.hit, t.hit+t.wrong) }
func (t tally) recall() float64    { return ratio(t.hit, t.hit+t.miss) }
func (t tally) f1() float64 {
	return ratio(2*t.hit, 2*t.hit+t.miss+t.wrong)
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

// report gathers the figures of one run.
type report struct {
	label, lang     map[string]*tally
	all             tally
	scores          calibration
	byLabel, byLang map[string]*calibration
	langRight       int
	faults          []fault
}

func newReport() *report {
	return &report{label: map[string]*tally{}, lang: map[string]*tally{}, byLabel: map[string]*calibration{}, byLang: map[string]*calibration{}}
}

// at returns the value of a key, made on first use.
func at[T any](m map[string]*T, k string) *T {
	if m[k] == nil {
		m[k] = new(T)
	}
	return m[k]
}

// add judges one letter.
func (rep *report) add(c *classifier.Classifier, l letter) {
	res := c.Classify(l.in)
	var got []string
	for _, d := range res.Decided {
		got = append(got, string(d))
	}
	if res.Kind == classifier.KindFollowUp {
		got = append(got, "follow_up")
	}
	lang := at(rep.lang, l.lang)
	lang.letters++
	rep.all.letters++
	if res.Abstain {
		lang.abstained++
		rep.all.abstained++
	}
	if res.Language == l.lang {
		rep.langRight++
	}
	f := fault{letter: l, res: res}
	for _, want := range l.labels {
		if want == "agent" || want == "spam" || want == "reply" {
			continue
		}
		for _, t := range []*tally{at(rep.label, want), lang, &rep.all} {
			if slices.Contains(got, want) {
				t.hit++
			} else {
				t.miss++
			}
		}
		if !slices.Contains(got, want) {
			f.missed = append(f.missed, want)
		}
	}
	for _, g := range got {
		if slices.Contains(l.labels, g) || slices.Contains(l.ok, g) {
			continue
		}
		f.wrong = append(f.wrong, g)
		for _, t := range []*tally{at(rep.label, g), lang, &rep.all} {
			t.wrong++
		}
	}
	for _, s := range res.Labels {
		if slices.Contains(l.ok, string(s.Label)) && !slices.Contains(l.labels, string(s.Label)) {
			continue
		}
		yes := slices.Contains(l.labels, string(s.Label))
		for _, c := range []*calibration{&rep.scores, at(rep.byLabel, string(s.Label)), at(rep.byLang, l.lang)} {
			c.add(s.Score, yes)
		}
	}
	if len(f.missed)+len(f.wrong) > 0 || res.Kind == classifier.KindSpam && l.request() {
		f.weigh()
		rep.faults = append(rep.faults, f)
	}
}

// print writes the tables and the faults that cost most, as many as examples.
func (rep *report) print(w io.Writer, title string, examples int) {
	fmt.Fprintf(w, "\n%s: %d letters\n", title, rep.all.letters)
	fmt.Fprintf(w, "%-20s %6s %9s %7s %6s\n", "label", "wanted", "precision", "recall", "F1")
	macro, n := 0.0, 0
	for _, k := range sortedKeys(rep.label) {
		t := rep.label[k]
		fmt.Fprintf(w, "%-20s %6d %9.3f %7.3f %6.3f\n", k, t.hit+t.miss, t.precision(), t.recall(), t.f1())
		if t.hit+t.miss > 0 {
			macro, n = macro+t.f1(), n+1
		}
	}
	fmt.Fprintf(w, "%-20s %6s %9s %7s %6s %9s\n", "language", "letters", "precision", "recall", "F1", "abstained")
	for _, k := range sortedKeys(rep.lang) {
		t := rep.lang[k]
		fmt.Fprintf(w, "%-20s %6d %9.3f %7.3f %6.3f %9.3f\n", k, t.letters, t.precision(), t.recall(), t.f1(), ratio(t.abstained, t.letters))
	}
	printCalibrations(w, "label", rep.byLabel)
	printCalibrations(w, "language", rep.byLang)
	fmt.Fprintf(w, "calibration (score, how often true):")
	for _, b := range rep.scores.bins {
		if b.n > 0 {
			fmt.Fprintf(w, " %.2f:%.2f(%d)", b.sum/float64(b.n), ratio(b.yes, b.n), b.n)
		}
	}
	fmt.Fprintf(w, " off by %.3f\nmicro F1 %.3f (precision %.3f, recall %.3f), macro F1 %.3f, abstained %.3f, language right %.3f\n", rep.scores.off(),
		rep.all.f1(), rep.all.precision(), rep.all.recall(), macro/float64(max(n, 1)), ratio(rep.all.abstained, rep.all.letters), ratio(rep.langRight, rep.all.letters))
	printFaults(w, rep.faults, examples)
}

// request tells whether a person asks something in l.
func (l letter) request() bool {
	for _, k := range l.labels {
		if k != "spam" && k != "reply" && k != "agent" {
			return true
		}
	}
	return false
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
