package console

import (
	"time"
)

// chart is a stacked bar a bucket, drawn by the page as SVG. All numbers are
// in the units of its view box, which the page stretches to its width; the
// letters stand outside of it, so that they keep their size.
type chart struct {
	Width  int
	Bars   []chartBar
	Lines  []chartLine // the y-axis: none, half, all
	Keys   []chartKey
	First  time.Time
	Middle time.Time
	Last   time.Time
	Empty  bool
}

// chartHeight is that of the plot; look.md section 7.
const chartHeight = 120

type chartBar struct {
	At    time.Time
	X, W  int
	Parts []chartPart
	Total int64
}

type chartPart struct {
	Class string // colours by class alone: the CSP allows no inline style
	Y, H  int
	Count int64
}

type chartLine struct {
	Y     int
	Value int64
}

// chartKey is an entry of the legend with its sum.
type chartKey struct {
	Class string
	Total int64
}

// newChart stacks series, the lowest first, over buckets. counts gives those
// of a bucket in the order of classes.
func newChart(buckets []time.Time, classes []string, counts func(i int) []int64) chart {
	const slot = 16 // one of it is the gap
	c := chart{Width: slot*len(buckets) - 1, Empty: true}
	for _, class := range classes {
		c.Keys = append(c.Keys, chartKey{Class: class})
	}
	var most int64
	all := make([][]int64, len(buckets))
	for i := range buckets {
		all[i] = counts(i)
		var sum int64
		for k, n := range all[i] {
			sum += n
			c.Keys[k].Total += n
		}
		most = max(most, sum)
	}
	top := niceTop(most)
	c.Empty = most == 0
	for i, at := range buckets {
		bar := chartBar{At: at, X: i * slot, W: slot - 1}
		y := chartHeight
		for k, n := range all[i] {
			bar.Total += n
			upTo := chartHeight - int(bar.Total*chartHeight/top)
			if n > 0 && upTo == y && y > 0 {
				upTo-- // what is there is seen
			}
			bar.Parts = append(bar.Parts, chartPart{Class: classes[k], Y: upTo, H: y - upTo, Count: n})
			y = upTo
		}
		c.Bars = append(c.Bars, bar)
	}
	c.Lines = []chartLine{{0, top}, {chartHeight / 2, top / 2}, {chartHeight, 0}}
	if n := len(buckets); n > 0 {
		c.First, c.Middle, c.Last = buckets[0], buckets[n/2], buckets[n-1]
	}
	return c
}

// niceTop is the least of 2, 4, 6, 10, 20, 40, ... that holds n: its half is
// whole and easy to read.
func niceTop(n int64) int64 {
	for p := int64(1); ; p *= 10 {
		for _, m := range []int64{2, 4, 6, 10} {
			if n <= m*p {
				return m * p
			}
		}
	}
}
