package quote

import (
	"regexp"
	"slices"
	"strings"
)

// device lines that phones and programs add, lower case.
var device = regexp.MustCompile(`^[\s*_>(\[-]*(?:` + strings.Join([]string{
	`sent (?:from|via|with|using) (?:my |the |a |an )?\S`, `get outlook for `, `sent by `, `download .{0,30} for (?:ios|android)`,
	`von meinem .{1,60}gesendet`, `gesendet (?:von|mit|über|via|aus) `, `diese nachricht wurde von meinem .{1,60} gesendet`, `von unterwegs gesendet`,
	`envoyé (?:de|depuis|à partir|avec|par|d['’])`, `télécharger outlook`, `obtenez outlook`,
	`enviado (?:desde|do|a partir|de|con|via|pelo|por) `, `obtener outlook`, `inviato (?:da|dal|dall['’]|con|tramite) ?\S`, `ottieni outlook`, `scarica outlook`,
	`verzonden (?:vanaf|met|via|vanuit) `, `verstuurd (?:vanaf|met|via) `, `wysłan[eoay] z `, `wysłano z `, `wysłano za `,
	`skickat? (?:från|med) `, `sendt fra `, `sendt med `, `lähetetty .{0,40}(?:lta|ltä|stani|stäni|phone|sta|stä)`, `odesláno z `, `odoslané z `, `poslané z `, `poslano (?:s|sa|iz|z) `,
	`elküldve .{1,40}(?:ról|ről|ból|ből)`, `trimis (?:de pe|din|de la) `, `изпратено от `, `отправлено (?:с|из) `, `надіслано з `, `στάλθηκε από `, `saadetud minu `, `nosūtīts no `, `išsiųsta iš `, `.{0,40}(?:telefonumdan|iphone['’]umdan|cihazımdan) gönderildi`, `mibgħut mi`,
}, "|") + `)`)

// A paragraph at the end that speaks both of a wrong recipient and of secrecy
// is a confidentiality notice. It asks strangers to delete the mail, which is
// no erasure request.
var (
	astray = []string{
		`intended for`, `intended only for`, `intended solely for`, `intended recipient`, `in error`, `by error`, `by mistake`,
		`nicht der richtige adressat`, `nicht der beabsichtigte adressat`, `nicht der vorgesehene adressat`, `nicht der richtige empfänger`, `nicht der beabsichtigte empfänger`, `nicht der vorgesehene empfänger`, `irrtümlich`, `versehentlich erhalten`,
		`par erreur`, `pas le destinataire`, `por error`, `por engano`, `por erro`, `per errore`, `per sbaglio`, `ten onrechte`, `per abuis`, `per vergissing`, `omyłkow`, `przez pomyłkę`,
		`av misstag`, `ved en fejl`, `ved en feil`, `erehdyksessä`, `vahingossa`, `omylem`, `tévedés`, `din greșeală`, `по погрешка`, `помилков`, `по ошибке`, `εκ παραδρομής`, `κατά λάθος`, `eksikombel`, `kļūdas dēļ`, `per klaidą`, `pogreškom`, `greškom`, `pomotoma`, `yanlışlıkla`,
	}
	secret = []string{
		`confidential`, `privileged`, `unauthorised`, `unauthorized`, `prohibited`, `vertraulich`, `unbefugt`, `nicht gestattet`, `confidentiel`, `confidencial`, `riservat`, `vertrouwelijk`, `poufn`, `konfidentiell`, `fortrolig`, `luottamuksell`, `důvěrn`, `dôvern`, `bizalmas`, `confidenț`, `поверителн`, `конфиденц`, `конфіденц`, `εμπιστευτικ`, `konfidentsiaal`, `konfidenci`, `povjerljiv`, `zaupn`, `gizli`,
	}
)

// markSignature marks, among the new words, the block below the signature
// mark, device lines, and confidentiality notices at the end.
func markSignature(lines []string, kinds []kind) {
	markDelimiter(lines, kinds)
	last := -1
	for i := range lines {
		if kinds[i] == own && strings.TrimSpace(lines[i]) != "" {
			last = i
		}
	}
	if last < 0 {
		return
	}
	markDevice(lines, kinds)
	markList(lines, kinds)
	markNotice(lines, kinds)
}

