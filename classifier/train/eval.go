package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

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
	label, lang map[string]*tally
	all         tally
	bins        [10]struct{ n, yes int }
	langRight   int
	erased      int // letters with an erasure that was not asked
	asSpam      int // requests filed as spam
	lost        int // requests filed as other without a doubt
	worst       []fault
}

type fault struct {
	lang, source, subject, text string
	missed, wrong               []string
	res                         classifier.Result
}

func newReport() *report { return &report{label: map[string]*tally{}, lang: map[string]*tally{}} }

func at(m map[string]*tally, k string) *tally {
	if m[k] == nil {
		m[k] = &tally{}
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
	if l.request() {
		if res.Kind == classifier.KindSpam {
			rep.asSpam++
		} else if res.Kind == classifier.KindOther && !res.Abstain {
			rep.lost++
		}
	}
	f := fault{lang: l.lang, source: l.source, subject: l.in.Subject, text: l.in.Text, res: res}
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
		if g == "erasure" {
			rep.erased++
		}
		for _, t := range []*tally{at(rep.label, g), lang, &rep.all} {
			t.wrong++
		}
	}
	for _, s := range res.Labels {
		if slices.Contains(l.ok, string(s.Label)) && !slices.Contains(l.labels, string(s.Label)) {
			continue
		}
		bin := &rep.bins[min(9, int(s.Score*10))]
		bin.n++
		if slices.Contains(l.labels, string(s.Label)) {
			bin.yes++
		}
	}
	if len(f.missed)+len(f.wrong) > 0 {
		rep.worst = append(rep.worst, f)
	}
}

// print writes the table.
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
	fmt.Fprintf(w, "calibration (score, how often true):")
	for i, b := range rep.bins {
		fmt.Fprintf(w, " %.1f:%.2f(%d)", float64(i)/10+0.05, ratio(b.yes, b.n), b.n)
	}
	fmt.Fprintf(w, "\nmicro F1 %.3f (precision %.3f, recall %.3f), macro F1 %.3f, abstained %.3f, language right %.3f\n",
		rep.all.f1(), rep.all.precision(), rep.all.recall(), macro/float64(max(n, 1)), ratio(rep.all.abstained, rep.all.letters), ratio(rep.langRight, rep.all.letters))
	fmt.Fprintf(w, "safety: %d letters with an erasure not asked for, %d requests filed as spam, %d filed as other without doubt\n", rep.erased, rep.asSpam, rep.lost)
	step := max(1, len(rep.worst)/max(examples, 1))
	for i := 0; i < len(rep.worst) && i/step < examples; i += step {
		f := rep.worst[i]
		fmt.Fprintf(w, "-- %s %s missed %v wrong %v abstain %v\n   %q\n   %q\n", f.lang, f.source, f.missed, f.wrong, f.res.Abstain, f.subject, clipped(f.text, 900))
		for _, why := range f.res.Labels {
			fmt.Fprintf(w, "   %s %.2f", why.Label, why.Score)
		}
		fmt.Fprintln(w)
	}
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

func clipped(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

func sortedKeys(m map[string]*tally) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

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
