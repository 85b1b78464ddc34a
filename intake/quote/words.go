package quote

import (
	"regexp"
	"strings"
)

// wrote holds the verbs of the line above a quotation ("On … X wrote:"),
// lower case.
var wrote = regexp.MustCompile(`(?:^|[\s>*_"'\]):,])(?:` + strings.Join([]string{
	`wrote`, `writes`, `has written`, // English
	`schrieb(?:en)?`, `hat .{0,60}geschrieben`, `geschrieben`, // German
	`a écrit`, `a ecrit`, `écrivait`, `écrit`, // French
	`escribió`, `escribio`, `ha escrito`, `escribe`, `va escriure`, // Spanish, Catalan
	`ha scritto`, `scrisse`, `scrive`, // Italian
	`schreef`, `geschreven`, `het volgende geschreven`, // Dutch
	`escreveu`, `escrevi`, // Portuguese
	`napisał(?:\(a\)|/a|a)?`, `pisze`, // Polish
	`napsal(?:\(a\)|/a|a)?`, `napísal(?:\(a\)|/a|a)?`, // Czech, Slovak
	`(?:ezt )?írta(?: \(időpont.*\))?`, // Hungarian
	`a scris`, `scrie`,                 // Romanian
	`написа(?:л|ла|в|но)?(?:\(а\))?`, `пише`, `пишет`, `писал(?:\(а\)|а)?`, `писав`, // Bulgarian, Ukrainian, Russian, Serbian
	`έγραψε`, `εγραψε`, `έγραψαν`, // Greek
	`skrev(?: følgende)?`, `skrifaði`, // Danish, Norwegian, Swedish, Icelandic
	`kirjoitti`,          // Finnish
	`kirjutas`,           // Estonian
	`rakstīja`, `raksta`, // Latvian
	`rašė`, `parašė`, // Lithuanian
	`(?:je )?napisa(?:o|la|l)(?:/la|/a|\(la\)|\(a\))?`, `piše`, `je pisal`, // Croatian, Slovene
	`kiteb`, `kitbet`, // Maltese
	`scríobh`, `do scríobh`, // Irish
	`yazdı`, `şunu yazdı`, `şunları yazdı`, // Turkish
	`写道`, `書きました`, `님이 작성`,
}, "|") + `)(?:$|[\s:：,.*_>"'\[(<])`)

// dated tells of a time of day, a year, or an address: what the line above a
// quotation holds besides its verb.
var dated = regexp.MustCompile(`\d{1,2}[:.h]\d{2}|(?:19|20)\d\d|\d{1,2}[./-]\d{1,2}[./-]\d{2}|[^\s<>"]+@[^\s<>"]+`)

// bareIntro is a line above marked text that has no verb: a date and a name
// or address, as some programs write ("2026/11/24 X <x@example.org>").
var bareIntro = regexp.MustCompile(`(?i)^[^.!?]{0,120}(?:\d{4}[/.-]\d{1,2}[/.-]\d{1,2}|\d{1,2}[:.h]\d{2}).{0,80}(?:<[^>\s]+@[^>\s]+>|:)\s*$`)

// introduction tells whether the lines ending at j introduce a quotation, and
// where they begin. With marks the quoted text below is marked, so a verb
// alone does; else date or address are needed too.
func introduction(lines []string, j int, marks bool) (from int, ok bool) {
	if !mayEnd(lines[j]) {
		return 0, false
	}
	joined, best := "", -1
	for k := j; k >= 0 && k > j-4; k-- {
		t := strings.Trim(strings.TrimSpace(lines[k]), "*_")
		if t == "" {
			break
		}
		joined = strings.TrimSpace(t + " " + joined)
		if len(joined) > 400 {
			break
		}
		low := strings.ToLower(joined)
		if bare := bareIntro.MatchString(joined) && (marks || addressedIntro.MatchString(joined)); bare && best < 0 && (k == j || !marks) {
			if !marks && !openers.MatchString(low) {
				continue
			}
			return k, true
		}
		if !wrote.MatchString(low) || !endsIntro(low) {
			continue
		}
		switch dated := dated.MatchString(low); {
		case dated && openers.MatchString(low):
			if goesOn(lines, k) {
				continue
			}
			return k, true
		case best >= 0:
		case dated && !strings.Contains(low, "http") && len(low) < 250 && strings.HasSuffix(low, ":"):
			best = k
		case marks && k == j && len(joined) < 120 && strings.HasSuffix(low, ":"):
			best = k
		}
	}
	return best, best >= 0
}

// mayEnd tells cheaply whether a line may be the last of an introduction.
func mayEnd(line string) bool {
	t := strings.TrimRight(line, " \t-*_\r")
	return strings.HasSuffix(t, ":") || strings.HasSuffix(t, "：") || strings.IndexByte(t, '@') >= 0
}

