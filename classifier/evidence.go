package classifier

import "postern/classifier/feature"

// floorLogit is evidence of nothing; the stack sees logits above it only.
const floorLogit = -4

// Evidence is what the sentences of a mail say together: the input of the
// second stage, which knows that a label beside another means something else
// (an authority's letter speaks of erasure without asking for it).
type Evidence struct {
	Body    [NumOutputs]float32 // logit, strongest sentence and a little of the second
	Subject [NumOutputs]float32
	Quoted  [NumOutputs]float32 // of what the mail quotes: a reminder's first request, or a newsletter
	best    [NumOutputs]int     // sentence that spoke loudest, -1 for none
	units   int
	quoted  int
	subject bool
	plain   bool // a sentence speaks for erasure without "not" or "before"
	own     bool // and one of what is somebody's own
	met     int  // features of words in all, and those known from training
	known   int
}

var (
	erasureOutput = outputIndex[string(Erasure)]
	agentOutput   = outputIndex[outAgent]
)

// maxQuoted bounds the sentences read of what a mail quotes.
const maxQuoted = 40

// gather scores every sentence of a mail. The subject of a mail without text is
// its text.
func (c *Classifier) gather(units, quoted []feature.Unit, langs feature.Langs, s *scratch) Evidence {
	e := Evidence{}
	var second [NumOutputs]float32
	for k := range NumOutputs {
		e.Body[k], e.Subject[k], e.Quoted[k], second[k], e.best[k] = floorLogit, floorLogit, floorLogit, floorLogit, -1
	}
	alone := len(units) == 1
	for i := range units {
		z, known, ok := c.score(&units[i], langs, s)
		if !ok {
			continue
		}
		e.met, e.known = e.met+len(s.features), e.known+known
		e.notes(z[erasureOutput], &s.buffer)
		if units[i].Subject {
			e.subject = true
			for k, v := range z {
				e.Subject[k] = max(v, floorLogit)
				if alone {
					e.Body[k], e.best[k] = max(v, floorLogit), 0
				}
			}
			continue
		}
		e.units++
		for k, v := range z {
			switch {
			case v > e.Body[k]:
				second[k], e.Body[k], e.best[k] = e.Body[k], v, i
			case v > second[k]:
				second[k] = v
			}
		}
	}
	for k := range NumOutputs {
		if second[k] > 0 {
			e.Body[k] += 0.3 * second[k]
		}
	}
	for i := range min(len(quoted), maxQuoted) {
		if z, _, ok := c.score(&quoted[i], langs, s); ok {
			e.quoted++
			e.notes(z[erasureOutput], &s.buffer)
			for k, v := range z {
				e.Quoted[k] = max(e.Quoted[k], v)
			}
		}
	}
	return e
}

// score gives a sentence's logits and how many of its features are known.
func (c *Classifier) score(u *feature.Unit, langs feature.Langs, s *scratch) (z [NumOutputs]float32, known int, ok bool) {
	s.features = c.extract.Append(s.features[:0], u, langs, &s.buffer)
	if len(s.features) == 0 {
		return z, 0, false
	}
	z, known = c.model.logits(s.features)
	return z, known, true
}

// notes keeps what a sentence that speaks for erasure speaks of.
func (e *Evidence) notes(erasure float32, b *feature.Buffer) {
	if erasure > 0 {
		e.plain = e.plain || !b.Forbids()
		e.own = e.own || b.Personal()
	}
}

// understood is the share of a mail that training knew, 0 to 1.
func (e *Evidence) understood() float64 { return float64(e.known) / float64(max(e.met, 1)) }

// Inputs returns the numbers the stack multiplies.
func (e *Evidence) Inputs() (in [StackInputs]float32) {
	goesOn := e.goesOn()
	for k := range NumOutputs {
		in[k] = squash(e.Body[k])
		in[NumOutputs+k] = squash(e.Subject[k])
		in[2*NumOutputs+k] = goesOn * squash(e.Quoted[k])
	}
	rest := in[3*NumOutputs:]
	rest[0] = 1
	if !e.subject {
		rest[1] = 1
	}
	if e.units == 0 {
		rest[2] = 1
	}
	rest[3] = float32(min(e.units, 20)) / 10
	if e.quoted > 0 {
		rest[4] = 1
	}
	return in
}

// goesOn is how far a mail goes on with what it quotes, 0 to 1: a reminder does,
// a controller's answer or a newsletter's reader does not.
func (e *Evidence) goesOn() float32 {
	if e.quoted == 0 {
		return 0
	}
	on, answer := outputIndex[outFollowUp], outputIndex[outReply]
	follows := max(e.Body[on], e.Subject[on])
	replies := max(e.Body[answer], e.Subject[answer])
	return unit((follows+1)/3) * unit((2-replies)/3)
}

func unit(x float32) float32 { return max(0, min(1, x)) }

// squash maps the floor to 0, a logit of 0 to 1 and bounds certainty.
func squash(z float32) float32 {
	z = max(min(z, 8), floorLogit)
	return 1 + z/4
}

// stack turns evidence into calibrated probabilities.
func (m *Model) stack(in *[StackInputs]float32) (p [NumOutputs]float64) {
	for k := range NumOutputs {
		z := float32(0)
		for j := range StackInputs {
			z += float32(m.Stack[k][j] * in[j])
		}
		p[k] = sigmoid(z)
	}
	return p
}
