package quote

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// intros are the lines above a quotation, as programs write them per language.
var intros = map[string]string{
	"en":         "On Tue, 24 Nov 2026 at 10:18, Example Shop <news@example.org> wrote:",
	"en wrapped": "On Tue, 24 Nov 2026 at 10:18, Example Shop\n<news@example.org> wrote:",
	"en three":   "On Nov 24, 2026,\nat 10:18,\nExample Shop <news@example.org> wrote:",
	"de":         "Am 24.11.2026 um 10:18 schrieb Example Shop:",
	"de gmail":   "Am Di., 24. Nov. 2026 um 10:18 Uhr schrieb Example Shop <\nnews@example.org>:",
	"fr":         "Le mar. 24 nov. 2026 à 10:18, Example Shop <news@example.org> a écrit :",
	"es":         "El mar, 24 nov 2026 a las 10:18, Example Shop (<news@example.org>) escribió:",
	"it":         "Il giorno mar 24 nov 2026 alle ore 10:18 Example Shop <news@example.org> ha scritto:",
	"nl":         "Op di 24 nov 2026 om 10:18 schreef Example Shop <news@example.org>:",
	"pt":         "Example Shop <news@example.org> escreveu (terça, 24/11/2026 à(s) 10:18):",
	"pl":         "wt., 24 lis 2026 o 10:18 Example Shop <news@example.org> napisał(a):",
	"cs":         "út 24. 11. 2026 v 10:18 odesílatel Example Shop <news@example.org> napsal:",
	"sk":         "ut 24. 11. 2026 o 10:18 Example Shop <news@example.org> napísal(a):",
	"sv":         "Den tis 24 nov. 2026 kl 10:18 skrev Example Shop <news@example.org>:",
	"da":         "Den tirs. 24. nov. 2026 kl. 10.18 skrev Example Shop <\nnews@example.org>:",
	"fi":         "ti 24. marrask. 2026 klo 10.18 Example Shop (news@example.org) kirjoitti:",
	"hu":         "Example Shop <news@example.org> ezt írta (időpont: 2026. nov. 24., K, 10:18):",
	"ro":         "Pe mar., 24 nov. 2026 la 10:18, Example Shop <news@example.org> a scris:",
	"bg":         "На вт, 24.11.2026 г. в 10:18 Example Shop <news@example.org> написа:",
	"el":         "Στις Τρί 24 Νοε 2026 στις 10:18 π.μ., ο Example Shop <news@example.org> έγραψε:",
	"et":         "Kuupäev T, 24. november 2026 kell 10:18 kirjutas Example Shop <news@example.org>:",
	"lv":         "otrd., 2026. g. 24. nov., plkst. 10:18 — Example Shop (<news@example.org>) rakstīja:",
	"lt":         "2026-11-24, an, 10:18 Example Shop <news@example.org> rašė:",
	"hr":         "uto, 24. stu 2026. u 10:18 Example Shop <news@example.org> napisao je:",
	"sl":         "V tor., 24. nov. 2026 ob 10:18 je oseba Example Shop <news@example.org> napisala:",
	"mt":         "Fit-Tlieta, 24 ta' Nov 2026 fl-10:18, Example Shop <news@example.org> kiteb:",
	"ga":         "Ar Máirt 24 Samh 2026 ag 10:18 scríobh Example Shop <news@example.org>:",
	"tr":         "Example Shop <news@example.org>, 24 Kas 2026 Sal, 10:18 tarihinde şunu yazdı:",
	"uk":         "вт, 24 лист. 2026 р. о 10:18 Example Shop <news@example.org> пише:",
	"no":         "tir. 24. nov. 2026 kl. 10:18 skrev Example Shop <news@example.org\n>:",
	"no verb":    "24.11.2026, 10:18, \"Example Shop\" <news@example.org>:",
}

func TestIntroductionsInManyLanguages(t *testing.T) {
	for name, intro := range intros {
		for _, marks := range []string{"> ", ""} {
			text := "Please stop this.\n\n" + intro + "\n\n" + marks + "Our winter sale begins\n" + marks + "See you soon"
			s := Parse(text)
			require.Equal(t, "Please stop this.", s.Own, "%s with marks %q", name, marks)
			require.Contains(t, s.Quoted, "winter sale", name)
		}
	}
}

func TestHeaderBlocksAndMarks(t *testing.T) {
	blocks := map[string]string{
		"outlook en":  "________________________________\nFrom: Example Shop <news@example.org>\nSent: Tuesday, 24 November 2026 10:18\nTo: Ada\nSubject: Sale\n\nOur winter sale",
		"outlook de":  "Von: Example Shop\nGesendet: Dienstag, 24. November 2026 10:18\nAn: Ada\nBetreff: Angebot\n\nOur winter sale",
		"bold":        "*From:* Example Shop <news@example.org>\n*Sent:* Tuesday\n*To:* Ada\n\nOur winter sale",
		"fr spaces":   "De : Example Shop <news@example.org>\nEnvoyé : mardi 24 novembre 2026\nÀ : Ada\nObjet : Soldes\n\nOur winter sale",
		"pl":          "Od: Example Shop <news@example.org>\nWysłano: wtorek\nDo: Ada\nTemat: Oferta\n\nOur winter sale",
		"el":          "Από: Example Shop <news@example.org>\nΣτάλθηκε: Τρίτη\nΠρος: Ada\nΘέμα: Προσφορά\n\nOur winter sale",
		"original":    "-----Original Message-----\nOur winter sale",
		"original de": "-----Ursprüngliche Nachricht-----\nOur winter sale",
		"original fi": "-----Alkuperäinen viesti-----\nOur winter sale",
	}
	for name, block := range blocks {
		s := Parse("Löschen Sie mich.\n\n" + block)
		require.Equal(t, "Löschen Sie mich.", s.Own, name)
		require.Contains(t, s.Quoted, "winter sale", name)
	}
}

