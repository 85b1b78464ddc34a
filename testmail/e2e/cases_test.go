package e2e

import (
	"archive/zip"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/queue/fulfil"
	"postern/testmail/env"
)

// shopSystem is a company's system behind a signed webhook, with a database of
// its own: a second Redis.
type shopSystem struct {
	t    *testing.T
	db   *redis.Client
	hook *fulfil.Webhook

	mu     sync.Mutex
	events []string // kinds of case events its other address was told
	down   bool
}

// ServeHTTP checks the signature, then acts on the database.
func (s *shopSystem) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	body, _ := io.ReadAll(r.Body)
	if !s.hook.Authentic(r.Header, body, time.Minute) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path == "/events" {
		var m struct{ Type string }
		_ = json.Unmarshal(body, &m)
		s.mu.Lock()
		s.events = append(s.events, m.Type+" "+string(body))
		s.mu.Unlock()
		return
	}
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var m struct{ Data fulfil.Request }
	if err := json.Unmarshal(body, &m); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	key := "customer:" + m.Data.Address
	fields := s.db.HGetAll(ctx, key).Val()
	o := fulfil.Outcome{Status: fulfil.Done, Count: len(fields)}
	switch {
	case len(fields) == 0:
		o.Status = fulfil.NotFound
	case m.Data.Verb == fulfil.Export:
		o.Data, _ = json.Marshal(fields)
		o.Files = []fulfil.File{{Name: "contract.txt", Type: "text/plain", Data: []byte("Contract of Anna, with Bert as witness")}}
	case m.Data.Verb == fulfil.Rectify:
		for k, v := range m.Data.Facts {
			s.db.HSet(ctx, key, k, v)
		}
	case m.Data.Verb == fulfil.Restrict:
		s.db.HSet(ctx, key, "restricted", "yes")
		o.Status = fulfil.Restricted
	case m.Data.Verb == fulfil.Erase && m.Data.DryRun:
		o.Status, o.Law, o.Until = fulfil.Kept, "HGB 257", "2036-12-31"
	case m.Data.Verb == fulfil.Erase:
		s.db.Del(ctx, key)
		o.Status = fulfil.Erased
	}
	_ = json.NewEncoder(w).Encode(o)
}

// caseSite is an installation with systems of the company connected.
type caseSite struct {
	*site
	shop    *shopSystem
	dovecot *env.DovecotServer
}