// addressedIntro is an introduction without a verb over unmarked text: a date
// with a time of day, an address in angle brackets, and a colon.
var addressedIntro = regexp.MustCompile(`^[>\s*]*[^<>]{6,140}\d{1,2}[:.]\d{2}[^<>]{0,120}<[^<>\s]+@[^<>\s]+>\s*:\s*$|^[>\s*]*[^<>]{6,140}\d{4}[^<>]{0,80}<[^<>\s]+@[^<>\s]+>\s*:\s*$`)

// endsIntro tells whether a line ends as introductions do: with a colon, or,
// where date and address are there too, with the verb.
func endsIntro(low string) bool {
	if strings.HasSuffix(low, ":") || strings.HasSuffix(low, "：") {
		return true
	}
	low = strings.TrimRight(low, "- ")
	at := wrote.FindAllStringIndex(low, -1)
	return len(at) > 0 && at[len(at)-1][1] == len(low) && strings.Contains(low, "@") && timeOfDay.MatchString(low)
}

var timeOfDay = regexp.MustCompile(`\d{1,2}[:.h]\d{2}`)

// goesOn tells whether the line above k is an earlier part of the same
// introduction ("On 24 Nov 2026," / "at 10:18,").
func goesOn(lines []string, k int) bool {
	if k == 0 {
		return false
	}
	low := strings.ToLower(strings.TrimSpace(lines[k-1]))
	return low != "" && strings.HasSuffix(low, ",") && dated.MatchString(low) && openers.MatchString(low)
}

// openers are how an introduction with a date begins, per language, lower
// case: a preposition, a weekday or a number.
var openers = regexp.MustCompile(`^[>\s*_-]*(?:(?:on|am|at|le|el|il|il giorno|in data|op|em|no dia|a|w dniu|dnia|dne|dňa|den|d\.|ons|tirs|tor|fre|lør|søn|man|pe|pa|ma|ti|ke|to|la|su|в|на|у|στις|την|ziua|în data de|în|kuupäeval|gada|dana|fil-|ar|data)[\s,.]+\S|(?:mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so|lun|mar|mer|jeu|ven|sam|dim|mié|jue|vie|sáb|dom|gio|sab|wo|za|zo|vr|pn|wt|śr|czw|pt|sob|ndz|пн|вт|ср|чт|пт|сб|вс|нд|пет|съб|нед)[a-zа-яäöüßéáíóúąęłńśźż]*\.?,?\s+\S|\d{1,4}[\s./:-])`)

// labels of the header block that programs put above an earlier mail.
var (
	fromLabel  = labels("from|von|absender|de|expéditeur|da|mittente|van|afzender|od|nadawca|från|avsändare|fra|avsender|afsender|lähettäjä|feladó|de la|от|від|από|saatja|no|nuo|siuntėjas|sūtītājs|šalje|pošiljatelj|odesílatel|odosielateľ|remitente|remetente|expeditor|gönderen|kimden|minn|mingħand|ó|sender|发件人|差出人")
	otherLabel = labels("message du|envoyé le|sent|date|to|subject|cc|reply-to|gesendet|datum|an|betreff|kopie|envoyé|à|objet|enviado|enviado el|fecha|para|asunto|data|inviato|a|oggetto|verzonden|aan|onderwerp|wysłano|wysłane|do|temat|skickat|till|ämne|sendt|dato|til|emne|lähetetty|päivämäärä|vastaanottaja|aihe|elküldve|dátum|címzett|tárgy|trimis|către|subiect|изпратено|до|относно|дата|тема|кому|отправлено|надіслано|στάλθηκε|ημερομηνία|προς|θέμα|saadetud|kuupäev|adressaat|teema|nosūtīts|datums|kam|temats|tēma|išsiųsta|tema|poslano|datum slanja|primatelj|za|prima|predmet|zadeva|odesláno|komu|předmět|odoslané|poslané|kime|tarih|konu|gönderilme|mibgħut|lil|suġġett|seolta|chuig|go|ábhar|dáta|copie|kopi|kopia|копие|κοιν|αποστολή|发送时间|收件人|主题|件名|宛先|日時|send|subj")
)

func labels(words string) *regexp.Regexp {
	return regexp.MustCompile(`^[>\s*_]*(?:` + words + `)\s?[*_]*\s?[:：][*_]*(?:\s|$|[^\s/])`)
}

// headerBlock tells whether a block of header lines (From, Sent, To, Subject
// in any language) begins at line i. A From and two lines more are needed, or
// a From with an address and one more.
func headerBlock(lines []string, i int) bool {
	if at := strings.IndexAny(lines[i], ":："); at < 0 || at > 60 {
		return false
	}
	first := strings.ToLower(strings.TrimSpace(lines[i]))
	if !fromLabel.MatchString(first) && !otherLabel.MatchString(first) {
		return false
	}
	from, others, gaps, addr := false, 0, 0, false
	for k := i; k < len(lines) && k < i+12; k++ {
		t := strings.ToLower(strings.TrimSpace(lines[k]))
		switch {
		case t == "":
			if gaps++; gaps > 4 {
				return false
			}
		case !from && fromLabel.MatchString(t):
			from = true
			addr = strings.Contains(t, "@")
		case otherLabel.MatchString(t):
			others++
		default:
			gaps++ // a wrapped line
			if gaps > 4 {
				return false
			}
		}
		if from && (others >= 2 || addr && others >= 1) {
			return true
		}
	}
	return false
}

