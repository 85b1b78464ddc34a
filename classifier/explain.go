package classifier

import (
	"sort"

	"postern/classifier/feature"
)

// Reasons shown for a label: so many words for, so many against.
const (
	wordsFor     = 3
	wordsAgainst = 1
)

// reasons tells which words of the loudest sentence spoke for and against each
// decided label, or for the likeliest one if none was decided.
func (c *Classifier) reasons(res *Result, units []feature.Unit, langs feature.Langs, e *Evidence, s *scratch) []Reason {
	labels := res.Decided
	if len(labels) == 0 && len(res.Labels) > 0 {
		labels = []Label{res.Labels[0].Label}
	}
	var out []Reason
	for _, l := range labels {
		k := outputIndex[string(l)]
		at := e.best[k]
		if len(units) > 0 && units[0].Subject && (at < 0 || e.Subject[k] > e.Body[k]) {
			at = 0
		}
		if at >= 0 {
			out = append(out, c.explain(l, k, &units[at], langs, s)...)
		}
	}
	return out
}

// explain sums a sentence's weights by word.
func (c *Classifier) explain(l Label, k int, u *feature.Unit, langs feature.Langs, s *scratch) []Reason {
	s.features = c.extract.Append(s.features[:0], u, langs, &s.buffer)
	concepts := 0
	for _, f := range s.features {
		if f.Concept {
			concepts++
		}
	}
	norm, conNorm := Norm(len(s.features)-concepts), ConceptNorm(concepts)
	weights := make([]float64, len(u.Tokens))
	for _, f := range s.features {
		switch {
		case f.Concept:
			w := c.model.Concepts[int(f.Hash>>(32-ConceptBits))*NumOutputs+k]
			weights[f.At] += float64(float32(int8(w)) * c.model.ConScale[k] * conNorm)
		case c.model.Knows(f.Hash):
			w := c.model.Weights[int(f.Hash>>(32-WeightBits))*NumOutputs+k]
			weights[f.At] += float64(float32(int8(w)) * c.model.Scale[k] * norm)
		}
	}
	order := make([]int, len(weights))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return weights[order[i]] > weights[order[j]] })
	var out []Reason
	for n, i := range order {
		w := weights[i]
		if n < wordsFor && w > 0.1 || n >= len(order)-wordsAgainst && w < -0.1 {
			out = append(out, Reason{Label: l, Words: u.Tokens[i].Word, Weight: w, Rule: "sentence: " + feature.Clip(u.Text, 100)})
		}
	}
	return out
}