func newCaseSite(t *testing.T, change ...func(*siteConfig)) *caseSite {
	secret := "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	db := env.Redis(t)
	shop := &shopSystem{t: t, db: redis.NewClient(&redis.Options{Addr: db.Addr})}
	t.Cleanup(func() { _ = shop.db.Close() })
	server := httptest.NewServer(shop)
	t.Cleanup(server.Close)
	var err error
	shop.hook, err = fulfil.NewWebhook(fulfil.WebhookOptions{Name: "shop", URL: server.URL, Secrets: []string{secret}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	dpa := filepath.Join(t.TempDir(), "dpa.txt")
	require.NoError(t, os.WriteFile(dpa, []byte("We process for you."), 0o600))
	d := env.Dovecot(t)
	s := newSite(t, func(c *siteConfig) {
		for _, f := range change {
			f(c)
		}
		c.Dovecot = d
		c.Handling = `four_eyes = ["erase"]
support_contact = "support@example.org"
dpa_template = "` + dpa + `"
dpa_version = "2026-11-01"
operators = ["dpo@example.org"]
[[controller.facts]]
language = "en"
purposes = "Orders."
categories = "Name and orders."
recipients = "The parcel service."
storage = "Ten years."
source = "You."
automated = "None."
transfers = "None."
[[controller.notice]]
language = "en"
version = "2026-11-01"
data = "Name and orders."
third_parties = "The parcel service."
retention = "Ten years."
place = "The EU."
security = "Encryption."
changes = "None yet."`
		c.Extra += `
[cases]
send_hold = "200ms"
[[connector]]
name = "shop"
type = "webhook"
url = "` + server.URL + `/privacy"
secret = "file:` + file + `"
verbs = ["export", "erase", "verify", "rectify", "restrict", "marketing.stopped"]
[[connector]]
name = "sales archive"
type = "task"
owner = "sales@example.org"
verbs = ["export"]
labels = ["access"]
[[connector]]
name = "parcel service"
type = "task"
owner = "parcels@example.org"
verbs = ["inform-recipients"]
[[hook]]
name = "tickets"
url = "` + server.URL + `/events"
secret = "file:` + file + `"
events = ["case.*"]
`
	})
	return &caseSite{s, shop, d}
}

// shown is what the test reads of `cases show --json`.
type shown struct {
	Number string
	State  string
	Labels []string
	Flags  []string
	Tasks  []struct {
		Index        int
		System, Verb string
		Status       string
		Law, Until   string
		DryRun       bool `json:"dry_run"`
	}
	Letters []struct{ Status, Text, Effect string }
}

func (s *caseSite) show(no string) shown {
	s.t.Helper()
	var k shown
	require.NoError(s.t, json.Unmarshal([]byte(s.run("cases", "show", no, "--json")), &k))
	return k
}

// open mails a request and gives its case.
func (s *caseSite) open(from, subject, text string, label string) string {
	s.t.Helper()
	s.dovecot.Deliver(letter(from, subject, text))
	var no string
	env.Eventually(s.t, 60*time.Second, "the case of "+subject, func() bool {
		for _, k := range s.cases() {
			labels, _ := k["labels"].([]any)
			for _, l := range labels {
				if l == label && k["state"] != "closed" {
					no = k["number"].(string)
				}
			}
		}
		return no != ""
	})
	return no
}

// until waits for what a case shows.
func (s *caseSite) until(no, what string, ok func(shown) bool) shown {
	s.t.Helper()
	var k shown
	env.Eventually(s.t, 60*time.Second, what, func() bool { k = s.show(no); return ok(k) })
	return k
}

func settled(k shown) bool {
	for _, t := range k.Tasks {
		if t.Status == "" || t.Status == "accepted" && t.System != "sales archive" && t.System != "parcel service" {
			return false
		}
	}
	return len(k.Tasks) > 0
}

// answer sends a text of the catalogue and closes the case.
func (s *caseSite) answer(no, template string) {
	s.t.Helper()
	s.run("cases", "reply", no, "--template", template)
	s.until(no, "the answer", func(k shown) bool { return k.State == "answered" })
	s.run("cases", "close", no)
}

// fails calls a verb that has to be refused and gives the reason.
func (s *caseSite) fails(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	require.Error(s.t, err, "%s", out)
	return string(out)
}

// plain is the text of a mail at the sink.
func plain(t *testing.T, data string) string {
	_, body, _ := strings.Cut(data, "\r\n\r\n")
	if !strings.Contains(data, "quoted-printable") {
		return body
	}
	raw, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
	require.NoError(t, err)
	return string(raw)
}

// TestCasesFromMailToProof leads requests through the built binary alone: mail
// in Dovecot, case, identity, systems, a colleague, approval by two, package,
// letters at the next hop, closed, archive, verified offline.
func TestCasesFromMailToProof(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newCaseSite(t)
	s.grant("anna@example.net")
	s.grant("dora@example.net") // whose record outlives the erasure below
	require.NoError(t, s.shop.db.HSet(ctx, "customer:anna@example.net", "name", "Anna", "town", "Musterstadt").Err())

	// Access: a package with a colleague's part, ticked, sealed, fetched by code.
	no := s.open("anna@example.net", "My data", "Hello,\r\nplease send me a copy of all personal data you hold about me.\r\nAnna", "access")
	require.Contains(t, s.fails("cases", "fulfil", no, "export"), "identity is neither shown nor waived")
	s.run("cases", "identity", no, "--waive", "known by telephone", "--as", "eve")
	s.run("cases", "fulfil", no, "export", "--as", "eve")
	k := s.until(no, "systems to answer", func(k shown) bool { return settled(k) && len(k.Tasks) == 3 })
	require.Equal(t, "waiting", k.State)
	require.Contains(t, s.fails("cases", "package", no), "sales archive has not answered yet")
	s.wait("sales@example.org", 1)
	require.Contains(t, plain(t, s.data("sales@example.org")), "https://mail.example.org/case/")
	require.NotContains(t, s.data("sales@example.org"), "anna@example.net", "the person stands behind the link alone")
	task := -1
	for _, x := range k.Tasks {
		if x.System == "sales archive" {
			task = x.Index
		}
	}
	s.run("cases", "result", no, strconv.Itoa(task), "not_found", "--as", "eve")
	s.until(no, "the case to be open again", func(k shown) bool { return k.State == "open" })

	s.run("cases", "package", no, "--as", "eve")
	require.Contains(t, s.fails("cases", "release", no, "--code-way", "post"), "not looked through yet")
	var pack struct {
		Data struct {
			Files []struct{ ID, System, Name string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(s.run("cases", "files", no, "--json")), &pack))
	require.Len(t, pack.Data.Files, 3, "own data, the shop's record, its contract")
	redacted := filepath.Join(t.TempDir(), "redacted.txt")
	require.NoError(t, os.WriteFile(redacted, []byte("Contract of Anna, with [another person] as witness"), 0o600))
	for _, f := range pack.Data.Files {
		if f.Name == "contract.txt" {
			require.Contains(t, s.run("cases", "file", no, f.ID[:8]), "Bert")
			s.run("cases", "tick", no, f.ID, "redact", "--with", redacted, "--note", "the witness")
			continue
		}
		s.run("cases", "tick", no, f.ID, "keep")
	}
	var handed struct {
		Data struct{ Code string }
	}
	require.NoError(t, json.Unmarshal([]byte(s.run("cases", "release", no, "--code-way", "post", "--as", "eve", "--json")), &handed))
	require.Regexp(t, regexp.MustCompile(`^[A-Z2-9]{4}-[A-Z2-9]{4}$`), handed.Data.Code)
	s.until(no, "the answer to leave", func(k shown) bool { return k.State == "answered" })
	mail := plain(t, s.data("anna@example.net"))
	require.Contains(t, mail, "https://mail.example.org/case/")
	require.NotContains(t, mail, handed.Data.Code, "the code goes another way")
	s.run("cases", "close", no, "--as", "eve")

	// Rectification reaches the database.
	no = s.open("anna@example.net", "Wrong town", "Hello,\r\nthe personal data you hold about me is wrong: please correct my town of residence in your records under Article 16 GDPR.\r\nAnna", "rectification")
	s.run("cases", "identity", no, "--waive", "known")
	s.run("cases", "fulfil", no, "rectify", "--fact", "town=Neustadt")
	s.until(no, "the shop to correct", func(k shown) bool { return k.State == "open" && settled(k) })
	require.Equal(t, "Neustadt", s.shop.db.HGet(ctx, "customer:anna@example.net", "town").Val())
	require.Contains(t, s.run("cases", "reply", no, "--template", "rectified", "--preview"), "shop")
	s.run("cases", "reply", no, "--template", "rectified")
	s.until(no, "the answer", func(k shown) bool { return k.State == "answered" })
	s.wait("parcels@example.org", 1)
	s.run("cases", "close", no)

	// Erasure: looked ahead, proposed, approved by another, failed, retried, done.
	no = s.open("anna@example.net", "Delete me", "Hello,\r\nplease delete my account and all personal data about me.\r\nAnna", "erasure")
	s.run("cases", "fulfil", no, "erase", "--dry-run")
	k = s.until(no, "the forecast", settled)
	ahead := map[string]string{}
	for _, x := range k.Tasks {
		if x.DryRun {
			ahead[x.System] = x.Status + " " + x.Law + " " + x.Until
		}
	}
	require.Equal(t, map[string]string{"postern": "erased  ", "shop": "kept HGB 257 2036-12-31"}, ahead)
	require.EqualValues(t, 1, s.shop.db.Exists(ctx, "customer:anna@example.net").Val(), "a dry run deletes nothing")
	s.run("cases", "identity", no, "--waive", "known")
	require.Contains(t, s.fails("cases", "approve", no, "--confirm", no, "--as", "eve"), "two operators")
	s.run("cases", "propose", no, "erase", "--as", "eve")
	require.Contains(t, s.fails("cases", "approve", no, "--confirm", no, "--as", "eve"), "another person has to approve")
	require.Contains(t, s.fails("cases", "approve", no, "--confirm", "PC-7K3Q-X9MD", "--as", "bob"), "typing the case number")
	s.shop.mu.Lock()
	s.shop.down = true
	s.shop.mu.Unlock()
	s.run("cases", "approve", no, "--confirm", no, "--as", "bob")
	k = s.until(no, "the shop to fail", func(k shown) bool { return strings.Contains(strings.Join(k.Flags, " "), "failed") && k.State == "open" })
	s.shop.mu.Lock()
	s.shop.down = false
	s.shop.mu.Unlock()
	for _, x := range k.Tasks {
		if x.Status == "failed" {
			s.run("cases", "retry", no, strconv.Itoa(x.Index), "--as", "bob")
		}
	}
	s.until(no, "the shop to delete", func(k shown) bool {
		return k.State == "open" && settled(k) && !strings.Contains(strings.Join(k.Flags, " "), "failed")
	})
	require.Zero(t, s.shop.db.Exists(ctx, "customer:anna@example.net").Val())
	require.Contains(t, s.run("suppress", "list"), "erased")
	require.NotContains(t, s.run("consent", "show", "anna@example.net"), "Yes, send me Example News")
	s.run("cases", "reply", no, "--template", "erased")
	s.until(no, "the answer", func(k shown) bool { return k.State == "answered" })
	require.Contains(t, plain(t, s.data("anna@example.net")), "postern, shop")
	s.run("cases", "close", no)

	// A question how data is handled gets the notice.
	no = s.open("carla@example.net", "Question", "Dear Sir or Madam,\r\nhow do you process personal data in general? Which third parties receive data and how long do you keep it? Please send me your privacy notice.\r\nCarla", "information")
	s.run("cases", "reply", no, "--template", "notice")
	s.until(no, "the answer", func(k shown) bool { return k.State == "answered" })
	require.Contains(t, plain(t, s.data("carla@example.net")), "4. Place and transfers")
	s.run("cases", "close", no)

	// The other rights, each by its own way.
	require.NoError(t, s.shop.db.HSet(ctx, "customer:dora@example.net", "name", "Dora").Err())
	no = s.open("dora@example.net", "Restriction", "Hello,\r\nplease restrict the processing of my personal data under Article 18 GDPR: store it, but do not use it.\r\nDora", "restriction")
	s.run("cases", "identity", no, "--waive", "known")
	s.run("cases", "fulfil", no, "restrict")
	s.until(no, "the shop to restrict", func(k shown) bool { return k.State == "open" && settled(k) })
	require.Equal(t, "yes", s.shop.db.HGet(ctx, "customer:dora@example.net", "restricted").Val())
	s.answer(no, "restricted")

	no = s.open("dora@example.net", "Portability", "Hello,\r\nplease give me my personal data in a structured, machine-readable format under Article 20 GDPR, so that I can take it to another provider.\r\nDora", "portability")
	s.run("cases", "identity", no, "--waive", "known")
	s.run("cases", "label", no, "portability") // asks for no copy under Art. 15 beside it
	s.run("cases", "fulfil", no, "export")
	s.until(no, "the shop to export", func(k shown) bool { return k.State == "open" && settled(k) })
	s.run("cases", "package", no)
	require.NoError(t, json.Unmarshal([]byte(s.run("cases", "files", no, "--json")), &pack))
	for _, f := range pack.Data.Files {
		s.run("cases", "tick", no, f.ID, "keep")
	}
	s.run("cases", "release", no, "--code-way", "phone")
	s.until(no, "the answer", func(k shown) bool { return k.State == "answered" })
	s.run("cases", "close", no)

	for label, words := range map[string]string{
		"objection":        "I object to the processing of my personal data for direct marketing (Article 21 GDPR). Please stop it.",
		"withdraw_consent": "I hereby withdraw my consent to the processing of my personal data, with effect from today.",
		"opt_out_sale":     "Do not sell or share my personal information with anybody, as the CCPA entitles me to ask.",
	} {
		no = s.open("dora@example.net", label, "Hello,\r\n"+words+"\r\nDora", label)
		s.answer(no, "stopped")
	}
	require.Contains(t, s.run("suppress", "list"), "withdrawn")

	// What no text of the catalogue can answer, an operator answers in own words.
	for label, words := range map[string][2]string{
		"automated_decision": {"Your system refused my application automatically. Under Article 22 GDPR I contest this decision and ask that a person reviews it.", "A person has reviewed the decision."},
		"complaint":          {"I wish to complain about how my personal data was handled: your shop assistant read my address aloud. This violates data protection law, please look into it.", "We have looked into it and trained the shop."},
	} {
		no = s.open("dora@example.net", label, "Hello,\r\n"+words[0]+"\r\nDora", label)
		own := filepath.Join(t.TempDir(), "answer.txt")
		require.NoError(t, os.WriteFile(own, []byte(words[1]), 0o600))
		s.run("cases", "reply", no, "--text", own, "--subject", "Your request")
		s.until(no, "the answer", func(k shown) bool { return k.State == "answered" })
		require.Contains(t, plain(t, s.data("dora@example.net")), words[1])
		s.run("cases", "close", no)
	}

	// The hook heard of it all, without a name.
	env.Eventually(t, 30*time.Second, "the hook to hear of the end", func() bool {
		s.shop.mu.Lock()
		defer s.shop.mu.Unlock()
		return strings.Count(strings.Join(s.shop.events, "\n"), "case.close ") >= 11
	})
	s.shop.mu.Lock()
	require.NotContains(t, strings.Join(s.shop.events, "\n"), "@")
	s.shop.mu.Unlock()

	// Proof: the archive verifies offline; with one byte changed it does not.
	archive := filepath.Join(t.TempDir(), "cases.zip")
	env.Eventually(t, 30*time.Second, "every event to be proven", func() bool {
		require.Contains(t, s.run("cases", "export", archive, "--as", "auditor"), "11 cases")
		return strings.Contains(s.verify(archive), `"faults": []`) && allProven(s.verify(archive))
	})
	require.Contains(t, s.fails("ledger", "verify", forged(t, archive), "--key", s.publicKey()), "was changed")
	audit := s.run("report", "audit")
	for _, words := range []string{"Yes, send me Example News", "suppress:erasure-pending", "operator:auditor  export audit: ", "view package: 1", "Requests of data subjects", "version 2026-11-01"} {
		require.Contains(t, audit, words)
	}
	require.Contains(t, s.run("report", "month"), "erasure")
}

func (s *caseSite) publicKey() string {
	dir := filepath.Join(s.t.TempDir(), "log")
	s.run("ledger", "export", dir)
	key, err := os.ReadFile(filepath.Join(dir, "key.txt"))
	require.NoError(s.t, err)
	return strings.TrimSpace(string(key))
}

func (s *caseSite) verify(archive string) string {
	out, err := s.command("ledger", "verify", archive, "--key", s.publicKey(), "--json").Output()
	require.NoError(s.t, err, "%s", out)
	return string(out)
}

func allProven(report string) bool {
	var r struct{ Events, Proven int }
	return json.Unmarshal([]byte(report), &r) == nil && r.Events > 0 && r.Events == r.Proven
}

// forged copies an archive with one word of its events changed.
func forged(t *testing.T, archive string) string {
	t.Helper()
	in, err := zip.OpenReader(archive)
	require.NoError(t, err)
	defer in.Close()
	path := filepath.Join(t.TempDir(), "forged.zip")
	out, err := os.Create(path)
	require.NoError(t, err)
	w := zip.NewWriter(out)
	for _, f := range in.File {
		r, err := f.Open()
		require.NoError(t, err)
		raw, err := io.ReadAll(r)
		require.NoError(t, err)
		if strings.HasSuffix(f.Name, "events.json") {
			raw = []byte(strings.ReplaceAll(string(raw), "operator:bob", "operator:ann"))
		}
		m, err := w.Create(f.Name)
		require.NoError(t, err)
		_, err = m.Write(raw)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, out.Close())
	return path
}
