package classifier

import "sort"

// Classifier holds the model and rules; it is safe for concurrent use.
type Classifier struct {
	seg   segmenter
	rules *ruleBook
}

// New loads the embedded rules. It fails only if they were built wrongly.
func New() (*Classifier, error) {
	book, err := loadRules()
	if err != nil {
		return nil, err
	}
	return &Classifier{seg: segmenter{fold: newFolder()}, rules: book}, nil
}

// Classify reads one mail. It is deterministic, does not keep in, and never
// fails: what it can't read it abstains from, so that a person does.
func (c *Classifier) Classify(in Input) Result {
	units := c.seg.units(in.Subject, in.Text)
	res := Result{Regime: regimeOf(units), Asker: "subject", Kind: KindOther}
	res.Language, _ = c.Language(in.Subject + "\n" + in.Text)
	if res.Language == "und" && in.Hint != "" {
		res.Language = in.Hint
	}
	scores := map[Label]float64{}
	for _, u := range units {
		for l, words := range c.rules.match(u) {
			w := 0.8
			if u.subject {
				w = 0.6
			}
			scores[l] = 1 - (1-scores[l])*(1-w)
			res.Reasons = append(res.Reasons, Reason{Label: l, Words: clip(u.text, 80), Weight: w, Rule: words})
		}
	}
	sort.SliceStable(res.Reasons, func(i, j int) bool { return res.Reasons[i].Label < res.Reasons[j].Label })
	for l, s := range scores {
		if l == followUp {
			res.Kind = KindFollowUp
			continue
		}
		res.Labels = append(res.Labels, LabelScore{Label: l, Score: s})
	}
	sort.Slice(res.Labels, func(i, j int) bool {
		a, b := res.Labels[i], res.Labels[j]
		return a.Score > b.Score || a.Score == b.Score && a.Label < b.Label
	})
	for _, l := range res.Labels {
		if l.Score >= 0.6 {
			res.Decided = append(res.Decided, l.Label)
		}
	}
	if len(res.Decided) > 0 && res.Kind == KindOther {
		res.Kind = KindRequest
	}
	res.Abstain = len(res.Decided) == 0 && res.Kind == KindOther
	switch {
	case res.Has(AuthorityLetter):
		res.Asker = "authority"
	case res.Has(DPARequest) || res.Has(AssistanceRequest):
		res.Asker = "company"
	}
	return res
}
