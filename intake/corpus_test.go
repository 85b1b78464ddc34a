package intake

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/classifier"
)

// wanted is what a sample of testmail/corpus/machine says of itself.
type wanted struct {
	Kind      string   `json:"kind"`
	Report    string   `json:"report"`
	Address   string   `json:"address"`
	Hard      *bool    `json:"hard"`
	Complaint string   `json:"complaint"`
	MessageID string   `json:"message_id"`
	Token     string   `json:"token"`
	Decided   []string `json:"decided"`
}

func corpusFiles(t testing.TB, dir string) []string {
	files, err := filepath.Glob(filepath.Join("..", "testmail", "corpus", dir, "*.eml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func testBox() Mailbox {
	return Mailbox{Name: "privacy", Controller: "acme", Addresses: []string{"privacy@example.org"}}
}

func TestMachineCorpus(t *testing.T) {
	cls, err := classifier.New()
	require.NoError(t, err)
	for _, file := range corpusFiles(t, "machine") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".eml"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			text, err := os.ReadFile(strings.TrimSuffix(file, ".eml") + ".want.json")
			require.NoError(t, err)
			var want wanted
			require.NoError(t, json.Unmarshal(text, &want))
			in, v := Facts(raw, time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC), testBox(), cls)
			if want.Kind != "" {
				require.Equal(t, want.Kind, string(v.Kind), "why: %s", v.Why)
			}
			require.Equal(t, want.Report, string(v.Report.Kind), "why: %s", v.Report.Why)
			require.Equal(t, want.Report != "", v.Aside != "", "aside: %q", v.Aside)
			if want.Report != "" {
				require.False(t, in.MayReply, "machines get no answer")
			}
			if want.Address != "" {
				require.NotEmpty(t, v.Report.Recipients)
				require.Equal(t, want.Address, v.Report.Recipients[0].Address)
			}
			if want.Hard != nil {
				require.Equal(t, *want.Hard, v.Report.Recipients[0].Hard, "%+v", v.Report.Recipients[0])
			}
			if want.Complaint != "" {
				require.Contains(t, v.Report.Subjects, want.Complaint)
			}
			if want.MessageID != "" {
				require.Equal(t, want.MessageID, v.Report.MessageID)
			}
			if want.Token != "" {
				require.Equal(t, want.Token, v.Report.Token())
			}
			for _, d := range want.Decided {
				require.True(t, in.Result.Has(classifier.Label(d)), "decided %v", in.Result.Decided)
			}
		})
	}
}

func readFile(t testing.TB, file string) []byte {
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	return raw
}
