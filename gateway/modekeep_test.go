package gateway

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"postern/gateway/consent"
	"postern/gateway/node"
	"postern/gateway/stream"
)

func memStore(t *testing.T) *pebble.DB {
	o := node.Options()
	o.FS = vfs.NewMem()
	db, err := pebble.Open("state", o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// TestD2_RedisThatForgotLoosensNoMode: a stream is enforced by command and only
// observed in the file. A Redis that was emptied or put back makes it no laxer,
// on a node that runs and on one that is started after.
func TestD2_RedisThatForgotLoosensNoMode(t *testing.T) {
	first, mr := testReport(t)
	report := NewNodeReport(first.rdb, memStore(t), nil)
	start := func() *bench {
		b := newTestEngine(t, func(_ *Deps, o *EngineOptions, sts []stream.Stream) {
			o.Modes, sts[0].Mode = report, stream.Observe
		})
		require.NoError(t, b.LoadModes(t.Context()))
		return b
	}
	b := start()
	require.Equal(t, stream.Observe, b.Mode("news"))
	require.NoError(t, b.ChangeMode(t.Context(), "news", stream.Annotate, "operator:a"))
	backup := mr.HGet(modesKey, "news")
	require.NoError(t, b.ChangeMode(t.Context(), "news", stream.Enforce, "operator:a"))
	b.consent.set("stranger@example.com", consent.Answer{})
	for name, lose := range map[string]func(){
		"emptied":                  mr.FlushAll,
		"put back":                 func() { mr.HSet(modesKey, "news", backup) },
		"put back, older versions": func() { mr.HSet(modesKey, "news", "observe") },
	} {
		lose()
		require.NoError(t, b.LoadModes(t.Context()))
		require.Equal(t, stream.Enforce, b.Mode("news"), name)
		lose()
		again := start()
		require.Equal(t, stream.Enforce, again.Mode("news"), name)
		_, err := again.Data(t.Context(), testEnvelope("stranger@example.com"), letter("a@news.example.org"))
		require.Equal(t, NoConsent, denialOf(t, err).Reason, name)
	}
	other := NewNodeReport(first.rdb, memStore(t), nil)
	modes, err := other.Modes(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]stream.Mode{"news": stream.Enforce}, modes, "the others have it back, too")

	require.NoError(t, other.SetMode(t.Context(), "news", stream.Observe))
	require.NoError(t, b.LoadModes(t.Context()))
	require.Equal(t, stream.Observe, b.Mode("news"), "what an operator sets later holds")
	require.NoError(t, b.ChangeMode(t.Context(), "news", "", "operator:a"))
	mr.FlushAll()
	require.NoError(t, b.LoadModes(t.Context()))
	modes, err = report.Modes(t.Context())
	require.NoError(t, err)
	require.Empty(t, modes, "taken back for good")
}
