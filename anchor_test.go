package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/gateway/ledger"
	"postern/testmail/env"
)

// ST-1: the daily deletion run takes verdicts whose time is over, by the kind
// of their stream, keeps what a legal hold covers and all that is evidence, and
// leaves a log that verifies.
func TestST1_LedgerDeletionRun(t *testing.T) {
	dir := t.TempDir()
	text := strings.ReplaceAll(exampleIn(t, dir), "redis://127.0.0.1:6379/0", env.Redis(t).URL())
	text += "\n[[legal_hold]]\ncontroller = \"example\"\nreason = \"a claim\"\nuntil = \"2026-06-30\"\n"
	path := filepath.Join(dir, "postern.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	code, _, errs := call(t, "", "keys", "init", "--config", path)
	require.Zero(t, code, errs)
	cfg, err := loadConfig(path, nil)
	require.NoError(t, err)
	n, err := openNode(context.Background(), cfg, nodeOptions{log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.close()) })

	day := func(text string) time.Time {
		at, err := time.Parse(time.DateOnly, text)
		require.NoError(t, err)
		return at
	}
	const news, orders = 1, 2
	for ref, r := range map[string]ledger.Record{
		"old order": {Time: day("2026-01-05"), Kind: ledger.KindVerdict, Stream: orders}, "new order": {Time: day("2026-11-01"), Kind: ledger.KindDelivery, Stream: orders},
		"news of 2022": {Time: day("2022-12-31"), Kind: ledger.KindVerdict, Stream: news}, "news of 2023": {Time: day("2023-01-01"), Kind: ledger.KindVerdict, Stream: news},
		"unknown stream": {Time: day("2026-01-05"), Kind: ledger.KindVerdict, Stream: 99}, "old consent": {Time: day("2001-01-05"), Kind: ledger.KindConsent, Stream: news},
	} {
		r.Ref, r.Controller, r.Actor, r.Subject = ref, "example", "relay", address.SubjectID{1}
		require.NoError(t, n.trail.Append(t.Context(), r))
	}
	left := func() (refs []string) {
		require.NoError(t, n.trail.Query(t.Context(), ledger.Filter{Controller: "example"}, func(e ledger.Entry) error {
			refs = append(refs, e.Ref)
			return nil
		}))
		return refs
	}
	require.NoError(t, n.pruneLedger(t.Context(), day("2026-06-30")))
	require.Len(t, left(), 6, "a legal hold keeps them")
	require.NoError(t, n.pruneLedger(t.Context(), day("2026-11-29")))
	require.ElementsMatch(t, []string{"new order", "news of 2023", "unknown stream", "old consent"}, left())

	// The keys of persons end as well, by the same clock.
	gone, kept := address.SubjectID{2}, address.SubjectID{1}
	require.NoError(t, n.trail.Append(t.Context(), ledger.Record{Time: day("2022-12-31"), Kind: ledger.KindConsent, Controller: "example", Actor: "link", Action: "given", Subject: gone}))
	readable := func(s address.SubjectID) (count int) {
		require.NoError(t, n.trail.Query(t.Context(), ledger.Filter{Subject: s}, func(ledger.Entry) error { count++; return nil }))
		return count
	}
	require.NoError(t, n.lapsePersons(t.Context(), day("2025-12-31")))
	require.Equal(t, 1, readable(gone), "not before the third year has ended")
	require.NoError(t, n.lapsePersons(t.Context(), day("2026-06-30")))
	require.Equal(t, 1, readable(gone), "a legal hold keeps it")
	require.NoError(t, n.lapsePersons(t.Context(), day("2026-11-29")))
	require.Zero(t, readable(gone))
	require.NotZero(t, readable(kept))

	out := filepath.Join(dir, "export")
	require.NoError(t, n.trail.Export(t.Context(), out))
	rep, err := ledger.Verify(t.Context(), out, n.trail.PublicKey(), ledger.VerifyOptions{})
	require.NoError(t, err)
	require.True(t, rep.OK(), rep.Faults)
	require.EqualValues(t, 2, rep.Pruned)
}
