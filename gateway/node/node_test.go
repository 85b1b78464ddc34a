package node

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneOwner(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir)
	require.NoError(t, err)
	_, err = Open(dir)
	require.ErrorIs(t, err, ErrBusy)
	require.NoError(t, db.Set([]byte("k"), []byte("v"), pebble.Sync))
	require.NoError(t, db.Close())
	db, err = Open(dir)
	require.NoError(t, err)
	_, closer, err := db.Get([]byte("k"))
	require.NoError(t, err)
	require.NoError(t, closer.Close())
	require.NoError(t, db.Close())
	info, err := os.Stat(filepath.Join(dir, "state"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

// TestDamagedEnd damages the log of a store that was not closed.
func TestDamagedEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(b []byte) []byte
		least  int // records that must be read
		told   bool
	}{
		{"sound", func(b []byte) []byte { return b }, 200, false},
		{"overwritten in the middle", func(b []byte) []byte { copy(b[len(b)/2:], "XXXXXXXXXXXXXXXX"); return b }, 90, true},
		{"overwritten near the end", func(b []byte) []byte { copy(b[len(b)-4000:], "XXXXXXXXXXXXXXXX"); return b }, 190, true},
		{"torn in a record", func(b []byte) []byte { return b[:len(b)-500] }, 198, false},
		{"zeros at the end", func(b []byte) []byte { clear(b[len(b)-5000:]); return b }, 190, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, copied := t.TempDir(), t.TempDir()
			db, err := Open(dir)
			require.NoError(t, err)
			for i := range 200 {
				require.NoError(t, db.Set(fmt.Appendf(nil, "k%03d", i), make([]byte, 1000), pebble.Sync))
			}
			require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
			require.NoError(t, db.Close())
			logs, err := filepath.Glob(filepath.Join(copied, "state", "*.log"))
			require.NoError(t, err)
			require.Len(t, logs, 1)
			b, err := os.ReadFile(logs[0])
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(logs[0], c.damage(b), 0o600))

			db, err = Open(copied)
			require.NoError(t, err)
			defer db.Close()
			it, err := db.NewIter(nil)
			require.NoError(t, err)
			n := 0
			for ok := it.First(); ok; ok = it.Next() {
				n++
			}
			require.NoError(t, it.Close())
			require.GreaterOrEqual(t, n, c.least)
			kept, err := filepath.Glob(filepath.Join(copied, DamagedFolder, "*.log"))
			require.NoError(t, err)
			require.Equal(t, c.told, len(kept) == 1, "a loss is told: %v", kept)
		})
	}
}

// smallDisk fails writes with ENOSPC once its quota is used up.
type smallDisk struct {
	vfs.FS
	left *atomic.Int64
}

type smallFile struct {
	vfs.File
	disk    smallDisk
	written *int64
}

func (d smallDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return smallFile{f, d, new(int64)}, err
}

func (d smallDisk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(oldname, newname, c)
	return smallFile{f, d, new(int64)}, err
}

func (d smallDisk) Remove(name string) error {
	if info, err := d.FS.Stat(name); err == nil {
		d.left.Add(info.Size())
	}
	return d.FS.Remove(name)
}

func (f smallFile) Write(p []byte) (int, error) {
	if f.disk.left.Add(-int64(len(p))) < 0 {
		f.disk.left.Add(int64(len(p)))
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}

func TestBallastOutlastsAFullDisk(t *testing.T) {
	disk := smallDisk{FS: vfs.NewMem(), left: new(atomic.Int64)}
	disk.left.Store(ballastSize + 10<<20)
	db, err := open(disk, "data", Options())
	require.NoError(t, err)
	_, err = disk.Stat("data/ballast")
	require.NoError(t, err)
	const n = 20 // 20 MiB into 10 MiB: only with the ballast's space
	for i := range n {
		require.NoError(t, db.Set(fmt.Appendf(nil, "k%03d", i), make([]byte, 1<<20), pebble.Sync))
	}
	_, err = disk.Stat("data/ballast")
	require.Error(t, err, "the ballast was given up")
	require.NoError(t, db.Close())

	disk.left.Store(1 << 20) // still too full for a new ballast
	db, err = open(disk, "data", Options())
	require.NoError(t, err)
	for i := range n {
		v, closer, err := db.Get(fmt.Appendf(nil, "k%03d", i))
		require.NoError(t, err)
		require.Len(t, v, 1<<20)
		require.NoError(t, closer.Close())
	}
	require.NoError(t, db.Close())
}

func FuzzUnreadable(f *testing.F) {
	f.Add([]byte("0123456789012345678901234567890"), uint32(7))
	f.Fuzz(func(t *testing.T, log []byte, num uint32) {
		require.LessOrEqual(t, unreadable(log, num), len(log))
	})
}
