package main

import (
	"math"
	"math/rand/v2"
	"strings"

	"postern/classifier"
	"postern/classifier/feature"
)

const (
	outputs = classifier.NumOutputs
	buckets = 1 << classifier.WeightBits
)

var outputIndex = func() map[string]int {
	m := map[string]int{}
	for i, o := range classifier.Outputs {
		m[o] = i
	}
	return m
}()

// sample is one sentence with its truth; 0 no, 1 yes, 2 either.
type sample struct {
	hashes []uint32
	truth  [outputs]uint8
	weight float32
}

// maker turns phrases into samples.
type maker struct {
	seg     *feature.Segmenter
	extract *feature.Extractor
	r       *rand.Rand
}

func newMaker(seed uint64) (*maker, error) {
	f := feature.NewFolder()
	x, err := feature.NewExtractor(f)
	if err != nil {
		return nil, err
	}
	return &maker{seg: feature.NewSegmenter(f), extract: x, r: rand.New(rand.NewPCG(seed, 7))}, nil
}

// stops are the ways to say stop. To give one for another is a small fault, but
// still one to unlearn: the record of an objection should say objection.
var stops = map[string]bool{"objection": true, "unsubscribe": true, "withdraw_consent": true, "opt_out_sale": true}

// perPhrase is how many sentences are made of one phrase.
const perPhrase = 40

// samples makes the training sentences of all phrases that use allows.
func (m *maker) samples(langs []*language, use func(*phrase) bool) []sample {
	var out []sample
	for _, l := range langs {
		w := &writer{lang: l, use: use, r: m.r}
		for _, name := range l.order {
			for _, p := range l.sections[name] {
				if !use(p) {
					continue
				}
				for range min(perPhrase, 2+ways(p.text, perPhrase)) {
					out = m.add(out, noise(spin(p.text, m.r), m.r, 12), 1, p)
				}
			}
		}
		out = m.joined(out, w)
	}
	return out
}

// joined makes sentences of two phrases: two requests by "and", or a request
// with the sentence around it, since people do not end sentences as they should.
func (m *maker) joined(out []sample, w *writer) []sample {
	ask := w.labelled()
	if len(ask) == 0 {
		return out
	}
	conj := w.say("join")
	if conj == "" {
		conj = ","
	}
	for range 12 * len(ask) {
		a := w.pick(ask[m.r.IntN(len(ask))])
		other := []string{"context", "recital", "threat", "greet", "keep", "id", ask[m.r.IntN(len(ask))], ask[m.r.IntN(len(ask))]}[m.r.IntN(8)]
		b := w.pick(other)
		if a == nil || b == nil {
			continue
		}
		link := " " + conj + " "
		if m.r.IntN(3) == 0 {
			link = ", "
		}
		x, y := a, b
		if m.r.IntN(2) == 0 {
			x, y = b, a
		}
		text := strings.TrimRight(spin(x.text, m.r), ".!?") + link + spin(y.text, m.r)
		out = m.add(out, text, 0.7, a, b)
	}
	return out
}

func (m *maker) add(out []sample, text string, weight float32, ps ...*phrase) []sample {
	var truth [outputs]uint8
	for _, p := range ps {
		for _, k := range p.ok {
			if !stops[k] {
				truth[outputIndex[k]] = 2
			}
		}
	}
	for _, p := range ps {
		for _, k := range p.labels {
			truth[outputIndex[k]] = 1
		}
	}
	if truth[outputIndex["access"]] == 1 && truth[outputIndex["information"]] == 0 {
		truth[outputIndex["information"]] = 2
	}
	var buf feature.Buffer
	for _, u := range m.seg.Units("", text) {
		fs := m.extract.Append(nil, &u, &buf)
		if len(fs) < 1 {
			continue
		}
		hs := make([]uint32, len(fs))
		for i, f := range fs {
			hs[i] = f.Hash >> (32 - classifier.WeightBits)
		}
		out = append(out, sample{hs, truth, weight})
	}
	return out
}

// Training constants, found by held-out phrases.
const (
	epochs   = 10
	rate     = 0.4
	decay    = 2e-6
	positive = 1.5
	initBias = -3
	dropout  = 1 << 30 // of 1<<32: features left out at each step, so that no phrase is learnt by heart
	clipAt   = 0.02    // smaller gradients are not worth a step
)

// train fits one logistic regression per output by AdaGrad.
func train(samples []sample, seed uint64) *classifier.Model {
	w := make([]float32, buckets*outputs)
	g := make([]float32, buckets*outputs)
	var bias [outputs]float32
	for k := range bias {
		bias[k] = initBias
	}
	r := rand.New(rand.NewPCG(seed, 11))
	order := make([]int, len(samples))
	for i := range order {
		order[i] = i
	}
	var z [outputs]float32
	var kept []uint32
	for range epochs {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			s := &samples[i]
			kept = kept[:0]
			for _, h := range s.hashes {
				if r.Uint32() >= dropout {
					kept = append(kept, h)
				}
			}
			norm := classifier.Norm(len(kept))
			z = [outputs]float32{}
			for _, h := range kept {
				row := w[int(h)*outputs : int(h)*outputs+outputs]
				for k := range outputs {
					z[k] += row[k]
				}
			}
			for k := range outputs {
				if s.truth[k] == 2 {
					continue
				}
				grad := squashed(bias[k]+float32(z[k]*norm)) - float32(s.truth[k])
				if s.truth[k] == 1 {
					grad *= positive
				}
				grad *= s.weight
				if grad < clipAt && grad > -clipAt {
					continue
				}
				bias[k] -= 0.002 * grad
				step(w, g, kept, k, float32(grad*norm))
			}
		}
	}
	return pack(w, bias)
}

func step(w, g []float32, hashes []uint32, k int, grad float32) {
	square := float32(grad * grad)
	for _, h := range hashes {
		at := int(h)*outputs + k
		g[at] += square
		w[at] -= float32(float32(rate*grad)/float32(math.Sqrt(float64(g[at])+1e-6))) + float32(decay*w[at])
	}
}

// squashed is the logistic function by own arithmetic, so that no processor's
// special instruction changes a bit of the model.
func squashed(z float32) float32 {
	if z > 15 {
		return 1
	}
	if z < -15 {
		return 0
	}
	return float32(1 / (1 + expo(-float64(z))))
}

// expo is e to the x for |x| < 16, by halving and a short series.
func expo(x float64) float64 {
	x /= 32
	sum, term := 1.0, 1.0
	for i := 1; i < 9; i++ {
		term = float64(term*x) / float64(i)
		sum += term
	}
	for range 5 {
		sum = float64(sum * sum)
	}
	return sum
}

// pack rounds weights to bytes, one scale per output. Outliers are cut.
func pack(w []float32, bias [outputs]float32) *classifier.Model {
	m := &classifier.Model{Weights: make([]int8, len(w)), Bias: bias}
	for k := range outputs {
		top := float32(0)
		for i := k; i < len(w); i += outputs {
			top = max(top, w[i], -w[i])
		}
		top = max(top*0.6, 1e-6)
		m.Scale[k] = top / 127
		for i := k; i < len(w); i += outputs {
			v := math.Round(float64(w[i] / m.Scale[k]))
			m.Weights[i] = int8(max(-127, min(127, v)))
		}
	}
	return m
}
