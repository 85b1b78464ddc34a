package queue

import (
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

// The last correction counts, against what the classifier read; without texts
// nothing of what the person wrote leaves.
func TestCorrections(t *testing.T) {
	w := newWorld(t)
	no := w.open(classifier.Access)
	w.open(classifier.Erasure)
	for _, l := range []classifier.Label{classifier.Erasure, classifier.Portability} {
		_, err := w.q.Move(ctx, no, Move{Action: ActLabel, Actor: "operator:eve", Labels: []classifier.Label{l}})
		require.NoError(t, err)
	}
	for _, texts := range []bool{false, true} {
		var got []Correction
		require.NoError(t, w.q.Corrections(ctx, texts, func(c Correction) error { got = append(got, c); return nil }))
		require.Len(t, got, 1)
		require.Equal(t, []classifier.Label{classifier.Access}, got[0].Was)
		require.Equal(t, []classifier.Label{classifier.Portability}, got[0].Labels)
		require.Equal(t, texts, got[0].Text != "")
	}
}