// markDelimiter handles "-- " (RFC 3676 section 4.3) and its worn form "--".
// With the worn form the block must be short, since people draw lines too.
func markDelimiter(lines []string, kinds []kind) {
	for i, l := range lines {
		if kinds[i] != own || l != "-- " && l != "--" && l != "—" && l != "— " {
			continue
		}
		end, words := i, 0
		for k := i + 1; k < len(lines) && kinds[k] == own; k++ {
			if strings.TrimSpace(lines[k]) != "" {
				words++
			}
			end = k
		}
		above := false
		for k := 0; k < i; k++ {
			above = above || kinds[k] == own && strings.TrimSpace(lines[k]) != ""
		}
		if !above || words > 25 || l != "-- " && words > 10 {
			continue
		}
		for k := i; k <= end; k++ {
			kinds[k] = signature
		}
		return
	}
}

// markDevice marks device lines that stand alone in the last lines of a block
// of new words.
func markDevice(lines []string, kinds []kind) {
	for i := range lines {
		if kinds[i] != own || len(lines[i]) < 8 || len(lines[i]) > 160 || !endsBlock(lines, kinds, i) {
			continue
		}
		t := strings.ToLower(strings.TrimSpace(lines[i]))
		if len(t) < 8 || len(t) > 120 || !device.MatchString(t) {
			continue
		}
		kinds[i] = signature
	}
}

// endsBlock tells whether at most two lines of new words follow before the
// quotation or the end, and that line i does not go on a sentence.
func endsBlock(lines []string, kinds []kind, i int) bool {
	if i > 0 && kinds[i-1] == own {
		if t := strings.TrimSpace(lines[i-1]); t != "" && !isRule(t) && !strings.HasSuffix(t, ".") && !strings.HasSuffix(t, "!") && len(t) > 60 {
			return false
		}
	}
	t := strings.TrimSpace(lines[i])
	if strings.HasSuffix(t, ",") || strings.Count(t, ".") > 2 || strings.HasSuffix(t, ".") && strings.Contains(t, ",") {
		return false
	}
	n := 0
	for k := i + 1; k < len(lines) && kinds[k] == own; k++ {
		if strings.TrimSpace(lines[k]) != "" {
			n++
		}
	}
	return n <= 2
}

// markList marks the footer a mailing list adds: a rule, its name, its page.
func markList(lines []string, kinds []kind) {
	for i := max(0, len(lines)-8); i < len(lines); i++ {
		if kinds[i] != own || len(lines[i]) < 2 || strings.Trim(lines[i], "_- ") != "" {
			continue
		}
		if below := strings.ToLower(strings.Join(lines[i+1:], " ")); strings.Contains(below, "mailing list") {
			for k := i; k < len(lines); k++ {
				if kinds[k] == own {
					kinds[k] = signature
				}
			}
			return
		}
	}
}

// markNotice marks confidentiality notices among the last paragraphs.
func markNotice(lines []string, kinds []kind) {
	end := len(lines)
	for end > 0 && (kinds[end-1] != own || strings.TrimSpace(lines[end-1]) == "") {
		end--
	}
	for round := 0; round < 4 && end > 0; round++ {
		start := end
		for start > 0 && kinds[start-1] == own && strings.TrimSpace(lines[start-1]) != "" {
			start--
		}
		if start == 0 || start == end {
			return
		}
		text := strings.ToLower(strings.Join(lines[start:end], " "))
		if speaks(text, secret) && speaks(text, astray) {
			for k := start; k < end; k++ {
				kinds[k] = signature
			}
		} else if len(text) > 200 {
			return
		}
		end = start
		for end > 0 && (kinds[end-1] != own || strings.TrimSpace(lines[end-1]) == "") {
			end--
		}
	}
}

// speaks tells whether a text, lower case, holds one of the words.
func speaks(text string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}
