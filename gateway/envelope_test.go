package gateway

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnvelopeIsChecked(t *testing.T) {
	for cmd, want := range map[string]string{
		"MAIL FROM:<ann>":                             "501 5.1.7 BAD-ADDRESS sender address syntax; ID",
		"MAIL FROM:ann@example.org":                   "501 5.1.7 BAD-ADDRESS sender address syntax; ID",
		"MAIL FROM:<ann@example.org":                  "501 5.1.7 BAD-ADDRESS sender address syntax; ID",
		"MAIL TO:<ann@example.org>":                   "501 5.1.7 BAD-ADDRESS sender address syntax; ID",
		"MAIL FROM:<a b@example.org>":                 "501 5.1.7 BAD-ADDRESS sender address syntax; ID",
		"MAIL FROM:<\"a b\"@example.org>":             "250 2.1.0 OK",
		"MAIL FROM:<\"a@b\"@example.org>":             "250 2.1.0 OK",
		"MAIL FROM:<@x.example:a@example.org>":        "250 2.1.0 OK",
		"mail from:<a@[192.0.2.1]>":                   "250 2.1.0 OK",
		"MAIL FROM: <a@example.org>":                  "250 2.1.0 OK",
		"MAIL FROM:<a\x01@example.org>":               "501 5.5.4 ARGUMENT malformed argument; ID",
		"MAIL FROM:<a@example.org> BODY=8bitmime":     "250 2.1.0 OK",
		"MAIL FROM:<a@example.org> BODY=7BIT AUTH=<>": "555 5.5.4 ARGUMENT parameter not offered; ID",
		"MAIL FROM:<a@example.org> SIZE=1 SIZE=2":     "501 5.1.7 BAD-ADDRESS sender address syntax; ID",
		"MAIL FROM:<a@example.org> RET=ALL":           "501 5.5.4 ARGUMENT malformed argument; ID",
		"MAIL FROM:<a@example.org> ENVID=a+0D+0A":     "501 5.5.4 ARGUMENT malformed argument; ID",
		"MAIL FROM:<a@example.org> REQUIRETLS":        "555 5.5.4 ARGUMENT parameter not offered; ID",
		"MAIL FROM:<a@example.org> MT-PRIORITY=3":     "555 5.5.4 ARGUMENT parameter not offered; ID",
		"MAIL FROM:<a@example.org> SMTPUTF8=1":        "501 5.5.4 ARGUMENT malformed argument; ID",
		"MAIL FROM:<grüße@example.org>":               "550 5.6.7 UTF8 address needs SMTPUTF8; ID",
		"MAIL FROM:<grüße@example.org> SMTPUTF8":      "250 2.1.0 OK",
		"MAIL FROM:<gr\xfc\xdf@example.org> SMTPUTF8": "501 5.1.7 BAD-ADDRESS sender address syntax; ID",
		"MAIL FROM:<a@bücher.example> SMTPUTF8":       "250 2.1.0 OK",
		"MAIL FROM:<a@xn--bcher-kva.example>":         "250 2.1.0 OK",
	} {
		t.Run(cmd, func(t *testing.T) {
			relay(t, &fakeJudge{}).script(greeting + "C: EHLO x.example\nS: 250-*\nC: " + cmd + "\nS: " + want)
		})
	}
	for cmd, want := range map[string]string{
		"RCPT TO:<ann>":                                              "501 5.1.3 BAD-ADDRESS recipient address syntax; ID",
		"RCPT TO:<grüße@example.org>":                                "553 5.6.7 UTF8 address needs SMTPUTF8; ID",
		"RCPT TO:<ann@example.net> NOTIFY=NEVER":                     "250 2.1.5 OK",
		"RCPT TO:<ann@example.net> NOTIFY=success,DELAY":             "250 2.1.5 OK",
		"RCPT TO:<ann@example.net> NOTIFY=NEVER,DELAY":               "501 5.5.4 ARGUMENT malformed argument; ID",
		"RCPT TO:<ann@example.net> NOTIFY=DELAY,DELAY":               "501 5.5.4 ARGUMENT malformed argument; ID",
		"RCPT TO:<ann@example.net> NOTIFY=SOON":                      "501 5.5.4 ARGUMENT malformed argument; ID",
		"RCPT TO:<ann@example.net> ORCPT=rfc822;a+C3+BC@example.net": "250 2.1.5 OK",
		"RCPT TO:<ann@example.net> ORCPT=rfc822;a+ZZ":                "501 5.5.4 ARGUMENT malformed argument; ID",
		"RCPT TO:<ann@example.net> ORCPT=a ORCPT=b":                  "501 5.1.3 BAD-ADDRESS recipient address syntax; ID",
		"RCPT TO:<ann@example.net> RRVS=2014-04-03T23:01:00Z":        "555 5.5.4 ARGUMENT parameter not offered; ID",
	} {
		t.Run(cmd, func(t *testing.T) {
			relay(t, &fakeJudge{}).script(greeting + "C: EHLO x.example\nS: 250-*\nC: MAIL FROM:<>\nS: 250 2.1.0 OK\nC: " + cmd + "\nS: " + want)
		})
	}
}

func TestUTF8_2_Envelope(t *testing.T) {
	j := &fakeJudge{}
	relay(t, j).script(greeting + `
		C: EHLO x.example
		S: 250-*
		C: MAIL FROM:<grüße@example.org> SMTPUTF8 BODY=8BITMIME
		S: 250 2.1.0 OK
		C: RCPT TO:<ünal@bücher.example> ORCPT=rfc822;+C3+BCnal@b+C3+BCcher.example NOTIFY=FAILURE
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
	env := j.last(t)
	require.True(t, env.UTF8)
	require.Equal(t, "ünal@xn--bcher-kva.example", env.Recipients[0].Address.Plain())
	require.Equal(t, "utf-8;ünal@bücher.example", env.Recipients[0].ORcpt)
}

func TestRepeatedRecipientIsOneCopy(t *testing.T) {
	j := &fakeJudge{}
	relay(t, j).script(begin + `
		C: RCPT TO:<ann@EXAMPLE.net>
		S: 250 2.1.5 OK
		C: RCPT TO:<Ann@example.net>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 *
		C: .
		S: 250 2.0.0 Queued as m1`)
	require.Len(t, j.last(t).Recipients, 2, "the local-part's case may matter")
}
