package report

import (
	"regexp"
	"strings"

	"postern/intake/mime"
)

// challenge reads mail of systems that ask the sender to prove being a
// person; some of them wear the form of a delivery report.
func challenge(m *mime.Message, text string) (Report, bool) {
	known := m.Header.Has("X-Boxbe-Challenge") || m.Header.Has("X-TMDA-Confirm") || m.Header.Has("X-ASK-Auth") || m.Header.Has("X-SpamArrest-Auth") ||
		containsAny(strings.ToLower(m.Header.Get("From")), "@spamarrest.", "@boxbe.com", "@boxbe-", "bluebottle.com") ||
		strings.Contains(strings.ToLower(m.Header.Get("X-Delivery-Agent")), "tmda")
	machine := machineEnvelope(m) || m.Type == "multipart/report"
	if !known && !machine {
		return Report{}, false
	}
	low := strings.ToLower(head(m.Header.Text("Subject")+"\n"+text, 4000))
	asks := containsAny(low, "confirm your message", "confirm that you are", "verify that you", "verify your email to me", "verification required", "please verify yourself", "prove you are human", "prove that you are", "are a human", "waiting list", "guest list", "awaiting your confirmation", "awaiting your verification", "has been held", "held until", "challenge", "releases your message", "bestätigen sie ihre nachricht", "bestätigen sie, dass sie") &&
		containsAny(low, "click", "reply to this", "replying to this", "follow this link", "link below", "klick", "antworten sie", "cliquez", "haga clic", "http")
	if !known && !asks {
		return Report{}, false
	}
	if !known && !containsAny(low, "spam", "unknown sender", "unbekannte", "whitelist", "approved", "guest list", "junk", "not in my", "not recogni", "first time") {
		return Report{}, false
	}
	r := Report{Kind: Challenge, Why: "challenge"}
	r.fill(m)
	return r, true
}

// autoSubject is how automatic replies name themselves, lower case.
var autoSubject = regexp.MustCompile(`^\W*(?:` + strings.Join([]string{
	`auto(?:matic|mated)?[ -]?(?:reply|response|answer|respons)`, `auto:`, `autoreply`, `autoresponse`, `out of (?:the )?office`, `out-of-office`, `ooo\b`, `away (?:from|until|notice|message)`, `vacation`, `on (?:vacation|leave|holiday)`, `i(?: am|'m) (?:away|out|on)`, `maternity leave`, `annual leave`,
	`automatische (?:antwort|reaktion)`, `autom\. antwort`, `abwesenheit`, `abwesend`, `antwort automatisch`, `nicht im (?:büro|haus)`, `im urlaub`, `urlaub(?:s|:|\b)`, `elternzeit`,
	`réponse automatique`, `absence`, `absent`, `en congé`, `message automatique`, `respuesta automática`, `fuera de (?:la )?oficina`, `ausencia`, `de vacaciones`, `estoy de baja`, `risposta automatica`, `fuori (?:ufficio|sede)`, `assenza`, `in ferie`,
	`automatisch (?:antwoord|bericht)`, `afwezig`, `niet aanwezig`, `resposta automática`, `fora do escritório`, `ausência`, `de férias`, `automatyczna odpowiedź`, `odpowiedź automatyczna`, `autoodpowiedź`, `nieobecno`, `poza biurem`, `na urlopie`,
	`autosvar`, `automatisk svar`, `automatiskt svar`, `frånvaro`, `fravær`, `automaattinen vastaus`, `poissa`, `automatická odpověď`, `automatická odpoveď`, `nepřítomnost`, `neprítomnosť`, `mimo kancelář`, `automatikus válasz`, `házon kívül`, `szabadság`, `răspuns automat`, `absent(?:ă)? din`, `автоматичен отговор`, `извън офиса`, `автоответ`, `автоматическ`, `автоматичн`, `αυτόματη απάντηση`, `εκτός γραφείου`, `automaatvastus`, `automaatne vastus`, `kontorist väljas`, `automātiskā atbilde`, `automātiska atbilde`, `prombūtne`, `automatinis atsakymas`, `automatski odgovor`, `samodejni odgovor`, `odsotnost`, `odsutnost`, `otomatik yanıt`, `ofis dışında`, `tweġiba awtomatika`, `freagra uathoibríoch`,
	`自動応答`, `自动回复`,
}, "|") + `)`)

