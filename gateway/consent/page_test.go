package consent

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"postern/gateway/address"
	"postern/testmail/env"
)

// A walk through the pages meets everything that stood all the while, though
// others come and go meanwhile; a page never holds more than was asked for, and
// each begins where the one before ended.
func TestSuppressionsPage(t *testing.T) {
	for name, c := range map[string]struct{ people, limit int }{"in process": {40, 3}, "server": {2500, 300}} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			r := g.Registry
			if name == "server" { // several batches of SCAN
				var err error
				r, err = New(client(t, env.Redis(t).Addr), g.ring, memDB(t), g.trail, Options{Now: g.clock.now, Timeout: time.Second})
				require.NoError(t, err)
			}
			now := day0
			stop := func(who string, scope Scope, purpose string) string {
				id, err := r.Suppress(t.Context(), Suppression{Controller: "shop", Address: address.MustParse(who), Scope: scope, Purpose: purpose, Reason: Manual, Source: "test", Actor: "operator:anna", Time: now})
				require.NoError(t, err)
				return id
			}
			want := map[string]bool{}
			for i := range c.people {
				want[stop(fmt.Sprintf("p%d@example.com", i), ScopeController, "")] = true
			}
			for _, purpose := range []string{"a", "b", "c", "d", "e"} { // many of one person
				want[stop("many@example.com", ScopePurpose, purpose)] = true
			}
			_, err := r.Suppress(t.Context(), Suppression{Controller: "club", Address: address.MustParse("p1@example.com"), Scope: ScopeController, Reason: Manual, Source: "test", Actor: "operator:anna", Time: now})
			require.NoError(t, err)
			all := func(SuppressionRecord) bool { return true }
			at := ""
			for pages := 0; ; pages++ {
				require.Less(t, pages, 100)
				page, next, err := r.SuppressionsPage(t.Context(), "shop", at, c.limit, all)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page), c.limit)
				for _, s := range page {
					require.Equal(t, "shop", s.Controller)
					delete(want, s.ID)
				}
				if at = next; at == "" {
					break
				}
				stop(fmt.Sprintf("new%d@example.com", pages), ScopeController, "")
			}
			require.Empty(t, want)

			none, next, err := r.SuppressionsPage(t.Context(), "shop", "", 10, func(SuppressionRecord) bool { return false })
			require.NoError(t, err)
			require.Empty(t, none)
			require.Empty(t, next)
			for _, bad := range []string{"x", "0:1", "9:0:", "-1:0:", "0:x:"} {
				_, _, err := r.SuppressionsPage(t.Context(), "", bad, 10, all)
				require.ErrorIs(t, err, ErrRefused, bad)
			}
		})
	}
}
