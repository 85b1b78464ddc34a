// Package node opens the one durable store of a relay node. Spool, ledger
// outbox and consent journal share it, so that what belongs together commits
// in one batch and one fsync (design D10, D15).
package node

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Key spaces of the rooms that share the store: each room's keys start with
// its own byte. Never renumbered.
const (
	SpaceSpool   byte = 's'
	SpaceLedger  byte = 'l'
	SpaceJournal byte = 'j'
	SpaceMeta    byte = 'm'
	SpaceEvents  byte = 'e' // consent events on their way to receivers
)

// Errors of Open. Inspect with errors.Is.
var (
	// ErrBusy says that another process owns the data folder (design D22).
	ErrBusy = errors.New("the data folder is in use by a running postern")
	// ErrCorrupt says that the store is damaged beyond its torn end, which a
	// crash may leave and which is cut off silently: it never was acknowledged.
	ErrCorrupt = errors.New("the node store is damaged")
)

// Open opens or creates the store in dir/state; directories are made 0700.
// The caller closes the store last. Errors wrap ErrBusy where another process
// holds the folder, and ErrCorrupt where the store can't be read. Of a log
// whose end is damaged the sound part is read and a copy kept in
// DamagedFolder, which the spool reports.
func Open(dir string) (*pebble.DB, error) {
	return open(vfs.Default, dir, Options())
}

func open(fs vfs.FS, dir string, opts *pebble.Options) (*pebble.DB, error) {
	path := fs.PathJoin(dir, "state")
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	// The lock comes first, so that a folder in use is told from a broken one.
	lock, err := pebble.LockDirectory(path, fs)
	if err != nil {
		return nil, fmt.Errorf("open node store in %s: %w: %w", path, ErrBusy, err)
	}
	if err := keepDamaged(fs, dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	spare := fs.PathJoin(dir, "ballast")
	opts.Lock = lock
	opts.FS = vfs.OnDiskFull(fs, func() { _ = fs.Remove(spare) })
	db, err := pebble.Open(path, opts)
	if err != nil {
		err = errors.Join(err, lock.Close())
		if pebble.IsCorruptionError(err) {
			return nil, fmt.Errorf("open node store in %s: %w: %w", path, ErrCorrupt, err)
		}
		return nil, fmt.Errorf("open node store in %s: %w", path, err)
	}
	// From here on the store alone holds the lock, and Close gives it back.
	if err := lock.Close(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := layBallast(fs, spare); err != nil {
		return nil, errors.Join(fmt.Errorf("reserve space for outcomes: %w", err), db.Close())
	}
	return db, nil
}

// Options are the store's settings, for Open and for in-memory stores in tests
// (set FS to vfs.NewMem()).
func Options() *pebble.Options {
	return &pebble.Options{
		// What is delivered before its table is full is never written a second
		// time; larger tables cost memory and gained nothing measurable.
		MemTableSize: 8 << 20,
		// Hardly anything is read: fewer, larger compactions cost the least.
		L0CompactionThreshold: 8,
		L0StopWritesThreshold: 32,
		Logger:                quiet{},
	}
}

// ballastSize is the space in octets that is given up when the disk is full,
// so that what is under way can still be written: the store stops the process
// where a write of its log fails.
const ballastSize = 32 << 20

// layBallast writes the ballast file unless it is there or the disk is too
// full for it.
func layBallast(fs vfs.FS, path string) error {
	if info, err := fs.Stat(path); err == nil && info.Size() == ballastSize {
		return nil
	}
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for n := 0; n < ballastSize && err == nil; n += len(zeros) {
		_, err = f.Write(zeros)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if vfs.IsNoSpaceError(err) {
		return fs.Remove(path)
	}
	return err
}

// quiet keeps the store's chatter out of the log; its errors come back from calls.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("node store: "+format, args...))
}