// autoText is what they say, lower case.
var autoText = regexp.MustCompile(strings.Join([]string{
	`out of (?:the )?office`, `(?:am|be|be back|currently|is) (?:currently )?(?:away|out of|on (?:annual |sick |parental |maternity )?(?:leave|vacation|holiday))`, `limited access to (?:my )?e-?mail`, `on my return`, `upon my return`, `when i (?:return|am back|get back)`, `i will (?:be back|return|respond|reply).{0,60}(?:return|back|on|as soon)`, `automat(?:ic|ed) (?:reply|response|message|e-?mail)`, `auto-?reply`, `do not reply to this`, `your (?:message|e-?mail|request|ticket|enquiry|inquiry)(?: \(?#?[\w-]{1,20}\)?)? (?:has been|was) received`, `we (?:have )?received your`, `thank you for (?:contacting|your (?:message|e-?mail|enquiry|inquiry))`, `no longer (?:work|employed|with)`, `has left the company`,
	`nicht im (?:büro|haus)`, `bin (?:ich )?.{0,60}(?:abwesend|im urlaub|nicht erreichbar|wieder (?:da|erreichbar|im))`, `außer haus`, `automatisch(?:e|en)? (?:antwort|erstellt|generiert|nachricht)`, `wird nicht weitergeleitet`, `ihre (?:nachricht|e-?mail|anfrage) (?:ist|wurde|haben wir).{0,30}(?:eingegangen|erhalten)`, `nicht mehr (?:im unternehmen|bei)`, `in dringenden fällen`,
	`absent(?:e)? (?:du|jusqu|de)`, `en congés?`, `de retour le`, `réponse automatique`, `bien reçu votre`, `fuera de la oficina`, `de vacaciones`, `estoy de baja`, `respuesta automática`, `hemos recibido su`, `fuori (?:ufficio|sede)`, `in ferie`, `risposta automatica`, `abbiamo ricevuto`, `afwezig`, `met vakantie`, `op vakantie`, `automatisch (?:antwoord|bericht|gegenereerd)`, `fora do escritório`, `de férias`, `resposta automática`, `poza biurem`, `na urlopie`, `nieobecn`, `wiadomość (?:została )?wygenerowana automatycznie`, `semester`, `på ferie`, `frånvarande`, `fraværende`, `ikke på kontoret`, `inte på kontoret`, `lomalla`, `poissa`, `dovolen`, `nepřítom`, `neprítom`, `mimo kancel`, `szabadságon`, `házon kívül`, `concediu`, `nu sunt la birou`, `отпуск`, `отсутств`, `άδεια`, `εκτός γραφείου`, `puhkus`, `atvaļināj`, `atostog`, `godišnj`, `dopust`, `odsot`, `izinde`, `ofis dışı`, `відпуст`,
}, "|"))

// auto reads automatic replies. The fields of RFC 3834 alone do not do, since
// unsubscribe mails of Apple Mail and web forms carry them over a person's
// words: a second sign must agree, or nothing at all be asked (Weak).
func auto(m *mime.Message, text string) (Report, bool) {
	if optOutForm(m, text) {
		return Report{}, false
	}
	why := autoField(m)
	subject := strings.ToLower(strings.TrimSpace(m.Header.Text("Subject")))
	subj := autoSubject.MatchString(stripRe(subject))
	if why == "" && !subj {
		return Report{}, false
	}
	body := autoText.MatchString(strings.ToLower(head(text, 3000)))
	answers := m.Header.Has("In-Reply-To") || m.Header.Has("References") || nullPath(m)
	field := why != "" && why != "generated"
	switch {
	case field && (subj || body), why == "generated" && (subj || body && answers):
	case field:
		why = "weak: " + why
	case subj && body:
		why = "subject and text"
	case subj && answers:
		why = "weak: subject"
	default:
		return Report{}, false
	}
	r := Report{Kind: Auto, Why: why}
	r.MessageID = firstID(m.Header.Get("In-Reply-To"))
	return r, true
}

