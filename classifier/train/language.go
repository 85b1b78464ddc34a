package main

import (
	"math"
	"math/rand/v2"
	"strings"

	"postern/classifier"
	"postern/classifier/feature"
)

// tongues is the trained language model.
type tongues struct {
	tags   []string
	weight []byte
	scale  float32
}

func (t *tongues) into(m *classifier.Model) {
	m.Languages, m.LangWeight, m.LangScale = t.tags, t.weight, t.scale
}

// trainLanguages fits the language model: one softmax over all languages.
// Languages in bare have a lexicon of concepts but no phrases.
func trainLanguages(langs []*language, bare []string, use func(*phrase) bool) *tongues {
	m := &tongues{}
	r := rand.New(rand.NewPCG(3, 5))
	type text struct {
		lang   int
		hashes []uint32
	}
	var texts []text
	add := func(lang int, sentence func() string) {
		for range 700 {
			s := ""
			for range 1 + r.IntN(3) {
				s += sentence() + " "
			}
			hs := classifier.LanguageFeatures(nil, s)
			for j := range hs {
				hs[j] >>= 32 - classifier.LangBits
			}
			texts = append(texts, text{lang, hs})
		}
	}
	for i, l := range langs {
		m.tags = append(m.tags, l.tag)
		var all []*phrase
		for _, s := range l.order {
			for _, p := range l.sections[s] {
				if use(p) {
					all = append(all, p)
				}
			}
		}
		words := feature.Words(l.tag)
		add(i, func() string {
			if !l.whole() && r.IntN(3) > 0 {
				return someWords(words, r)
			}
			s := spin(all[r.IntN(len(all))].text, r)
			if r.IntN(latinOften(l.tag)) == 0 {
				s = latin(l.tag, s)
			}
			return s
		})
	}
	for _, tag := range bare {
		words := feature.Words(tag)
		m.tags = append(m.tags, tag)
		add(len(m.tags)-1, func() string { return someWords(words, r) })
	}
	n := len(m.tags)
	w, g := make([]float32, n<<classifier.LangBits), make([]float32, n<<classifier.LangBits)
	z := make([]float64, n)
	for range 3 {
		r.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
		for _, t := range texts {
			norm := float64(classifier.Norm(len(t.hashes)))
			clear(z)
			for _, h := range t.hashes {
				for k, v := range w[int(h)*n : int(h)*n+n] {
					z[k] += float64(v)
				}
			}
			softmax(z, norm)
			for k := range z {
				grad := z[k]
				if k == t.lang {
					grad--
				}
				if math.Abs(grad) < 0.01 {
					continue
				}
				step32 := float32(grad * norm)
				for _, h := range t.hashes {
					at := int(h)*n + k
					g[at] += float32(step32 * step32)
					w[at] -= float32(0.3*step32) / float32(math.Sqrt(float64(g[at])+1e-6))
				}
			}
		}
	}
	top := float32(1e-6)
	for _, v := range w {
		top = max(top, v, -v)
	}
	top *= 0.7
	m.scale = top / 127
	m.weight = make([]byte, len(w))
	for i, v := range w {
		m.weight[i] = byte(int8(max(-127, min(127, math.Round(float64(v/m.scale))))))
	}
	return m
}

func someWords(words []string, r *rand.Rand) string {
	var b strings.Builder
	for range 4 + r.IntN(8) {
		b.WriteString(words[r.IntN(len(words))] + " ")
	}
	return b.String()
}

func softmax(z []float64, norm float64) {
	top := z[0]
	for _, v := range z {
		top = max(top, v)
	}
	sum := 0.0
	for k := range z {
		x := (z[k] - top) * norm
		if x < -15 {
			z[k] = 0
			continue
		}
		z[k] = expo(x)
		sum += z[k]
	}
	for k := range z {
		z[k] /= sum
	}
}
