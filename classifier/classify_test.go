package classifier

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func newClassifier(t testing.TB) *Classifier {
	t.Helper()
	c, err := New()
	require.NoError(t, err)
	return c
}

func TestClassifyTellsRightsApart(t *testing.T) {
	c := newClassifier(t)
	for name, tc := range map[string]struct {
		subject, text string
		lang          string
		want          []Label
		not           []Label
	}{
		"erasure":           {"", "Please delete all my personal data and close my account.", "en", []Label{Erasure}, []Label{Access}},
		"before you delete": {"", "Please tell me before you delete my account.", "en", nil, []Label{Erasure}},
		"do not delete":     {"", "Do not delete my data. Stop sending me advertising.", "en", []Label{Objection}, []Label{Erasure}},
		"Auskunft":          {"Auskunft gemäß Art. 15 DSGVO", "Sehr geehrte Damen und Herren,\nich bitte um Auskunft, welche Daten Sie über mich gespeichert haben.", "de", []Label{Access}, []Label{Erasure}},
		"Löschung":          {"", "Bitte löschen Sie alle meine Daten.", "de", []Label{Erasure}, nil},
		"stop":              {"", "please stop sending me advertising", "en", []Label{Objection}, nil},
		"newsletter":        {"", "Bitte den Newsletter abbestellen, ich möchte keine Mails mehr.", "de", []Label{Unsubscribe}, nil},
		"consent":           {"", "I hereby withdraw my consent to the processing of my data.", "en", []Label{WithdrawConsent}, nil},
		"portability":       {"", "Send me my data in a machine-readable format.", "en", []Label{Portability}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.Classify(Input{Subject: tc.subject, Text: tc.text})
			require.Equal(t, tc.lang, r.Language)
			for _, l := range tc.want {
				require.True(t, r.Has(l), "%s in %v", l, r.Decided)
			}
			for _, l := range tc.not {
				require.False(t, r.Has(l), "%s in %v", l, r.Decided)
			}
		})
	}
}

func TestUnsureMailAbstains(t *testing.T) {
	r := newClassifier(t).Classify(Input{Subject: "Hello", Text: "How are you today?"})
	require.True(t, r.Abstain)
	require.Empty(t, r.Decided)
}
