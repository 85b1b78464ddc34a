package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
)

// Rare kinds are found by an index within a span of time; a ledger begun
// before there was one gets it when it is opened.
func TestRareKindsAreIndexed(t *testing.T) {
	db := memStore(t)
	l := open(t, db, t.TempDir(), Options{})
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range 300 {
		kind := KindVerdict
		if i%10 == 0 {
			kind = KindView
		}
		require.NoError(t, l.Append(t.Context(), Record{Time: start.Add(time.Duration(i) * time.Hour), Kind: kind, Actor: "operator:anna", Action: fmt.Sprint(i)}))
	}
	require.NoError(t, l.Flush(t.Context()))
	got := func() (out []string) {
		require.NoError(t, l.Query(t.Context(), Filter{Kind: KindView, Since: start.Add(100 * time.Hour), Until: start.Add(150 * time.Hour)}, func(e Entry) error {
			out = append(out, e.Action)
			return nil
		}))
		return out
	}
	want := []string{"100", "110", "120", "130", "140"}
	require.Equal(t, want, got())

	require.NoError(t, db.DeleteRange(prefix(tabByKind), after(prefix(tabByKind)), pebble.Sync))
	require.NoError(t, db.Delete(prefix(tabIndexed), pebble.Sync))
	require.Empty(t, got())
	require.NoError(t, l.indexKinds())
	require.Equal(t, want, got())
}
