package feature

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

// articleIndex numbers the rights articles, which are concepts too.
func articleIndex(a string) Concept {
	n := Concept(0)
	for i := range len(a) {
		n = n*10 + Concept(a[i]-'0')
	}
	return n
}

// articleAt returns the article number cited at position i, or "".
func articleAt(ts []Token, i int) string {
	if !ts[i].Number || !rightsArticles[ts[i].Word] {
		return ""
	}
	if i > 0 && articleWords[ts[i-1].Word] || i > 1 && articleWords[ts[i-2].Word] {
		return ts[i].Word
	}
	if i+1 < len(ts) && articleWords[ts[i+1].Word] {
		return ts[i].Word
	}
	return ""
}
