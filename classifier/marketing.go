package classifier

// marketingWords are folded words of advertising in the languages read.
var marketingWords = wordSet(`unsubscribe newsletter sale discount offer offers voucher coupon deal deals promo promotion
abmelden abbestellen rabatt angebot angebote gutschein sonderangebot desabonner soldes promotions reduction
oferta ofertas descuento descuentos cupon sconto sconti offerta offerte korting aanbieding aanbiedingen uitschrijven
rabat znizka promocja wypisz sleva slevy akce zlava kedvezmeny akcio leiratkozas reducere reduceri alennus tarjous
erbjudande avregistrera tilbud afmeld avmeld desconto descontos εκπτωση προσφορα отстъпка оферта popust ponuda
nuolaida atlaide soodustus indirim kampanya знижка`)

// LooksMarketing is advice for the relay: does an undeclared mail look like
// advertising? It never decides (design D1). The text names the sign seen.
func (c *Classifier) LooksMarketing(subject, text string) (bool, string) {
	n, first := 0, ""
	seen := map[string]bool{}
	for _, u := range c.seg.Units(subject, text) {
		for _, t := range u.Tokens {
			if marketingWords[t.Word] && !seen[t.Word] {
				seen[t.Word] = true
				n++
				if first == "" {
					first = t.Word
				}
			}
		}
	}
	return n >= 2, first
}
