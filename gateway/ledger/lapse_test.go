package ledger

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
)

// ST-6, design D15: once the time after the last send is over nobody can read
// what is kept of a person; others, the tree and its proofs stay.
func TestST6_KeysEndWithTheLimitationTime(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	l := open(t, memStore(t), dir, Options{Now: func() time.Time { return now }})
	at := func(who int, year int, kind Kind, action string) {
		require.NoError(t, l.Append(t.Context(), Record{Time: time.Date(year, 12, 31, 23, 0, 0, 0, time.UTC), Kind: kind, Controller: "shop", Subject: subject(who), Actor: "relay", Action: action}))
	}
	const old, sent, refused, spared, late = 1, 2, 3, 4, 5
	at(old, 2020, KindConsent, "given")
	at(old, 2022, KindDelivery, "delivered")
	at(sent, 2020, KindConsent, "given")
	at(sent, 2024, KindDelivery, "delivered")
	at(sent, 2021, KindConsent, "withdrawn") // told later: the order of the tree is not that of time
	at(refused, 2022, KindDelivery, "delivered")
	at(refused, 2025, KindVerdict, "deny")
	at(spared, 2020, KindConsent, "given")
	at(late, 2020, KindConsent, "given")
	rule := Lapse{
		Before: time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), Keeps: func(r Record) bool { return r.Action != "deny" },
		Spare: func(_ context.Context, over []Over) (map[address.SubjectID]bool, error) {
			for _, o := range over {
				require.Equal(t, "shop", o.Controller)
				if o.Subject == subject(late) { // a send between look and deed
					at(late, 2026, KindDelivery, "delivered")
				}
			}
			return map[address.SubjectID]bool{subject(spared): true}, nil
		},
	}
	fails := rule
	fails.Spare = func(context.Context, []Over) (map[address.SubjectID]bool, error) {
		return nil, errors.New("store away")
	}
	_, err := l.DestroyLapsed(t.Context(), fails)
	require.ErrorContains(t, err, "store away")
	require.Len(t, all(t, l, Filter{Subject: subject(old)}), 2, "in doubt nothing is destroyed")

	kept, err := l.Outlast(t.Context(), rule, []address.SubjectID{subject(old), subject(sent), subject(refused), subject(99)})
	require.NoError(t, err)
	require.Equal(t, []address.SubjectID{subject(sent)}, kept)

	done, err := l.DestroyLapsed(t.Context(), rule)
	require.NoError(t, err)
	require.Equal(t, Lapsed{Persons: 2, Records: 4, Spared: 1}, done)
	require.Empty(t, all(t, l, Filter{Subject: subject(old)}))
	require.Empty(t, all(t, l, Filter{Subject: subject(refused)}))
	require.Len(t, all(t, l, Filter{Subject: subject(sent)}), 3)
	require.Len(t, all(t, l, Filter{Subject: subject(spared)}), 1)
	require.Len(t, all(t, l, Filter{Subject: subject(late)}), 2)
	runs := all(t, l, Filter{Kind: KindRetention})
	require.Len(t, runs, 1)
	require.Equal(t, map[string]string{"class": "persons", "before": "2023-01-01T00:00:00Z", "count": "2", "records": "4"}, runs[0].Data)
	require.True(t, runs[0].Subject.IsZero())

	at(old, 2026, KindConsent, "given") // a new beginning has a key of its own
	require.Len(t, all(t, l, Filter{Subject: subject(old)}), 1)
	done, err = l.DestroyLapsed(t.Context(), rule)
	require.NoError(t, err)
	require.Zero(t, done.Persons)
	require.Len(t, all(t, l, Filter{Kind: KindRetention}), 2, "a run that found nothing is told too")

	out := t.TempDir()
	require.NoError(t, l.Export(t.Context(), out+"/log"))
	rep, err := Verify(t.Context(), out+"/log", l.PublicKey(), VerifyOptions{})
	require.NoError(t, err)
	require.True(t, rep.OK(), rep.Faults)
}
