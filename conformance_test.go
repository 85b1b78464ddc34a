package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestConformanceTable holds deploy/docs/conformance.md to the tree: each line
// names tests, each named test is there, no id is given twice, and no comment
// uses an id that the page does not explain.
func TestConformanceTable(t *testing.T) {
	page, err := os.ReadFile("deploy/docs/conformance.md")
	require.NoError(t, err)
	id := regexp.MustCompile(`\b(?:SMTP|ESC|UTF8|MIME|DSN|TLS|AUTHN|UNS|HDR|CON|DSR|AR|BR|ST|IM)-[0-9]+\b`)
	pkg := regexp.MustCompile("`([a-z0-9/.]+)`")
	name := regexp.MustCompile(`^(?:Test|Fuzz)[A-Za-z0-9_]+$`)

	known := map[string]bool{}
	tests := map[string]string{} // of a package, the text of its tests
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		ids := id.FindAllString(cells[0], -1)
		if !strings.HasPrefix(line, "|") || len(ids) == 0 {
			continue
		}
		for _, n := range ids {
			require.False(t, known[n], "%s is given twice", n)
			known[n] = true
		}
		if len(cells) == 3 { // left to others
			continue
		}
		require.Len(t, cells, 4, line)
		require.Len(t, ids, 1, line)
		named := 0
		for _, part := range strings.Split(cells[3], ";") {
			in := pkg.FindStringSubmatch(part)
			require.NotNil(t, in, "%s: no package before %q", ids[0], part)
			for _, test := range strings.Split(strings.Replace(part, in[0], "", 1), ",") {
				test = strings.TrimSpace(test)
				require.Regexp(t, name, test, ids[0])
				if tests[in[1]] == "" {
					tests[in[1]] = testsOf(t, in[1])
				}
				require.Contains(t, tests[in[1]], "\nfunc "+test+"(", "%s: %s has no %s", ids[0], in[1], test)
				named++
			}
		}
		require.NotZero(t, named, ids[0])
	}
	require.Greater(t, len(known), 100)

	require.NoError(t, filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, line := range strings.Split(string(text), "\n") {
			_, comment, _ := strings.Cut(line, "//")
			for _, n := range id.FindAllString(comment, -1) {
				require.True(t, known[n], "%s: %s is not in conformance.md", path, n)
			}
		}
		return nil
	}))
}

// testsOf joins the test files of a package.
func testsOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		b.WriteByte('\n')
		b.Write(text)
	}
	return b.String()
}
