package queue

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"postern/classifier"
	"postern/queue/fulfil"
	"postern/queue/vault"
	"postern/testmail/env"
)

// attacherEnv makes this test binary a process that puts files with a case
// until it is killed: "Redis address|folder|case".
const attacherEnv = "POSTERN_TEST_QUEUE_ATTACHER"

func attacherProcess(what string) int {
	part := strings.Split(what, "|")
	rdb := redis.NewClient(&redis.Options{Addr: part[0]})
	t := &testing.T{}
	q := countingQueue(t, rdb, testStreams(t), slog.New(slog.DiscardHandler))
	files, err := vault.NewFiles(part[1])
	if err != nil {
		return 1
	}
	q.files = files
	for i := 0; ; i++ {
		data := []byte(strings.Repeat("secret words ", 1+rand.IntN(20_000)))
		if _, err := q.AddFile(context.Background(), part[2], fulfil.File{Name: fmt.Sprintf("%d.txt", i), Type: "text/plain", Data: data}, eve); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}

// TestOrphansOfKilledProcesses: processes that put files with a case are killed
// at random until some left a file that no case names, on disk and sealed. The
// sweep takes these alone: every file the case names opens afterwards.
func TestOrphansOfKilledProcesses(t *testing.T) {
	srv := env.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer rdb.Close()
	q := countingQueue(t, rdb, testStreams(t), slog.New(slog.DiscardHandler))
	dir := t.TempDir()
	var err error
	q.files, err = vault.NewFiles(dir)
	require.NoError(t, err)
	ref, err := q.Open(ctx, mailFrom("alice@example.com", classifier.Access))
	require.NoError(t, err)

	kept := 0 // files that the case names
	orphans := func() (left int) {
		_, f, _, err := q.load(ctx, ref.Number)
		require.NoError(t, err)
		named := splitWords(f["vault"])
		kept = len(named)
		whole := 0 // half-written ones are no orphans
		for _, name := range mustList(t, dir) {
			if !strings.HasPrefix(name, ".") {
				whole++
			}
		}
		return whole - len(named)
	}
	for kills := 0; orphans() < 3 || kept == 0; kills++ {
		require.Less(t, kills, 300, "no kill hit between the file and its case")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), attacherEnv+"="+srv.Addr+"|"+dir+"|"+ref.Number)
		cmd.Stderr = os.Stderr
		before := len(mustList(t, dir))
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return len(mustList(t, dir)) > before+rand.IntN(8) }, 20*time.Second, time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait(), "it never ends by itself")
	}
	lost := orphans()
	aged := func(days int, pattern string) {
		at := time.Now().AddDate(0, 0, -days)
		for _, name := range mustList(t, dir) {
			if ok, _ := filepath.Match(pattern, name); ok {
				require.NoError(t, os.Chtimes(filepath.Join(dir, name), at, at))
			}
		}
	}
	s, err := q.SweepOrphans(ctx)
	require.NoError(t, err)
	require.Zero(t, s.Found, "too young to be judged")
	aged(2, "*")
	s, err = q.SweepOrphans(ctx)
	require.NoError(t, err)
	require.Zero(t, s.Deleted, "found first")
	found := s.Found
	require.Positive(t, found)
	require.LessOrEqual(t, found, lost)
	aged(8, ".orphan-*")
	s, err = q.SweepOrphans(ctx)
	require.NoError(t, err)
	require.Equal(t, found, s.Deleted)
	require.Zero(t, orphans())
	list, err := q.Files(ctx, ref.Number)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	for _, f := range list {
		_, data, err := q.File(ctx, ref.Number, f.ID)
		require.NoError(t, err)
		require.Len(t, data, f.Size)
	}
	proved := false
	for id := range rdb.HGetAll(ctx, "test:proof").Val() {
		proved = proved || strings.HasPrefix(id, "retention:")
	}
	require.True(t, proved, "the run is on record")
}

func mustList(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
