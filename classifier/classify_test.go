package classifier

import (
	"sync"
	"syscall"
	"testing"
	"time"

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
		"no umlauts":        {"", "bitte loschen sie alle meine daten", "de", []Label{Erasure}, nil},
		"stop":              {"", "please stop sending me advertising", "en", []Label{Objection}, nil},
		"newsletter":        {"", "Bitte nehmen Sie mich aus dem Newsletter, ich möchte keine Mails mehr.", "de", []Label{Unsubscribe}, []Label{Erasure}},
		"consent":           {"", "I hereby withdraw my consent to the processing of my data.", "en", []Label{WithdrawConsent}, nil},
		"portability":       {"", "Send me my data in a machine-readable format.", "en", []Label{Portability}, nil},
		"order":             {"Order 5512", "Please delete my order 5512, I ordered the wrong size.", "en", nil, []Label{Erasure}},
		"French":            {"", "Je souhaite que vous supprimiez mon compte et toutes mes données.", "fr", []Label{Erasure}, nil},
		"Polish":            {"", "Proszę o usunięcie moich danych osobowych.", "pl", []Label{Erasure}, nil},
		"Greek":             {"", "Θέλω να διαγράψετε τον λογαριασμό μου.", "el", []Label{Erasure}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.Classify(Input{Subject: tc.subject, Text: tc.text})
			require.Equal(t, tc.lang, r.Language)
			for _, l := range tc.want {
				require.True(t, r.Has(l), "%s in %v", l, r.Labels)
			}
			for _, l := range tc.not {
				require.False(t, r.Has(l), "%s in %v", l, r.Labels)
			}
		})
	}
}

func TestEmptyMailAbstains(t *testing.T) {
	r := newClassifier(t).Classify(Input{})
	require.True(t, r.Abstain)
	require.Empty(t, r.Decided)
	require.Equal(t, Und, r.Language)
}

func TestReasonsNameTheWords(t *testing.T) {
	r := newClassifier(t).Classify(Input{Text: "Please erase my account."})
	require.NotEmpty(t, r.Reasons)
	words := ""
	for _, why := range r.Reasons {
		words += " " + why.Words
	}
	require.Contains(t, words, "erase")
}

func TestClassifyIsDeterministicAndConcurrent(t *testing.T) {
	c := newClassifier(t)
	in := Input{Subject: "Löschung", Text: "Bitte löschen Sie alle meine Daten. Und keine Werbung mehr!"}
	want := c.Classify(in)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				require.Equal(t, want, c.Classify(in))
			}
		})
	}
	wg.Wait()
}

func TestDamagedModelIsRefused(t *testing.T) {
	for _, raw := range [][]byte{nil, []byte("PSTNCLS1"), embedded[:len(embedded)-1], append([]byte("X"), embedded...)} {
		_, err := DecodeModel(raw)
		require.Error(t, err)
	}
	m, err := DecodeModel(embedded)
	require.NoError(t, err)
	require.Equal(t, embedded, m.Encode())
}

func FuzzClassify(f *testing.F) {
	c := newClassifier(f)
	f.Add("Subject", "Bitte löschen Sie\n> quoted\n- item: x\n1. y")
	f.Add("Re: x", "\xff\xfe§15 \u200b删除我的帐户。ลบบัญชี")
	f.Fuzz(func(t *testing.T, subject, text string) {
		r := c.Classify(Input{Subject: subject, Text: text})
		for _, l := range r.Labels {
			if l.Score < 0 || l.Score > 1 {
				t.Fatalf("score %v", l)
			}
		}
		for _, d := range r.Decided {
			if !r.Has(d) || d == "" {
				t.Fatal("decided label is not listed")
			}
		}
	})
}

func BenchmarkClassify1KB(b *testing.B) {
	c := newClassifier(b)
	text := "Dear Sir or Madam,\n\nI have been a customer since 2019. I would like to know what personal data you hold about me and who received it. Under Article 12(3) GDPR you must respond within one month.\n\n"
	for len(text) < 1024 {
		text += "Please note that a lack of identification is no reason to refuse, and that the copy is free of charge. "
	}
	b.SetBytes(int64(len(text)))
	var before, after syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	for b.Loop() {
		c.Classify(Input{Subject: "Request for access", Text: text[:1024]})
	}
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	// what a core can do, also where others share it
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(b.N)/cpu.Seconds(), "mails/cpu-s")
}
