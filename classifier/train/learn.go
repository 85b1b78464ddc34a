package main

import (
	"math"
	"math/rand/v2"
	"sync"

	"postern/classifier"
)

const (
	outputs   = classifier.NumOutputs
	threads   = 2 // a half of the outputs each; the result does not depend on it
	perThread = outputs / threads
)

var outputIndex = func() map[string]int {
	m := map[string]int{}
	for i, o := range classifier.Outputs {
		m[o] = i
	}
	return m
}()

// Training constants, found by held-out phrases.
const (
	rate      = 0.4
	decay     = 2e-6
	positive  = 1.5
	initBias  = -3
	dropout   = 1 << 30 // of 1<<32: features left out at each step, so that no phrase is learnt by heart
	blackout  = 25      // percent of steps without any word, so that concepts learn to stand alone
	clipAt    = 0.02    // smaller gradients are not worth a step
	batchSeed = 11
)

var epochs = 8

// averaged is over how many of the last passes the weights are averaged, since
// each pass ends a little nearer to the sentences it saw last.
const averaged = 3

// table is a half of the weights, one row of perThread outputs a bucket.
type table struct{ w, g, sum []float32 }

func newTable(buckets int) table {
	return table{make([]float32, buckets*perThread), make([]float32, buckets*perThread), make([]float32, buckets*perThread)}
}

// note adds the weights as they are to the sum of those to be averaged.
func (t *table) note() {
	for i, v := range t.w {
		t.sum[i] += v
	}
}

// mean sets the weights to the average of those noted.
func (t table) mean() table {
	for i, v := range t.sum {
		t.w[i] = float32(v / averaged)
	}
	return t
}

// train fits one logistic regression per output by AdaGrad, each thread its own outputs.
func train(samples []sample, seed uint64) *classifier.Model {
	m := &classifier.Model{
		Weights:  make([]byte, outputs<<classifier.WeightBits),
		Concepts: make([]byte, outputs<<classifier.ConceptBits),
	}
	var wg sync.WaitGroup
	for t := range threads {
		wg.Go(func() {
			words, concepts, bias := fit(samples, seed, t*perThread)
			for k := range perThread {
				m.Bias[t*perThread+k] = bias[k]
				m.Scale[t*perThread+k] = pack(m.Weights, words.w, k, t*perThread+k)
				m.ConScale[t*perThread+k] = pack(m.Concepts, concepts.w, k, t*perThread+k)
			}
		})
	}
	wg.Wait()
	return m
}

// fit trains the outputs from first on.
func fit(samples []sample, seed uint64, first int) (words, concepts table, bias [perThread]float32) {
	words, concepts = newTable(1<<classifier.WeightBits), newTable(1<<classifier.ConceptBits)
	for k := range bias {
		bias[k] = initBias
	}
	r := rand.New(rand.NewPCG(seed, batchSeed))
	order := make([]int32, len(samples))
	for i := range order {
		order[i] = int32(i)
	}
	var kept, keptConcepts []uint32
	for epoch := range epochs {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		lr := float32(rate) * (1 - float32(epoch)/float32(epochs)*0.7)
		for _, i := range order {
			s := &samples[i]
			kept, keptConcepts = kept[:0], drop(keptConcepts[:0], s.concepts, r)
			if r.IntN(100) >= blackout {
				kept = drop(kept, s.words, r)
			}
			norm, conNorm := classifier.Norm(len(kept)), classifier.ConceptNorm(len(keptConcepts))
			var z, c [perThread]float32
			words.add(&z, kept)
			concepts.add(&c, keptConcepts)
			for k := range perThread {
				truth := s.truth[first+k]
				if truth == 2 {
					continue
				}
				grad := squashed(bias[k]+float32(z[k]*norm)+float32(c[k]*conNorm)) - float32(truth)
				if truth == 1 {
					grad *= positive
				}
				grad *= s.weight
				if grad < clipAt && grad > -clipAt {
					continue
				}
				bias[k] -= 0.002 * grad
				words.step(kept, k, float32(grad*norm), lr)
				concepts.step(keptConcepts, k, float32(grad*conNorm), lr)
			}
		}
		if epoch >= epochs-averaged {
			words.note()
			concepts.note()
		}
	}
	return words.mean(), concepts.mean(), bias
}

// drop appends three quarters of the features.
func drop(dst, from []uint32, r *rand.Rand) []uint32 {
	for _, h := range from {
		if r.Uint32() >= dropout {
			dst = append(dst, h)
		}
	}
	return dst
}

func (t *table) add(z *[perThread]float32, hashes []uint32) {
	for _, h := range hashes {
		row := t.w[int(h)*perThread : int(h)*perThread+perThread]
		for k := range perThread {
			z[k] += row[k]
		}
	}
}

func (t *table) step(hashes []uint32, k int, grad, lr float32) {
	square := float32(grad * grad)
	for _, h := range hashes {
		at := int(h)*perThread + k
		t.g[at] += square
		t.w[at] -= float32(float32(lr*grad)/float32(math.Sqrt(float64(t.g[at])+1e-6))) + float32(decay*t.w[at])
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

// pack rounds the weights of column k to bytes in column out of dst and returns
// their scale. Outliers are cut.
func pack(dst []byte, w []float32, k, out int) float32 {
	top := float32(0)
	for i := k; i < len(w); i += perThread {
		top = max(top, w[i], -w[i])
	}
	scale := max(top*0.6, 1e-6) / 127
	for i := k; i < len(w); i += perThread {
		v := math.Round(float64(w[i] / scale))
		dst[i/perThread*outputs+out] = byte(int8(max(-127, min(127, v))))
	}
	return scale
}
