package classifier

import (
	"strings"

	"postern/classifier/feature"
)

// Regimes of Result.Regime.
const (
	regimeGDPR = "GDPR"
	regimeUK   = "UK"
	regimeCCPA = "CCPA"
	regimeLGPD = "LGPD"
	regimeCH   = "CH"
)

// lawNames are the folded short names and telling words of statutes. They do
// not depend on the language a letter is written in.
var lawNames = map[string]string{
	"gdpr": regimeGDPR, "dsgvo": regimeGDPR, "rgpd": regimeGDPR, "rodo": regimeGDPR, "орзд": regimeGDPR, "гдпр": regimeGDPR,
	"bdar": regimeGDPR, "vdar": regimeGDPR, "ikum": regimeGDPR, "γκπδ": regimeGDPR, "гкзд": regimeGDPR, "bdsg": regimeGDPR,
	"kdg": regimeGDPR, "679": regimeGDPR, "dataskyddsforordningen": regimeGDPR, "databeskyttelsesforordningen": regimeGDPR,
	"personvernforordningen": regimeGDPR, "grundverordnung": regimeGDPR, "datenschutzgrundverordnung": regimeGDPR,
	"persoonsgegevensbescherming": regimeGDPR, "gvo": regimeGDPR,
	"ccpa": regimeCCPA, "cpra": regimeCCPA, "california": regimeCCPA, "1798": regimeCCPA,
	"lgpd": regimeLGPD, "anpd": regimeLGPD,
	"fadp": regimeCH, "revfadp": regimeCH, "nfadp": regimeCH, "revdsg": regimeCH, "ndsg": regimeCH, "nlpd": regimeCH, "edob": regimeCH, "fdpic": regimeCH,
	"ico": regimeUK,
}

// regimeOf weighs the statutes named; a more special law beats the GDPR, whose
// name is also inside "UK GDPR".
func regimeOf(units []feature.Unit) string {
	votes := map[string]int{}
	for _, u := range units {
		for i, t := range u.Tokens {
			if r, ok := lawNames[t.Word]; ok {
				votes[r]++
				if r == regimeGDPR && i > 0 && u.Tokens[i-1].Word == "uk" {
					votes[regimeUK] += 2
				}
			}
			if t.Number && strings.HasPrefix(t.Word, "1798") {
				votes[regimeCCPA]++
			}
			if t.Word == "avg" && feature.CitesArticle(u.Tokens, i) {
				votes[regimeGDPR]++
			}
			if t.Word == "protection" && i+2 < len(u.Tokens) && u.Tokens[i+1].Word == "act" && u.Tokens[i+2].Word == "2018" {
				votes[regimeUK] += 2
			}
			if t.Word == "dsg" && hasWord(u.Tokens, "schweiz", "schweizer", "schweizerischen", "schweizerische", "revidierten") {
				votes[regimeCH] += 2
			}
		}
	}
	best, n := "", 0
	for _, r := range []string{regimeUK, regimeCCPA, regimeLGPD, regimeCH, regimeGDPR} {
		if votes[r] > n {
			best, n = r, votes[r]
		}
	}
	return best
}

func hasWord(ts []feature.Token, words ...string) bool {
	for _, t := range ts {
		for _, w := range words {
			if t.Word == w {
				return true
			}
		}
	}
	return false
}
