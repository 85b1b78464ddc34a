package e2e

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

var caseLink = regexp.MustCompile(`https://mail\.example\.org(/case/[a-z0-9]+)`)

// mailedLink waits for the n-th mail to an address and gives the path of the
// link in the last one.
func (s *caseSite) mailedLink(to string, n int) string {
	s.t.Helper()
	s.wait(to, n)
	m := caseLink.FindStringSubmatch(plain(s.t, s.data(to)))
	require.NotNil(s.t, m)
	return m[1]
}

// page gets a page of the public listener.
func (s *caseSite) page(path string) (int, string) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.Public + path)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, "no-store", resp.Header.Get("Cache-Control"))
	return resp.StatusCode, string(b)
}

func (s *caseSite) form(path string, pairs ...string) (int, string) {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return s.post(path, "application/x-www-form-urlencoded", v.Encode())
}

// TestCaseByThePages leads an access request through the pages that people see:
// mail in Dovecot, "is it you?" by a mail that went through Postfix, a
// colleague's answer with a file, the package fetched with its code, the status
// page, closed. Then a request typed instead of mailed, and the notice.
func TestCaseByThePages(t *testing.T) {
	t.Parallel()
	s := newCaseSite(t, func(c *siteConfig) {
		c.Smarthost = env.Postfix(t, env.PostfixOptions{Main: map[string]string{"relayhost": "[127.0.0.1]:" + port(c.Smarthost)}}).Addr
	})
	require.NoError(t, s.shop.db.HSet(context.Background(), "customer:anna@example.net", "name", "Anna", "town", "Musterstadt").Err())
	no := s.open("anna@example.net", "My data", "Hello,\r\nplease send me a copy of all personal data you hold about me.\r\nAnna", "access")

	s.run("cases", "identity", no, "--as", "eve")
	link := ""
	env.Eventually(t, 60*time.Second, "the question to arrive", func() bool {
		for _, m := range s.Sink.Messages() {
			if found := caseLink.FindStringSubmatch(plain(t, string(m.Data))); found != nil && strings.Contains(strings.Join(m.To, " "), "anna@") {
				link = found[1]
			}
		}
		return link != ""
	})
	code, body := s.page(link)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "A copy of my data")
	require.Equal(t, "identity", s.show(no).State, "opening the link is no answer")
	code, body = s.form(link, "act", "yes")
	require.Equal(t, http.StatusOK, code, body)
	s.until(no, "the case to go on", func(k shown) bool { return k.State == "open" })
	code, _ = s.page(link)
	require.Equal(t, http.StatusNotFound, code, "the link worked once")

	// The systems answer, and a colleague without account sends a file.
	s.run("cases", "fulfil", no, "export", "--as", "eve")
	task := s.mailedLink("sales@example.org", 1)
	code, body = s.page(task)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "anna@example.net")
	require.NotContains(t, body, "please send me a copy")
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	require.NoError(t, m.WriteField("act", "answer"))
	require.NoError(t, m.WriteField("result", "done"))
	part, err := m.CreateFormFile("files", "folder seven.txt")
	require.NoError(t, err)
	_, err = io.WriteString(part, "Letters of Anna")
	require.NoError(t, err)
	require.NoError(t, m.Close())
	code, body = s.post(task, m.FormDataContentType(), b.String())
	require.Equal(t, http.StatusOK, code, body)
	s.until(no, "all to have answered", func(k shown) bool { return k.State == "open" && settled(k) })

	// The package is looked through, handed over, and fetched with its code.
	s.run("cases", "package", no, "--as", "eve")
	var pack struct {
		Data struct{ Files []struct{ ID, Name string } }
	}
	require.NoError(t, json.Unmarshal([]byte(s.run("cases", "files", no, "--json")), &pack))
	for _, f := range pack.Data.Files {
		s.run("cases", "tick", no, f.ID, "keep")
	}
	var handed struct{ Data struct{ Code string } }
	mails := s.to("anna@example.net")
	require.NoError(t, json.Unmarshal([]byte(s.run("cases", "release", no, "--code-way", "phone", "--as", "eve", "--json")), &handed))
	get := s.mailedLink("anna@example.net", mails+1)
	code, body = s.page(get)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "The copy of your data is ready.")
	code, body = s.form(get, "act", "fetch", "code", "AAAA-AAAA")
	require.Equal(t, http.StatusUnprocessableEntity, code)
	require.Contains(t, body, "Tries left: 4.")
	code, body = s.form(get, "act", "fetch", "code", strings.ToLower(handed.Data.Code))
	require.Equal(t, http.StatusOK, code)
	z, err := zip.NewReader(strings.NewReader(body), int64(len(body)))
	require.NoError(t, err)
	found := false
	for _, f := range z.File {
		found = found || strings.Contains(f.Name, "folder seven.txt")
	}
	require.True(t, found, "the colleague's file is in the copy")
	_, body = s.page(get)
	require.Contains(t, body, "Last fetched on")

	// How far it is, by a link that goes to the person alone.
	s.run("cases", "close", no, "--as", "eve")
	mails = s.to("anna@example.net")
	_, wrong := s.form("/case", "act", "find", "number", no, "address", "mallory@example.net")
	_, right := s.form("/case", "act", "find", "number", no, "address", "anna@example.net")
	require.Equal(t, wrong, right, "what was typed right is told to nobody")
	status := s.mailedLink("anna@example.net", mails+1)
	_, body = s.page(status)
	require.Contains(t, body, `<li aria-current="step"><strong>Answered</strong>`)
	require.Zero(t, s.to("mallory@example.net"))

	// Typed instead of mailed: the same path.
	code, _ = s.form("/request/example", "act", "ask", "right", "erasure", "who", "subject", "address", "bert@example.com", "text", "Please delete my account and all personal data about me.")
	require.Equal(t, http.StatusOK, code)
	link = s.mailedLink("bert@example.com", 1)
	code, _ = s.form(link, "act", "no")
	require.Equal(t, http.StatusOK, code)
	var typed string
	for _, k := range s.cases() {
		if fmt.Sprint(k["labels"]) == "[erasure]" {
			typed = k["number"].(string)
		}
	}
	require.Contains(t, strings.Join(s.show(typed).Flags, " "), "not-me")
	s.wait("dpo@example.org", 1)

	_, body = s.page("/notice")
	for _, words := range []string{"In force since 2026-11-01", "The parcel service.", "/request/example"} {
		require.Contains(t, body, words)
	}
	code, _ = s.page("/u/nothing")
	require.Equal(t, http.StatusNotFound, code, "the other public pages stand beside")
}
