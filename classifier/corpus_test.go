package classifier

import (
	"encoding/json"
	"io"
	"mime"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCorpusLetters reads the letters of testmail/corpus that are plain text.
func TestCorpusLetters(t *testing.T) {
	c := newClassifier(t)
	wants, err := filepath.Glob("../testmail/corpus/*.want.json")
	require.NoError(t, err)
	require.NotEmpty(t, wants)
	for _, name := range wants {
		t.Run(filepath.Base(name), func(t *testing.T) {
			raw, err := os.ReadFile(name)
			require.NoError(t, err)
			var want struct {
				Language, Kind string
				Labels, OK     []string
			}
			require.NoError(t, json.Unmarshal(raw, &want))
			f, err := os.Open(strings.TrimSuffix(name, ".want.json") + ".eml")
			require.NoError(t, err)
			defer f.Close()
			msg, err := mail.ReadMessage(f)
			require.NoError(t, err)
			if !strings.HasPrefix(msg.Header.Get("Content-Type"), "text/plain") {
				return // read by the intake's tests
			}
			body, err := io.ReadAll(msg.Body)
			require.NoError(t, err)
			subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
			require.NoError(t, err)
			r := c.Classify(Input{Subject: subject, Text: string(body)})
			require.Equal(t, want.Language, r.Language)
			for _, l := range want.Labels {
				require.True(t, r.Has(Label(l)), "%s missed: %v", l, r.Labels)
			}
			for _, d := range r.Decided {
				require.True(t, slices.Contains(want.Labels, string(d)) || slices.Contains(want.OK, string(d)), "%s is false", d)
			}
			if want.Kind != string(r.Kind) && !slices.Contains(want.OK, string(r.Kind)) {
				require.Equal(t, want.Kind, string(r.Kind), "%v", r.Labels)
			}
		})
	}
}
