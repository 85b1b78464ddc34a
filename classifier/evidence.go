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
	best    [NumOutputs]int // sentence that spoke loudest, -1 for none
	units   int
	subject bool
}

// gather scores every sentence. Sentences of mails that answer or forward keep
// the subject out: "Re: Unsubscribe" is the subject of someone else's mail.
func (c *Classifier) gather(units []feature.Unit, langs feature.Langs, s *scratch) Evidence {
	e := Evidence{}
	var second [NumOutputs]float32
	for k := range NumOutputs {
		e.Body[k], e.Subject[k], second[k], e.best[k] = floorLogit, floorLogit, floorLogit, -1
	}
	for i := range units {
		s.features = c.extract.Append(s.features[:0], &units[i], langs, &s.buffer)
		if len(s.features) == 0 {
			continue
		}
		z := c.model.logits(s.features)
		if units[i].Subject {
			e.subject = true
			for k, v := range z {
				e.Subject[k] = max(v, floorLogit)
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
	return e
}

// Inputs returns the numbers the stack multiplies.
func (e *Evidence) Inputs() (in [StackInputs]float32) {
	for k := range NumOutputs {
		in[k] = squash(e.Body[k])
		in[NumOutputs+k] = squash(e.Subject[k])
	}
	in[2*NumOutputs] = 1
	if !e.subject {
		in[2*NumOutputs+1] = 1
	}
	return in
}

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