func TestForwarded(t *testing.T) {
	s := Parse("Please handle.\n\n---------- Forwarded message ---------\nFrom: Ada <ada@example.net>\nDate: Tue, 24 Nov 2026\nSubject: My data\nTo: info@example.org\n\nDelete my account.")
	require.Equal(t, "Please handle.", s.Own)
	require.Contains(t, s.Forwarded, "Delete my account.")
	require.Empty(t, s.Quoted)
}

func TestLetterheadIsNoHistory(t *testing.T) {
	text := "From: Ada Example\nTo: Example Shop\nDate: 24 November 2026\nSubject: Access request\n\nDear team,\nplease send me a copy of my data."
	require.Equal(t, text, Parse(text).Own)
}

func TestInterleavedAnswersStay(t *testing.T) {
	s := Parse("On 24 Nov 2026 Shop wrote:\n> Shall we delete your account?\nYes, please.\n> And the orders?\nKeep those.\n")
	require.Equal(t, "Yes, please.\n\nKeep those.", s.Own)
}

func TestSignatures(t *testing.T) {
	for name, text := range map[string]string{
		"delimiter": "Delete my data.\n\n-- \nAda Example\nExample Street 1",
		"worn":      "Delete my data.\n--\nAda",
		"iphone":    "Delete my data.\n\nSent from my iPhone",
		"de":        "Delete my data.\n\nVon meinem iPhone gesendet",
		"fr":        "Delete my data.\n\nEnvoyé de mon iPhone",
		"pl":        "Delete my data.\n\nWysłano z iPhone'a",
		"tr":        "Delete my data.\n\niPhone'umdan gönderildi",
		"notice en": "Delete my data.\n\nThis message is confidential and intended only for the addressee. If you received it in error, please delete it.",
		"notice de": "Delete my data.\n\nDiese E-Mail ist vertraulich. Wenn Sie nicht der richtige Adressat sind, löschen Sie bitte diese Nachricht.",
	} {
		s := Parse(text)
		require.Equal(t, "Delete my data.", s.Own, name)
		require.NotEmpty(t, s.Signature, name)
	}
}

func TestWhatIsNoSignatureOrQuotation(t *testing.T) {
	for _, text := range []string{
		"On the one hand I want a copy.\nOn the other hand, delete the rest.",
		"Your page says: the shop wrote:\nno more mail.",
		"My list:\n- erase\n- stop\n-- and tell me",
		"The mail was sent from my work address, please delete both.",
		"Please tell me the recipients (destinataires) of my confidential data.",
		"------------------\nErase me\n------------------\nThank you",
		"Hello,\n\nplease delete my data.\n\nKind regards\nAda",
	} {
		require.Equal(t, strings.TrimSpace(text), Parse(text).Own)
	}
}

func TestWholeMailMarkedAsQuotationIsRead(t *testing.T) {
	require.Equal(t, "Delete my data.\nAda", Parse("> Delete my data.\n> Ada").Own)
	require.Empty(t, Parse("On 24 Nov 2026 at 10:18 Shop <news@example.org> wrote:\n> Sale").Own)
}

// TestNoWordIsLost: whatever is split, every line is in exactly one part.
func TestNoWordIsLost(t *testing.T) {
	piece := rapid.SampledFrom([]string{"erase", "> quoted", ">> deep", "", "-- ", "--", "On 24 Nov 2026 at 10:18 X <x@example.org> wrote:", "From: x@example.org", "Sent: Tuesday", "To: y", "-----Original Message-----", "---------- Forwarded message ---------", "Sent from my phone", "____", "wrote:", "received in error, confidential"})
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(piece, 0, 30).Draw(t, "lines")
		s := Parse(strings.Join(lines, "\n"))
		all := strings.Join([]string{s.Own, s.Signature, s.Quoted, s.Forwarded}, "\n")
		for _, l := range lines {
			for _, w := range strings.Fields(strings.Trim(l, "> ")) {
				if !strings.Contains(all, w) {
					t.Fatalf("lost %q of %q in %q", w, lines, all)
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, intro := range intros {
		f.Add("Stop.\n\n" + intro + "\n> x")
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := Parse(text)
		if strings.TrimSpace(text) != "" && s.Own == "" && s.Signature == "" && s.Quoted == "" && s.Forwarded == "" && strings.Trim(text, "> \t\r\n\v\f\u0085\u00a0") != "" {
			for _, r := range text {
				if r > ' ' && r != '>' && r < 0x7f {
					t.Fatalf("nothing left of %q", text)
				}
			}
		}
	})
}
