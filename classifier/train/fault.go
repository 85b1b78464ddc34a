package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"postern/classifier"
)

// cost ranks faults by what they do to a person, the worst last.
type cost int

const (
	costNeighbour cost = iota // one way to say stop for another: the relay is bound alike
	costRead                  // something missed or added, but marked unsure: a person reads the mail
	costAdded                 // a right that was not asked, beside what was
	costPart                  // a right missed beside another that was found, without a doubt
	costLost                  // a request filed as asking nothing, without a doubt
	costSpam                  // a request filed as spam
	costErasure               // an erasure that was not asked
	costs
)

var costNames = [costs]string{
	"one way to say stop for another", "wrong, but left to a person", "a right added", "a right missed beside another",
	"a request filed as other without doubt", "a request filed as spam", "an erasure not asked for",
}

func (c cost) String() string { return costNames[c] }

// fault is a letter that was read wrong.
type fault struct {
	letter
	missed, wrong []string
	res           classifier.Result
	cost          cost
	sure          float64 // score that was wrong: nearer to 1, the worse
}

// stopWays are the labels that bind the relay alike.
var stopWays = []string{"objection", "unsubscribe", "withdraw_consent", "opt_out_sale"}

// weigh sets what a fault costs.
func (f *fault) weigh() {
	for _, s := range f.res.Labels {
		switch name := string(s.Label); {
		case slices.Contains(f.wrong, name):
			f.sure = max(f.sure, s.Score)
		case slices.Contains(f.missed, name):
			f.sure = max(f.sure, 1-s.Score)
		}
	}
	switch {
	case slices.Contains(f.wrong, "erasure"):
		f.cost = costErasure
	case f.request() && f.res.Kind == classifier.KindSpam:
		f.cost = costSpam
	case f.request() && f.res.Kind == classifier.KindOther && !f.res.Abstain:
		f.cost = costLost
	case f.res.Abstain:
		f.cost = costRead
	case f.onlyStops():
		f.cost = costNeighbour
	case len(f.missed) > 0:
		f.cost = costPart
	default:
		f.cost = costAdded
	}
}

// onlyStops tells whether a way to say stop was taken for another and nothing
// else is wrong.
func (f *fault) onlyStops() bool {
	stops := func(labels []string) bool {
		return !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(stopWays, l) })
	}
	found := slices.ContainsFunc(f.res.Decided, func(l classifier.Label) bool { return slices.Contains(stopWays, string(l)) })
	asked := slices.ContainsFunc(f.labels, func(l string) bool { return slices.Contains(stopWays, l) })
	return stops(f.missed) && stops(f.wrong) && found && asked
}

// printFaults writes how often each cost was met and, of the n that cost most,
// the letters.
func printFaults(w io.Writer, faults []fault, n int) {
	count := [costs]int{}
	for _, f := range faults {
		count[f.cost]++
	}
	fmt.Fprint(w, "faults by cost:")
	for c := costs - 1; c >= 0; c-- {
		fmt.Fprintf(w, " %d %s;", count[c], c)
	}
	fmt.Fprintln(w)
	slices.SortStableFunc(faults, func(a, b fault) int {
		return cmp.Or(cmp.Compare(b.cost, a.cost), cmp.Compare(b.sure, a.sure), strings.Compare(a.source, b.source))
	})
	for i := range min(n, len(faults)) {
		f := &faults[i]
		fmt.Fprintf(w, "%d. %s (%s %s): missed %v, wrong %v\n   %q\n   %q\n  ", i+1, f.cost, f.lang, f.source, f.missed, f.wrong,
			f.in.Subject, clipped(f.in.Text, 900))
		for _, s := range f.res.Labels {
			fmt.Fprintf(w, " %s %.2f", s.Label, s.Score)
		}
		fmt.Fprintln(w)
	}
}

func clipped(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}
