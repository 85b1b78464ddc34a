package main

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/gateway/keys"
	"postern/queue/console/api"
)

// The same person may have an account, one at the identity provider, a login of
// the machine and programs: all of them are one.
func TestPersonBehindAnActor(t *testing.T) {
	cfg := caseConfig(t)
	require.NoError(t, os.MkdirAll(cfg.Data, 0o700))
	_, err := keys.Init(cfg.Keys, time.Now())
	require.NoError(t, err)
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	defer rdb.Close()
	n, err := openNode(t.Context(), cfg, nodeOptions{log: slog.New(slog.DiscardHandler), rdb: rdb})
	require.NoError(t, err)
	defer func() { require.NoError(t, n.close()) }()
	for name, owner := range map[string]string{"crm": "e.smith", "shop": "eve", "robot": ""} {
		_, _, err := n.tokens().Create(t.Context(), name, []api.Scope{api.StatusRead}, 0, "operator:eve", owner)
		require.NoError(t, err)
	}
	person, err := n.bindOperator(t.Context(), bindRequest{Name: "e.smith", Person: "eve", Actor: "operator:root"})
	require.NoError(t, err)
	require.Equal(t, "eve", person)
	for actor, want := range map[string]string{
		"operator:eve": "eve", "operator:e.smith": "eve", "operator:api:crm": "eve", "operator:api:shop": "eve", "operator:bob": "bob",
		"operator:api:robot": "", "operator:api:gone": "",
	} {
		got, err := n.personBehind(t.Context(), actor)
		require.NoError(t, err)
		require.Equal(t, want, got, actor)
	}
	require.NoError(t, n.tokens().Revoke(t.Context(), "crm", "operator:eve"))
	got, err := n.personBehind(t.Context(), "operator:api:crm")
	require.NoError(t, err)
	require.Empty(t, got)
}
