package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

// words answers a case in an operator's own words and closes it.
func (s *caseSite) words(no, to, text string) {
	s.t.Helper()
	own := filepath.Join(s.t.TempDir(), "answer.txt")
	require.NoError(s.t, os.WriteFile(own, []byte(text), 0o600))
	s.run("cases", "reply", no, "--text", own, "--subject", "Your letter")
	s.until(no, "the answer", func(k shown) bool { return k.State == "answered" })
	require.Contains(s.t, plain(s.t, s.data(to)), text)
	s.run("cases", "close", no)
}

// TestRestOfTheRightsFromMailToProof leads through the built binary what
// TestCasesFromMailToProof leaves out: an objection to other processing than
// advertising, what customers and authorities ask, and a bare unsubscribe.
func TestRestOfTheRightsFromMailToProof(t *testing.T) {
	t.Parallel()
	s := newCaseSite(t, func(c *siteConfig) {
		c.Extra = `
[[customer]]
name = "Example Customer"
controller = "example"
domains = ["customer.example.com"]
contact = "privacy@customer.example.com"
assist_within = "2d"
`
	})

	// Objection, Art. 21(1): identity by the link, restricted while weighed,
	// refused with the grounds, authority and court.
	require.NoError(t, s.shop.db.HSet(context.Background(), "customer:dora@example.net", "name", "Dora").Err())
	no := s.open("dora@example.net", "Objection", "Hello,\r\nI object to the processing of my personal data for profiling under Article 21(1) GDPR, on grounds relating to my particular situation.\r\nDora", "objection")
	require.Contains(t, s.fails("cases", "weigh", no, "--note", "profiling of her orders"), "identity is neither shown nor waived")
	s.run("cases", "identity", no, "--as", "eve")
	link := ""
	env.Eventually(t, 60*time.Second, "the question to arrive", func() bool {
		for _, m := range s.Sink.Messages() {
			if found := caseLink.FindStringSubmatch(plain(t, string(m.Data))); found != nil && strings.Contains(strings.Join(m.To, " "), "dora@") {
				link = found[1]
			}
		}
		return link != ""
	})
	code, body := s.form(link, "act", "yes")
	require.Equal(t, 200, code, body)
	s.until(no, "the case to go on", func(k shown) bool { return k.State == "open" })
	s.run("cases", "weigh", no, "--note", "profiling of her orders", "--as", "eve")
	s.until(no, "the shop to restrict", func(k shown) bool {
		return k.State == "open" && settled(k) && strings.Contains(strings.Join(k.Flags, " "), "weighed")
	})
	require.Equal(t, "yes", s.shop.db.HGet(context.Background(), "customer:dora@example.net", "restricted").Val())
	require.Contains(t, s.fails("cases", "close", no), "being weighed")
	require.Contains(t, s.run("cases", "reply", no, "--template", "restricted", "--preview"), "shop")
	s.run("cases", "deny", no, "--why", "compelling-grounds", "--as", "eve")
	s.until(no, "the refusal", func(k shown) bool { return k.State == "denied" })
	mail := strings.Join(strings.Fields(plain(t, s.data("dora@example.net"))), " ")
	require.Contains(t, mail, "because our compelling legitimate grounds override your interests, rights and freedoms.")
	require.Contains(t, mail, "the supervisory authority", "where to complain (Art. 12(4))")
	require.Contains(t, s.fails("cases", "lift", no, "--why", "compelling-grounds", "--from", "2020-01-01"), "told before")
	require.Contains(t, s.run("cases", "lift", no, "--why", "compelling-grounds", "--preview"), "we will use your data again")
	s.run("cases", "lift", no, "--why", "compelling-grounds", "--as", "eve")
	s.until(no, "the person to be told when the restriction ends", func(k shown) bool {
		last := k.Letters[len(k.Letters)-1]
		return last.Effect == "lift" && last.Status == "sent"
	})

	// A customer wants an agreement: template, checklist, register (Art. 28(3)).
	no = s.open("legal@customer.example.com", "Data processing agreement", "Dear team,\r\n\r\nas your customer we need a signed data processing agreement under Article 28\r\nGDPR and your current list of sub-processors before we go live.\r\n\r\nBest regards\r\nProcurement", "dpa_request")
	require.NotContains(t, s.show(no).Flags, "no-customer")
	s.run("cases", "reply", no, "--template", "dpa", "--as", "eve")
	s.until(no, "the answer", func(k shown) bool { return k.State == "answered" })
	mail = plain(t, s.data("legal@customer.example.com"))
	require.Contains(t, mail, "We process for you.")
	require.Contains(t, mail, "(h)")
	s.run("cases", "dpa", "sign", "Example Customer", "--controller", "example", "--case", no, "--version", "2026-11-01", "--covers", "a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8", "--as", "eve")
	require.Contains(t, s.run("cases", "dpa", "list"), "Example Customer")
	s.run("cases", "close", no)

	// A customer wants help with a request, and somebody who is none.
	help := "Hi, one of our employees has made a data subject access request and part of the data sits in your platform. Under clause 9 of our DPA, please export everything linked to employee ID 20771 and send it to us by Thursday. Thanks, HR Operations"
	no = s.open("hr@customer.example.com", "Need your help with a data subject request", help, "assistance_request")
	require.NotContains(t, s.show(no).Flags, "no-customer")
	s.words(no, "hr@customer.example.com", "Here is what we hold for you.")
	no = s.open("hr@stranger.example.net", "Need your help with a data subject request", help, "assistance_request")
	require.Contains(t, s.show(no).Flags, "no-customer", "nothing of a customer's goes there")
	s.words(no, "hr@stranger.example.net", "You are none of our customers.")

	// An authority's letter alerts at once and gets no automatic answer.
	no = s.open("casework@authority.example.com", "Case reference RFA0771: complaint about your organisation", "Dear Data Protection Officer\r\n\r\nWe have received a complaint from an individual that your organisation has not responded to a subject access request made on 2 February. It is our view, on the information provided, that you may have infringed your obligations under data protection law. Please respond to the individual within 14 calendar days, and provide us with your explanation for the delay, a copy of your response, and details of the procedures you have in place. We may take regulatory action if we do not hear from you.", "authority_letter")
	require.Contains(t, s.show(no).Flags, "alert")
	s.wait("dpo@example.org", 1)
	require.Contains(t, plain(t, s.data("dpo@example.org")), "an authority has written")
	require.Zero(t, s.to("casework@authority.example.com"))
	s.words(no, "casework@authority.example.com", "We explain the delay.")

	// A bare unsubscribe stops mail and closes by itself.
	s.grant("bert@example.net")
	s.dovecot.Deliver(letter("bert@example.net", "unsubscribe", "unsubscribe"))
	env.Eventually(t, 60*time.Second, "the unsubscription to close by itself", func() bool {
		for _, k := range s.cases() {
			labels, _ := k["labels"].([]any)
			if len(labels) == 1 && labels[0] == "unsubscribe" && k["state"] == "closed" {
				return true
			}
		}
		return false
	})
	require.Contains(t, s.run("suppress", "list"), "unsubscribed")

	archive := filepath.Join(t.TempDir(), "cases.zip")
	env.Eventually(t, 30*time.Second, "every event to be proven", func() bool {
		require.Contains(t, s.run("cases", "export", archive, "--as", "auditor"), "6 cases")
		return strings.Contains(s.verify(archive), `"faults": []`) && allProven(s.verify(archive))
	})
}
