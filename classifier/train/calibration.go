package main

import (
	"fmt"
	"io"
)

// calibration compares scores with how often what they say is true. Scores below
// the floor of classifier.Result are not listed there and not counted here.
type calibration struct {
	bins [10]struct {
		n, yes int
		sum    float64 // of the scores
	}
}

func (c *calibration) add(score float64, yes bool) {
	b := &c.bins[min(9, int(score*10))]
	b.n++
	b.sum += score
	if yes {
		b.yes++
	}
}

// means gives how many scores there are, their mean, and the share of them that
// was true; both are near each other where the scores can be believed.
func (c *calibration) means() (n int, score, truth float64) {
	yes := 0
	for _, b := range c.bins {
		n, yes, score = n+b.n, yes+b.yes, score+b.sum
	}
	return n, score / float64(max(n, 1)), float64(yes) / float64(max(n, 1))
}

// off is the expected calibration error: how far score and truth lie apart in a
// bin, weighted by the scores of the bin. 0 is perfect.
func (c *calibration) off() float64 {
	n, apart := 0, 0.0
	for _, b := range c.bins {
		d := b.sum - float64(b.yes)
		n, apart = n+b.n, apart+max(d, -d)
	}
	return apart / float64(max(n, 1))
}

// printCalibrations writes a line for each key: scores, their mean, how often
// they were true, and how far that is apart bin by bin.
func printCalibrations(w io.Writer, of string, m map[string]*calibration) {
	fmt.Fprintf(w, "%-20s %6s %6s %6s %6s\n", "calibration by "+of, "scores", "mean", "true", "off")
	for _, k := range sortedKeys(m) {
		n, score, truth := m[k].means()
		fmt.Fprintf(w, "%-20s %6d %6.3f %6.3f %6.3f\n", k, n, score, truth, m[k].off())
	}
}
