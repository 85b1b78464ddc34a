package main

import (
	"math/rand/v2"
	"strings"

	"postern/classifier"
	"postern/classifier/feature"
)

// sample is one sentence with its truth; 0 no, 1 yes, 2 either.
type sample struct {
	words    []uint32 // buckets of features of words
	concepts []uint32 // buckets of features of concepts
	truth    [outputs]uint8
	weight   float32
}

// maker turns phrases into samples.
type maker struct {
	known   *known
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
	return &maker{known: newKnown(), seg: feature.NewSegmenter(f), extract: x, r: rand.New(rand.NewPCG(seed, 7))}, nil
}

// stops are the ways to say stop. To give one for another is a small fault, but
// still one to unlearn: the record of an objection should say objection.
var stops = map[string]bool{"objection": true, "unsubscribe": true, "withdraw_consent": true, "opt_out_sale": true}

// budget is about how many sentences of single phrases are made; more phrases
// mean fewer sentences of each.
var budget = 650_000

// samples makes the training sentences of all phrases that use allows. The
// first pass only counts features, the second keeps those that phrases share.
func (m *maker) samples(langs []*language, use func(*phrase) bool) []sample {
	var phrases int
	for _, l := range langs {
		for _, name := range l.order {
			for _, p := range l.sections[name] {
				if use(p) {
					phrases++
				}
			}
		}
	}
	perPhrase := max(4, min(40, budget/max(phrases, 1)))
	var out []sample
	for _, l := range langs {
		mask := classifier.LangsOf(m.extract, l.tag)
		w := &writer{lang: l, use: use, r: m.r}
		for _, name := range l.order {
			for _, p := range l.sections[name] {
				if !use(p) {
					continue
				}
				m.known.next()
				weight, times := float32(1), min(perPhrase, 2+ways(p.text, perPhrase))
				if p.hard {
					weight, times = hardWeight, times+4
				}
				for range times {
					text := noise(spin(p.text, m.r), m.r, 12)
					if m.r.IntN(latinOften(l.tag)) == 0 {
						text = latin(l.tag, text)
					}
					out = m.add(out, text, mask, weight, p)
				}
			}
		}
		out = m.joined(out, w, mask, perPhrase)
		for range headSamples {
			m.known.next()
			out = m.add(out, head(m.r), mask, 1)
		}
	}
	m.known.bucket(out)
	return out
}

// hardWeight is what a case often mistaken counts for beside another.
const hardWeight = 2.5

// headSamples is how many lines of letter heads each language learns to pass over.
const headSamples = 250

// joined makes sentences of two phrases: two requests by "and", or a request
// with the sentence around it, since people do not end sentences as they should.
func (m *maker) joined(out []sample, w *writer, mask feature.Langs, perPhrase int) []sample {
	ask := w.labelled()
	if len(ask) == 0 {
		return out
	}
	conj := w.say("join")
	if conj == "" {
		conj = ","
	}
	for range 2 * perPhrase * len(ask) {
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
		m.known.next()
		out = m.add(out, text, mask, 0.7, a, b)
	}
	return out
}

func (m *maker) add(out []sample, text string, mask feature.Langs, weight float32, ps ...*phrase) []sample {
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
		fs := m.extract.Append(nil, &u, mask, &buf)
		if len(fs) < 1 {
			continue
		}
		s := sample{words: make([]uint32, 0, len(fs)), truth: truth, weight: weight}
		for _, f := range fs {
			if f.Concept {
				s.concepts = append(s.concepts, f.Hash>>(32-classifier.ConceptBits))
				continue
			}
			m.known.met(f.Hash)
			s.words = append(s.words, f.Hash)
		}
		out = append(out, s)
	}
	return out
}

// known keeps the features of words that at least two phrases share: what only
// one phrase has says more about its writer than about its meaning.
type known struct {
	phrase uint32
	last   map[uint32]uint32 // feature to the last phrase it was met in; top bit: in two or more
}

const shared = 1 << 31

func newKnown() *known { return &known{last: map[uint32]uint32{}} }

// next begins another phrase.
func (k *known) next() { k.phrase++ }

func (k *known) met(hash uint32) {
	switch last, ok := k.last[hash]; {
	case !ok:
		k.last[hash] = k.phrase
	case last&shared == 0 && last != k.phrase:
		k.last[hash] = shared
	}
}

// bucket turns the shared features of samples into their buckets and drops the others.
func (k *known) bucket(out []sample) {
	for i := range out {
		kept := out[i].words[:0]
		for _, h := range out[i].words {
			if k.last[h]&shared != 0 {
				kept = append(kept, h>>(32-classifier.WeightBits))
			}
		}
		out[i].words = kept
	}
}

// bits is the set of shared features as the model keeps it.
func (k *known) bits() (set []byte, n int) {
	set = make([]byte, 1<<classifier.KnownBits/8)
	for h, last := range k.last {
		if last&shared != 0 {
			h &= 1<<classifier.KnownBits - 1
			set[h/8] |= 1 << (h % 8)
			n++
		}
	}
	return set, n
}
