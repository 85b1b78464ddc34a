package classifier

var stopwords = map[string]map[string]bool{
	"en": wordSet("the and to of my you your is have with for this that please i me not are"),
	"de": wordSet("der die das und ich sie mir mich meine meinen mit fur nicht ist bitte von auf zu haben wir ihr"),
	"fr": wordSet("le la les et je vous mes mon de des une pour que est pas merci"),
	"es": wordSet("el los las y que mis mi por para una con no es de ustedes gracias"),
	"it": wordSet("il gli di che per i miei mio non una con sono e grazie"),
	"nl": wordSet("de het een en ik mijn u van niet dat voor met is graag"),
	"pl": wordSet("i w nie sie na z do moich moje ze prosze oraz"),
}

// Language tells the language of a text as a BCP 47 tag and how sure it is,
// 0 to 1; "und" if the text says too little.
func (c *Classifier) Language(text string) (lang string, sure float64) {
	votes, all := map[string]int{}, 0
	for _, u := range c.seg.units("", text) {
		for _, t := range u.tokens {
			for l, set := range stopwords {
				if set[t.word] {
					votes[l]++
					all++
				}
			}
		}
	}
	lang = "und"
	best := 0
	for _, l := range []string{"en", "de", "fr", "es", "it", "nl", "pl"} {
		if votes[l] > best {
			lang, best = l, votes[l]
		}
	}
	if all == 0 {
		return "und", 0
	}
	return lang, float64(best) / float64(all)
}

// LooksMarketing is advice for the relay: does an undeclared mail look like
// advertising? It never decides (design D1). The text names the sign seen.
func (c *Classifier) LooksMarketing(subject, text string) (bool, string) {
	signs := wordSet("unsubscribe newsletter sale discount offer voucher coupon abmelden abbestellen rabatt angebot gutschein sonderangebot % desabonner promotion oferta descuento sconto offerta korting aanbieding")
	n, first := 0, ""
	for _, u := range c.seg.units(subject, text) {
		for _, t := range u.tokens {
			if signs[t.word] {
				n++
				if first == "" {
					first = t.word
				}
			}
		}
	}
	return n >= 2, first
}
