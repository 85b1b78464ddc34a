package e2e

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/dkim"
	"postern/gateway/preflight"
	"postern/testmail/env"
)

const doctorStream = `
[[stream]]
name = "offers"
number = 9
kind = "marketing"
controller = "example"
purpose = "offers"
list_id = "offers.example.org"
title = "Example Offers"
from_domains = ["example.org"]
mode = "enforce"
sign = "dkim"
feedback_id = "offers:news:postern:example"
[[dkim]]
domain = "example.org"
selector = "test"
key = "KEYFILE"
`

// doctorReport is what `postern doctor --json` prints.
type doctorReport struct {
	Installation []preflight.Finding `json:"installation"`
	Message      []preflight.Finding `json:"message"`
	Bulk         []preflight.Rule    `json:"bulk_rules"`
}

// doctor runs the verb and hands what the sink gets to the mailbox.
func (s *site) doctor(d *env.DovecotServer, round int) doctorReport {
	s.t.Helper()
	cmd := s.command("doctor", "--json", "--offline", "--stream", "offers", "--wait", "40s")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(s.t, cmd.Start())
	s.wait(d.User, round)
	d.Deliver([]byte(s.data(d.User)))
	require.NoError(s.t, cmd.Wait(), "%s%s", out.String(), errs.String())
	var rep doctorReport
	require.NoError(s.t, json.Unmarshal(out.Bytes(), &rep))
	return rep
}

func levels(list []preflight.Finding) map[string]preflight.Level {
	out := map[string]preflight.Level{}
	for _, f := range list {
		out[f.Name] = f.Level
	}
	return out
}

func TestDoctorSendsItselfAMessage(t *testing.T) {
	t.Parallel()
	d := env.Dovecot(t)
	s := newSite(t, func(c *siteConfig) {
		k, err := dkim.Generate("example.org", "test", dkim.RSA)
		require.NoError(t, err)
		path := filepath.Join(c.Dir, "dkim.pem")
		require.NoError(t, dkim.Save(path, k))
		c.Dovecot = d
		c.Extra = strings.ReplaceAll(doctorStream, "KEYFILE", path)
	})

	// Twice, since the first run ends with an opt-out.
	for round := 1; round <= 2; round++ {
		rep := s.doctor(d, round)
		install, message := levels(rep.Installation), levels(rep.Message)
		for _, name := range []string{"redis", "keys", "mailbox privacy"} {
			require.Equal(t, preflight.Pass, install[name], name)
		}
		require.Equal(t, preflight.Unchecked, install["public-url"])
		for _, name := range []string{
			"arrived", preflight.NameUnsubscribe, preflight.NamePost, preflight.NameListID, preflight.NameOnce,
			preflight.NameFeedbackID, preflight.NameDKIM, preflight.NameCovered, preflight.NameLength, preflight.NameKey,
			preflight.NameAlignment, preflight.NameLink, preflight.NamePostal, preflight.NameGET, preflight.NamePOST,
		} {
			require.Equal(t, preflight.Pass, message[name], "%s in %+v", name, rep.Message)
		}
		for _, name := range []string{preflight.NameSPF, preflight.NameDMARC, preflight.NamePTR} {
			require.Equal(t, preflight.Unchecked, message[name], name)
		}
		require.NotEmpty(t, rep.Bulk)
		require.Contains(t, s.run("consent", "show", d.User), "one-click", "the link ended the consent")
	}

	// Its own click binds: the stream's mail is refused now.
	head, _, _ := strings.Cut(s.data(d.User), "\r\n\r\n")
	require.NotContains(t, head, "X-Postern-Stream")
	require.Contains(t, head, "Auto-Submitted: auto-generated")

	// Intake has filed both as our own: the letter after them makes the only case.
	d.Deliver(letter("anna@example.net", "My data", "Please send me a copy of all personal data you hold about me, under Article 15 GDPR."))
	env.Eventually(t, 60*time.Second, "all three mails to be filed", func() bool {
		done, err := filepath.Glob(filepath.Join(d.Dir, "mail", ".Done", "*", "*.*"))
		return err == nil && len(done) == 3 && len(s.cases()) > 0
	})
	require.Len(t, s.cases(), 1)
	require.Equal(t, 2, s.to(d.User), "nobody answered the doctor")
}

func TestDoctorSaysWhatFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	cmd := s.command("doctor", "--offline", "--file", filepath.Join("testdata", "unsigned.eml"))
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%s", out)
	require.Regexp(t, `fail +dkim: the message has no DKIM signature`, string(out))
	require.Regexp(t, `fail +list-unsubscribe: 0 List-Unsubscribe fields`, string(out))
	require.Contains(t, string(out), "checks failed")
}