// marks between rules: "-----Original Message-----" and its like.
var (
	originalWords = regexp.MustCompile(`^[>\s]*[-_=*]{2,}[\s*]*(?:` + strings.Join([]string{
		`original message`, `original e?-?mail`, `original appointment`, `reply message`, `reply above this line`,
		`ursprüngliche nachricht`, `originalnachricht`, `original-nachricht`, `ursprüngliche mail`,
		`message d['’]origine`, `message original`, `message initial`, `mail original`,
		`mensaje original`, `messaggio originale`, `mensagem original`, `oorspronkelijk bericht`, `oorspronkelijke bericht`, `origineel bericht`,
		`wiadomość oryginalna`, `oryginalna wiadomość`, `treść oryginalnej wiadomości`, `originalmeddelande`, `ursprungligt meddelande`, `oprindelig meddelelse`, `original besked`, `opprinnelig melding`, `opprinnelig beskjed`, `original melding`,
		`alkuperäinen viesti`, `eredeti üzenet`, `původní zpráva`, `původní e-mail`, `pôvodná správa`, `mesaj original`, `mesajul original`,
		`оригинално съобщение`, `исходное сообщение`, `оригінальне повідомлення`, `вихідне повідомлення`, `αρχικό μήνυμα`,
		`algne kiri`, `algne sõnum`, `sākotnējais ziņojums`, `oriģinālais ziņojums`, `pradinis laiškas`, `originalus laiškas`, `izvorna poruka`, `originalna poruka`, `izvirno sporočilo`,
		`orijinal mesaj`, `özgün ileti`, `messaġġ oriġinali`, `teachtaireacht bhunaidh`, `原始邮件`, `original besked`, `oprindelig besked`,
	}, "|") + `)`)
	forwardWords = regexp.MustCompile(`^[>\s]*(?:[-_=*]{2,}[\s*]*(?:` + forwards + `)|(?:` + forwardOpeners + `)\s*:?\s*$)`)
)

const forwards = `forwarded message|forwarded by|forwarded e?-?mail|weitergeleitete nachricht|message transféré|message réexpédié|mensaje reenviado|messaggio inoltrato|mensagem encaminhada|mensagem reencaminhada|doorgestuurd bericht|wiadomość przekazana|przekazana wiadomość|wiadomość przesłana dalej|vidarebefordrat meddelande|vidarebefordrat brev|videresendt meddelelse|videresendt melding|videresendt besked|välitetty viesti|továbbított üzenet|přeposlaná zpráva|preposlaná správa|mesaj redirecționat|mesaj transmis|препратено съобщение|пересылаемое сообщение|переслане повідомлення|προωθημένο μήνυμα|edastatud kiri|edastatud sõnum|pārsūtīts ziņojums|pārsūtītā vēstule|persiųstas laiškas|proslijeđena poruka|prosleđena poruka|posredovano sporočilo|iletilen mesaj|iletilmiş mesaj|messaġġ mibgħut|teachtaireacht curtha ar aghaidh`

const forwardOpeners = `begin forwarded message|anfang der weitergeleiteten (?:nachricht|e-mail)|début du message (?:réexpédié|transféré)|inicio del mensaje reenviado|inizio messaggio inoltrato|início da mensagem (?:reencaminhada|encaminhada)|begin doorgestuurd bericht|początek przekazywanej wiadomości|vidarebefordrat brev|start på videresendt besked|videresendt melding|välitetty viesti alkaa|továbbított levél kezdete|začátek přeposílané zprávy|začiatok preposlanej správy|начало переадресованного сообщения`

func isOriginalMark(line string) bool {
	return maybeMark(line) && originalWords.MatchString(strings.ToLower(line))
}

func isForwardMark(line string) bool {
	return maybeMark(line) && forwardWords.MatchString(strings.ToLower(line))
}

// maybeMark tells cheaply whether a line may announce an earlier mail: it
// begins with a rule or ends with a colon.
func maybeMark(line string) bool {
	t := strings.Trim(line, "> \t\r")
	return len(t) > 4 && len(t) < 200 && (strings.IndexByte("-_=*", t[0]) >= 0 || t[len(t)-1] == ':' || len(t) < 60)
}

// isRule tells of a line of dashes or underscores alone.
func isRule(line string) bool {
	return len(line) >= 3 && strings.Trim(line, "-_=*~– ") == ""
}

// HeaderLine names a line of a block of header lines in any language: "from"
// with its value, "other", "mark" for the line that announces the block, or
// "" for anything else.
func HeaderLine(line string) (name, value string) {
	low := strings.ToLower(strings.TrimSpace(line))
	switch {
	case isForwardMark(low), isOriginalMark(low):
		return "mark", ""
	case fromLabel.MatchString(low):
		_, value, _ = strings.Cut(line, ":")
		return "from", strings.Trim(value, " *_")
	case otherLabel.MatchString(low):
		return "other", ""
	}
	return "", ""
}
