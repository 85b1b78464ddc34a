package main

import (
	"math"
	"math/rand/v2"
	"sort"

	"postern/classifier"
)

// judged is a letter with the evidence its sentences gave.
type judged struct {
	letter
	in    [classifier.StackInputs]float32
	truth [outputs]uint8 // 0 no, 1 yes, 2 either
}

// judge gathers the evidence of letters by a sentence model.
func judge(c *classifier.Classifier, letters []letter) []judged {
	out := make([]judged, len(letters))
	for i, l := range letters {
		e := c.Evidence(l.in)
		out[i] = judged{letter: l, in: e.Inputs()}
		for _, k := range l.ok {
			if k == "agent" || k == "spam" || k == "reply" {
				out[i].truth[outputIndex[k]] = 2
			}
		}
		for _, k := range l.labels {
			out[i].truth[outputIndex[k]] = 1
		}
	}
	return out
}

// fitStack learns to read the evidence of whole letters, by plain gradient
// steps with a small pull towards zero.
func fitStack(m *classifier.Model, js []judged) {
	r := rand.New(rand.NewPCG(17, 1))
	order := make([]int, len(js))
	for i := range order {
		order[i] = i
	}
	for k := range outputs {
		var w, g [classifier.StackInputs]float32
		w[k], w[outputs+k], w[3*outputs] = 3, 1, -4
		var mean [classifier.StackInputs]float32
		for epoch := range 16 {
			r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			lr := 0.08 / float32(1+epoch/4)
			for _, i := range order {
				j := &js[i]
				if j.truth[k] == 2 {
					continue
				}
				z := float32(0)
				for f := range w {
					z += float32(w[f] * j.in[f])
				}
				grad := (squashed(z) - float32(j.truth[k])) * float32(j.weight)
				for f := range w {
					d := float32(grad*j.in[f]) + float32(1e-5*w[f])
					g[f] += float32(d * d)
					w[f] -= float32(lr*d) / float32(math.Sqrt(float64(g[f])*0.002+1))
				}
			}
			if epoch >= 8 {
				for f := range w {
					mean[f] += w[f] / 8
				}
			}
		}
		m.Stack[k] = mean
	}
}

// apply returns the stack's probability of output k.
func apply(m *classifier.Model, j *judged, k int) float64 {
	z := float32(0)
	for f := range j.in {
		z += float32(m.Stack[k][f] * j.in[f])
	}
	return float64(squashed(z))
}

// fitThresholds picks for each output where F1 is best, and higher for
// erasure, since a wrong one is unforgivable. Below the threshold lies the
// band of doubt, wide enough that what is missed there goes to a person.
func fitThresholds(m *classifier.Model, js []judged) {
	type point struct {
		p   float64
		yes bool
	}
	for k := range outputs {
		var ps []point
		all := 0
		for i := range js {
			if js[i].truth[k] == 2 {
				continue
			}
			yes := js[i].truth[k] == 1
			if yes {
				all++
			}
			ps = append(ps, point{apply(m, &js[i], k), yes})
		}
		sort.Slice(ps, func(i, j int) bool { return ps[i].p > ps[j].p })
		best, at, hits := 0.0, 0.5, 0
		beta := 1.0
		if classifier.Outputs[k] == "erasure" || classifier.Outputs[k] == "spam" {
			beta = 0.5
		}
		for i, p := range ps {
			if p.yes {
				hits++
			}
			prec, rec := float64(hits)/float64(i+1), float64(hits)/float64(max(all, 1))
			if f := (1 + beta*beta) * prec * rec / (beta*beta*prec + rec + 1e-9); f > best && p.p < 0.9 {
				best, at = f, p.p
			}
		}
		// Letters made of grammars are clearer than real ones: what would do for
		// them is too little for those.
		at = min(max(at, 0.68), 0.75)
		if classifier.Outputs[k] == "erasure" {
			at = 0.88
		}
		m.Threshold[k] = float32(at)
		m.Doubt[k] = float32(at * 0.45)
	}
}
