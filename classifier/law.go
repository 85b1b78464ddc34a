package classifier

import "strings"

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
func regimeOf(units []unit) string {
	votes := map[string]int{}
	for _, u := range units {
		for i, t := range u.tokens {
			if r, ok := lawNames[t.word]; ok {
				votes[r]++
				if r == regimeGDPR && i > 0 && u.tokens[i-1].word == "uk" {
					votes[regimeUK] += 2
				}
			}
			if t.number && strings.HasPrefix(t.word, "1798") {
				votes[regimeCCPA]++
			}
			if t.word == "avg" && followsArticle(u.tokens, i) {
				votes[regimeGDPR]++
			}
			if t.word == "protection" && i+2 < len(u.tokens) && u.tokens[i+1].word == "act" && u.tokens[i+2].word == "2018" {
				votes[regimeUK] += 2
			}
			if t.word == "dsg" && hasWord(u.tokens, "schweiz", "schweizer", "schweizerischen", "schweizerische", "revidierten") {
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

func hasWord(ts []token, words ...string) bool {
	for _, t := range ts {
		for _, w := range words {
			if t.word == w {
				return true
			}
		}
	}
	return false
}

// articleWords stand before (or, in some languages, after) an article number.
var articleWords = map[string]bool{
	"art": true, "article": true, "articles": true, "artt": true, "artikel": true, "artikels": true, "artikeln": true, "articolo": true, "articulo": true,
	"artigo": true, "article's": true, "artikkel": true, "artikkeli": true, "artikla": true, "artiklan": true, "artiklassa": true,
	"cl": true, "clanek": true, "clanku": true, "clankem": true, "clanok": true, "clanka": true, "clen": true, "clenom": true, "clena": true, "clanak": true,
	"cikk": true, "cikke": true, "cikkenek": true, "cikkely": true, "pants": true, "pantu": true, "panta": true, "straipsnis": true, "straipsnio": true, "straipsni": true, "str": true,
	"αρθρο": true, "αρθρου": true, "αρ": true, "чл": true, "член": true, "члена": true, "стаття": true, "статті": true, "ст": true, "статья": true, "статьи": true, "статье": true, "члан": true, "члану": true,
	"madde": true, "maddesi": true, "maddesine": true, "maddesi'ne": true, "m": true, "section": true, "sec": true, "§": true, "articol": true, "articolul": true, "articolului": true, "artykul": true, "artykulu": true,
	"artiklu": true, "artikolu": true, "airteagal": true, "grein": true, "gr": true, "neni": true, "nenit": true, "pasal": true, "dieu": true, "المادة": true, "الماده": true, "סעיף": true, "ماده": true, "धारा": true, "अनुच्छेद": true,
	"第": true, "제": true, "条": true, "條": true, "조": true, "artikulua": true, "erthygl": true, "paragraph": true, "paragraf": true, "artiklile": true, "artikli": true, "artikkelen": true,
}

// rightsArticles are the articles of the GDPR that a letter may rest on.
var rightsArticles = map[string]bool{
	"7": true, "12": true, "13": true, "14": true, "15": true, "16": true, "17": true, "18": true, "19": true, "20": true,
	"21": true, "22": true, "28": true, "33": true, "34": true, "58": true, "77": true,
}

// followsArticle tells whether an article number stands within five words
// before position i: "Art. 15 AVG".
func followsArticle(ts []token, i int) bool {
	for j := max(0, i-5); j < i; j++ {
		if articleWords[ts[j].word] {
			return true
		}
	}
	return false
}

// articleAt returns the article number cited at position i, or "".
func articleAt(ts []token, i int) string {
	if !ts[i].number || !rightsArticles[ts[i].word] {
		return ""
	}
	if i > 0 && articleWords[ts[i-1].word] || i > 1 && articleWords[ts[i-2].word] {
		return ts[i].word
	}
	if i+1 < len(ts) && articleWords[ts[i+1].word] {
		return ts[i].word
	}
	return ""
}
