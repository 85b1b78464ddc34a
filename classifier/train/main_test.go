package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

// TestTrainingIsBitForBit trains twice on little and compares the bytes.
func TestTrainingIsBitForBit(t *testing.T) {
	epochs = 2
	var first []byte
	for range 2 {
		out := filepath.Join(t.TempDir(), "model.bin")
		require.NoError(t, run(settings{data: "../data", out: out, langs: "en,et", letters: 6}, io.Discard))
		raw, err := os.ReadFile(out)
		require.NoError(t, err)
		_, err = classifier.DecodeModel(raw)
		require.NoError(t, err)
		if first == nil {
			first = raw
		}
		require.True(t, string(first) == string(raw), "the same data gave other bytes")
	}
}

// TestGrammarsAreSound spins every phrase and looks for what is left of the grammar.
func TestGrammarsAreSound(t *testing.T) {
	langs, err := loadLanguages("../data")
	require.NoError(t, err)
	m, err := newMaker(1)
	require.NoError(t, err)
	for _, l := range langs {
		require.NotZero(t, m.extract.LangsOf(l.tag), "%s has no lexicon of concepts", l.tag)
		for _, name := range l.order {
			for _, p := range l.sections[name] {
				require.NotContains(t, spin(p.text, m.r), "{", "%s [%s]", l.tag, name)
				require.NotContains(t, spin(p.text, m.r), "|", "%s [%s]", l.tag, name)
			}
		}
	}
}
