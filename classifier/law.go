package classifier

import "postern/classifier/feature"

// Regimes of Result.Regime.
const (
	regimeGDPR = "GDPR"
	regimeUK   = "UK"
	regimeCCPA = "CCPA"
	regimeLGPD = "LGPD"
	regimeCH   = "CH"
)

// special lists the regimes, where two are named alike the first counts: the GDPR
// is named beside every other law.
var special = []string{regimeUK, regimeCCPA, regimeLGPD, regimeCH, regimeGDPR}

// regimeOf counts the statutes and authorities that a letter names; where it
// names none, those of what it quotes. Which law binds where none is named is for
// the configuration to say.
func (c *Classifier) regimeOf(units, quoted []feature.Unit) string {
	if r := c.regimeIn(units); r != "" {
		return r
	}
	return c.regimeIn(quoted)
}

func (c *Classifier) regimeIn(units []feature.Unit) string {
	votes := map[string]int{}
	for i := range units {
		c.regimes.find(units[i].Tokens, func(regime string) { votes[regime]++ })
	}
	if votes[regimeUK] > 0 { // British letters call their own law GDPR as well
		votes[regimeUK] += votes[regimeGDPR]
	}
	best, n := "", 0
	for _, r := range special {
		if votes[r] > n {
			best, n = r, votes[r]
		}
	}
	return best
}
