package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"postern/intake/mime"
)

func read(raw string) Report {
	m := mime.Parse([]byte(strings.ReplaceAll(raw, "\n", "\r\n")), mime.Limits{})
	return Read(m, m.Text())
}

func TestHardOrSoft(t *testing.T) {
	cases := []struct {
		status, diagnostic string
		hard               bool
	}{
		{"5.1.1", "550 5.1.1 user unknown", true},
		{"5.1.2", "host not found", true},
		{"5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound", true},
		{"5.0.0", "550 5.1.1 no such user", true},
		{"5.0.0", "550 rejected", false},
		{"", "user unknown", true},
		{"5.2.2", "552 mailbox full", false},
		{"5.7.1", "550 blocked, see our policy", false},
		{"5.1.1", "550 5.1.1 blocked as spam", false},
		{"5.5.0", "550 mailbox unavailable", true},
		{"5.4.1", "550 5.4.1 Recipient address rejected: Access denied", false},
		{"4.2.2", "452 over quota", false},
		{"4.1.1", "user unknown", false},
	}
	for _, c := range cases {
		r := Recipient{Action: "failed", Status: c.status, Diagnostic: c.diagnostic}
		r.judge()
		require.Equal(t, c.hard, r.Hard, "%s %s", c.status, c.diagnostic)
	}
	late := Recipient{Action: "delayed", Status: "5.1.1"}
	late.judge()
	require.False(t, late.Hard)
}

func TestManyRecipients(t *testing.T) {
	r := read("From: MAILER-DAEMON@example.net\nReturn-Path: <>\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nFailed.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; a@example.net\nAction: failed\nStatus: 5.1.1\n\nFinal-Recipient: rfc822; b@example.net\nAction: delivered\nStatus: 2.0.0\n--b--\n")
	require.Equal(t, Failed, r.Kind)
	require.Len(t, r.Recipients, 2)
	require.True(t, r.Recipients[0].Hard)
	require.False(t, r.Recipients[1].Hard)
}

func TestPersonsAreNoMachines(t *testing.T) {
	for name, raw := range map[string]string{
		"auto-generated form":     "From: form@example.org\nAuto-Submitted: auto-generated\nSubject: Contact form\n\nPlease delete my account.",
		"about an absence":        "From: kim@example.net\nSubject: My data\n\nI was out of the office when your mail came. Send me a copy of my data.",
		"about a failed delivery": "From: kim@example.net\nSubject: Delivery failed\n\nYour parcel could not be delivered. Delete my address.",
		"null path, plain letter": "From: kim@example.net\nReturn-Path: <>\nSubject: My data\n\nPlease send me a copy of my data.",
		"apple unsubscribe":       "From: kim@example.net\nAuto-Submitted: auto-replied\nSubject: unsubscribe\n\nApple Mail sent this email to unsubscribe from the list.",
		"abbestellen":             "From: kim@example.net\nAuto-Submitted: auto-replied\nSubject: Abbestellen\n\n",
		"json in a letter":        "From: kim@example.net\nSubject: export\n\nYou sent me {\"notificationType\": 1}, what is it?",
		"forwarded complaint":     "From: kim@example.net\nSubject: complaint\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nI complain about this mail.\n--b\nContent-Type: message/rfc822\n\nFrom: news@example.org\nSubject: Sale\n\nSale\n--b--\n",
		"postmaster asks":         "From: postmaster@example.net\nSubject: Access request\n\nPlease send me a copy of my data.",
	} {
		require.Equal(t, None, read(raw).Kind, name)
	}
}

func TestTokenOfAReportedMail(t *testing.T) {
	r := Report{Header: "Subject: Sale\nList-Unsubscribe: <https://example.org/u/x>,\n <mailto:u+abcdefgh234567abcdefgh@example.org>\n"}
	require.Equal(t, "abcdefgh234567abcdefgh", r.Token())
	require.Empty(t, Report{Header: "List-Unsubscribe: <mailto:leave@example.org>\n"}.Token())
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testmail", "corpus", "machine", "*.eml"))
	if err != nil || len(files) == 0 {
		f.Fatal("no corpus")
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := mime.Parse(raw, mime.Limits{})
		r := Read(m, m.Text())
		for _, x := range r.Recipients {
			if x.Hard && (x.Action == "delayed" || x.Action == "delivered" || strings.HasPrefix(x.Status, "4.")) {
				t.Fatalf("hard and not failed: %+v", x)
			}
			if strings.ContainsAny(x.Address, "\r\n<> ") || !utf8.ValidString(x.Diagnostic) {
				t.Fatalf("bad recipient %+v", x)
			}
		}
		if r.Kind == None && (len(r.Recipients) > 0 || len(r.Subjects) > 0) {
			t.Fatal("a person with recipients")
		}
		r.Token()
	})
}

// FuzzFields reads delivery-status and feedback-report fields alone.
func FuzzFields(f *testing.F) {
	f.Add("Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; a@example.net\nAction: failed\nStatus: 5.1.1\n")
	f.Add("Feedback-Type: abuse\nOriginal-Rcpt-To: <a@example.net>\n folded\nOriginal-Rcpt-To: b@example.net\n")
	f.Fuzz(func(t *testing.T, body string) {
		for _, g := range fields(body) {
			for k := range g {
				if k != strings.ToLower(k) {
					t.Fatalf("name %q", k)
				}
			}
		}
	})
}
