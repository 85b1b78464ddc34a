package subjects

import (
	"encoding/csv"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
)

// The file has a row per subject, each once, and the faults asked for.
func TestCSV(t *testing.T) {
	end := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	rows, err := csv.NewReader(iotest.OneByteReader(CSV(10, 1010, 100, end))).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 1001)
	bad := 0
	seen := map[string]bool{}
	for i, r := range rows[1:] {
		require.False(t, seen[r[0]])
		seen[r[0]] = true
		a, err := address.Parse(r[0])
		if err != nil {
			bad++
			continue
		}
		require.Equal(t, Address(10+i), a)
	}
	require.Equal(t, 10, bad)
	all, err := csv.NewReader(CSV(0, 1000, 0, end)).ReadAll()
	require.NoError(t, err)
	require.Len(t, all, 1001)
}
