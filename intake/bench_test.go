package intake

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

// nothing is a classifier that costs nothing, to measure the reader alone.
type nothing struct{}

func (nothing) Classify(classifier.Input) classifier.Result {
	return classifier.Result{Language: "und", Kind: classifier.KindOther, Abstain: true}
}

// BenchmarkFacts reads the whole corpus without the classifier; one operation
// is one mail.
func BenchmarkFacts(b *testing.B) {
	var mails [][]byte
	for _, dir := range []string{"", "machine"} {
		for _, f := range corpusFiles(b, dir) {
			raw, err := os.ReadFile(f)
			require.NoError(b, err)
			mails = append(mails, raw)
		}
	}
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	box := testBox()
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		Facts(mails[i%len(mails)], at, box, nothing{})
		i++
	}
}
