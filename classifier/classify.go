package classifier

import (
	"sort"
	"strings"
	"sync"

	"postern/classifier/feature"
)

// Classifier holds the model and rules; it is safe for concurrent use.
type Classifier struct {
	model   *Model
	seg     *feature.Segmenter
	extract *feature.Extractor
	langs   []feature.Langs // of the model's languages
	regimes rules           // rules/regime.txt
	askers  rules           // rules/asker.txt
	pool    sync.Pool
}

// scratch is memory kept between mails.
type scratch struct {
	features []feature.Feature
	buffer   feature.Buffer
}

// listFloor is the least score that Result.Labels shows.
const listFloor = 0.05

// New loads the embedded model. It fails only if the model file was damaged
// before the binary was built.
func New() (*Classifier, error) {
	m, err := DecodeModel(embedded)
	if err != nil {
		return nil, err
	}
	return NewWith(m)
}

// NewWith uses m instead of the embedded model; for training and evaluation.
func NewWith(m *Model) (*Classifier, error) {
	f := feature.NewFolder()
	x, err := feature.NewExtractor(f)
	if err != nil {
		return nil, err
	}
	c := &Classifier{model: m, seg: feature.NewSegmenter(f), extract: x}
	if c.regimes, err = readRules(c.seg, "rules/regime.txt", regimeRules); err != nil {
		return nil, err
	}
	if c.askers, err = readRules(c.seg, "rules/asker.txt", askerRules); err != nil {
		return nil, err
	}
	for _, tag := range m.Languages {
		c.langs = append(c.langs, LangsOf(x, tag))
	}
	c.pool.New = func() any { return &scratch{} }
	return c, nil
}

// Evidence returns what the sentences of a mail say, before they are weighed
// together; for training the second stage.
func (c *Classifier) Evidence(in Input) Evidence {
	s := c.pool.Get().(*scratch)
	defer c.pool.Put(s)
	return c.gather(c.seg.Units(ownSubject(in), in.Text), c.quoted(in), c.guess(in).langs, s)
}

// quoted returns the sentences that a mail quotes, however they came.
func (c *Classifier) quoted(in Input) []feature.Unit {
	text := feature.QuotedLines(in.Text)
	if in.Quoted != "" {
		text += in.Quoted
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	return c.seg.Units("", strings.ReplaceAll(text, ">", " "))
}

// Classify reads one mail. It is deterministic, does not keep in, and never
// fails: what it can't read it abstains from, so that a person does.
func (c *Classifier) Classify(in Input) Result {
	s := c.pool.Get().(*scratch)
	defer c.pool.Put(s)
	units := c.seg.Units(ownSubject(in), in.Text)
	quoted := c.quoted(in)
	guess := c.guess(in)
	e := c.gather(units, quoted, guess.langs, s)
	inputs := e.Inputs()
	p := c.model.stack(&inputs)
	res := Result{Regime: c.regimeOf(units, quoted), Language: guess.tag}
	if !e.plain || !e.own { // deleting is spoken of, but of other things, or with a "not" or "before"
		p[erasureOutput] = min(p[erasureOutput], unclearErasure)
	}
	c.decide(&res, &p)
	agent := p[agentOutput] >= float64(c.model.Threshold[agentOutput])
	res.Asker = c.askerOf(&res, units, agent)
	c.judge(&res, &p, &e)
	res.Reasons = c.reasons(&res, units, guess.langs, &e, s)
	return res
}

// unclearErasure bounds the score of an erasure that no sentence plainly asks
// for: below any threshold to decide, within the doubt that a person resolves.
const unclearErasure = 0.6

// decide lists labels by score and picks those above their threshold.
func (c *Classifier) decide(res *Result, p *[NumOutputs]float64) {
	for k := range numLabels {
		if p[k] >= listFloor {
			res.Labels = append(res.Labels, LabelScore{Label(Outputs[k]), p[k]})
		}
	}
	sort.Slice(res.Labels, func(i, j int) bool {
		a, b := res.Labels[i], res.Labels[j]
		return a.Score > b.Score || a.Score == b.Score && a.Label < b.Label
	})
	clear := false // one way to say stop is beyond doubt
	for _, l := range res.Labels {
		clear = clear || stops[l.Label] && l.Score >= clearStop
	}
	for _, l := range res.Labels {
		if clear && (l.Label == Unsubscribe || l.Label == OptOutSale) && l.Score < secondStop {
			continue
		}
		if l.Score >= float64(c.model.Threshold[outputIndex[string(l.Label)]]) {
			res.Decided = append(res.Decided, l.Label)
		}
	}
}

// stops are the ways to say stop: beside a clear one, unsubscribing needs more than
// its threshold, since their words are the same.
var stops = map[Label]bool{Objection: true, WithdrawConsent: true, Unsubscribe: true, OptOutSale: true}

const (
	clearStop  = 0.9
	secondStop = 0.75
)

var outputIndex = func() map[string]int {
	m := map[string]int{}
	for i, o := range Outputs {
		m[o] = i
	}
	return m
}()

// judge tells kind and whether an operator must read the mail.
func (c *Classifier) judge(res *Result, p *[NumOutputs]float64, e *Evidence) {
	above := func(out string) bool {
		k := outputIndex[out]
		return p[k] >= float64(c.model.Threshold[k])
	}
	unsure := len(res.Decided) == 0 && e.units == 0 && !e.subject
	for k := range numLabels {
		switch {
		case p[k] >= float64(c.model.Threshold[k]):
		case len(res.Decided) == 0:
			// Nothing found: a hint of a request is enough for a person to look.
			unsure = unsure || p[k] >= hint
		case Label(Outputs[k]) == Erasure:
			// Beside a decided label only a possible erasure is worth a person's time.
			unsure = unsure || p[k] >= float64(c.model.Doubt[k])
		}
	}
	if len(res.Decided) == 0 && (e.understood() < leastKnown || res.Asker != askerSubject) {
		// A language or a subject that was never learnt; or a lawyer or the police
		// wrote, who want something.
		unsure = true
	}
	switch {
	case above(outFollowUp):
		res.Kind = KindFollowUp
		unsure = unsure && len(res.Decided) > 0
	case len(res.Decided) > 0:
		res.Kind = KindRequest
	case p[outputIndex[outSpam]] >= sureSpam && e.units > 1 && !unsure:
		res.Kind = KindSpam
	default:
		res.Kind = KindOther
	}
	res.Abstain = unsure
}

const (
	sureSpam   = 0.9  // what is set aside must be beyond doubt
	hint       = 0.2  // score of a label below which nothing was asked
	leastKnown = 0.25 // share of words known, below which a mail was not understood
)

// ownSubject returns the subject unless it is another mail's: an answer's
// subject was written by the one who is answered.
func ownSubject(in Input) string {
	if strings.TrimSpace(in.Text) == "" {
		return in.Subject
	}
	head, _, found := strings.Cut(strings.TrimSpace(in.Subject), ":")
	if found && answerMarks[strings.ToLower(strings.TrimSpace(head))] {
		return ""
	}
	return in.Subject
}

// answerMarks are the words that mail programs put before the subject.
var answerMarks = wordSet("re aw sv vs antw odp rv res ri tr wg fw fwd doorst rép вн пер отв απ: απ σχετ ynt ilt vá továbbítás atb vb pd 回复 答复 转发 返信 回覆")

func wordSet(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

func baseTag(hint string) string {
	base, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(strings.Split(hint, ",")[0])), "-")
	return base
}