// Weak tells whether a single sign says automatic, field or subject, and the
// text does not agree: then anything asked for in the text wins.
func (r Report) Weak() bool { return strings.HasPrefix(r.Why, "weak: ") }

func stripRe(s string) string {
	for i := 0; i < 3; i++ {
		for _, p := range []string{"re:", "aw:", "fw:", "fwd:", "wg:", "sv:", "vs:", "rv:", "tr:", "ref:", "odp:", "[external]"} {
			s = strings.TrimSpace(strings.TrimPrefix(s, p))
		}
	}
	return s
}

// autoField names the field that says automatic, or "".
func autoField(m *mime.Message) string {
	h := m.Header
	as := strings.ToLower(h.Get("Auto-Submitted"))
	switch {
	case strings.HasPrefix(as, "auto-replied"):
		return "auto-replied"
	case h.Has("X-Autoreply") && !strings.EqualFold(h.Get("X-Autoreply"), "no"), h.Has("X-Autorespond"), h.Has("X-AutoReply-From"), h.Has("X-Autogenerated"):
		return "x-autoreply"
	case strings.EqualFold(h.Get("Precedence"), "auto_reply"), strings.EqualFold(h.Get("X-Precedence"), "auto_reply"):
		return "precedence"
	case h.Has("X-MS-Exchange-Inbox-Rules-Loop"):
		return "exchange rule"
	case strings.EqualFold(h.Get("X-Apple-Action"), "VACATION"):
		return "vacation"
	case h.Has("X-FC-MachineGenerated"), h.Has("X-Vacation"), strings.EqualFold(h.Get("X-POST-MessageClass"), "9; Autoresponder"), strings.EqualFold(h.Get("X-Cron-Env"), "vacation"), strings.EqualFold(h.Get("Delivered-To"), "Autoresponder"):
		return "vacation"
	case strings.HasPrefix(as, "auto-generated"), strings.HasPrefix(as, "auto-notified"):
		return "generated"
	}
	return ""
}

// optOutForm tells of the bare opt-out mail that a mail program writes when
// its user presses "unsubscribe" (RFC 2369 mailto), whatever its fields say.
func optOutForm(m *mime.Message, text string) bool {
	subject := strings.ToLower(strings.TrimSpace(m.Header.Text("Subject")))
	low := strings.ToLower(strings.TrimSpace(text))
	if len(strings.Fields(low)) > 60 {
		return false
	}
	return optOutWord.MatchString(stripRe(subject)) || optOutWord.MatchString(low) || strings.Contains(low, "apple mail") && strings.Contains(low, "unsubscrib")
}

var optOutWord = regexp.MustCompile(`^\W*(?:(?:please )?(?:unsubscribe|remove|stop|opt[ -]?out|list-unsubscribe|signoff)|abmelden|abbestellen|austragen|désabonne\w*|désinscri\w*|baja|darme de baja|cancelar suscripci\w+|cancella\w*|disiscri\w*|uitschrijven|afmelden|wypisz\w*|rezygnuj\w*|cancelar|avregistrera|avsluta|afmeld|avmeld|meld af|peruuta|odhlásit|odhlásiť|leiratkoz\w*|dezabon\w*|отпис\w*|відпис\w*|διαγραφή|loobu\w*|atrakst\w*|atsisaky\w*|odjav\w*)\b`)
