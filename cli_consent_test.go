package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/consent"
	"postern/testmail/env"
	"postern/testmail/subjects"
)

// shell is the command line of an installation without a running server.
type shell struct {
	t    *testing.T
	dir  string
	args []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "postern.toml")
	text := strings.ReplaceAll(exampleIn(t, dir), "redis://127.0.0.1:6379/0", env.Redis(t).URL())
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s := &shell{t: t, dir: dir, args: []string{"--config", path}}
	s.run("", "keys", "init")
	return s
}

// run calls a verb that has to succeed and gives what it printed.
func (s *shell) run(stdin string, args ...string) string {
	s.t.Helper()
	code, out, errs := call(s.t, stdin, append(args, s.args...)...)
	require.Zero(s.t, code, "%v: %s%s", args, out, errs)
	return out
}

func (s *shell) file(name string) string { return filepath.Join(s.dir, name) }

func (s *shell) write(name string, from io.Reader) string {
	s.t.Helper()
	b, err := io.ReadAll(from)
	require.NoError(s.t, err)
	require.NoError(s.t, os.WriteFile(s.file(name), b, 0o600))
	return s.file(name)
}

// A dry run changes nothing and gives a line per refused row; the same file is
// imported, exported and read back, of one person and of all.
func TestConsentImportAndExportVerbs(t *testing.T) {
	s := newShell(t)
	end := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	path := s.write("people.csv", subjects.CSV(0, 3000, 2, end)) // every second row is unusable
	var rep consent.Report
	dry := s.run("", "consent", "import", path, "--purpose", "newsletter", "--dry-run", "--report", s.file("refused.csv"), "--json")
	require.NoError(t, json.Unmarshal([]byte(dry), &rep))
	require.Equal(t, []int{3000, 1500, 1500, 1000}, []int{rep.Rows, rep.Active, rep.RefusedRows, len(rep.Refused)})
	f, err := os.Open(s.file("refused.csv"))
	require.NoError(t, err)
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Len(t, lines, 1501, "a header and every refused row")
	require.Equal(t, "3", lines[1][0])
	require.Contains(t, lines[1][1], "address")
	require.Contains(t, s.run("", "consent", "show", subjects.Address(0).Plain()), "Nothing is held")

	out := s.run("", "consent", "import", path, "--purpose", "newsletter")
	require.Contains(t, out, "and 500 more: --report FILE lists them all")
	require.Contains(t, out, "1500 active")
	require.Contains(t, s.run("", "consent", "export", s.file("all.csv")), "1500 lines")
	require.Contains(t, s.run("", "consent", "import", s.file("all.csv")), "1500 already known")
	one := s.run("", "consent", "export", "-", "--address", subjects.Address(0).Plain())
	require.Contains(t, one, subjects.Address(0).Plain())
	require.Equal(t, 2, strings.Count(one, "\n"))
	code, _, errs := call(t, "", append([]string{"consent", "export", s.file("all.csv")}, s.args...)...)
	require.Equal(t, 1, code, "a file is never overwritten")
	require.Contains(t, errs, "exists")
	require.Contains(t, s.run("", "consent", "export", "-", "--format", "jsonld", "--address", subjects.Address(0).Plain()), "dpv:ConsentRecord")
}

// Suppressions are added from a list and exported; nothing is lifted.
func TestSuppressImportAndExportVerbs(t *testing.T) {
	s := newShell(t)
	const who = "someone@example.net"
	require.Contains(t, s.run(who+"\nnobody\n", "suppress", "import", "-"), "1 opt-outs taken over")
	s.run("", "consent", "grant", who, "--purpose", "newsletter", "--wording", "Yes", "--wording-version", "1", "--source", "desk")
	require.Contains(t, s.run("", "suppress", "list"), "manual")
	s.run("", "suppress", "export", s.file("stops.csv"))
	s.run("", "suppress", "remove", who, "--why", "wrong person")
	var rep consent.Report
	require.NoError(t, json.Unmarshal([]byte(s.run("", "suppress", "import", s.file("stops.csv"), "--json")), &rep))
	require.Equal(t, 1, rep.Suppressed, "a list adds again what an operator had released")
	require.Contains(t, s.run("", "suppress", "list"), "manual")
	require.NoError(t, json.Unmarshal([]byte(s.run("address,action,time,source\n"+who+",confirmed,2026-01-01,x\n", "suppress", "import", "-", "--json")), &rep))
	require.Equal(t, []int{0, 1}, []int{rep.Active, rep.RefusedRows})
}

// The page of one person tells each step with its evidence, in the language
// asked for, and stands for itself.
func TestConsentShowAsPage(t *testing.T) {
	s := newShell(t)
	const who = "someone@example.net"
	s.run("", "consent", "grant", who, "--purpose", "newsletter", "--wording", "Yes, send me <news>.", "--wording-version", "v7", "--source", "https://shop.example.org/signup", "--language", "en")
	s.run("", "suppress", "add", who, "--case", "PC-7")
	s.run("", "consent", "show", who, "--html", s.file("page.html"))
	b, err := os.ReadFile(s.file("page.html"))
	require.NoError(t, err)
	for _, part := range []string{`<html lang="en">`, who, "Yes, send me &lt;news&gt;.", "version v7", "https://shop.example.org/signup", "Example News (newsletter)", "PC-7", "all advertising", "In force"} {
		require.Contains(t, string(b), part)
	}
	_, body, _ := strings.Cut(string(b), "</style>")
	require.NotContains(t, body, "{", "no placeholder is left")
	german := s.run("", "consent", "show", who, "--html", "-", "--language", "de")
	require.Contains(t, german, `<html lang="de">`)
	require.Contains(t, german, "Einwilligung erteilt")
}

// The form for the company's own site shows the words that the gateway takes.
func TestConsentForm(t *testing.T) {
	s := newShell(t)
	out := s.run("", "consent", "form", "newsletter", "--language", "de")
	require.Contains(t, out, `action="https://mail.example.org/s/newsletter?lang=de"`)
	require.Contains(t, out, "Ich möchte „Example News“ von Example Shop per E-Mail erhalten.")
	require.Regexp(t, `name="wording" value="page-[0-9a-f]{12}"`, out)
	require.NotContains(t, out, "<script")
	code, _, errs := call(t, "", append([]string{"consent", "form", "orders"}, s.args...)...)
	require.Equal(t, 1, code)
	require.Contains(t, errs, "takes no sign-ups")
}

// The bar follows what is read of the file.
func TestProgress(t *testing.T) {
	var out strings.Builder
	size := int64(4 << 20)
	p := newProgress(strings.NewReader(strings.Repeat("0123456\n", int(size/8))), size, &out)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, p, make([]byte, 32<<10))
	require.NoError(t, err)
	require.Equal(t, size, n)
	p.end()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 10)
	require.Contains(t, lines[4], " 50 %")
	require.Contains(t, lines[9], fmt.Sprintf("%d rows", size/8))
}
