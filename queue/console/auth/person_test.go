package auth

import (
	"bytes"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/testmail/env"
)

func TestPersons(t *testing.T) {
	for name, addr := range map[string]string{"redis": env.Redis(t).Addr, "in-process": miniredis.RunT(t).Addr()} {
		t.Run(name, func(t *testing.T) {
			rdb := redis.NewClient(&redis.Options{Addr: addr})
			defer rdb.Close()
			s, err := New(rdb, Options{Key: bytes.Repeat([]byte{5}, 32)})
			require.NoError(t, err)
			is := func(name, person string) {
				t.Helper()
				got, err := s.Person(t.Context(), name)
				require.NoError(t, err)
				require.Equal(t, person, got)
			}
			bind := func(name, person, stands string) {
				t.Helper()
				got, err := s.Bind(t.Context(), name, person)
				require.NoError(t, err)
				require.Equal(t, stands, got)
			}
			is(" Eve", "eve")
			bind("e.smith", "Eve", "eve")
			bind("root", "e.smith", "eve")
			is("root", "eve")
			bind("eve", "smith", "smith") // whoever was eve is smith now
			is("root", "smith")
			is("e.smith", "smith")
			bind("smith", "root", "smith") // the same person already: no ring
			is("smith", "smith")
			all, err := s.Bindings(t.Context())
			require.NoError(t, err)
			require.Equal(t, map[string]string{"e.smith": "smith", "root": "smith", "eve": "smith"}, all)
			bind("root", "", "root")
			is("root", "root")
			_, err = s.Bind(t.Context(), "a b", "eve")
			require.ErrorIs(t, err, ErrInput)
			_, err = s.Bind(t.Context(), "eve", "a@b")
			require.ErrorIs(t, err, ErrInput)
		})
	}
}
