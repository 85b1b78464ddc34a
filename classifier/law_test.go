package classifier

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier/feature"
)

// readTable reads the tab-separated lines of a file of testmail/corpus/law.
func readTable(t *testing.T, name string) (rows [][]string) {
	t.Helper()
	raw, err := os.ReadFile("../testmail/corpus/law/" + name)
	require.NoError(t, err)
	for line := range strings.Lines(string(raw)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	require.NotEmpty(t, rows)
	return rows
}

func TestRegimeFollowsTheStatute(t *testing.T) {
	c := newClassifier(t)
	for _, row := range readTable(t, "regimes.tsv") {
		require.Equal(t, row[0], c.Classify(Input{Text: row[1]}).Regime, row[1])
	}
}

func TestRegimeOfAReminderIsThatOfWhatItQuotes(t *testing.T) {
	c := newClassifier(t)
	in := Input{Text: "Still no answer from you.", Quoted: "Under the CCPA, section 1798.105, delete my data."}
	require.Equal(t, "CCPA", c.Classify(in).Regime)
	in.Text = "Still no answer. My rights under the UK GDPR stand."
	require.Equal(t, "UK", c.Classify(in).Regime)
}

func TestAskerIsWhoSpeaks(t *testing.T) {
	c := newClassifier(t)
	for _, row := range readTable(t, "askers.tsv") {
		r := c.Classify(Input{Text: row[2]})
		require.Equal(t, row[0], r.Asker, row[2])
		if row[0] != "subject" {
			require.True(t, len(r.Decided) > 0 || r.Abstain, "a person has to read it: %s", row[2])
			require.NotEqual(t, KindSpam, r.Kind, row[2])
		}
	}
}

func TestRulesAreRefusedWithTheirLine(t *testing.T) {
	seg := feature.NewSegmenter(feature.NewFolder())
	for raw, want := range map[string]string{
		"# no section\nuk gdpr":  "line 2",
		"[UK]\nuk*":              "line 2",
		"[UK]\nuk gdpr\n..":      "line 3",
		"[UK]\n\n# comment\n***": "line 4",
	} {
		_, err := readRules(seg, "rules.txt", raw)
		require.ErrorContains(t, err, want)
	}
}

func TestRulesTakeTheLongestAndPassOverGaps(t *testing.T) {
	seg := feature.NewSegmenter(feature.NewFolder())
	r, err := readRules(seg, "rules.txt", "[a]\ngdpr\nuk\n[b]\nuk gdpr\n[c]\nart .. dsg\nschweiz* gesetz")
	require.NoError(t, err)
	for text, want := range map[string]string{
		"UK GDPR":                      "b",
		"UK and GDPR":                  "aa",
		"gdpr uk gdpr":                 "ab",
		"Art. 25 DSG":                  "c",
		"Art. 25 Abs. 1 DSG":           "c",
		"Art. eins zwei drei vier DSG": "",
		"schweizerisches Gesetz":       "c",
		"schweizerisches":              "",
		"art":                          "",
	} {
		got := ""
		r.find(seg.Tokens(text), func(s string) { got += s })
		require.Equal(t, want, got, text)
	}
}
