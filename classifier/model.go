package classifier

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"postern/classifier/feature"
)

// Internal outputs of the sentence model beside the labels. They never leave
// the package as labels, but decide kind and asker and weigh on the labels.
const (
	outFollowUp = "follow_up" // goes on with an earlier mail
	outSpam     = "spam"
	outAgent    = "agent" // writes for someone else
	outReply    = "reply" // a controller's answer or notice, not a person asking
)

// Outputs lists what the sentence model tells, in the order of its weights.
var Outputs = []string{
	string(Access), string(Rectification), string(Erasure), string(Restriction), string(Portability), string(Objection),
	string(WithdrawConsent), string(AutomatedDecision), string(OptOutSale), string(Information), string(Complaint),
	string(AuthorityLetter), string(DPARequest), string(AssistanceRequest), string(BreachReport), string(Unsubscribe),
	outFollowUp, outSpam, outAgent, outReply,
}

// Sizes of the model. NumOutputs must be len(Outputs).
const (
	NumOutputs  = 20
	numLabels   = 16
	WeightBits  = 18 // buckets of words' features
	ConceptBits = 15 // buckets of concepts' features
	KnownBits   = 23 // bits that tell features of words met in training from others
	LangBits    = 14 // buckets of the language model
	StackInputs = 3*NumOutputs + 5
	maxLangs    = 64
)

// Model is the trained part of a Classifier; classifier/train makes it.
type Model struct {
	Languages  []string                         // BCP 47, at most 64
	Weights    []byte                           // [1<<WeightBits][NumOutputs], of words; each byte an int8
	Scale      [NumOutputs]float32              // weight = int8 * Scale
	Concepts   []byte                           // [1<<ConceptBits][NumOutputs], of concepts, as Weights
	ConScale   [NumOutputs]float32              // as Scale
	Known      []byte                           // 1<<KnownBits bits
	Bias       [NumOutputs]float32              // logit of an empty sentence
	Stack      [NumOutputs][StackInputs]float32 // evidence of sentences to logit of the mail
	Threshold  [NumOutputs]float32              // decided at or above, 0 to 1
	Doubt      [NumOutputs]float32              // at or above and not decided: unsure
	LangWeight []byte                           // [1<<LangBits][len(Languages)], as Weights
	LangScale  float32
}

//go:embed model.bin
var embedded []byte

var modelMagic = []byte("PSTNCLS2")

// Encode writes m in the form that DecodeModel reads.
func (m *Model) Encode() []byte {
	var b bytes.Buffer
	b.Write(modelMagic)
	b.WriteByte(byte(len(m.Languages)))
	for _, l := range m.Languages {
		b.WriteByte(byte(len(l)))
		b.WriteString(l)
	}
	floats := func(fs []float32) {
		for _, f := range fs {
			b.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(f)))
		}
	}
	floats(m.Scale[:])
	floats(m.ConScale[:])
	floats(m.Bias[:])
	for i := range m.Stack {
		floats(m.Stack[i][:])
	}
	floats(m.Threshold[:])
	floats(m.Doubt[:])
	floats([]float32{m.LangScale})
	for _, table := range [][]byte{m.Known, m.Weights, m.Concepts, m.LangWeight} {
		b.Write(table)
	}
	return b.Bytes()
}

var errModel = errors.New("model file is damaged; run make train")

// DecodeModel reads a model that Encode wrote. The model's tables are parts of
// raw, which must not change: of the embedded model no copy is made, only the
// pages that are read come into memory.
func DecodeModel(raw []byte) (*Model, error) {
	m := &Model{}
	if len(raw) < 9 || !bytes.Equal(raw[:8], modelMagic) {
		return nil, errModel
	}
	n := int(raw[8])
	raw = raw[9:]
	for range n {
		if len(raw) < 1 || len(raw) < 1+int(raw[0]) {
			return nil, errModel
		}
		m.Languages = append(m.Languages, string(raw[1:1+raw[0]]))
		raw = raw[1+raw[0]:]
	}
	floatCount := 5*NumOutputs + NumOutputs*StackInputs + 1
	size := 4*floatCount + 1<<KnownBits/8 + NumOutputs<<WeightBits + NumOutputs<<ConceptBits + n<<LangBits
	if n > maxLangs || len(raw) != size {
		return nil, fmt.Errorf("%w: %d bytes, want %d", errModel, len(raw), size)
	}
	floats := func(fs []float32) {
		for i := range fs {
			fs[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw))
			raw = raw[4:]
		}
	}
	floats(m.Scale[:])
	floats(m.ConScale[:])
	floats(m.Bias[:])
	for i := range m.Stack {
		floats(m.Stack[i][:])
	}
	floats(m.Threshold[:])
	floats(m.Doubt[:])
	lang := [1]float32{}
	floats(lang[:])
	m.LangScale = lang[0]
	for _, t := range []struct {
		table *[]byte
		size  int
	}{{&m.Known, 1 << KnownBits / 8}, {&m.Weights, NumOutputs << WeightBits}, {&m.Concepts, NumOutputs << ConceptBits}, {&m.LangWeight, n << LangBits}} {
		*t.table, raw = raw[:t.size:t.size], raw[t.size:]
	}
	return m, nil
}

// Norm is the factor that a sum of weights is multiplied with, so that a
// request inside a long sentence is neither drowned nor shouted.
func Norm(features int) float32 { return float32(1 / math.Sqrt(float64(features)+20)) }

// ConceptNorm is the same for concepts, of which there are fewer.
func ConceptNorm(features int) float32 { return float32(1 / math.Sqrt(float64(features)+8)) }

// Knows tells whether a feature of words was met in training. A word never seen
// must not borrow the weights of another that shares its bucket.
func (m *Model) Knows(hash uint32) bool {
	h := hash & (1<<KnownBits - 1)
	return m.Known[h/8]&(1<<(h%8)) != 0
}

// logits sums the weights of a sentence's features, and counts those known.
func (m *Model) logits(fs []feature.Feature) (out [NumOutputs]float32, known int) {
	var acc, con [NumOutputs]int32
	concepts := 0
	for _, f := range fs {
		if f.Concept {
			at := int(f.Hash>>(32-ConceptBits)) * NumOutputs
			w := m.Concepts[at : at+NumOutputs : at+NumOutputs]
			for k := range NumOutputs {
				con[k] += int32(int8(w[k]))
			}
			concepts++
			continue
		}
		if !m.Knows(f.Hash) {
			continue
		}
		known++
		at := int(f.Hash>>(32-WeightBits)) * NumOutputs
		w := m.Weights[at : at+NumOutputs : at+NumOutputs]
		for k := range NumOutputs {
			acc[k] += int32(int8(w[k]))
		}
	}
	norm, conNorm := Norm(len(fs)-concepts), ConceptNorm(concepts)
	for k := range out {
		out[k] = m.Bias[k] + float32(float32(acc[k])*m.Scale[k])*norm + float32(float32(con[k])*m.ConScale[k])*conNorm
	}
	return out, known
}

func sigmoid(z float32) float64 { return 1 / (1 + math.Exp(-float64(z))) }
